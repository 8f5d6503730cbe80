//! The one way out: text that leaves for a model passes here, and nothing else makes a
//! [`Redacted`].

use serde_json::Value;

use super::pseudonym::Pseudonyms;
use super::secrets::{Class, RULES};

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
    let mut text = super::fold::fold_lines(text);
    for rule in RULES.iter() {
        let mut out = String::new();
        let mut done = 0;
        for (from, to) in rule.find(&text) {
            let found = &text[from..to];
            if found.starts_with("<redacted") || pseudonyms.name(found).is_some() {
                continue;
            }
            out.push_str(&text[done..from]);
            match rule.class {
                Class::Secret => out += &format!("<redacted {}>", rule.kind),
                Class::Name => out += &pseudonyms.of(rule.kind, found),
            }
            done = to;
        }
        if done > 0 {
            out.push_str(&text[done..]);
            text = out;
        }
    }
    text
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
