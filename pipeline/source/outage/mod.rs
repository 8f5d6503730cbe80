//! A past outage: a directory of metrics, logs, spans and changes, merged by event time.

mod codes;
mod columns;
pub(crate) mod input;
mod layout;
mod parquet;
mod text;
mod topology;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use arrow::array::AsArray;
use arrow::datatypes::TimestampNanosecondType;
use arrow::record_batch::RecordBatch;

use super::dead::DeadLetter;
use super::error::Error;
use super::{Chunk, Next, Registries};
use crate::model::Nanos;
use crate::stream::ingest::{JUMP, JUMP_ROWS};
use crate::stream::schema::Stream;

/// Reader of one outage directory. Every header and footer has been checked when it exists.
pub struct Outage {
    partitions: Vec<Partition>,
    /// Per stream, the partitions with rows left, by the time at which they go on.
    heads: [BTreeSet<(Nanos, u32)>; 4],
    topology: Vec<(String, String)>,
    batch_rows: usize,
    total_bytes: u64,
    /// All files that are read, `topology.csv` too.
    paths: Vec<PathBuf>,
}

struct Partition {
    /// Path within the directory.
    name: String,
    reader: Reader,
    /// Read ahead, so that the time of its first row is known.
    ready: Option<Rows>,
    /// Rows delivered in succession that lie further ahead than a clock is believed.
    ahead: usize,
}

enum Reader {
    Text(Box<text::TextFile>),
    Parquet(Box<parquet::ParquetFile>),
}

/// What a reader hands out at once.
struct Rows {
    batch: RecordBatch,
    dead: Vec<DeadLetter>,
    bytes: u64,
}

impl Rows {
    /// Time of the first row, be one among the first of a wrong clock; rows that are all dead come
    /// at once.
    fn head(&self) -> Nanos {
        let ts = self.batch.column(0).as_primitive::<TimestampNanosecondType>();
        ts.values().iter().take(JUMP_ROWS).min().copied().unwrap_or(Nanos::MIN)
    }
}

impl Reader {
    /// Time of the first row as far as the footer tells it.
    fn expected_head(&self) -> Option<Nanos> {
        match self {
            Self::Text(_) => None,
            Self::Parquet(file) => file.expected_head(),
        }
    }

    fn read(
        &mut self,
        batch_rows: usize,
        registries: &mut Registries,
    ) -> Result<Option<Rows>, Error> {
        match self {
            Self::Text(file) => file.read(batch_rows, registries),
            Self::Parquet(file) => file.read(batch_rows, registries),
        }
    }
}

impl Outage {
    /// Checks the directory and every header and footer in it. `cluster` names the cluster of rows
    /// that do not name their own.
    pub fn open(dir: &Path, batch_rows: usize, cluster: &str) -> Result<Self, Error> {
        let layout = layout::scan(dir)?;
        let topology = match &layout.topology {
            Some(path) => topology::read(path)?,
            None => Vec::new(),
        };
        let mut paths: Vec<PathBuf> = layout.topology.iter().cloned().collect();
        paths.extend(layout.files.iter().map(|file| file.path.clone()));
        let mut partitions = Vec::new();
        let mut heads: [BTreeSet<(Nanos, u32)>; 4] = Default::default();
        let mut total_bytes = 0;
        for file in layout.files {
            let name = file.path.strip_prefix(dir).unwrap_or(&file.path);
            let name = name.to_string_lossy().into_owned();
            let reader = open(&file.path, name.clone(), file.stream, cluster)?;
            // A file whose beginning is not known yet is read first.
            let head = reader.expected_head().unwrap_or(Nanos::MIN);
            heads[file.stream as usize].insert((head, partitions.len() as u32));
            partitions.push(Partition { name, reader, ready: None, ahead: 0 });
            total_bytes += file.bytes;
        }
        let batch_rows = batch_rows.max(1);
        Ok(Self { partitions, heads, topology, batch_rows, total_bytes, paths })
    }

    /// Bytes of all files, as stored; the chunks' `bytes` add up to it.
    pub fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// BLAKE3 of the files: what is replayed, whatever its directory is called.
    pub fn digest(&self) -> Result<String, Error> {
        let mut hash = blake3::Hasher::new();
        for path in &self.paths {
            let unreadable = |source| Error::Unreadable { file: path.clone(), source };
            let mut one = blake3::Hasher::new();
            one.update_reader(std::fs::File::open(path).map_err(unreadable)?)
                .map_err(unreadable)?;
            let name = path.file_name().unwrap_or_default().as_encoded_bytes();
            hash.update(&(name.len() as u64).to_le_bytes()).update(name);
            hash.update(one.finalize().as_bytes());
        }
        Ok(hash.finalize().to_hex().to_string())
    }

    /// Edges of `topology.csv` as (caller, callee), sorted, without repeats.
    pub fn topology(&self) -> &[(String, String)] {
        &self.topology
    }

    /// Path of a partition within the directory.
    pub fn file(&self, partition: u32) -> String {
        self.partitions.get(partition as usize).map(|p| p.name.clone()).unwrap_or_default()
    }

    /// The chunk that begins earliest; ties go by stream, then by path.
    pub fn next(&mut self, registries: &mut Registries) -> Result<Next, Error> {
        loop {
            let first = |s: Stream| self.heads[s as usize].first().map(|(ts, p)| (*ts, s, *p));
            let Some((head, stream, number)) = Stream::ALL.into_iter().filter_map(first).min()
            else {
                return Ok(Next::End);
            };
            self.heads[stream as usize].pop_first();
            let partition = &mut self.partitions[number as usize];
            let ready = match partition.ready.take() {
                Some(rows) => rows,
                // Not begun: its true head decides about its turn.
                None => {
                    partition.ready = partition.reader.read(self.batch_rows, registries)?;
                    if let Some(rows) = &partition.ready {
                        self.heads[stream as usize].insert((rows.head().max(head), number));
                    }
                    continue;
                }
            };
            partition.ready = partition.reader.read(self.batch_rows, registries)?;
            if let Some(rows) = &partition.ready {
                // One row with a wrong clock must not hold its file back until all others ended.
                let jumps = rows.head() > head.saturating_add(JUMP) && partition.ahead < JUMP_ROWS;
                partition.ahead = if jumps { partition.ahead + rows.batch.num_rows() } else { 0 };
                let turn = if jumps { head } else { rows.head() };
                self.heads[stream as usize].insert((turn, number));
            }
            return Ok(Next::Chunk(Chunk {
                stream,
                partition: number,
                batch: ready.batch,
                dead: ready.dead,
                bytes: ready.bytes,
                last: partition.ready.is_none(),
                reached: Some(head),
            }));
        }
    }
}

fn open(path: &Path, name: String, stream: Stream, cluster: &str) -> Result<Reader, Error> {
    Ok(if path.extension().is_some_and(|e| e == "parquet") {
        Reader::Parquet(Box::new(parquet::ParquetFile::open(path, name, stream, cluster)?))
    } else {
        Reader::Text(Box::new(text::TextFile::open(path, name, stream, cluster)?))
    })
}

#[cfg(test)]
mod tests;
