//! A fixed-seed hash (folded multiplication, as in wyhash): ids must be the same on every run and
//! machine.

pub(super) const SEED: u64 = 0x9e37_79b9_7f4a_7c15;
pub(super) const K1: u64 = 0xa076_1d64_78bd_642f;
const K2: u64 = 0xe703_7ed1_a0b4_28db;

/// Folded multiplication of two words.
pub(super) fn fold(a: u64, b: u64) -> u64 {
    let wide = u128::from(a) * u128::from(b);
    (wide as u64) ^ (wide >> 64) as u64
}

pub(super) fn bytes(text: &[u8]) -> u64 {
    let n = text.len();
    // Lengths differ in all bits, so that none makes up for another letter.
    let mut h = SEED.wrapping_mul(2 * n as u64 + 1);
    if n < 8 {
        // Two loads that overlap cover four to seven bytes, three single bytes cover the rest.
        let tail = match text {
            [] => 0,
            [a] => u64::from(*a),
            [a, b] | [a, b, _] => u64::from(*a) | u64::from(*b) << 8 | u64::from(text[n - 1]) << 16,
            _ => four(text) | four(&text[n - 4..]) << 32,
        };
        return fold(h ^ tail, K2);
    }
    let mut rest = text;
    while rest.len() > 8 {
        h = fold(h ^ eight(rest), K1);
        rest = &rest[8..];
    }
    fold(h ^ eight(&text[n - 8..]), K2)
}

fn four(text: &[u8]) -> u64 {
    u64::from(u32::from_le_bytes([text[0], text[1], text[2], text[3]]))
}

fn eight(text: &[u8]) -> u64 {
    four(text) | four(&text[4..]) << 32
}

/// Id of a word among the tokens of a template: never below 256, which are punctuation and the
/// mask.
pub(super) fn word(text: &[u8]) -> u32 {
    (bytes(text) >> 32) as u32 | 256
}

/// Hashing of keys that are hashes already.
#[derive(Default, Clone)]
pub(super) struct Mixer(u64);

impl std::hash::Hasher for Mixer {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, text: &[u8]) {
        self.0 = fold(self.0 ^ bytes(text), K1);
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = fold(n ^ SEED, K1);
    }
}

pub(super) type Map<V> = std::collections::HashMap<u64, V, std::hash::BuildHasherDefault<Mixer>>;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// `go` and `foo` were one word once, as a length made up for a letter.
    #[test]
    fn short_words_are_told_apart() {
        let letters: Vec<u8> = (b'a'..=b'z').chain(b'0'..=b'9').collect();
        let longer = |words: &[Vec<u8>]| -> Vec<Vec<u8>> {
            let all = words.iter().flat_map(|word| letters.iter().map(move |c| (word, c)));
            all.map(|(word, c)| [word.as_slice(), &[*c]].concat()).collect()
        };
        let one = longer(&[Vec::new()]);
        let two = longer(&one);
        let three = longer(&two);
        let words: Vec<&Vec<u8>> = one.iter().chain(&two).chain(&three).collect();
        let hashes: BTreeSet<u64> = words.iter().map(|word| bytes(word)).collect();
        assert_eq!(hashes.len(), words.len());
        for n in 1..40 {
            assert_ne!(bytes(&b"e".repeat(n)), bytes(&b"e".repeat(n + 1)));
        }
    }
}
