//! Rows of raw batches by column name, with text read alike whether it is interned or plain.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use arrow::array::{
    Array, ArrayRef, AsArray, DictionaryArray, Float64Array, RecordBatch, StringArray,
    TimestampNanosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, TimestampNanosecondType, UInt32Type};

use super::telemetry::Period;
use super::traces::Map;
use crate::error::Result;
use crate::model::Nanos;
use crate::stream::schema::{interned, timestamp};

/// One column of text; null reads as the empty string.
enum Text {
    Interned(DictionaryArray<UInt32Type>, StringArray),
    Plain(StringArray),
}

/// Selected rows of one stream, without copies of their text.
pub struct Table {
    parts: Vec<Part>,
    pub rows: Vec<Row>,
}

struct Part {
    texts: Vec<Text>,
    number: Option<Float64Array>,
}

/// A row of a [`Table`].
#[derive(Clone, Copy)]
pub struct Row {
    pub ts: Nanos,
    part: u32,
    index: u32,
}

impl Table {
    /// The rows of one cluster in `period` that name a service, with the columns `texts` and one
    /// of numbers; in the order of the input.
    pub fn read(
        batches: &[RecordBatch],
        cluster: &str,
        period: Period,
        texts: &[&str],
        number: Option<&str>,
    ) -> Result<Self> {
        let mut out = Self { parts: Vec::new(), rows: Vec::new() };
        for batch in batches {
            let part = out.parts.len() as u32;
            out.rows.extend(
                selected(batch, cluster, period, |service| !service.is_empty())?
                    .into_iter()
                    .map(|(ts, index)| Row { ts, part, index }),
            );
            out.parts.push(Part {
                texts: texts.iter().map(|name| Text::of(batch, name)).collect::<Result<_>>()?,
                number: number.map(|name| numbers(batch, name)).transpose()?,
            });
        }
        Ok(out)
    }

    /// By time, then by what the rows say in the order of the columns: the same order however the
    /// rows came.
    pub fn sort(&mut self) {
        let mut rows = std::mem::take(&mut self.rows);
        rows.sort_unstable_by(|a, b| a.ts.cmp(&b.ts).then_with(|| self.compare(*a, *b)));
        self.rows = rows;
    }

    fn compare(&self, a: Row, b: Row) -> Ordering {
        let width = self.parts.first().map_or(0, |part| part.texts.len());
        (0..width)
            .map(|column| self.text(a, column).cmp(self.text(b, column)))
            .find(|order| order.is_ne())
            .unwrap_or_else(|| self.number(a).total_cmp(&self.number(b)))
    }

    /// Numbers the rows by their texts in some columns, in the order in which texts come first, and
    /// returns that first row of each number. Interned text is read once per set of keys.
    pub fn groups<const N: usize>(&self, columns: [usize; N]) -> (Vec<u32>, Vec<Row>) {
        let mut by_text: Map<[&str; N], u32> = Map::default();
        let mut by_key: Map<(u32, [u32; N]), u32> = Map::default();
        let mut first: Vec<Row> = Vec::new();
        let mut number = |row: &Row| {
            let texts = columns.map(|column| self.text(*row, column));
            *by_text.entry(texts).or_insert_with(|| {
                first.push(*row);
                first.len() as u32 - 1
            })
        };
        let interned: Vec<bool> = self
            .parts
            .iter()
            .map(|part| columns.iter().all(|c| matches!(part.texts[*c], Text::Interned(..))))
            .collect();
        let numbers = self
            .rows
            .iter()
            .map(|row| {
                if !interned[row.part as usize] {
                    return number(row);
                }
                let texts = &self.parts[row.part as usize].texts;
                let keys = columns.map(|column| texts[column].key(row.index as usize));
                *by_key.entry((row.part, keys)).or_insert_with(|| number(row))
            })
            .collect();
        (numbers, first)
    }

    pub fn text(&self, row: Row, column: usize) -> &str {
        self.parts[row.part as usize].texts[column].value(row.index as usize)
    }

    /// NaN where there is none.
    pub fn number(&self, row: Row) -> f64 {
        match &self.parts[row.part as usize].number {
            Some(numbers) if numbers.is_valid(row.index as usize) => {
                numbers.value(row.index as usize)
            }
            _ => f64::NAN,
        }
    }
}

impl Text {
    fn of(batch: &RecordBatch, name: &str) -> Result<Self> {
        let column = column(batch, name)?;
        if matches!(column.data_type(), DataType::Dictionary(..)) {
            let keys = cast(column, &interned())?.as_dictionary::<UInt32Type>().clone();
            let values = keys.values().as_string::<i32>().clone();
            return Ok(Self::Interned(keys, values));
        }
        Ok(Self::Plain(cast(column, &DataType::Utf8)?.as_string::<i32>().clone()))
    }

    /// Tells interned values of one column apart; 0 is null.
    fn key(&self, row: usize) -> u32 {
        match self {
            Self::Interned(keys, _) => keys.key(row).map_or(0, |key| key as u32 + 1),
            Self::Plain(_) => 0,
        }
    }

    /// Whether each row's text is wanted; asked once per value where there are fewer of them.
    fn matching(&self, rows: usize, wanted: impl Fn(&str) -> bool) -> Vec<bool> {
        match self {
            Self::Interned(keys, values) if values.len() < rows => {
                let null = wanted("");
                let of_value =
                    |v: usize| if values.is_null(v) { null } else { wanted(values.value(v)) };
                let asked: Vec<bool> = (0..values.len()).map(of_value).collect();
                (0..rows).map(|row| keys.key(row).map_or(null, |key| asked[key])).collect()
            }
            _ => (0..rows).map(|row| wanted(self.value(row))).collect(),
        }
    }

    fn value(&self, row: usize) -> &str {
        match self {
            Self::Interned(keys, values) => keys.key(row).map_or("", |key| values.value(key)),
            Self::Plain(values) if values.is_null(row) => "",
            Self::Plain(values) => values.value(row),
        }
    }
}

/// Adds the clusters of a batch's rows to those found.
pub fn clusters(batch: &RecordBatch, found: &mut BTreeSet<String>) -> Result<()> {
    let names = Text::of(batch, "cluster")?;
    let (mut last, rows) = (None, batch.num_rows());
    for row in 0..rows {
        let name = names.value(row);
        if last != Some(name) && !found.contains(name) {
            found.insert(name.to_owned());
        }
        last = Some(name);
    }
    Ok(())
}

/// Time and number of the rows of one cluster in `period` whose service is `wanted`.
pub fn selected(
    batch: &RecordBatch,
    cluster: &str,
    period: Period,
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<(Nanos, u32)>> {
    let ts = times(batch)?;
    let (clusters, services) = (Text::of(batch, "cluster")?, Text::of(batch, "service")?);
    let rows = batch.num_rows();
    let here = clusters.matching(rows, |c| c == cluster);
    let wanted = services.matching(rows, wanted);
    Ok((0..rows)
        .filter(|row| ts.is_valid(*row) && period.contains(ts.value(*row)))
        .filter(|row| here[*row] && wanted[*row])
        .map(|row| (ts.value(row), row as u32))
        .collect())
}

fn times(batch: &RecordBatch) -> Result<TimestampNanosecondArray> {
    let column = cast(column(batch, "ts")?, &timestamp())?;
    Ok(column.as_primitive::<TimestampNanosecondType>().clone())
}

fn numbers(batch: &RecordBatch, name: &str) -> Result<Float64Array> {
    let column = cast(column(batch, name)?, &DataType::Float64)?;
    Ok(column.as_primitive::<Float64Type>().clone())
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef> {
    Ok(batch.column(batch.schema_ref().index_of(name)?))
}
