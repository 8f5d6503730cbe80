//! The one way out: text that leaves for a model passes here, and nothing else makes a
//! [`Redacted`].

use std::borrow::Cow;

use serde_json::Value;

use super::forms;
use super::pseudonym::Pseudonyms;
use super::secrets::{Class, RULES, Rule};

/// How a mark begins that stands in place of a secret.
const MARK: &str = "<redacted ";

/// Bytes of a mark: more than the longest kind.
const MARK_LENGTH_MAX: usize = 64;

/// The kind of a mark where a cell of a table was.
const CELL: &str = "cell";

/// The kind of a mark where a value of a manifest was.
const MANIFEST: &str = "manifest";

/// Text without secrets and addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redacted(String);

impl Redacted {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A document with every text in it redacted, keys too, as JSON.
    pub fn document(document: &Value, pseudonyms: &mut Pseudonyms) -> Self {
        Self(walked(document, pseudonyms).to_string())
    }

    pub fn text(text: &str, pseudonyms: &mut Pseudonyms) -> Self {
        Self(redact(text, pseudonyms))
    }
}

/// Text for people elsewhere, as in a chat room: without secrets, but with names and addresses.
pub fn without_secrets(text: &str) -> String {
    without(text, |_| true)
}

/// A document that is kept, without the secrets that its tables, settings and commands tell, which
/// parts of it may not tell any more, and how many. What a sentence tells stays until it leaves, as
/// a sentence stays whole, and so does what merely looks drawn by lot: it may be part of a link. To
/// the letter as it was where it has none.
pub fn hide_secrets(text: &str) -> (Cow<'_, str>, usize) {
    let hidden = without(text, |rule| rule.kind != forms::PROSE && !rule.is_guess());
    if hidden == super::fold::fold_lines(text) {
        return (Cow::Borrowed(text), 0);
    }
    let marks = |text: &str| text.matches(MARK).count();
    let count = marks(&hidden).saturating_sub(marks(text));
    (Cow::Owned(hidden), count)
}

fn without(text: &str, which: impl Fn(&Rule) -> bool) -> String {
    let text = super::fold::fold_lines(text);
    let mut text = told(&text);
    for rule in RULES.iter().filter(|rule| matches!(rule.class, Class::Secret) && which(rule)) {
        text = replaced(&text, &rule.find(&text), |_| Some(mark(rule.kind)));
    }
    text
}

fn walked(value: &Value, pseudonyms: &mut Pseudonyms) -> Value {
    match value {
        Value::String(text) => Value::String(redact(text, pseudonyms)),
        Value::Array(items) => items.iter().map(|item| walked(item, pseudonyms)).collect(),
        Value::Object(fields) => Value::Object(
            fields.iter().map(|(k, v)| (redact(k, pseudonyms), walked(v, pseudonyms))).collect(),
        ),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

/// Secrets become `<redacted KIND>`, addresses a pseudonym that [`Pseudonyms::restore`] undoes.
fn redact(text: &str, pseudonyms: &mut Pseudonyms) -> String {
    let text = super::fold::fold_lines(text);
    let mut text = told(&text);
    for rule in RULES.iter() {
        text = replaced(&text, &rule.find(&text), |found| match rule.class {
            _ if pseudonyms.covers(found) => None,
            Class::Secret => Some(mark(rule.kind)),
            Class::Name => Some(pseudonyms.of(rule.kind, found)),
        });
    }
    text
}

/// Without what the shape of a document tells: cells of tables, values of manifests.
fn told(text: &str) -> String {
    let text = replaced(text, &forms::manifests(text), |_| Some(mark(MANIFEST)));
    replaced(&text, &forms::cells(&text), |_| Some(mark(CELL)))
}

fn mark(kind: &str) -> String {
    format!("{MARK}{kind}>")
}

/// What `new` makes of the text at `places`, which come in order; what was redacted before stays.
fn replaced(
    text: &str,
    places: &[(usize, usize)],
    mut new: impl FnMut(&str) -> Option<String>,
) -> String {
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    for (from, to) in places.iter().copied() {
        if from < done || in_mark(text, from) || mark_length(&text[from..]) > 0 {
            continue;
        }
        // A mark is taken as a whole or not at all.
        let rest =
            if in_mark(text, to) { text[to..].find('>').map_or(0, |end| end + 1) } else { 0 };
        let to = to + rest;
        if !has_more(&text[from..to]) {
            continue;
        }
        if let Some(new) = new(&text[from..to]) {
            out.push_str(&text[done..from]);
            out.push_str(&new);
            done = to;
        }
    }
    out.push_str(&text[done..]);
    out
}

/// False for a mark with signs and the prefix of a literal beside it, and nothing else.
fn has_more(text: &str) -> bool {
    let mut letters = 0;
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let length = mark_length(rest);
        letters += usize::from(length == 0 && next.is_alphanumeric());
        rest = &rest[length.max(next.len_utf8())..];
    }
    letters > 2 || letters > 0 && !text.contains(MARK)
}

fn in_mark(text: &str, at: usize) -> bool {
    let near = text.floor_char_boundary(at.saturating_sub(MARK_LENGTH_MAX));
    let start = text[near..at].rfind('<').map(|start| near + start);
    start.is_some_and(|start| at < start + mark_length(&text[start..]))
}

/// Length of the mark of something redacted that a text begins with; 0 if there is none. What only
/// looks like one, for want of an end or of a kind that exists, hides nothing.
pub(super) fn mark_length(text: &str) -> usize {
    let Some(rest) = text.strip_prefix(MARK) else { return 0 };
    let Some(end) = rest.bytes().take(MARK_LENGTH_MAX).position(|b| b == b'>') else { return 0 };
    let kind = &rest[..end];
    let known = kind == CELL || RULES.iter().any(|rule| rule.kind == kind);
    if known { MARK.len() + kind.len() + 1 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::super::planted;
    use super::*;

    fn redacted(text: &str) -> (String, Pseudonyms) {
        let mut pseudonyms = Pseudonyms::new([7; 32]);
        (redact(text, &mut pseudonyms), pseudonyms)
    }

    #[test]
    fn five_hundred_secrets_of_more_than_twenty_kinds_are_gone() {
        let secrets = planted::secrets(500);
        let kinds: std::collections::BTreeSet<&str> = secrets.iter().map(|s| s.kind).collect();
        assert!(kinds.len() >= 20, "{kinds:?}");
        let mut missed = Vec::new();
        for secret in &secrets {
            for line in planted::sentences(secret) {
                let (text, _) = redacted(&line);
                if text.contains(&secret.core) {
                    missed.push(format!("{}: {line} -> {text}", secret.kind));
                }
            }
        }
        assert!(missed.is_empty(), "{}", missed.join("\n"));
    }

    #[test]
    fn addresses_come_back_and_secrets_do_not() {
        let line = "ines@example.org at 10.1.2.3 and fe80::1 used password=hunter22";
        let (text, names) = redacted(line);
        for gone in ["ines", "10.1.2.3", "fe80", "hunter22"] {
            assert!(!text.contains(gone), "{text}");
        }
        let back = names.restore(&text);
        assert_eq!(back, line.replace("hunter22", "<redacted assignment>"));
        assert_eq!(redacted(&text).0, text, "redacting twice changes nothing");
    }

    /// Secrets between brackets: plain words that only what is around them tells. `held_out.txt`
    /// was written before the rules that find them, `missed.txt` has what once left.
    #[test]
    fn secrets_are_told_by_what_is_around_them() {
        let all = [include_str!("held_out.txt"), include_str!("missed.txt")];
        let mut missed = Vec::new();
        for record in all.iter().flat_map(|file| file.trim_end().split("\n---\n")) {
            let plain = record.replace(['⟦', '⟧'], "");
            let (text, mut names) = redacted(&plain);
            let secrets = record.split('⟦').skip(1).filter_map(|part| part.split('⟧').next());
            let words = secrets.flat_map(str::split_whitespace).filter(|word| word.len() > 2);
            missed.extend({ words }.filter(|w| text.contains(w)).map(|w| format!("{w}: {text}")));
            assert_eq!(redact(&text, &mut names), text, "redacting twice changes nothing");
            let text = without_secrets(&plain);
            assert_eq!(without_secrets(&text), text, "redacting twice changes nothing");
        }
        assert!(missed.is_empty(), "{}", missed.join("\n"));
    }

    /// In one document, as a runbook is read.
    #[test]
    fn secrets_are_told_in_a_document_and_what_is_between_them_stays() {
        let mut document = String::new();
        let records: Vec<&str> = include_str!("missed.txt").trim_end().split("\n---\n").collect();
        for record in &records {
            document.push_str("# Case\n\nSome words come before it.\n\n");
            document.push_str(&record.replace(['⟦', '⟧'], ""));
            document.push_str("\n\nAnd then check the dashboards.\n\n");
        }
        let (text, _) = redacted(&document);
        assert_eq!(text.matches("Some words come before it.").count(), records.len());
        assert_eq!(text.matches("And then check the dashboards.").count(), records.len());
        for secret in ["falconry", "kestrels", "buzzards", "ospreyes"] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
    }

    #[test]
    fn ordinary_lines_lose_nothing() {
        for record in include_str!("ordinary.txt").trim_end().split("\n---\n") {
            let (text, names) = redacted(record);
            assert_eq!(names.restore(&text), record);
            assert_eq!(without_secrets(record), record);
        }
    }

    #[test]
    fn a_secret_is_found_behind_what_says_whose_it_is() {
        for line in [
            "token (prod): ⟦S3cretFive99⟧",
            "API key (staging): ⟦q8Zt41xxW⟧",
            "**token** (prod) `⟦abcDef12⟧`",
            "token (prod) ⟦S3cretSix66⟧ is the one to use",
            "**API key**: ⟦rosebud⟧",
            "`token` (prod): `⟦rosebud⟧`",
            "The root pw for the bastion: ⟦blueFish77⟧",
            "**Password for db1.prod (EU):** ⟦rosebud⟧, ask before you change it",
            "password for prod: \"⟦open sesame⟧\"",
            "| Password for prod: ⟦hunter22⟧ |",
            "| API key | ⟦rosebud⟧ |",
            "db password of prod = ⟦tigerCat1⟧",
            "secret: (prod) ⟦hunter6⟧",
            "password: (prod) ⟦rosebud⟧",
            "- password\n  - ⟦S3cretItem9⟧",
            "1. API key\n   1. ⟦rosebud⟧",
            "+ token for prod\n  + `⟦S3cretItem8⟧`",
            "- db password\n  - ⟦S3cretItem7⟧ (rotated in May)\n  - staging: `⟦S3cretItem6⟧`",
            "passcode ⟦482913⟧",
            "PIN for the cage: ⟦4711⟧",
            "the admin password, ⟦S3cretComma1⟧, must be changed",
            "Use the admin password, `⟦hunter77⟧`",
        ] {
            let (text, mut names) = redacted(&line.replace(['⟦', '⟧'], ""));
            let secrets = line.split('⟦').skip(1).filter_map(|part| part.split('⟧').next());
            let mut words = secrets.flat_map(str::split_whitespace);
            assert!(words.all(|word| !text.contains(word)), "{text}");
            assert_eq!(redact(&text, &mut names), text, "redacting twice changes nothing");
        }
    }

    #[test]
    fn labels_that_tell_no_secret_keep_what_follows() {
        for line in [
            "reset the password for prod: see the wiki",
            "the password for prod: in the vault",
            "token bucket for tenants: 100 rps",
            "the secret of good alerts",
            "Number of tokens in the bucket: 100",
            "tokens for batch jobs: 128k",
            "TTL of the token in prod: 3600s",
            "rotate the secret in prod: monthly",
            "The docs of the access key for prod: https://wiki.example.org/key2",
            "passwords, oauth2, and certificates",
            "The token, node-1 says, is stale",
            "\"nextToken\": \"\",",
            "password 3 times wrong",
            "- rotate the token\n  - restart node-1 first\n- API key\n- node-1 holds it",
        ] {
            let (text, names) = redacted(line);
            assert_eq!(names.restore(&text), line);
        }
        let (text, _) = redacted("rotate the API key (staging) every 90 days");
        assert_eq!(text, "rotate the API key (<redacted prose>) every 90 days");
        let (text, _) = redacted("API key (staging): see the wiki, TTL 3600s");
        assert_eq!(text, "API key (<redacted prose>): see the wiki, TTL 3600s");
    }

    #[test]
    fn a_mark_is_never_cut() {
        let (text, _) = redacted("sshpass -pS3cret⟧ ssh; **token** (prod) `abcDef12`");
        assert_eq!(text.matches(MARK).count(), text.matches('>').count(), "{text}");
    }

    #[test]
    fn prose_about_secrets_stays_readable() {
        for line in include_str!("prose.txt").lines() {
            let (text, names) = redacted(line);
            let text = names.restore(&text);
            let lost = line.split_whitespace().filter(|word| !text.contains(word)).count();
            assert!(lost <= 2, "{text}");
        }
    }

    #[test]
    fn what_looks_like_a_mark_hides_nothing() {
        for fake in ["<redacted by legal", "<redacted ", "<redacted nothing>", "<redacted cell"] {
            let (text, _) = redacted(&format!("{fake} password=hunter22 at 10.1.2.3 for a>b"));
            assert!(!text.contains("hunter22") && !text.contains("10.1.2.3"), "{text}");
            let (text, _) = redacted(&format!("{fake}AKIAIOSFODNN7EXAMPLE>"));
            assert!(!text.contains("AKIAIOSFODNN7EXAMPLE"), "{text}");
        }
        let (text, _) = redacted("<redacted cell> password=hunter22");
        assert_eq!(text, "<redacted cell> password=<redacted assignment>");
    }

    #[test]
    fn hosts_are_names() {
        let line = "ssh db17.prod.internal, then cart-5d8f7c9b4-x2k9q on db-1.eu.example.com.";
        let (text, names) = redacted(line);
        for gone in ["db17", "prod", "cart", "x2k9q", "example"] {
            assert!(!text.contains(gone), "{text}");
        }
        assert_eq!(names.restore(&text), line);
    }

    #[test]
    fn ordinary_text_stays() {
        for line in [
            "latency of checkout rose from 12.5 to 310 at 2024-03-12T09:20:00Z",
            "connection refused after 3 retries; see the runbook, section 4",
            "org.springframework.web.util.NestedServletException",
            "svc-5f0c21aa calls svc-11aa22bb",
        ] {
            assert_eq!(redacted(line).0, line);
        }
    }

    #[test]
    fn a_secret_in_disguise_is_a_secret() {
        let (text, _) = redacted("AKIA\u{200b}IOSFODNN7EXAMPLE and ＡＫＩＡIOSFODNN7EXAMPLE");
        assert_eq!(text, "<redacted aws-access-key> and <redacted aws-access-key>");
    }

    #[test]
    fn documents_keep_their_shape() {
        let mut names = Pseudonyms::new([7; 32]);
        let document = serde_json::json!({"a": ["token: abcdef", 4111111111111111_u64, null]});
        let text = Redacted::document(&document, &mut names);
        let value: Value = serde_json::from_str(text.as_str()).unwrap();
        assert_eq!(value["a"][0], "token: <redacted assignment>");
        assert_eq!(value["a"][1], 4_111_111_111_111_111_u64);
    }
}
