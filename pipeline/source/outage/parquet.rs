//! One Parquet file of an outage.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;

use ::parquet::arrow::ProjectionMask;
use ::parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder,
};
use ::parquet::file::statistics::Statistics;
use arrow::array::{Array, BooleanArray, UInt32Array};
use arrow::compute::filter;
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::error::ArrowError;
use arrow::util::display::array_value_to_string;

use super::super::dead::{DeadReason, Defect};
use super::super::keys::{KEY_COLUMNS_MAX, intern};
use super::super::rows::assemble;
use super::codes::{KeyColumn, Tuple, TupleIds};
use super::columns::{self, Defects};
use super::*;
use crate::stream::series::Registry;

/// Decoded size that one read aims at; it shortens batches of files with very long rows.
const READ_BYTES_MAX: u64 = 64 << 20;

pub struct ParquetFile {
    path: PathBuf,
    name: String,
    stream: Stream,
    cluster: String,
    metadata: ArrowReaderMetadata,
    projection: ProjectionMask,
    /// Opened at its turn, so that many files need few descriptors.
    file: Option<File>,
    reader: Option<ParquetRecordBatchReader>,
    group: usize,
    /// Rows of the groups before `group`, and rows read of `group`.
    passed: u64,
    in_group: u64,
    bytes: u64,
    reported: u64,
    /// By key column of the stream; `None` where the file has no such column.
    keys: Vec<Option<KeyColumn>>,
    ids: TupleIds,
    tuples: Vec<Tuple>,
}

impl ParquetFile {
    /// Reads the footer and checks the columns.
    pub fn open(path: &Path, name: String, stream: Stream, cluster: &str) -> Result<Self, Error> {
        let file = File::open(path).map_err(|e| Error::unreadable(path, e))?;
        let bytes = file.metadata().map_err(|e| Error::unreadable(path, e))?.len();
        let broken = |source| Error::Parquet { file: path.to_owned(), source };
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let inferred = ArrowReaderMetadata::load(&file, options).map_err(broken)?;
        columns::check(inferred.schema(), stream, path)?;
        let embedded =
            ArrowReaderMetadata::try_new(Arc::clone(inferred.metadata()), Default::default());
        let ts = embedded
            .ok()
            .and_then(|m| Some(m.schema().column_with_name("ts")?.1.data_type().clone()));
        let schema = Arc::new(hinted(inferred.schema(), stream, ts));
        let options = ArrowReaderOptions::new().with_schema(schema);
        let metadata = ArrowReaderMetadata::try_new(Arc::clone(inferred.metadata()), options)
            .map_err(broken)?;
        let wanted = (0..metadata.schema().fields().len())
            .filter(|i| columns::is_read(stream, metadata.schema().field(*i).name()));
        let projection = ProjectionMask::roots(metadata.parquet_schema(), wanted);
        let key = |name: &&str| metadata.schema().column_with_name(name).map(|_| KeyColumn::new());
        let keys = stream.series_columns().iter().map(key).collect();
        Ok(Self {
            path: path.to_owned(),
            name,
            stream,
            cluster: cluster.to_owned(),
            projection,
            metadata,
            file: None,
            reader: None,
            group: 0,
            passed: 0,
            in_group: 0,
            bytes,
            reported: 0,
            keys,
            ids: TupleIds::default(),
            tuples: Vec::new(),
        })
    }

    /// Least time of the first row group, if its statistics tell it.
    pub fn expected_head(&self) -> Option<Nanos> {
        let (_, field) = self.metadata.schema().column_with_name("ts")?;
        let scale = match field.data_type() {
            DataType::Int64 | DataType::Timestamp(TimeUnit::Nanosecond, _) => 1,
            DataType::Timestamp(TimeUnit::Microsecond, _) => 1_000,
            DataType::Timestamp(TimeUnit::Millisecond, _) => 1_000_000,
            DataType::Timestamp(TimeUnit::Second, _) => 1_000_000_000,
            _ => return None,
        };
        let group = self.metadata.metadata().row_groups().first()?;
        let column = group.columns().iter().find(|c| c.column_path().string() == "ts")?;
        match column.statistics()? {
            Statistics::Int64(s) => s.min_opt()?.checked_mul(scale),
            _ => None,
        }
    }

    pub fn read(
        &mut self,
        batch_rows: usize,
        registries: &mut Registries,
    ) -> Result<Option<Rows>, Error> {
        while self.group < self.metadata.metadata().num_row_groups() {
            let next = match &mut self.reader {
                Some(reader) => reader.next(),
                None => match self.reader(batch_rows)? {
                    Ok(reader) => self.reader.insert(reader).next(),
                    Err(e) => Some(Err(e)),
                },
            };
            match next {
                Some(Ok(batch)) if batch.num_rows() == 0 => {}
                Some(Ok(batch)) => {
                    let registry = registries.get_mut(self.stream);
                    let (rows, dead) = self
                        .decode(&batch, registry)
                        .map_err(|source| Error::Arrow { file: self.name.clone(), source })?;
                    self.in_group += batch.num_rows() as u64;
                    return Ok(Some(Rows { batch: rows, dead, bytes: self.consumed() }));
                }
                Some(Err(error)) => {
                    let dead = self.damaged(&error);
                    let none = RecordBatch::new_empty(self.stream.schema());
                    return Ok(Some(Rows {
                        batch: none,
                        dead: vec![dead],
                        bytes: self.consumed(),
                    }));
                }
                None => self.next_group(),
            }
        }
        Ok(None)
    }

    /// Row groups are read one by one: a damaged one costs only itself, and dictionaries, which
    /// belong to a group, stay dictionaries.
    fn reader(
        &mut self,
        batch_rows: usize,
    ) -> Result<Result<ParquetRecordBatchReader, ArrowError>, Error> {
        let unreadable = |e| Error::unreadable(&self.path, e);
        let file = match self.file.take() {
            Some(file) => file,
            None => File::open(&self.path).map_err(unreadable)?,
        };
        self.file = Some(file.try_clone().map_err(unreadable)?);
        let group = self.metadata.metadata().row_group(self.group);
        let row_bytes =
            (group.total_byte_size().max(0) as u64 / (group.num_rows().max(1) as u64)).max(1);
        let rows = batch_rows.min((READ_BYTES_MAX / row_bytes).max(1) as usize);
        let reader =
            ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone())
                .with_row_groups(vec![self.group])
                .with_projection(self.projection.clone())
                .with_batch_size(rows)
                .build();
        Ok(reader.map_err(ArrowError::from))
    }

    fn group_rows(&self) -> u64 {
        self.metadata.metadata().row_group(self.group).num_rows().max(0) as u64
    }

    fn next_group(&mut self) {
        self.passed += self.group_rows();
        self.in_group = 0;
        self.group += 1;
        self.reader = None;
    }

    /// The rest of the row group is lost; the groups behind it are not.
    fn damaged(&mut self, error: &ArrowError) -> DeadLetter {
        let rows = self.group_rows().saturating_sub(self.in_group);
        let detail = format!("{rows} rows do not decode and are left out: {error}");
        let line = self.passed + self.in_group + 1;
        let defect = Defect::new(DeadReason::Damaged, detail);
        let letter =
            DeadLetter { rows, ..DeadLetter::new(self.stream, &self.name, line, defect, b"") };
        self.next_group();
        letter
    }

    /// File bytes since the last call, in proportion to the rows.
    fn consumed(&mut self) -> u64 {
        let total = self.metadata.metadata().file_metadata().num_rows().max(1) as u128;
        let done = u128::from(self.bytes) * u128::from(self.passed + self.in_group) / total;
        let done = (done as u64).min(self.bytes);
        let new = done - self.reported;
        self.reported = done;
        new
    }

    fn decode(
        &mut self,
        batch: &RecordBatch,
        registry: &mut Registry,
    ) -> Result<(RecordBatch, Vec<DeadLetter>), ArrowError> {
        let mut defects = Defects::new();
        let mut ts = columns::times(columns::column(batch, "ts")?, &mut defects)?;
        let mut ids = self.ids(batch, registry, &mut defects)?;
        let mut rest = columns::rest(self.stream, batch, &mut defects)?;
        if !defects.is_empty() {
            let keep = BooleanArray::from_iter(
                (0..batch.num_rows()).map(|r| Some(!defects.contains_key(&r))),
            );
            ts = columns::times_of(&filter(&ts, &keep)?);
            ids = UInt32Array::from(filter(&ids, &keep)?.to_data());
            for column in &mut rest {
                *column = filter(column, &keep)?;
            }
        }
        let dead = defects.into_iter().map(|(row, defect)| {
            let text = shown(batch, row);
            let line = self.passed + self.in_group + row as u64 + 1;
            DeadLetter::new(self.stream, &self.name, line, defect, text.as_bytes())
        });
        let dead = dead.collect();
        Ok((assemble(registry, ts, ids, rest)?, dead))
    }

    fn ids(
        &mut self,
        batch: &RecordBatch,
        registry: &mut Registry,
        defects: &mut Defects,
    ) -> Result<UInt32Array, ArrowError> {
        if self.ids.is_crowded() || self.keys.iter().flatten().any(KeyColumn::is_crowded) {
            self.keys.iter_mut().flatten().for_each(KeyColumn::forget);
            self.ids = TupleIds::default();
        }
        self.tuples.clear();
        self.tuples.resize(batch.num_rows(), Tuple::default());
        let names = self.stream.series_columns();
        for (i, (column, name)) in self.keys.iter_mut().zip(names).enumerate() {
            if let Some(column) = column {
                column.keys(columns::column(batch, name)?)?.fill(i, &mut self.tuples);
            }
        }
        let mut ids = Vec::with_capacity(batch.num_rows());
        let keys = &self.keys;
        for (row, tuple) in self.tuples.iter().enumerate() {
            let id = self.ids.id(tuple, || {
                let mut raw: [&[u8]; KEY_COLUMNS_MAX] = [b""; KEY_COLUMNS_MAX];
                for (i, column) in keys.iter().enumerate() {
                    raw[i] = column.as_ref().map_or(b"", |c| c.text(tuple[i]));
                }
                intern(&raw[..keys.len()], &self.cluster, registry)
            });
            match id {
                Ok(id) => ids.push(id),
                Err(defect) => {
                    defects.entry(row).or_insert(defect);
                    ids.push(0);
                }
            }
        }
        Ok(UInt32Array::from(ids))
    }
}

/// The file's schema with key columns as dictionaries, which saves making a text per row. Whole
/// seconds are no type of Parquet's own; only the writer's Arrow type of `ts` tells them.
fn hinted(schema: &Schema, stream: Stream, ts: Option<DataType>) -> Schema {
    let hint = |field: &Arc<Field>| {
        let key = stream.series_columns().contains(&field.name().as_str());
        match field.data_type() {
            DataType::Int64 if field.name() == "ts" => match &ts {
                Some(DataType::Timestamp(TimeUnit::Second, _)) => {
                    let seconds = DataType::Timestamp(TimeUnit::Second, None);
                    field.as_ref().clone().with_data_type(seconds)
                }
                _ => field.as_ref().clone(),
            },
            text @ (DataType::Utf8 | DataType::Binary) if key => {
                let keys = DataType::Dictionary(Box::new(DataType::Int32), Box::new(text.clone()));
                field.as_ref().clone().with_data_type(keys)
            }
            _ => field.as_ref().clone(),
        }
    };
    Schema::new(schema.fields().iter().map(hint).collect::<Vec<_>>())
}

/// A row as text, for its dead letter.
fn shown(batch: &RecordBatch, row: usize) -> String {
    let schema = batch.schema();
    let mut cells = BTreeMap::new();
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        let cell = array_value_to_string(column, row).unwrap_or_default();
        cells.insert(field.name().clone(), cell);
    }
    let cells: Vec<String> =
        cells.into_iter().map(|(name, cell)| format!("{name}={cell}")).collect();
    cells.join(" ")
}
