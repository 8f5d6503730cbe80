//! Interning of series keys, so that no per-row string work remains behind the sources.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, DictionaryArray, RecordBatch, StringArray, StringBuilder, UInt32Array,
};
use arrow::datatypes::UInt32Type;

use super::schema::Stream;
use crate::error::{Error, Result};

/// Value of every key column of rows that came after the registry was full.
pub const OVERFLOW: &str = "__overflow__";

/// Distinct tuples of text columns: id → columns. Ids are dense, start at 0 and never change.
///
/// The dictionary columns made from a table share one key buffer, the id of each row, and value
/// arrays that only ever grow at the end. Operators may therefore cache anything per id for as
/// long as they live.
pub struct KeyTable {
    ids: HashMap<Vec<u8>, u32, BuildHasherDefault<KeyHasher>>,
    /// Text by column and id. New ids cost the copy of a buffer, not of every string before them.
    keys: Vec<StringBuilder>,
    hashes: Vec<u64>,
    values: Vec<ArrayRef>,
    scratch: Vec<u8>,
}

impl KeyTable {
    /// An empty table of `columns` columns.
    pub fn new(columns: usize) -> Self {
        Self {
            ids: HashMap::default(),
            keys: (0..columns).map(|_| StringBuilder::new()).collect(),
            hashes: Vec::new(),
            values: Vec::new(),
            scratch: Vec::new(),
        }
    }

    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// Id of this tuple, if it has one.
    pub fn find<'a>(&mut self, key: impl Iterator<Item = &'a str>) -> Option<u32> {
        self.scratch.clear();
        for part in key {
            self.scratch.extend_from_slice(&(part.len() as u32).to_le_bytes());
            self.scratch.extend_from_slice(part.as_bytes());
        }
        self.ids.get(self.scratch.as_slice()).copied()
    }

    /// Id of this tuple, given one if it is new.
    pub fn intern<'a>(&mut self, key: impl Iterator<Item = &'a str> + Clone) -> u32 {
        if let Some(id) = self.find(key.clone()) {
            return id;
        }
        let id = self.len() as u32;
        let mut hasher = KeyHasher::default();
        for (column, part) in self.keys.iter_mut().zip(key) {
            column.append_value(part);
            hasher.write_usize(part.len());
            hasher.write(part.as_bytes());
        }
        self.hashes.push(hasher.finish());
        self.ids.insert(self.scratch.clone(), id);
        id
    }

    /// True where the text columns, whose positions are 32 bits wide, can take this tuple and one
    /// more of short parts.
    fn has_room(&self, key: &[&str]) -> bool {
        let fits = |(column, part): (&StringBuilder, &&str)| {
            column.values_slice().len() + part.len() + OVERFLOW.len() <= i32::MAX as usize
        };
        self.keys.iter().zip(key).all(fits)
    }

    /// Hash of a tuple: equal for equal tuples in every process.
    pub fn key_hash(&self, id: u32) -> u64 {
        self.hashes[id as usize]
    }

    /// Text of one column of a tuple.
    pub fn text(&self, column: usize, id: u32) -> &str {
        let column = &self.keys[column];
        let (from, to) =
            (column.offsets_slice()[id as usize], column.offsets_slice()[id as usize + 1]);
        // SAFETY: the builder takes `str` only, and offsets are where these begin and end.
        unsafe { std::str::from_utf8_unchecked(&column.values_slice()[from as usize..to as usize]) }
    }

    /// True if `id` is that of this tuple.
    fn is(&self, id: u32, key: &[&str]) -> bool {
        // Series next to each other differ in their last columns, most often.
        (id as usize) < self.len()
            && key.iter().enumerate().rev().all(|(column, part)| self.text(column, id) == *part)
    }

    /// Dictionary columns for rows with these ids, which must come from this table.
    pub fn columns(&mut self, ids: &UInt32Array) -> Vec<ArrayRef> {
        if self.values.first().is_none_or(|v| v.len() != self.len()) {
            self.values =
                self.keys.iter().map(|k| Arc::new(k.finish_cloned()) as ArrayRef).collect();
        }
        debug_assert!(ids.values().iter().all(|id| (*id as usize) < self.len()));
        let column = |values: &ArrayRef| {
            // SAFETY: ids come from `intern`, which returns only positions that exist in `values`;
            // checking each of them again would cost as much as the whole window aggregation.
            let array = unsafe {
                DictionaryArray::<UInt32Type>::new_unchecked(ids.clone(), Arc::clone(values))
            };
            Arc::new(array) as ArrayRef
        };
        self.values.iter().map(column).collect()
    }
}

/// All series of one stream, bounded.
///
/// A source tells its series in the same order each time, so the one that followed the last series
/// the time before is looked at first: to compare costs less than to hash.
pub struct Registry {
    stream: Stream,
    limit: usize,
    table: KeyTable,
    last: u32,
    /// By id: the series that came next the last time; at first the one that was met next.
    followers: Vec<u32>,
    /// There was a series too many, and it was said.
    overflows: bool,
}

impl Registry {
    /// `limit` bounds the number of series; later ones share one overflow series.
    pub fn new(stream: Stream, limit: usize) -> Self {
        let table = KeyTable::new(stream.series_columns().len());
        Self { stream, limit, table, last: 0, followers: Vec::new(), overflows: false }
    }

    pub fn stream(&self) -> Stream {
        self.stream
    }

    /// Number of series seen.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Id of the series with these key columns, in the order of [`Stream::series_columns`].
    pub fn intern(&mut self, key: &[&str]) -> u32 {
        debug_assert_eq!(key.len(), self.stream.series_columns().len());
        let follower = self.followers.get(self.last as usize).copied();
        let id = match follower.filter(|id| self.table.is(*id, key)) {
            Some(id) => id,
            None => self.look_up(key),
        };
        self.followers.extend(self.followers.len() as u32 + 1..=self.len() as u32);
        self.followers[self.last as usize] = id;
        self.last = id;
        id
    }

    fn look_up(&mut self, key: &[&str]) -> u32 {
        if (self.len() >= self.limit || !self.table.has_room(key))
            && self.table.find(key.iter().copied()).is_none()
        {
            if !std::mem::replace(&mut self.overflows, true) {
                let (stream, series) = (self.stream.name(), self.len());
                tracing::warn!(
                    stream,
                    series,
                    "no room for more series: new ones count as one, {OVERFLOW}, until a start \
                     with --fresh; drop labels that take a new value each time"
                );
            }
            return self.table.intern(key.iter().map(|_| OVERFLOW));
        }
        self.table.intern(key.iter().copied())
    }

    /// Hash of the key columns of a series: equal for equal keys in every process.
    pub fn key_hash(&self, id: u32) -> u64 {
        self.table.key_hash(id)
    }

    /// Text of one key column of a series.
    pub fn text(&self, column: usize, id: u32) -> &str {
        self.table.text(column, id)
    }

    /// The key columns of every series, by id; `None` while there is no series.
    pub fn save(&self) -> Option<RecordBatch> {
        let names = self.stream.series_columns();
        let columns = names
            .iter()
            .zip(&self.table.keys)
            .map(|(name, values)| (*name, Arc::new(values.finish_cloned()) as ArrayRef));
        // Columns of one table are of one length, and every stream has a key column.
        RecordBatch::try_from_iter(columns).ok().filter(|b| b.num_rows() > 0)
    }

    /// Gives the series of [`Self::save`] the ids that they had; the registry is new.
    pub fn restore(&mut self, saved: &RecordBatch) -> Result<()> {
        let columns = saved.columns().iter().map(|c| c.as_string_opt::<i32>());
        let columns: Vec<&StringArray> = columns.collect::<Option<_>>().unwrap_or_default();
        if columns.len() != self.table.keys.len() {
            let message = format!("series of {} have other columns", self.stream.name());
            let remedy = "start over with --fresh".to_owned();
            return Err(Error::Checkpoint { message, remedy });
        }
        for row in 0..saved.num_rows() {
            self.table.intern(columns.iter().map(|c| c.value(row)));
        }
        Ok(())
    }

    /// Dictionary columns for rows of these series.
    pub fn columns(&mut self, ids: UInt32Array) -> Vec<ArrayRef> {
        self.table.columns(&ids)
    }
}

/// The series of every stream of a run.
pub struct Registries([Registry; 4]);

impl Registries {
    /// `limit` bounds the series of each stream.
    pub fn new(limit: usize) -> Self {
        Self(Stream::ALL.map(|s| Registry::new(s, limit)))
    }

    pub fn get(&self, stream: Stream) -> &Registry {
        &self.0[stream as usize]
    }

    pub fn get_mut(&mut self, stream: Stream) -> &mut Registry {
        &mut self.0[stream as usize]
    }
}

/// 64-bit FNV-1a over words with a final mix: fixed seed, so that ids and order are reproducible.
#[derive(Clone, Copy)]
pub struct KeyHasher(u64);

impl Default for KeyHasher {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        const PRIME: u64 = 0x0000_0100_0000_01b3;
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            let word = chunk.iter().rev().fold(0, |w, b| (w << 8) | u64::from(*b));
            self.0 = (self.0 ^ word).wrapping_mul(PRIME).rotate_left(29);
        }
        for byte in chunks.remainder() {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(PRIME);
        }
    }

    fn finish(&self) -> u64 {
        let mut h = self.0;
        h = (h ^ (h >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        h = (h ^ (h >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        h ^ (h >> 33)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_key_keeps_its_id_and_values_only_grow() {
        let mut r = Registry::new(Stream::Changes, 10);
        let a = r.intern(&["c", "api", "deploy"]);
        let first = r.columns(UInt32Array::from(vec![a]));
        let b = r.intern(&["c", "db", "deploy"]);
        assert_eq!((a, b, r.intern(&["c", "api", "deploy"])), (0, 1, 0));
        let second = r.columns(UInt32Array::from(vec![b, a]));
        assert_eq!(first[1].len(), 1);
        let text = arrow::compute::cast(&second[1], &arrow::datatypes::DataType::Utf8);
        assert_eq!(*text.unwrap(), StringArray::from(vec!["db", "api"]));
    }

    #[test]
    fn series_beyond_the_limit_share_one_overflow_series() {
        let mut r = Registry::new(Stream::Changes, 1);
        assert_eq!(r.intern(&["c", "a", "k"]), 0);
        let other = r.intern(&["c", "b", "k"]);
        assert_eq!(r.intern(&["c", "d", "k"]), other);
        assert_eq!(r.intern(&["c", "a", "k"]), 0);
        assert_eq!(r.len(), 2);
    }

    #[test]
    fn saved_series_have_their_ids_again() {
        let mut r = Registry::new(Stream::Changes, 10);
        assert!(r.save().is_none());
        for service in ["api", "", "db"] {
            r.intern(&["c", service, "deploy"]);
        }
        let mut other = Registry::new(Stream::Changes, 10);
        other.restore(&r.save().unwrap()).unwrap();
        assert_eq!((other.len(), other.intern(&["c", "db", "deploy"])), (3, 2));
        let wrong = Registry::new(Stream::Metrics, 10).restore(&r.save().unwrap());
        assert!(wrong.is_err());
    }

    proptest::proptest! {
        /// Against a plain map, whatever the order in which series come.
        #[test]
        fn ids_do_not_depend_on_what_came_before(
            keys in proptest::collection::vec((0..6_usize, 0..3_usize), 1..80),
        ) {
            let names = ["", "a", "ab", "abc", "b", "c"];
            let mut r = Registry::new(Stream::Changes, 100);
            let mut model = std::collections::HashMap::new();
            for (service, kind) in keys {
                let next = model.len() as u32;
                let id = *model.entry((service, kind)).or_insert(next);
                proptest::prop_assert_eq!(r.intern(&["c", names[service], names[kind]]), id);
            }
        }
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let mut r = Registry::new(Stream::Changes, 10);
        assert_ne!(r.intern(&["ab", "c", "k"]), r.intern(&["a", "bc", "k"]));
    }
}
