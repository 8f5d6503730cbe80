//! Outage directories, good and bad.

mod parquet;
mod text;

use std::fs;
use std::io::Write;

use arrow::util::display::array_value_to_string;
use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;

use super::super::dead::DeadReason;
use super::*;

/// Everything that a reading gives.
#[derive(Default)]
struct Reading {
    /// `partition stream: cells`, in the order of delivery.
    rows: Vec<String>,
    dead: Vec<DeadLetter>,
    bytes: u64,
    chunks: usize,
}

impl Reading {
    fn sorted(mut self) -> Vec<String> {
        self.rows.sort();
        self.rows
    }

    fn reasons(&self) -> Vec<(u64, DeadReason)> {
        self.dead.iter().map(|d| (d.line, d.reason)).collect()
    }
}

fn read(dir: &Path, batch_rows: usize) -> Reading {
    let mut outage = Outage::open(dir, batch_rows, "main").unwrap();
    let mut registries = Registries::new(1000);
    let mut out = Reading::default();
    let mut finished = BTreeSet::new();
    while let Next::Chunk(chunk) = outage.next(&mut registries).unwrap() {
        assert!(chunk.batch.num_rows() + chunk.dead.len() <= batch_rows);
        assert_eq!(chunk.batch.schema(), chunk.stream.schema());
        assert!(!finished.contains(&chunk.partition));
        if chunk.last {
            finished.insert(chunk.partition);
        }
        out.chunks += 1;
        out.bytes += chunk.bytes;
        for row in 0..chunk.batch.num_rows() {
            let cells = chunk.batch.columns().iter();
            let cells: Vec<_> = cells.map(|c| array_value_to_string(c, row).unwrap()).collect();
            out.rows.push(format!(
                "{} {}: {}",
                chunk.partition,
                chunk.stream.name(),
                cells.join("|")
            ));
        }
        out.dead.extend(chunk.dead);
    }
    assert_eq!(out.bytes, outage.total_bytes());
    assert_eq!(finished.len(), outage.partitions.len());
    out
}

fn dir_with(files: &[(&str, &[u8])]) -> TempDir {
    let dir = TempDir::new().unwrap();
    for (name, content) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    dir
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn refusal(dir: &Path) -> String {
    match Outage::open(dir, 100, "main") {
        Ok(_) => panic!("{} was accepted", dir.display()),
        Err(error) => error.to_string(),
    }
}
