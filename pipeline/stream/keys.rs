//! Group keys of windows and partitions.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, UInt32Array};
use arrow::compute::{cast, filter};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt32Type};
use datafusion::physical_plan::aggregates::group_values::{GroupValues, new_group_values};
use datafusion::physical_plan::aggregates::order::GroupOrdering;

use super::series::KeyTable;
use crate::error::Result;

const UNKNOWN: u32 = u32::MAX;

/// Keys made of columns that were interned together: one array lookup per row.
///
/// The dictionary keys of such columns are one id per row from one append-only registry, so the
/// group of an id is resolved through its text once, until ids are given anew.
pub struct SeriesKeys {
    groups: KeyTable,
    of_series: Vec<u32>,
}

impl SeriesKeys {
    pub fn new(columns: usize) -> Self {
        Self { groups: KeyTable::new(columns), of_series: Vec::new() }
    }

    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Writes the group of every row to `out`.
    pub fn intern(&mut self, columns: &[ArrayRef], out: &mut Vec<u32>) {
        out.clear();
        let keys = columns[0].as_dictionary::<UInt32Type>().keys().values();
        debug_assert!(
            columns.iter().all(|c| c.as_dictionary::<UInt32Type>().keys().values() == keys)
        );
        let known = columns[0].as_dictionary::<UInt32Type>().values().len();
        if self.of_series.len() < known {
            self.of_series.resize(known, UNKNOWN);
        }
        out.extend(keys.iter().map(|series| {
            let group = self.of_series[*series as usize];
            if group == UNKNOWN { self.resolve(columns, *series) } else { group }
        }));
    }

    /// Group of a key given as text, for restoring a checkpoint.
    pub fn intern_text<'a>(&mut self, key: impl Iterator<Item = &'a str> + Clone) -> u32 {
        self.groups.intern(key)
    }

    /// Ids of series stand for other series from here on; groups stay.
    pub fn renumber(&mut self) {
        self.of_series = Vec::new();
    }

    /// Forgets the groups for which `keep` is false; the others are numbered anew, in order.
    pub fn retain(&mut self, keep: &[bool]) {
        self.groups = self.groups.retained(keep);
        let mut next = 0;
        let numbers: Vec<u32> = keep
            .iter()
            .map(|keep| {
                next += u32::from(*keep);
                if *keep { next - 1 } else { UNKNOWN }
            })
            .collect();
        for group in self.of_series.iter_mut().filter(|group| **group != UNKNOWN) {
            *group = numbers[*group as usize];
        }
    }

    /// Key columns of these groups.
    pub fn columns(&mut self, groups: Vec<u32>) -> Vec<ArrayRef> {
        self.groups.columns(&UInt32Array::from(groups))
    }

    #[cold]
    fn resolve(&mut self, columns: &[ArrayRef], series: u32) -> u32 {
        let text = columns.iter().map(|c| {
            let values = c.as_dictionary::<UInt32Type>().values().as_string::<i32>();
            values.value(series as usize)
        });
        let group = self.groups.intern(text);
        self.of_series[series as usize] = group;
        group
    }
}

/// Type under which a key column is grouped: dictionaries by their values.
pub fn plain(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, values) => values.as_ref().clone(),
        other => other.clone(),
    }
}

/// Key columns as [`plain`] types.
pub fn to_plain(columns: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
    let convert = |c: &ArrayRef| match c.data_type() {
        DataType::Dictionary(_, values) => Ok(cast(c, values)?),
        _ => Ok(Arc::clone(c)),
    };
    columns.iter().map(convert).collect()
}

/// DataFusion's group table for keys of any type; with no key columns there is one group.
pub struct GeneralKeys {
    values: Option<Box<dyn GroupValues>>,
    schema: SchemaRef,
    scratch: Vec<usize>,
    used: bool,
}

impl GeneralKeys {
    pub fn new(types: &[DataType]) -> Result<Self> {
        let field = |(i, t): (usize, &DataType)| Field::new(format!("k{i}"), plain(t), true);
        let schema = Arc::new(Schema::new(types.iter().enumerate().map(field).collect::<Vec<_>>()));
        let values = match types.is_empty() {
            true => None,
            false => Some(new_group_values(Arc::clone(&schema), &GroupOrdering::None)?),
        };
        Ok(Self { values, schema, scratch: Vec::new(), used: false })
    }

    pub fn len(&self) -> usize {
        self.values.as_ref().map_or(usize::from(self.used), |v| v.len())
    }

    /// Writes the group of every row of these [`plain`] columns to `out`.
    pub fn intern(
        &mut self,
        columns: &[ArrayRef],
        rows: usize,
        out: &mut Vec<usize>,
    ) -> Result<()> {
        out.clear();
        self.used |= rows > 0;
        match &mut self.values {
            None => out.resize(rows, 0),
            Some(values) => values.intern(columns, out)?,
        }
        Ok(())
    }

    /// Key columns by group number; empties the table.
    pub fn take(&mut self) -> Result<Vec<ArrayRef>> {
        self.used = false;
        match &mut self.values {
            None => Ok(Vec::new()),
            Some(values) => Ok(values.emit(datafusion::logical_expr::EmitTo::All)?),
        }
    }

    /// Key columns by group number; the table keeps them.
    pub fn columns(&mut self) -> Result<Vec<ArrayRef>> {
        let rows = self.len();
        let columns = self.take()?;
        let mut fresh = Self::new(&self.types())?;
        let mut scratch = std::mem::take(&mut self.scratch);
        fresh.intern(&columns, rows, &mut scratch)?;
        fresh.scratch = scratch;
        *self = fresh;
        Ok(columns)
    }

    /// Forgets the groups for which `keep` is false; the others are numbered anew, in order.
    pub fn retain(&mut self, keep: &BooleanArray) -> Result<()> {
        let columns = self.take()?;
        let kept = columns.iter().map(|c| Ok(filter(c, keep)?)).collect::<Result<Vec<_>>>()?;
        *self = Self::new(&self.types())?;
        self.intern(&kept, keep.true_count(), &mut Vec::new())
    }

    fn types(&self) -> Vec<DataType> {
        self.schema.fields().iter().map(|f| f.data_type().clone()).collect()
    }
}
