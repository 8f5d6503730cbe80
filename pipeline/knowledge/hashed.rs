//! Vectors without a model: frequencies of words and of letter groups, hashed to a fixed length
//! (Weinberger et al. 2009). How rare a dimension is, the other half of TF-IDF, is known only to
//! whoever holds all vectors, and is applied when they are searched.

use std::collections::BTreeMap;

use faultline_storage::pairs;

use super::words::spelt_out;

/// Names the vectors in the archive; another way to make them gets another name.
pub const MODEL: &str = "hashed-tfidf-2";

pub const DIMENSIONS: usize = 512;

/// Cosine that texts without a common word stay below: three standard deviations, 3/√512, of what
/// features that hash alike bring about.
pub const NOISE: f32 = 0.1326;

/// Letters of a group; words share most of their groups with their other forms.
const GROUP: usize = 4;

/// What a letter group counts beside a word.
const GROUP_WEIGHT: f32 = 0.3;

/// The vector of a text: `sign · (1 + ln frequency)` in the dimension that a feature hashes to.
pub fn vector(text: &str) -> Vec<f32> {
    let mut features: BTreeMap<String, u32> = BTreeMap::new();
    let text = spelt_out(text).to_lowercase();
    for word in text.split(|c: char| !c.is_alphanumeric()).flat_map(pairs::words) {
        *features.entry(format!("={word}")).or_default() += 1;
        let letters: Vec<char> = format!("<{word}>").chars().collect();
        for group in letters.windows(GROUP) {
            *features.entry(group.iter().collect()).or_default() += 1;
        }
    }
    let mut out = vec![0.0; DIMENSIONS];
    for (feature, count) in features {
        let hash = fnv(feature.as_bytes());
        let weight = if feature.starts_with('=') { 1.0 } else { GROUP_WEIGHT };
        let sign = if hash >> 63 == 0 { 1.0 } else { -1.0 };
        out[(hash % DIMENSIONS as u64) as usize] += sign * weight * (1.0 + (count as f32).ln());
    }
    out
}

/// What each dimension counts, given in how many of `total` vectors it is not zero.
pub fn rarity(used: &[u32], total: usize) -> Vec<f32> {
    let weight = |used: &u32| ((1.0 + total as f32) / (1.0 + *used as f32)).ln() + 1.0;
    used.iter().map(weight).collect()
}

/// FNV-1a, 64 bits, finished by the mixer of MurmurHash3, as its lowest bits alone mix badly.
fn fnv(bytes: &[u8]) -> u64 {
    let step = |hash: u64, b: &u8| (hash ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3);
    let mut hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325, step);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cosine(a: &str, b: &str) -> f32 {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        let (a, b) = (vector(a), vector(b));
        dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt()
    }

    #[test]
    fn forms_of_a_word_and_misspellings_are_near() {
        let asked = "file system is filling up";
        let near = cosine("the filesystem fills up", asked);
        assert!(near > 2.0 * cosine("the broker lost its leader", asked), "{near}");
        assert!(cosine("NodeFilesystemFillingUp", "node filesystem filling up") > 0.7);
        assert!((cosine(asked, asked) - 1.0).abs() < 1e-5);
        let near = cosine("数据库磁盘空间已满", "磁盘空间不足");
        assert!(near > cosine("消息队列落后", "磁盘空间不足") + 0.2, "{near}");
        assert!(vector("… !").iter().all(|v| *v == 0.0));
    }

    #[test]
    fn rare_dimensions_count_more() {
        let weights = rarity(&[0, 5, 10], 10);
        assert!(weights[0] > weights[1] && weights[1] > weights[2] && weights[2] == 1.0);
    }
}
