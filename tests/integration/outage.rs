//! A small outage: six services, an hour, one fault; its rows as text.

use std::fs;
use std::path::{Path, PathBuf};

use faultline::generate::{self, Call, FaultKind, FaultSpec, Format, Scenario, System};
use faultline::model::{MINUTE, Nanos, SECOND};
use faultline::source::timestamp;
use tempfile::TempDir;

use crate::random::Random;

/// The service that is at fault.
pub const FAULTY: &str = "vault-db";
/// When, as `--at` takes it.
pub const FAULT_AT: &str = "2024-03-12T06:40:00Z";

/// Files whose rows carry event times.
pub const TIMED: [&str; 3] = ["metrics.csv", "logs.jsonl", "spans.jsonl"];

pub struct Outage(TempDir);

impl Outage {
    pub fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let fault = FaultSpec {
            at: 40 * MINUTE,
            duration: 10 * MINUTE,
            service: FAULTY.to_owned(),
            kind: FaultKind::SlowDatabase,
            replica: None,
        };
        let scenario = Scenario {
            duration: 60 * MINUTE,
            faults: vec![fault],
            changes: Vec::new(),
            format: Format::Text,
            system: system(),
            ..Scenario::demo()
        };
        generate::write(&scenario, dir.path()).unwrap();
        stagger(&dir.path().join("metrics.csv"));
        Self(dir)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Lines of a file; of metrics, the header comes first.
    pub fn lines(&self, name: &str) -> Vec<String> {
        lines(&self.file(name))
    }

    /// Rows of all streams.
    pub fn rows(&self) -> usize {
        let timed: usize = TIMED.iter().map(|n| self.lines(n).len()).sum();
        timed + self.lines("changes.jsonl").len() - 1
    }

    /// The same rows in another order, none behind its elders by more than five seconds.
    pub fn shuffled(&self, seed: u64) -> TempDir {
        let copy = TempDir::new().unwrap();
        let mut random = Random::new(seed);
        for entry in fs::read_dir(self.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
            }
        }
        for name in TIMED {
            let mut all = self.lines(name);
            let mut rows = all.split_off(usize::from(name.ends_with("csv")));
            let delay = |_: &String| random.below(5 * SECOND as u64) as Nanos;
            let delays: Vec<Nanos> = rows.iter().map(delay).collect();
            let mut order: Vec<usize> = (0..rows.len()).collect();
            order.sort_by_key(|row| time_of(&rows[*row]) + delays[*row]);
            assert!(order.windows(2).any(|w| w[0] > w[1]), "nothing moved in {name}");
            all.extend(order.into_iter().map(|row| std::mem::take(&mut rows[row])));
            write_lines(&copy.path().join(name), &all);
        }
        copy
    }
}

pub fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

pub fn write_lines(path: &Path, lines: &[String]) {
    fs::write(path, lines.join("\n") + "\n").unwrap();
}

/// Event time of a row of CSV or JSON.
pub fn time_of(row: &str) -> Nanos {
    let text = match serde_json::from_str::<serde_json::Value>(row) {
        Ok(object) => object["ts"].as_str().unwrap().to_owned(),
        Err(_) => row.split(',').next().unwrap().to_owned(),
    };
    timestamp::read(&text).unwrap()
}

/// Part of the shop, so that a replay is short.
fn system() -> System {
    let shop = System::shop();
    let names = ["gate", "shelf", "till", "ledger", "stockroom", FAULTY];
    let kept: Vec<usize> = names.iter().map(|n| shop.position(n).unwrap()).collect();
    let mut services = Vec::new();
    for old in &kept {
        let mut service = shop.services[*old].clone();
        let call = |c: &Call| {
            let callee = kept.iter().position(|k| *k == c.callee)?;
            Some(Call { callee, per_request: c.per_request })
        };
        service.calls = service.calls.iter().filter_map(call).collect();
        services.push(service);
    }
    // The shares of a gateway's routes add up to 1.
    let routed: f64 = services[0].calls.iter().map(|c| c.per_request).sum();
    services[0].calls.iter_mut().for_each(|c| c.per_request /= routed);
    System { services, requests_per_second: shop.requests_per_second }
}

/// Gives every series its own moment within the scrape interval, as a real scraper does.
fn stagger(path: &Path) {
    let mut rows = lines(path);
    let header = rows.remove(0);
    let mut timed: Vec<(Nanos, String)> = Vec::new();
    for row in rows {
        let (ts, rest) = row.split_once(',').unwrap();
        let (series, _) = rest.rsplit_once(',').unwrap();
        let hash = series.bytes().fold(7_u64, |h, b| h.wrapping_mul(31).wrapping_add(b.into()));
        let ts = timestamp::read(ts).unwrap() + (hash % 29_000) as Nanos * 1_000_000;
        timed.push((ts, format!("{},{rest}", timestamp::format(ts))));
    }
    timed.sort();
    let rows = std::iter::once(header).chain(timed.into_iter().map(|(_, row)| row));
    write_lines(path, &rows.collect::<Vec<_>>());
}
