//! Series keys as they come in files, and their ids, in most cases without hashing a key.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::dead::{DeadReason, Defect};
use super::{escape, severity};
use crate::stream::schema::Stream;
use crate::stream::series::Registry;

/// Longest key column, such as a service name or a label set.
pub const KEY_BYTES_MAX: usize = 4096;
/// Most key columns of any stream.
pub const KEY_COLUMNS_MAX: usize = 5;

/// Interns raw key fields, given in the order of the stream's series columns. An empty cluster
/// becomes `cluster`.
pub fn intern(raw: &[&[u8]], cluster: &str, registry: &mut Registry) -> Result<u32, Defect> {
    let stream = registry.stream();
    let names = stream.series_columns();
    let mut key: [Cow<'_, str>; KEY_COLUMNS_MAX] = Default::default();
    for ((text, raw), name) in key.iter_mut().zip(raw).zip(names) {
        *text = key_text(name, raw)?;
    }
    if key[0].is_empty() {
        key[0] = Cow::Borrowed(cluster);
    }
    match stream {
        Stream::Metrics if key[3].is_empty() => return Err(Defect::missing("metric")),
        Stream::Metrics if key[4].starts_with('{') => {
            key[4] = Cow::Owned(canonical_labels(&key[4]))
        }
        Stream::Logs => key[3] = Cow::Borrowed(severity::normalise(&key[3])),
        Stream::Metrics | Stream::Spans | Stream::Changes => {}
    }
    let key = key.each_ref().map(|t| t.as_ref());
    Ok(registry.intern(&key[..names.len()]))
}

/// A short text such as a key column or an id: trimmed, one line, bounded.
pub fn key_text<'a>(name: &str, raw: &'a [u8]) -> Result<Cow<'a, str>, Defect> {
    let raw = raw.trim_ascii();
    if raw.len() > KEY_BYTES_MAX {
        let detail = format!("field `{name}` has {} bytes, more than {KEY_BYTES_MAX}", raw.len());
        return Err(Defect::new(DeadReason::TooLong, detail));
    }
    Ok(match escape::utf8(raw) {
        Cow::Borrowed(text) => escape::line(text),
        Cow::Owned(text) => Cow::Owned(escape::line(&text).into_owned()),
    })
}

/// A JSON object of labels as `k=v,…` sorted by name, so that their order makes no new series;
/// any other text stays as it is.
fn canonical_labels(text: &str) -> String {
    let Ok(labels) = serde_json::from_str::<BTreeMap<String, serde_json::Value>>(text) else {
        return text.to_owned();
    };
    let pair = |(name, value): (&String, &serde_json::Value)| match value {
        serde_json::Value::String(value) => format!("{name}={value}"),
        value => format!("{name}={value}"),
    };
    let pairs: Vec<String> = labels.iter().map(pair).collect();
    escape::line(&pairs.join(",")).into_owned()
}

/// Remembers which series followed which: telemetry repeats the same order at every scrape, so the
/// next row is nearly always the guessed one and costs one comparison of bytes.
///
/// It learns the ids of one registry and must not be used with another one.
#[derive(Default)]
pub struct KeyCache {
    /// Of the registry, when these ids were given.
    generation: u64,
    /// By id: the raw key, every field behind its length.
    raw: Vec<Box<[u8]>>,
    /// By id: the id seen next.
    next: Vec<u32>,
    last: u32,
}

impl KeyCache {
    /// Id of the series with these raw key fields; `intern` decides what is not remembered from
    /// this generation of the registry.
    pub fn id(
        &mut self,
        fields: &[&[u8]],
        generation: u64,
        intern: impl FnOnce() -> Result<u32, Defect>,
    ) -> Result<u32, Defect> {
        if self.generation != generation {
            *self = Self { generation, ..Self::default() };
        }
        let last = self.last as usize;
        if let Some(guess) = self.next.get(last).copied() {
            for id in [guess, self.last] {
                if matches(&self.raw[id as usize], fields) {
                    self.next[last] = id;
                    self.last = id;
                    return Ok(id);
                }
            }
        }
        let id = intern()?;
        let index = id as usize;
        if index >= self.raw.len() {
            self.raw.resize(index + 1, Box::default());
            self.next.resize(index + 1, id);
        }
        if !matches(&self.raw[index], fields) {
            self.raw[index] = encode(fields);
        }
        self.next[last] = id;
        self.last = id;
        Ok(id)
    }
}

fn matches(mut raw: &[u8], fields: &[&[u8]]) -> bool {
    for field in fields {
        let Some((len, rest)) = raw.split_first_chunk::<4>() else {
            return false;
        };
        let Some((value, rest)) = rest.split_at_checked(u32::from_le_bytes(*len) as usize) else {
            return false;
        };
        if value != *field {
            return false;
        }
        raw = rest;
    }
    true
}

fn encode(fields: &[&[u8]]) -> Box<[u8]> {
    let mut out = Vec::with_capacity(fields.iter().map(|f| f.len() + 4).sum());
    for field in fields {
        out.extend_from_slice(&(field.len() as u32).to_le_bytes());
        out.extend_from_slice(field);
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn gives_the_ids_that_interning_gives(keys in prop::collection::vec("[ab]{0,2}", 1..60)) {
            let mut cache = KeyCache::default();
            let mut ids: BTreeMap<String, u32> = BTreeMap::new();
            // Ids begin above 0, as they do where several files share a registry.
            for key in &keys {
                let fields = [b"x".as_slice(), key.as_bytes()];
                let n = ids.len() as u32 + 3;
                let id = cache.id(&fields, 0, || Ok(*ids.entry(key.clone()).or_insert(n))).unwrap();
                prop_assert_eq!(ids.get(key), Some(&id));
            }
        }
    }

    #[test]
    fn a_repeated_order_is_guessed() {
        let mut cache = KeyCache::default();
        let mut asked = 0;
        for round in 0..3 {
            for id in 0..10_u32 {
                let name = id.to_string();
                cache
                    .id(&[name.as_bytes()], 0, || {
                        asked += 1;
                        Ok(id)
                    })
                    .unwrap();
            }
            // The wrap-around from the last to the first is learnt in the second round.
            assert_eq!(asked, [10, 11, 11][round]);
        }
    }

    #[test]
    fn ids_of_an_earlier_generation_are_forgotten() {
        let mut cache = KeyCache::default();
        for (generation, given) in [(0, 7), (1, 0), (2, 7)] {
            for _ in 0..2 {
                let id = cache.id(&[b"web".as_slice()], generation, || Ok(given)).unwrap();
                assert_eq!(id, given);
            }
        }
    }
}
