//! Interning of series keys, so that no per-row string work remains behind the sources.

use std::collections::HashMap;
use std::hash::Hasher;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayBuilder, ArrayRef, AsArray, DictionaryArray, RecordBatch, StringArray,
    StringBuilder, UInt32Array,
};
use arrow::datatypes::UInt32Type;
use hashbrown::HashTable;

use super::schema::Stream;
use crate::error::Result;

/// Value of every key column of rows that came after the registry was full.
pub const OVERFLOW: &str = "__overflow__";

/// Series of one stream beyond which new ones share an overflow series, and beyond which a stateful
/// function forgets those that were silent longest.
pub const SERIES_MAX: usize = 2_000_000;

/// Distinct tuples of text columns: id → columns. Ids are dense, start at 0 and never change.
///
/// The dictionary columns made from a table share one key buffer, the id of each row, and value
/// arrays that only ever grow at the end. Operators may therefore cache anything per id until they
/// are told that another table has taken its place ([`Msg::Renumbered`](super::rows::Msg)).
pub struct KeyTable {
    /// Ids by the hash of their tuple; texts are in the columns.
    ids: HashTable<u32>,
    hashes: Vec<u64>,
    columns: Vec<TextColumn>,
}

/// Texts by id, and as they were last asked for as an array.
struct TextColumn {
    texts: StringBuilder,
    told: StringArray,
}

impl TextColumn {
    fn get(&self, id: u32) -> &str {
        let (id, offsets) = (id as usize, self.texts.offsets_slice());
        let text = &self.texts.values_slice()[offsets[id] as usize..offsets[id + 1] as usize];
        // SAFETY: the builder takes `str` only, and offsets are where these begin and end.
        unsafe { std::str::from_utf8_unchecked(text) }
    }

    fn bytes(&self) -> usize {
        self.texts.values_slice().len()
    }

    /// All texts. New ones cost the copy of a buffer, not of every string before them.
    fn array(&mut self) -> StringArray {
        if self.told.len() != self.texts.len() {
            self.told = self.texts.finish_cloned();
        }
        self.told.clone()
    }
}

impl KeyTable {
    /// An empty table of `columns` columns.
    pub fn new(columns: usize) -> Self {
        let column = |_| TextColumn { texts: StringBuilder::new(), told: StringArray::new_null(0) };
        Self {
            ids: HashTable::new(),
            hashes: Vec::new(),
            columns: (0..columns).map(column).collect(),
        }
    }

    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// Id of this tuple, if it has one.
    pub fn find<'a>(&self, key: impl Iterator<Item = &'a str> + Clone) -> Option<u32> {
        self.find_hashed(hash(key.clone()), key)
    }

    fn find_hashed<'a>(
        &self,
        hash: u64,
        key: impl Iterator<Item = &'a str> + Clone,
    ) -> Option<u32> {
        let same = |id: &u32| {
            let own = self.columns.iter().map(|c| c.get(*id));
            self.hashes[*id as usize] == hash && own.eq(key.clone())
        };
        self.ids.find(hash, same).copied()
    }

    /// Id of this tuple, given one if it is new.
    pub fn intern<'a>(&mut self, key: impl Iterator<Item = &'a str> + Clone) -> u32 {
        let hash = hash(key.clone());
        if let Some(id) = self.find_hashed(hash, key.clone()) {
            return id;
        }
        let id = self.len() as u32;
        for (column, part) in self.columns.iter_mut().zip(key) {
            column.texts.append_value(part);
        }
        self.hashes.push(hash);
        let hashes = &self.hashes;
        self.ids.insert_unique(hash, id, |id| hashes[*id as usize]);
        id
    }

    /// True where the text columns, whose positions are 32 bits wide, can take this tuple and one
    /// more of short parts.
    fn has_room(&self, key: &[&str]) -> bool {
        let fits = |(column, part): (&TextColumn, &&str)| {
            column.bytes() + part.len() + OVERFLOW.len() <= i32::MAX as usize
        };
        self.columns.iter().zip(key).all(fits)
    }

    /// Hash of a tuple: equal for equal tuples in every process.
    pub fn key_hash(&self, id: u32) -> u64 {
        self.hashes[id as usize]
    }

    /// Text of one column of a tuple.
    pub fn text(&self, column: usize, id: u32) -> &str {
        self.columns[column].get(id)
    }

    /// True if `id` is that of this tuple.
    fn is(&self, id: u32, key: &[&str]) -> bool {
        // Series next to each other differ in their last columns, most often.
        (id as usize) < self.len()
            && key.iter().enumerate().rev().all(|(column, part)| self.text(column, id) == *part)
    }

    /// The tuples of the ids for which `keep` is true, with ids in the same order.
    pub fn retained(&self, keep: &[bool]) -> Self {
        let mut kept = Self::new(self.columns.len());
        for id in (0..self.len() as u32).filter(|id| keep[*id as usize]) {
            kept.intern(self.columns.iter().map(|c| c.get(id)));
        }
        kept
    }

    /// Dictionary columns for rows with these ids, which must come from this table.
    pub fn columns(&mut self, ids: &UInt32Array) -> Vec<ArrayRef> {
        debug_assert!(ids.values().iter().all(|id| (*id as usize) < self.len()));
        let column = |texts: &mut TextColumn| {
            let texts = Arc::new(texts.array());
            // SAFETY: ids come from `intern`, which returns only positions that exist in `texts`;
            // checking each of them again would cost as much as the whole window aggregation.
            let array = unsafe { DictionaryArray::<UInt32Type>::new_unchecked(ids.clone(), texts) };
            Arc::new(array) as ArrayRef
        };
        self.columns.iter_mut().map(column).collect()
    }
}

fn hash<'a>(key: impl Iterator<Item = &'a str>) -> u64 {
    let mut hasher = KeyHasher::default();
    for part in key {
        hasher.write_usize(part.len());
        hasher.write(part.as_bytes());
    }
    hasher.finish()
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
    generation: u64,
}

impl Registry {
    /// `limit` bounds the number of series; later ones share one overflow series.
    pub fn new(stream: Stream, limit: usize) -> Self {
        let table = KeyTable::new(stream.series_columns().len());
        Self {
            stream,
            limit,
            table,
            last: 0,
            followers: Vec::new(),
            overflows: false,
            generation: 0,
        }
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

    /// How often all series were forgotten: ids are those of one generation.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    fn clear(&mut self) {
        let generation = self.generation + 1;
        *self = Self { generation, ..Self::new(self.stream, self.limit) };
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
                    "no room for more series: new ones count as one, {OVERFLOW}, until the next \
                     day of a run that is live; drop labels that take a new value each time"
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

    /// Gives rows the ids that their series have here; they may come from another registry.
    pub fn adopt(&mut self, rows: &RecordBatch) -> Result<RecordBatch> {
        let series = 1..=self.stream.series_columns().len();
        let foreign = rows.column(1).as_dictionary::<UInt32Type>().keys();
        let text = |column: &ArrayRef| {
            column.as_dictionary::<UInt32Type>().values().as_string::<i32>().clone()
        };
        let texts: Vec<StringArray> = rows.columns()[series.clone()].iter().map(text).collect();
        let mut known: HashMap<u32, u32> = HashMap::new();
        let ids = foreign.values().iter().map(|id| {
            let key = || texts.iter().map(|t| t.value(*id as usize)).collect::<Vec<_>>();
            *known.entry(*id).or_insert_with(|| self.intern(&key()))
        });
        let ids: Vec<u32> = ids.collect();
        let mut columns = rows.columns().to_vec();
        columns.splice(series, self.columns(UInt32Array::from(ids)));
        Ok(RecordBatch::try_new(rows.schema(), columns)?)
    }

    /// Dictionary columns for rows of these series.
    pub fn columns(&mut self, ids: UInt32Array) -> Vec<ArrayRef> {
        self.table.columns(&ids)
    }
}

/// The series of every stream of a run.
pub struct Registries([Registry; 4]);

impl Registries {
    /// Forgets all series.
    pub fn clear(&mut self) {
        self.0.iter_mut().for_each(Registry::clear);
    }

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
    use arrow::array::TimestampNanosecondArray;

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
    fn rows_of_another_registry_have_the_ids_of_this_one() {
        let rows = |r: &mut Registry, ids: Vec<u32>| {
            let ts = TimestampNanosecondArray::from_iter_values(0..ids.len() as i64);
            let mut columns: Vec<ArrayRef> = vec![Arc::new(ts)];
            columns.extend(r.columns(UInt32Array::from(ids)));
            let rest = Stream::Changes.schema().fields().len() - columns.len();
            let text = || Arc::new(StringArray::from(vec!["x"; columns[0].len()])) as ArrayRef;
            let rest: Vec<ArrayRef> = (0..rest).map(|_| text()).collect();
            columns.extend(rest);
            RecordBatch::try_new(Stream::Changes.schema(), columns).unwrap()
        };
        let [mut one, mut other] = [(); 2].map(|()| Registry::new(Stream::Changes, 10));
        for service in ["api", "gone", "", "db"] {
            one.intern(&["c", service, "deploy"]);
        }
        for service in ["db", "web", ""] {
            other.intern(&["c", service, "deploy"]);
        }
        let adopted = other.adopt(&rows(&mut one, vec![3, 0, 2, 3])).unwrap();
        assert_eq!(adopted, rows(&mut other, vec![0, 3, 2, 0]));
        assert_eq!(other.len(), 4);
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
