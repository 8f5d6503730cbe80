//! The template miner: lines per second, from an empty miner on, and the `drain3` crate with its
//! defaults over the same lines in the same run.

use std::cell::LazyCell;
use std::fmt::Write;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use faultline::monitor::template::{Limits, Miner};

use crate::noise::Noise;

const LINES: usize = 200_000;
const STATEMENTS: usize = 400;
/// Usual length of a service's log line, without its timestamp.
const BYTES: usize = 136;

const WORDS: [&str; 24] = [
    "request",
    "order",
    "payment",
    "session",
    "cache",
    "replica",
    "commit",
    "offset",
    "retry",
    "timeout",
    "connection",
    "closed",
    "opened",
    "received",
    "processed",
    "queued",
    "dropped",
    "checkpoint",
    "segment",
    "shard",
    "worker",
    "upstream",
    "response",
    "handler",
];

pub fn bench(c: &mut Criterion) {
    let lines = LazyCell::new(lines);
    let mut group = c.benchmark_group("miner");
    group.throughput(Throughput::Elements(LINES as u64));
    group.bench_function(BenchmarkId::new(format!("lines of {BYTES} bytes"), "faultline"), |b| {
        let empty = || Miner::new(Limits::default());
        let routine = |mut miner: Miner| {
            for line in lines.iter() {
                miner.add(line.as_bytes());
            }
            miner
        };
        b.iter_batched(empty, routine, BatchSize::PerIteration);
    });
    group.bench_function(BenchmarkId::new(format!("lines of {BYTES} bytes"), "drain3"), |b| {
        let empty = || drain3::Matcher::new(drain3::Config::default());
        let routine = |mut miner: drain3::Matcher| {
            for line in lines.iter() {
                miner.add_log_message(line).unwrap();
            }
            miner
        };
        b.iter_batched(empty, routine, BatchSize::PerIteration);
    });
    group.finish();
}

/// Lines of statements, few of which are frequent, about [`BYTES`] long in the mean.
fn lines() -> Vec<String> {
    let mut noise = Noise::new(1);
    let statements: Vec<Vec<&str>> = (0..STATEMENTS).map(|_| statement(&mut noise)).collect();
    let line = |_| {
        // The square favours the first statements.
        let pick = noise.uniform() * noise.uniform();
        fill(&statements[(pick * STATEMENTS as f64) as usize], &mut noise)
    };
    let lines: Vec<String> = (0..LINES).map(line).collect();
    let mean = lines.iter().map(String::len).sum::<usize>() / LINES;
    assert!(mean.abs_diff(BYTES) <= BYTES / 10, "lines have {mean} bytes in the mean");
    lines
}

/// Words with a datum after each three; the empty word is a place for one.
fn statement(noise: &mut Noise) -> Vec<&'static str> {
    let word = |i| if i % 4 == 3 { "" } else { WORDS[noise.below(WORDS.len())] };
    (0..15).map(word).collect()
}

fn fill(statement: &[&str], noise: &mut Noise) -> String {
    let mut line = String::new();
    for (i, word) in statement.iter().enumerate() {
        let datum = noise.bits() as u32;
        let written = match (word.is_empty(), i) {
            (false, _) => write!(line, "{word} "),
            (true, 3) => write!(line, "id={datum:08x} "),
            (true, 7) => write!(line, "after {} ms ", datum % 10_000),
            (true, _) => write!(line, "from 10.{}.{}.7 ", datum % 256, datum / 256 % 256),
        };
        written.unwrap();
    }
    line
}
