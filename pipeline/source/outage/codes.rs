//! Series ids of Parquet rows: texts are looked up once per dictionary, rows compare integers.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use arrow::array::{Array, ArrayRef, AsArray, DictionaryArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type};
use arrow::error::ArrowError;

use super::super::dead::Defect;
use super::super::keys::KEY_COLUMNS_MAX;
use crate::stream::series::KeyHasher;

type Codes<K> = HashMap<K, u32, BuildHasherDefault<KeyHasher>>;

/// Distinct texts of a column, and distinct series of a file, that are remembered at once.
const REMEMBERED_MAX: usize = 1 << 20;
/// Code of a null.
const NULL: u32 = 0;

/// One row's key: a code per column.
pub type Tuple = [u32; KEY_COLUMNS_MAX];

/// One key column of one file.
pub struct KeyColumn {
    codes: Codes<Box<[u8]>>,
    /// By code.
    texts: Vec<Box<[u8]>>,
    /// The dictionary that `by_position` belongs to. Held, so that its address is not used again.
    dictionary: Option<ArrayRef>,
    by_position: Vec<u32>,
}

/// The key column of one batch.
pub struct Keys<'a> {
    keys: DictionaryArray<Int32Type>,
    by_position: &'a [u32],
}

impl Keys<'_> {
    pub fn code(&self, row: usize) -> u32 {
        if self.keys.is_null(row) {
            return NULL;
        }
        self.by_position[self.keys.keys().value(row) as usize]
    }

    /// Codes of all rows into the given column of the tuples.
    pub fn fill(&self, column: usize, tuples: &mut [Tuple]) {
        let keys = self.keys.keys();
        if keys.null_count() == 0 {
            for (tuple, key) in tuples.iter_mut().zip(keys.values()) {
                tuple[column] = self.by_position[*key as usize];
            }
        } else {
            tuples.iter_mut().enumerate().for_each(|(row, t)| t[column] = self.code(row));
        }
    }
}

impl KeyColumn {
    pub fn new() -> Self {
        let mut column = Self {
            codes: Codes::default(),
            texts: Vec::new(),
            dictionary: None,
            by_position: Vec::new(),
        };
        column.forget();
        column
    }

    pub fn text(&self, code: u32) -> &[u8] {
        &self.texts[code as usize]
    }

    pub fn is_crowded(&self) -> bool {
        self.texts.len() > REMEMBERED_MAX
    }

    /// Starts codes anew; those handed out so far mean nothing any more.
    pub fn forget(&mut self) {
        self.codes.clear();
        self.texts.clear();
        self.texts.push(Box::default());
        self.codes.insert(Box::default(), NULL);
        self.dictionary = None;
    }

    pub fn keys(&mut self, column: &ArrayRef) -> Result<Keys<'_>, ArrowError> {
        let keys = dictionary(column)?;
        let values = keys.values();
        if !self.dictionary.as_ref().is_some_and(|d| d.to_data().ptr_eq(&values.to_data())) {
            self.by_position.clear();
            for position in 0..values.len() {
                let code = self.code(bytes(values, position));
                self.by_position.push(code);
            }
            self.dictionary = Some(values.clone());
        }
        Ok(Keys { keys, by_position: &self.by_position })
    }

    fn code(&mut self, text: &[u8]) -> u32 {
        if let Some(code) = self.codes.get(text) {
            return *code;
        }
        let code = self.texts.len() as u32;
        self.texts.push(text.into());
        self.codes.insert(text.into(), code);
        code
    }
}

fn dictionary(column: &ArrayRef) -> Result<DictionaryArray<Int32Type>, ArrowError> {
    if let Some(keys) = column.as_any().downcast_ref::<DictionaryArray<Int32Type>>()
        && matches!(keys.values().data_type(), DataType::Utf8 | DataType::Binary)
    {
        return Ok(keys.clone());
    }
    let text = cast(column, &DataType::Utf8)?;
    let keys = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    Ok(cast(&text, &keys)?.as_dictionary::<Int32Type>().clone())
}

fn bytes(values: &ArrayRef, position: usize) -> &[u8] {
    if values.is_null(position) {
        return b"";
    }
    match values.data_type() {
        DataType::Binary => values.as_binary::<i32>().value(position),
        _ => values.as_string::<i32>().value(position).as_bytes(),
    }
}

/// Series ids by tuple of codes. Like the cache of text rows, it guesses that series follow each
/// other as they did before.
#[derive(Default)]
pub struct TupleIds {
    ids: Codes<Tuple>,
    /// By id: its tuple and the id seen next.
    seen: Vec<(Tuple, u32)>,
    last: u32,
}

impl TupleIds {
    pub fn is_crowded(&self) -> bool {
        self.ids.len() > REMEMBERED_MAX
    }

    #[inline]
    pub fn id(
        &mut self,
        tuple: &Tuple,
        intern: impl FnOnce() -> Result<u32, Defect>,
    ) -> Result<u32, Defect> {
        if let Some((last, next)) = self.seen.get(self.last as usize) {
            if self.seen[*next as usize].0 == *tuple {
                self.last = *next;
                return Ok(self.last);
            }
            if last == tuple {
                return Ok(self.last);
            }
        }
        self.lookup(tuple, intern)
    }

    fn lookup(
        &mut self,
        tuple: &Tuple,
        intern: impl FnOnce() -> Result<u32, Defect>,
    ) -> Result<u32, Defect> {
        let id = match self.ids.get(tuple) {
            Some(id) => *id,
            None => {
                let id = intern()?;
                self.ids.insert(*tuple, id);
                id
            }
        };
        let index = id as usize;
        if index >= self.seen.len() {
            // No row has this tuple, so a gap is never taken for a series.
            self.seen.resize(index + 1, ([u32::MAX; KEY_COLUMNS_MAX], id));
        }
        self.seen[index].0 = *tuple;
        self.seen[self.last as usize].1 = id;
        self.last = id;
        Ok(id)
    }
}
