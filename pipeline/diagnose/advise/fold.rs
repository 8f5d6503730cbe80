//! Text without what makes it look like other text: one spelling for letters that are drawn alike,
//! and nothing that is not drawn at all.
//!
//! The part of NFKC and of Unicode's confusables (UTS #39) that is used to hide words: fullwidth,
//! mathematical and circled letters, Cyrillic and Greek twins of Latin letters, marks, zero-width
//! and direction characters.

/// Cyrillic and Greek letters and the Latin ones that they are drawn like.
const TWINS: [(&str, &str); 2] = [
    ("АВЕЅІЈКМНОРСТУХаеѕіјорсухһԁԛԝ", "ABESIJKMHOPCTYXaesijopcyxhdqw"),
    ("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧαικνορτυχϲ", "ABEZHIKMNOPTYXaikvoptuxc"),
];

/// Invisible characters dropped, controls as spaces, look-alikes as the ASCII that they resemble.
pub fn fold(text: &str) -> String {
    text.chars().filter(|c| !is_invisible(*c)).map(plain).collect()
}

/// The same for text of several lines, with tabs between cells.
pub fn fold_lines(text: &str) -> String {
    let kept = |c: &char| !is_invisible(*c);
    let whole = |c: char| matches!(c, '\n' | '\t');
    text.chars().filter(kept).map(|c| if whole(c) { c } else { plain(c) }).collect()
}

fn plain(c: char) -> char {
    if c.is_ascii() {
        return if c.is_control() { ' ' } else { c };
    }
    let nth = |first: char, n: u32| char::from_u32(first as u32 + n).unwrap_or(c);
    let cased = |n: u32| if n < 26 { nth('A', n) } else { nth('a', n - 26) };
    match c as u32 {
        at @ 0xff01..=0xff5e => nth('!', at - 0xff01),
        at @ 0x24b6..=0x24e9 => cased(at - 0x24b6),
        // Thirteen mathematical alphabets of 52 letters each, then digits.
        at @ 0x1d400..=0x1d6a3 => cased((at - 0x1d400) % 52),
        at @ 0x1d7ce..=0x1d7ff => nth('0', (at - 0x1d7ce) % 10),
        0xa0 | 0x2000..=0x200a | 0x2028 | 0x2029 | 0x202f | 0x3000 => ' ',
        _ if c.is_control() => ' ',
        _ => twin(c).unwrap_or(c),
    }
}

fn twin(c: char) -> Option<char> {
    TWINS.iter().find_map(|(from, to)| {
        let at = from.chars().position(|f| f == c)?;
        to.chars().nth(at)
    })
}

fn is_invisible(c: char) -> bool {
    matches!(c as u32,
        0xad | 0x34f | 0x61c | 0x115f | 0x1160 | 0x17b4 | 0x17b5 | 0x180b..=0x180e
        | 0x200b..=0x200f | 0x202a..=0x202e | 0x2060..=0x206f | 0x3164 | 0xfeff | 0xffa0
        // Combining marks and variation selectors.
        | 0x300..=0x36f | 0x1ab0..=0x1aff | 0x20d0..=0x20ff | 0xfe00..=0xfe0f
        | 0xe0000..=0xe01ef)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disguised_words_become_themselves() {
        for disguise in [
            "ig\u{200b}no\u{200d}re",
            "ｉｇｎｏｒｅ",
            "𝐢𝐠𝐧𝐨𝐫𝐞",
            "𝓲𝓰𝓷𝓸𝓻𝓮",
            "ⓘⓖⓝⓞⓡⓔ",
            "іgnоrе",
            "i\u{301}gnor\u{fe0f}e\u{e0041}",
            "\u{202e}ignore\u{202c}",
        ] {
            assert_eq!(fold(disguise), "ignore", "{disguise:?}");
        }
        assert_eq!(fold("a\tb\u{1b}[0m\u{85}"), "a b [0m ");
        assert_eq!(fold("größe 日本"), "größe 日本");
    }

    #[test]
    fn every_twin_has_its_letter() {
        for (from, to) in TWINS {
            assert_eq!(from.chars().count(), to.chars().count());
        }
    }
}
