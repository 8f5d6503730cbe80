//! What a value must be like, beside what its form says.

use std::sync::LazyLock;

use regex::Regex;

/// Words of a sentence rather than of a secret.
const FUNCTION_WORDS: &str = "\
    a about after all also always an and any are as at be because been before both but by called \
    can cannot currently do does each either every for from has have he her his how if in into is \
    it its just may must my never no not now of on once one only or our out over per set she \
    should simply so some still than that the their then there these they this those to too under \
    until up was we were when which will with you your";

/// Units of amounts in lower case.
const UNITS: &str = "b kb mb gb kib mib gib k ns us ms s sec m min h hours d days rps qps";

/// Words that follow the name of a secret in a sentence about it, beside those in "-ed", "-ing".
const FOLLOWERS: &str = "\
    access age against alone app attack attempt attempts auth authentication authorization based \
    box cache change changes check checks complexity dialog entry error errors expiry failure \
    failures field fields file files form generator given guess guessing handling hash hashes \
    history input kept leak leaks length lists login logins manager managers mismatch only option \
    options policies policy problem problems prompt prompts protection recovery requirement \
    requirements reset resets rotation rule rules safe screen sent server set shown spray storage \
    store strength sync type update updates validation value values vault verification";

/// What a sentence says of a secret rather than that it is one.
const STATES: &str = "\
    absent accepted available base64 blocked bound cached case-sensitive changed checked \
    compromised configured correct created deleted denied different disabled empty enabled encoded \
    encrypted expired exposed expiring exported fetched fine generated given gone good handled \
    hardcoded hashed hidden ignored important incorrect injected invalid issued kept known leaked \
    loaded local locked long lost managed mandatory masked missing mounted needed new null ok okay \
    old omitted open optional passed present printed provided read ready redacted refused rejected \
    removed renewed requested required reset returned revoked right rotated safe same saved secure \
    sensitive sent set shared short shown signed stale stored strong supplied supported temporary \
    unavailable unique unsafe updated used useful valid validated verified visible weak what where \
    why working written wrong";

/// What stands where there is no value.
const NOTHING: &str = "null nil none undefined true false yes no empty unset n/a na tbd string";

/// Parts of a name with a password: "user/password" names both and tells neither.
const PARTS: &str = "\
    admin administrator root user users username login name group password passwords pass passwd \
    pw pwd token secret key host port id email e-mail sudo su wheel viewer editor member reader \
    readonly";

/// Words after the first that a phrase may have.
const PHRASE_WORDS: usize = 7;

fn is_function_word(word: &str) -> bool {
    let word = word.trim_matches(|c: char| !c.is_alphanumeric()).to_ascii_lowercase();
    FUNCTION_WORDS.split(' ').any(|known| known == word)
}

fn is_one_of(words: &str, text: &str) -> bool {
    let text = text.trim_matches(|c: char| !c.is_alphanumeric()).to_ascii_lowercase();
    words.split_whitespace().any(|known| known == text)
}

/// Something that could be a secret at all: a sign is none, nor is the word for nothing, nor what
/// stands in a template where a value goes.
pub fn is_value(text: &str) -> bool {
    let bare = text.trim_matches(['`', '"', '\'', ',', '.', ';']);
    let within = |start, end| bare.strip_prefix(start).and_then(|rest| rest.strip_suffix(end));
    let place = within("${", "}").or_else(|| within("{{", "}}"));
    let told = |inside: &&str| {
        ["key", "token", "pass", "secret", "your"].iter().any(|w| inside.contains(w))
    };
    let place = place.or_else(|| within("<", ">").filter(told));
    let name = |c: char| c.is_ascii_alphabetic() || "_-. ".contains(c);
    text.chars().any(char::is_alphanumeric)
        && !is_one_of(NOTHING, text)
        && !place.is_some_and(|inside| inside.chars().all(name))
}

/// No key of the next line, and no more than what stands between two texts in quotes.
pub fn is_assigned(text: &str) -> bool {
    !text.ends_with(':')
        && !["; ", ", ", ") ", "], ", "} ", ": "].iter().any(|s| text.starts_with(s))
}

/// Not a word that only joins others, and longer than a digit.
pub fn is_worded(text: &str) -> bool {
    !is_function_word(text) && text.len() > 1
}

/// A word of its own beside the name of a secret, rather than what the name belongs to.
pub fn is_apart(text: &str) -> bool {
    let word = text.trim_matches(|c: char| !c.is_alphanumeric()).to_ascii_lowercase();
    is_labelled(text)
        && is_said(text)
        && !is_one_of(FOLLOWERS, text)
        && !["ed", "ing", "-less"].iter().any(|end| word.ends_with(end))
}

/// What a sentence says that a secret is, rather than how it is.
pub fn is_said(text: &str) -> bool {
    is_worded(text) && !is_one_of(STATES, text)
}

/// The second of a name and a password, which names neither.
pub fn is_second(text: &str) -> bool {
    is_labelled(text) && !is_one_of(PARTS, text)
}

/// Capitals, small letters and digits in turns, as chance draws them and names do not.
pub fn is_mixed(text: &str) -> bool {
    let kind = |b: u8| match b {
        b'A'..=b'Z' => 0,
        b'a'..=b'z' => 1,
        b'0'..=b'9' => 2,
        _ => 3,
    };
    let mut kinds: Vec<usize> = text.bytes().map(kind).collect();
    let length = kinds.len();
    kinds.dedup();
    let runs = |kind| kinds.iter().filter(|k| **k == kind).count();
    // A name has its digits in one place.
    runs(0) > 0 && runs(1) > 0 && runs(2) > 1 && kinds.len() * 2 > length && !text.starts_with("0x")
}

/// Digits of a telephone number, and no date.
pub fn is_phone(text: &str) -> bool {
    static DATE: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(r"[0-9]{4}[-/.][0-9]{2}[-/.][0-9]{2}|\b[0-9]{1,2}[-/.][0-9]{1,2}[-/.]20[0-9]{2}")
            .ok()
    });
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    (9..=15).contains(&digits) && !DATE.as_ref().is_some_and(|date| date.is_match(text))
}

/// An address of a network card rather than a number with points.
pub fn is_card(text: &str) -> bool {
    text.starts_with("00") || text.bytes().any(|b| b.is_ascii_alphabetic())
}

/// The values of a block with an item or a key on each line, as byte ranges.
pub fn items(text: &str) -> Vec<(usize, usize)> {
    static START: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(
            r#"^[ \t]*(?:(?:[-*+•]|[0-9]{1,2}[.)])[ \t]+)?(?:["']?[\w./-]+["']?:[ \t]+)?["'`]?"#,
        )
        .ok()
    });
    let mut out = Vec::new();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let start =
            START.as_ref().and_then(|start| start.find(line)).map_or(0, |found| found.end());
        let value = line[start..].trim_end().trim_end_matches(['"', '\'', '`', ',']);
        // The key of a text on the lines below.
        if !value.is_empty() && !value.ends_with(':') {
            out.push((at + start, at + start + value.len()));
        }
        at += line.len();
    }
    out
}

/// What stands in quotes: everything, or values behind a colon.
pub fn quoted(text: &str, values: bool) -> Vec<(usize, usize)> {
    static QUOTED: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(r#"(:?)\s{0,4}(?:\\{0,7}"((?:[^"\\\n]|\\[^"])*)|'((?:[^'\n]|'')*)')\\{0,7}"?"#)
            .ok()
    });
    let Some(pattern) = QUOTED.as_ref() else { return Vec::new() };
    let told = |found: &regex::Captures<'_>| !values || !found[1].is_empty();
    let place = |found: regex::Captures<'_>| {
        let inside = found.get(2).or_else(|| found.get(3))?;
        Some((inside.start(), inside.end()))
    };
    pattern.captures_iter(text).filter(told).filter_map(place).collect()
}

/// Letters with digits, or with signs that no word has.
pub fn is_odd(text: &str) -> bool {
    let text = text.trim_matches(|c: char| ".,;:!?()[]{}\"'`".contains(c));
    let has = |test: fn(char) -> bool| text.chars().any(test);
    let sign = |c: char| c.is_ascii_punctuation() && !"-_./:'(),".contains(c);
    text.len() >= 4 && has(char::is_alphabetic) && (has(|c| c.is_ascii_digit()) || has(sign))
}

/// What a label may stand before: no word that only joins others, amount or address of the web.
pub fn is_labelled(text: &str) -> bool {
    is_worded(text) && !is_amount(text) && !text.contains("//")
}

pub fn is_amount(text: &str) -> bool {
    let text = text.trim_end_matches(|c: char| ".,;:!?)".contains(c));
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let unit = unit.trim_start_matches(['/', '-']).to_ascii_lowercase();
    text.starts_with(|c: char| c.is_ascii_digit()) && UNITS.split(' ').any(|known| known == unit)
}

/// Bytes of a phrase at the beginning of a line: its first word whatever it is, and those after it
/// up to one that a sentence or another setting goes on with.
pub fn phrase(text: &str) -> usize {
    let mut end = text.find(char::is_whitespace).unwrap_or(text.len());
    // The key of a next line.
    if text[..end].ends_with(':') {
        return 0;
    }
    for _ in 0..PHRASE_WORDS {
        let rest = &text[end..];
        let Some(start) = rest.find(|c: char| !c.is_whitespace()) else { break };
        let word = rest[start..].split_whitespace().next().unwrap_or_default();
        let plain = |c: char| c.is_alphanumeric() || "'!?_-".contains(c);
        let whole = text[..end].ends_with(['.', ',', ';', '!', '?', ')', '}', '"', '\'']);
        let joined = word.starts_with('-') || !word.trim_end_matches(['.', ',']).chars().all(plain);
        if whole || joined || is_function_word(word) {
            break;
        }
        end += start + word.len();
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_mixes_letters_and_digits_and_names_do_not() {
        assert!(is_mixed("LhzyG9LAoQ34dZx9"));
        for name in ["LoadX509KeyPair", "MyImageS3Bucket", "Ipv4OrigDstAddr", "0x142F0E1EBA9EA3693"]
        {
            assert!(!is_mixed(name), "{name}");
        }
    }

    #[test]
    fn numbers_are_told_from_telephones() {
        assert!(is_phone("415-555-0132") && is_phone("020 7946 0018"));
        assert!(
            !is_phone("2024-03-12 0920") && !is_phone("12.03.2024 09") && !is_phone("0900 1000")
        );
        assert!(is_card("3c22.fb9a.1b2e") && !is_card("1234.5678.9012"));
    }

    #[test]
    fn a_sign_is_no_value() {
        assert!(is_value("hunter2") && is_value("密码"));
        for nothing in ["=", "|---|", "```", "null", "None,", "\"\"", "<key-id>", "${PW}"] {
            assert!(!is_value(nothing), "{nothing}");
        }
    }

    #[test]
    fn items_are_what_follows_bullets_and_keys() {
        let block = "  - one\n  - \"two\"\n  three: four\n  five: |\n    six seven\n  eight:\n";
        let items: Vec<&str> = items(block).iter().map(|(from, to)| &block[*from..*to]).collect();
        assert_eq!(items, ["one", "two", "four", "|", "six seven"]);
    }
}
