//! Tables of generated rows and the files they become.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray, TimestampNanosecondArray};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use serde_json::{Map, Value};

use super::{Error, Format};
use crate::model::Nanos;
use crate::source::timestamp;

/// Rows of one stream, column by column, with their times.
pub struct Table {
    pub name: &'static str,
    pub ts: Vec<Nanos>,
    pub columns: Vec<(&'static str, Column)>,
}

pub enum Column {
    Text(Vec<String>),
    Float(Vec<f64>),
    Integer(Vec<i64>),
}

pub enum Cell {
    Text(String),
    Float(f64),
    Integer(i64),
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl Table {
    /// An empty table; the kind of a column follows from its first row.
    pub fn new(name: &'static str, columns: &[&'static str]) -> Self {
        let columns = columns.iter().map(|c| (*c, Column::Text(Vec::new()))).collect();
        Self { name, ts: Vec::new(), columns }
    }

    pub fn push<const N: usize>(&mut self, ts: Nanos, cells: [Cell; N]) {
        debug_assert_eq!(N, self.columns.len());
        let first = self.ts.is_empty();
        self.ts.push(ts);
        for ((_, column), cell) in self.columns.iter_mut().zip(cells) {
            if first {
                *column = match &cell {
                    Cell::Text(_) => Column::Text(Vec::new()),
                    Cell::Float(_) => Column::Float(Vec::new()),
                    Cell::Integer(_) => Column::Integer(Vec::new()),
                };
            }
            match (column, cell) {
                (Column::Text(v), Cell::Text(x)) => v.push(x),
                (Column::Float(v), Cell::Float(x)) => v.push(x),
                (Column::Integer(v), Cell::Integer(x)) => v.push(x),
                _ => unreachable!("a column holds cells of one kind"),
            }
        }
    }

    pub fn len(&self) -> usize {
        self.ts.len()
    }

    /// Writes the rows by time; rows of one time keep their order.
    pub fn write(&self, dir: &Path, format: Format) -> Result<(), Error> {
        let mut order: Vec<usize> = (0..self.len()).collect();
        order.sort_by_key(|row| self.ts[*row]);
        match format {
            Format::Parquet => self.parquet(&order, &dir.join(self.name)),
            Format::Text if self.name == "metrics" => self.csv(&order, &dir.join("metrics.csv")),
            Format::Text => self.json(&order, &dir.join(format!("{}.jsonl", self.name))),
        }
    }

    fn parquet(&self, order: &[usize], folder: &Path) -> Result<(), Error> {
        fs::create_dir_all(folder).map_err(|e| Error::unwritable(folder, e))?;
        let path = folder.join("part-0.parquet");
        let file = File::create(&path).map_err(|e| Error::unwritable(&path, e))?;
        let ts = TimestampNanosecondArray::from_iter_values(order.iter().map(|r| self.ts[*r]));
        let mut columns: Vec<(&str, ArrayRef)> = vec![("ts", Arc::new(ts))];
        for (name, column) in &self.columns {
            let array: ArrayRef = match column {
                Column::Text(v) => {
                    Arc::new(StringArray::from_iter_values(order.iter().map(|r| &v[*r])))
                }
                Column::Float(v) => {
                    Arc::new(Float64Array::from_iter_values(order.iter().map(|r| v[*r])))
                }
                Column::Integer(v) => {
                    Arc::new(Int64Array::from_iter_values(order.iter().map(|r| v[*r])))
                }
            };
            columns.push((name, array));
        }
        let batch = RecordBatch::try_from_iter(columns)?;
        let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties()?))?;
        writer.write(&batch)?;
        writer.close()?;
        Ok(())
    }

    fn csv(&self, order: &[usize], path: &Path) -> Result<(), Error> {
        let names: Vec<&str> = self.columns.iter().map(|(name, _)| *name).collect();
        // Generated names need no quotes.
        write_lines(
            path,
            std::iter::once(format!("ts,{}", names.join(","))).chain(order.iter().map(|row| {
                let cells = self.columns.iter().map(|(_, c)| match c {
                    Column::Text(v) => v[*row].clone(),
                    Column::Float(v) => v[*row].to_string(),
                    Column::Integer(v) => v[*row].to_string(),
                });
                format!(
                    "{},{}",
                    timestamp::format(self.ts[*row]),
                    cells.collect::<Vec<_>>().join(",")
                )
            })),
        )
    }

    fn json(&self, order: &[usize], path: &Path) -> Result<(), Error> {
        write_lines(
            path,
            order.iter().map(|row| {
                let mut object = Map::new();
                object.insert("ts".to_owned(), timestamp::format(self.ts[*row]).into());
                for (name, column) in &self.columns {
                    let value: Value = match column {
                        Column::Text(v) if v[*row].is_empty() => continue,
                        Column::Text(v) => v[*row].clone().into(),
                        Column::Float(v) => v[*row].into(),
                        Column::Integer(v) => v[*row].into(),
                    };
                    object.insert((*name).to_owned(), value);
                }
                Value::Object(object).to_string()
            }),
        )
    }
}

pub fn properties() -> Result<WriterProperties, Error> {
    let level = ZstdLevel::try_new(9)?;
    Ok(WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_created_by("faultline generate".to_owned())
        .build())
}

/// A text file of these lines.
pub fn write_lines(path: &Path, lines: impl Iterator<Item = String>) -> Result<(), Error> {
    let unwritable = |e| Error::unwritable(path, e);
    let mut out = BufWriter::new(File::create(path).map_err(unwritable)?);
    for line in lines {
        writeln!(out, "{line}").map_err(unwritable)?;
    }
    out.flush().map_err(unwritable)
}
