//! What a secret looks like: rules in the manner of gitleaks, on an engine whose time is linear.

use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::forms::{self, checks};

/// Bits per character from which a long token counts as random; English is near 4, a random token
/// of 24 characters over 64 symbols near 4.4.
const RANDOM_BITS_MIN: f64 = 3.6;

/// What is done with a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Gone for good.
    Secret,
    /// A pseudonym stands for it.
    Name,
}

/// What a match must satisfy beside the pattern.
#[derive(Clone, Copy, Debug)]
pub enum Check {
    None,
    Luhn,
    Mod97,
    Random,
    /// Not a word that only joins others.
    Worded,
    /// Like no word.
    Odd,
    /// What a label may stand before.
    Labelled,
    /// The same, and like no word.
    LabelledOdd,
    /// As much of the line as belongs to a phrase.
    Phrase,
    /// No key of a next line.
    Assigned,
    /// A word of its own, which the name of a secret does not go on with.
    Apart,
    /// What a sentence says that a secret is, rather than how it is.
    Said,
    /// The second of a name and a password.
    Second,
    /// Capitals, small letters and digits in turns.
    Mixed,
    Phone,
    /// Hexadecimal digits rather than a number with points.
    Card,
    /// The value of each line.
    Items,
    /// Each value in quotes.
    Values,
    /// Each text in quotes.
    Quoted,
}

pub struct Rule {
    pub kind: &'static str,
    pub class: Class,
    pattern: Regex,
    check: Check,
}

impl Rule {
    /// Whether nothing but how drawn by lot it looks tells the secret.
    pub fn is_guess(&self) -> bool {
        matches!(self.check, Check::Random | Check::Mixed)
    }

    /// Byte ranges of what has to go: the groups of a match, or all of it if the pattern has none.
    pub fn find(&self, text: &str) -> Vec<(usize, usize)> {
        let mut out = Vec::new();
        let mut at = 0;
        while let Some(found) = self.pattern.captures_at(text, at) {
            let parts = parts(&found);
            let whole = found.get(0).map_or(text.len(), |whole| whole.end());
            let end = parts.last().map_or(whole, |(_, end)| *end);
            // What ends one name may begin the next.
            let next = if self.class == Class::Name { end } else { whole };
            for (from, to) in parts {
                let places = self.check.places(&text[from..to]);
                let places = places.into_iter().map(|(start, end)| (from + start, from + end));
                out.extend(places.filter(|(start, end)| checks::is_value(&text[*start..*end])));
            }
            // An empty match would be found again.
            at = match next > at {
                true => next,
                false if at < text.len() => text.ceil_char_boundary(at + 1),
                false => break,
            };
        }
        out
    }
}

fn parts(found: &Captures<'_>) -> Vec<(usize, usize)> {
    let groups: Vec<_> = found.iter().skip(1).flatten().map(|m| (m.start(), m.end())).collect();
    match found.get(0) {
        Some(all) if found.len() == 1 => vec![(all.start(), all.end())],
        _ => groups,
    }
}

impl Check {
    /// Byte ranges of `text` that have to go.
    fn places(self, text: &str) -> Vec<(usize, usize)> {
        let holds = match self {
            Self::None => true,
            Self::Luhn => luhn(text),
            Self::Mod97 => mod97(text),
            Self::Random => is_random(text),
            Self::Worded => checks::is_worded(text),
            Self::Odd => checks::is_odd(text),
            Self::Labelled => checks::is_labelled(text),
            Self::LabelledOdd => checks::is_labelled(text) && checks::is_odd(text),
            Self::Assigned => checks::is_assigned(text),
            Self::Apart => checks::is_apart(text),
            Self::Said => checks::is_said(text),
            Self::Second => checks::is_second(text),
            Self::Mixed => checks::is_mixed(text),
            Self::Phone => checks::is_phone(text),
            Self::Card => checks::is_card(text),
            Self::Phrase => return vec![(0, checks::phrase(text))],
            Self::Items => return checks::items(text),
            Self::Values => return checks::quoted(text, true),
            Self::Quoted => return checks::quoted(text, false),
        };
        if holds { vec![(0, text.len())] } else { Vec::new() }
    }
}

/// In this order; what an earlier rule has taken a later one does not see.
pub static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    patterns()
        .filter_map(|(kind, class, check, pattern)| {
            let pattern = Regex::new(&forms::expanded(pattern)).ok()?;
            Some(Rule { kind, class, pattern, check })
        })
        .collect()
});

fn patterns() -> impl Iterator<Item = Pattern> {
    let secret = |(kind, check, pattern)| (kind, Class::Secret, check, pattern);
    let told = forms::all().map(secret);
    SHAPES.into_iter().chain(told).chain(REST).chain([secret(forms::BESIDE)])
}

type Pattern = (&'static str, Class, Check, &'static str);

/// What is known by itself.
const SHAPES: [Pattern; 31] = [
    (
        "private-key",
        Class::Secret,
        Check::None,
        "(?s)-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----.*?\
         (?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|$)",
    ),
    ("cookie", Class::Secret, Check::None, r"(?i-u:(?:set-)?cookie)\s{0,4}[:=]\s{0,4}([^\r\n]+)"),
    (
        "url-credentials",
        Class::Secret,
        Check::None,
        r#"[A-Za-z][A-Za-z0-9+.-]{1,20}://([^\s/@]*:[^\s"<>]+|[^\s/@:"<>]+)@"#,
    ),
    (
        "slack-webhook",
        Class::Secret,
        Check::None,
        r"hooks\.slack\.com/services/([A-Za-z0-9/_+-]{20,})",
    ),
    (
        "aws-access-key",
        Class::Secret,
        Check::None,
        r"\b(?:AKIA|ASIA|ABIA|ACCA|AROA|AIDA)[A-Z0-9]{16}\b",
    ),
    ("gcp-api-key", Class::Secret, Check::None, r"\bAIza[0-9A-Za-z_-]{35}"),
    ("google-oauth", Class::Secret, Check::None, r"\bya29\.[0-9A-Za-z_-]{20,}"),
    ("github-token", Class::Secret, Check::None, r"\bgh[pousr]_[0-9A-Za-z]{36,}"),
    ("github-fine-token", Class::Secret, Check::None, r"\bgithub_pat_[0-9A-Za-z_]{22,}"),
    ("gitlab-token", Class::Secret, Check::None, r"\bgl(?:pat|dt|rt|cbt|ptt)-[0-9A-Za-z_-]{20,}"),
    ("slack-token", Class::Secret, Check::None, r"\bxox[abeoprs]-[0-9A-Za-z-]{10,}"),
    (
        "stripe-key",
        Class::Secret,
        Check::None,
        r"\b(?:[rs]k|whsec)_(?:live_|test_)?[0-9A-Za-z]{16,}",
    ),
    ("model-key", Class::Secret, Check::None, r"\bsk-[A-Za-z0-9_-]{20,}"),
    ("sendgrid-key", Class::Secret, Check::None, r"\bSG\.[0-9A-Za-z_-]{16,}\.[0-9A-Za-z_-]{16,}"),
    ("twilio-key", Class::Secret, Check::None, r"\b(?:AC|SK)[0-9a-f]{32}\b"),
    ("npm-token", Class::Secret, Check::None, r"\bnpm_[A-Za-z0-9]{36}"),
    ("pypi-token", Class::Secret, Check::None, r"\bpypi-[A-Za-z0-9_-]{40,}"),
    ("docker-token", Class::Secret, Check::None, r"\bdckr_pat_[A-Za-z0-9_-]{20,}"),
    ("vault-token", Class::Secret, Check::None, r"\b(?:hv[sbr]|s)\.[A-Za-z0-9_-]{24,}"),
    ("digitalocean-token", Class::Secret, Check::None, r"\bdo[opr]_v1_[a-f0-9]{64}"),
    ("huggingface-token", Class::Secret, Check::None, r"\bhf_[A-Za-z0-9]{30,}"),
    ("shopify-token", Class::Secret, Check::None, r"\bshp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}"),
    ("telegram-token", Class::Secret, Check::None, r"\b[0-9]{8,10}:[A-Za-z0-9_-]{35}\b"),
    ("age-key", Class::Secret, Check::None, r"\bAGE-SECRET-KEY-1[0-9A-Z]{50,}"),
    ("databricks-token", Class::Secret, Check::None, r"\bdapi[a-f0-9]{32}"),
    ("grafana-token", Class::Secret, Check::None, r"\bgl(?:sa|c)_[A-Za-z0-9+/=_]{30,}"),
    ("mailgun-key", Class::Secret, Check::None, r"\bkey-[0-9a-f]{32}"),
    ("asana-token", Class::Secret, Check::None, r"\b[0-9]/[0-9]{8,20}:[0-9a-f]{32}\b"),
    ("azure-sas", Class::Secret, Check::None, r"[?&](?i-u:sig)=([A-Za-z0-9%+/=_-]{16,})"),
    (
        "jwt",
        Class::Secret,
        Check::None,
        r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?",
    ),
    (
        "authorization",
        Class::Secret,
        Check::None,
        r"\b(?i-u:bearer|basic|digest|negotiate)\s{1,4}([A-Za-z0-9._~+/=-]{8,})",
    ),
];

/// What may be part of a secret, and names.
const REST: [Pattern; 17] = [
    ("ssh-public-key", Class::Secret, Check::None, r"\bssh-[a-z0-9-]{3,20} ([A-Za-z0-9+/=]{40,})"),
    ("credit-card", Class::Secret, Check::Luhn, r"\b[0-9](?:[ -]?[0-9]){12,18}\b"),
    (
        "iban",
        Class::Secret,
        Check::Mod97,
        r"\b[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b",
    ),
    ("national-id", Class::Secret, Check::None, r"\b[0-9]{3}-[0-9]{2}-[0-9]{4}\b"),
    (
        "email",
        Class::Name,
        Check::None,
        concat!(
            r"(?:[A-Za-z0-9._%+-]|<letter>){1,64}@(?:[A-Za-z0-9-]|<letter>){1,63}",
            r"(?:\.(?:[A-Za-z0-9-]|<letter>){1,63}){0,7}\.[A-Za-z0-9-]{1,63}\b",
        ),
    ),
    ("mac", Class::Name, Check::None, r"\b[0-9A-Fa-f]{2}(?:[:-][0-9A-Fa-f]{2}){5}\b"),
    (
        "mac",
        Class::Name,
        Check::Card,
        r"(?:^|[^\w.])([0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4})(?:[^\w.]|\.(?:\s|$)|$)",
    ),
    (
        "ip",
        Class::Name,
        Check::None,
        r"\b(?:[0-9]{1,3}\.){3}[0-9]{1,3}\b|(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{1,4}\b",
    ),
    (
        "host",
        Class::Name,
        Check::None,
        concat!(
            r"\b((?-u:[a-z0-9](?:[a-z0-9-]{0,62}\.){1,8}",
            r"(?:internal|local|localdomain|lan|corp|intra|intranet|private|home|svc|cluster|test|",
            r"example|consul|compute|com|net|org|io|dev|cloud|app|co|ai|edu|gov|info|biz|tech|",
            r"de|uk|fr|nl|eu|us|ch|at|jp|cn|br|au|ca|it|es|se|no|fi|dk|be|ie|cz|kr|sg|nz|za|in)))",
            r"(?:[^A-Za-z0-9._-]|\.(?:\s|$)|$)",
        ),
    ),
    ("pod", Class::Name, Check::None, r"\b[a-z][a-z0-9-]{1,60}-[0-9a-f]{8,10}-[0-9a-z]{5}\b"),
    ("ip", Class::Name, Check::None, r"\bip(?:-[0-9]{1,3}){4}\b"),
    ("phone", Class::Name, Check::None, r"(?:^|[^\w.])((?:\+|00)[1-9][0-9 ().-]{6,18}[0-9])\b"),
    (
        "phone",
        Class::Name,
        Check::Phone,
        concat!(
            r"(?:^|[^\w.,:/=@+-])((?:1[-. ])?(?:[2-9][0-9]{2}-[0-9]{3}-[0-9]{4}|",
            r"\([2-9][0-9]{2}\)[ -]?[0-9]{3}[- ][0-9]{4}))(?:[^\w-]|$)",
        ),
    ),
    (
        "phone",
        Class::Name,
        Check::Phone,
        concat!(
            r"(?:^|[^\w.,:/=@+-])(\(?0[1-9][0-9]{1,4}(?:\) ?| /? ?|/)[0-9]{3,8}",
            r"(?:[ -][0-9]{2,6}){0,3})(?:[^\w-]|$)",
        ),
    ),
    (
        "phone",
        Class::Name,
        Check::Phone,
        concat!(
            r"(?i-u:\b(?:phone|tel|telefon|telephone|mobile|mobil|cell|call|dial|ring|fax|pager|",
            r"hotline|sms|whatsapp|bereitschaft|rufnummer|handy|on[ -]call))\b[^\n0-9+]{0,20}?",
            r"[ :(]([(0-9][0-9 ()./-]{7,17}[0-9])(?:[^\w-]|$)",
        ),
    ),
    ("random-token", Class::Secret, Check::Random, r"[A-Za-z0-9+/_=.~-]{20,}"),
    ("mixed-token", Class::Secret, Check::Mixed, r"\b[A-Za-z0-9]{14,19}\b"),
];

/// The check digit of payment cards (ISO/IEC 7812).
fn luhn(text: &str) -> bool {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(10)).collect();
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(i, d)| match (i % 2, d * 2) {
            (0, _) => *d,
            (_, twice) if twice > 9 => twice - 9,
            (_, twice) => twice,
        })
        .sum();
    (13..=19).contains(&digits.len()) && sum.is_multiple_of(10)
}

/// The check of bank account numbers (ISO 13616): the rearranged number is 1 modulo 97.
fn mod97(text: &str) -> bool {
    let compact: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
    if !(15..=34).contains(&compact.len()) {
        return false;
    }
    let rest = compact[4..].iter().chain(&compact[..4]).try_fold(0_u32, |rest, c| {
        let value = c.to_digit(36)?;
        let shifted = if value > 9 { rest * 100 } else { rest * 10 };
        Some((shifted + value) % 97)
    });
    rest == Some(1)
}

/// Letters and digits that look drawn by lot: entropy of their frequencies (Shannon 1948).
fn is_random(text: &str) -> bool {
    let mut counts = [0_u32; 128];
    for b in text.bytes().filter(u8::is_ascii) {
        counts[usize::from(b)] += 1;
    }
    let has = |test: fn(&u8) -> bool| text.bytes().any(|b| test(&b));
    let total = text.len() as f64;
    let bits = |n: &u32| {
        let share = f64::from(*n) / total;
        -share * share.log2()
    };
    let entropy: f64 = counts.iter().filter(|n| **n > 0).map(bits).sum();
    let hex = text.bytes().all(|b| b.is_ascii_hexdigit());
    // Sixteen symbols have four bits at most, and a sample of 32 shows fewer.
    let least = if hex { 3.0 } else { RANDOM_BITS_MIN };
    has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic) && entropy >= least
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_compiles() {
        for (kind, _, _, pattern) in patterns() {
            let compiled = Regex::new(&forms::expanded(pattern));
            assert!(compiled.is_ok(), "{kind}: {:?}", compiled.err());
        }
        let kinds: Vec<&str> = RULES.iter().map(|r| r.kind).collect();
        assert_eq!(kinds, patterns().map(|p| p.0).collect::<Vec<_>>());
    }

    #[test]
    fn check_digits_tell_numbers_from_cards_and_accounts() {
        assert!(luhn("4111 1111 1111 1111") && !luhn("4111 1111 1111 1112"));
        assert!(mod97("GB82 WEST 1234 5698 7654 32") && !mod97("GB82WEST12345698765433"));
        assert!(is_random("9f86d081884c7d659a2feaa0c55ad015"));
        assert!(!is_random("the_quick_brown_fox_jumps_over_2_dogs_dogs_dogs"[..24].trim()));
    }
}
