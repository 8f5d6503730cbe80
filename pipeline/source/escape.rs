//! Text from outside made safe to keep: valid UTF-8, no control characters, bounded. What turns the
//! direction of writing controls what is seen, and counts as one of them.

use std::borrow::Cow;
use std::fmt::Write;

/// Bodies are cut here and marked with how much is gone.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// Bytes that are not UTF-8 become `\xNN`.
pub fn utf8(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(replace_invalid(bytes, "\\x")),
    }
}

/// The same inside a JSON document, where the backslash itself has to be escaped; raw control
/// characters, which JSON forbids, become `\u00NN`.
pub fn json(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() + 16);
    for c in replace_invalid(bytes, "\\\\x").chars() {
        match c {
            '\0'..='\x1f' if c != '\t' => push_hex(&mut out, "\\u00", c as u8),
            '\t' => out.push_str("\\t"),
            c => out.push(c),
        }
    }
    out
}

/// A body: control characters other than tab and line ends become `\xNN` or `\u{NNNN}`.
pub fn body(text: &str) -> Cow<'_, str> {
    controls(text, true)
}

/// One line of text, such as a key: every control character becomes `\xNN` or `\u{NNNN}`.
pub fn line(text: &str) -> Cow<'_, str> {
    controls(text, false)
}

/// True if [`body`] would return its input, decided without looking at characters one by one.
pub fn is_clean(bytes: &[u8]) -> bool {
    // Controls above ASCII begin with one of three bytes, as some others do.
    let suspect = |b: &u8| match *b {
        b'\n' | b'\t' => false,
        b => b < 0x20 || matches!(b, 0x7f | 0xc2 | 0xd8 | 0xe2),
    };
    !bytes.iter().any(suspect)
}

/// Invisible, and turns the direction in which what follows is written.
pub fn turns(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}')
        || matches!(c, '\u{2066}'..='\u{2069}')
}

/// Cuts a body at [`BODY_BYTES_MAX`] and marks it. `dropped` bytes are already gone.
pub fn bounded(text: Cow<'_, str>, dropped: u64) -> Cow<'_, str> {
    if text.len() <= BODY_BYTES_MAX && dropped == 0 {
        return text;
    }
    let end = boundary(&text, BODY_BYTES_MAX);
    let gone = dropped + (text.len() - end) as u64;
    Cow::Owned(format!("{}…[truncated {gone} bytes]", &text[..end]))
}

/// Largest character boundary at or below `max`.
pub fn boundary(text: &str, max: usize) -> usize {
    text.floor_char_boundary(max)
}

fn controls(text: &str, multiline: bool) -> Cow<'_, str> {
    let unsafe_at = |i: usize, c: char| match c {
        '\n' | '\t' => !multiline,
        '\r' => !(multiline && text.as_bytes().get(i + 1) == Some(&b'\n')),
        c => c.is_control() || turns(c),
    };
    let Some(first) = text.char_indices().find(|(i, c)| unsafe_at(*i, *c)) else {
        return Cow::Borrowed(text);
    };
    let mut out = String::with_capacity(text.len() + 16);
    out.push_str(&text[..first.0]);
    for (i, c) in text[first.0..].char_indices() {
        match unsafe_at(first.0 + i, c) {
            true if turns(c) => out.extend(c.escape_unicode()),
            // The others end at U+009F, so one byte holds them.
            true => push_hex(&mut out, "\\x", c as u32 as u8),
            false => out.push(c),
        }
    }
    Cow::Owned(out)
}

fn replace_invalid(bytes: &[u8], prefix: &str) -> String {
    let mut out = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        for byte in chunk.invalid() {
            push_hex(&mut out, prefix, *byte);
        }
    }
    out
}

fn push_hex(out: &mut String, prefix: &str, byte: u8) {
    // Writing to a String cannot fail.
    let _ = write!(out, "{prefix}{byte:02x}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_utf8_and_control_characters_stay_readable() {
        assert_eq!(utf8(b"caf\xe9 \xc3\xa9"), "caf\\xe9 é");
        assert_eq!(line("a\u{1b}[31mred\r\nb\0"), "a\\x1b[31mred\\x0d\\x0ab\\x00");
        assert_eq!(body("a\r\n\tat b\rc\u{9b}"), "a\r\n\tat b\\x0dc\\x9b");
        assert_eq!(line("a\u{202e}b\u{61c}"), "a\\u{202e}b\\u{61c}");
        assert!(matches!(body("plain\n\ttext é – ☃"), Cow::Borrowed(_)));
    }

    #[test]
    fn clean_means_that_escaping_changes_nothing() {
        let plain = ["plain", "two\nlines\t", "snow ☃", "\u{1b}[0m", "\u{85}", "a\r\n", "\u{7f}"];
        let turning = ["\u{61c}", "\u{200e}", "\u{200f}", "\u{202a}", "\u{202e}", "\u{2069}"];
        for text in plain.into_iter().chain(turning) {
            if is_clean(text.as_bytes()) {
                assert_eq!(body(text), text);
            }
        }
        assert!(!is_clean(b"\x1b[0m") && !is_clean("\u{85}".as_bytes()));
        assert!(turning.iter().all(|text| body(text) != *text));
    }

    #[test]
    fn json_text_parses_after_escaping() {
        let text = json(b"{\"a\":\"x\xff\x00\x1b\"}");
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["a"], "x\\xff\u{0}\u{1b}");
    }

    #[test]
    fn long_bodies_are_cut_on_a_character_and_marked() {
        let text = "é".repeat(BODY_BYTES_MAX);
        let cut = bounded(Cow::Borrowed(&text), 10);
        assert!(cut.ends_with(&format!("…[truncated {} bytes]", BODY_BYTES_MAX + 10)));
        assert!(cut.len() < BODY_BYTES_MAX + 64);
        assert_eq!(bounded(Cow::Borrowed("short"), 0), "short");
    }
}
