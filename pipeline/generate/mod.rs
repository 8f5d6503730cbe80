//! Synthetic outages: a small model of a system of services, its faults, and the telemetry that it
//! would send. The same scenario gives the same bytes on every platform.

mod bulk;
mod changes;
mod fault;
mod logs;
mod metrics;
mod random;
mod recurring;
mod simulate;
mod system;
mod table;
mod traces;

pub use bulk::{Bulk, write_bulk};
pub use changes::ChangeSpec;
pub use fault::{FaultKind, FaultSpec};
pub use system::{Call, Role, Service, System};

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::model::{HOUR, MINUTE, Nanos, SECOND};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the scenario names the service `{service}`, which its system does not have")]
    UnknownService { service: String },
    #[error("cannot write {path}: {source}", path = path.display())]
    Unwritable { path: PathBuf, source: io::Error },
    #[error("cannot encode a table: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
    #[error("cannot write Parquet: {0}")]
    Parquet(#[from] parquet::errors::ParquetError),
}

impl Error {
    fn unwritable(path: &Path, source: io::Error) -> Self {
        Self::Unwritable { path: path.to_owned(), source }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One zstd file per stream.
    Parquet,
    /// CSV for metrics, JSON lines for the others.
    Text,
}

/// Everything that decides about the bytes.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub seed: u64,
    pub start: Nanos,
    pub duration: Nanos,
    /// Between two values of a metric.
    pub step: Nanos,
    pub traces_per_minute: f64,
    pub system: System,
    pub faults: Vec<FaultSpec>,
    /// Changes besides those that cause faults.
    pub changes: Vec<ChangeSpec>,
    pub format: Format,
}

impl Scenario {
    /// The outage that comes with the program: a morning in a shop, a change to the database that
    /// makes queries slow, and later a deploy that makes charges fail.
    pub fn demo() -> Self {
        let fault = |at, duration, service: &str, kind| FaultSpec {
            at,
            duration,
            service: service.to_owned(),
            kind,
            replica: None,
        };
        Self {
            seed: 20_240_312,
            // 2024-03-12T06:00:00Z, a Tuesday.
            start: 1_710_223_200 * SECOND,
            duration: 6 * HOUR,
            step: 30 * SECOND,
            traces_per_minute: 10.0,
            system: System::shop(),
            faults: vec![
                fault(3 * HOUR + 20 * MINUTE, 14 * MINUTE, "vault-db", FaultKind::SlowDatabase),
                fault(4 * HOUR + 55 * MINUTE, 12 * MINUTE, "ledger", FaultKind::ErrorReturn),
            ],
            changes: vec![
                ChangeSpec::new(
                    50 * MINUTE,
                    "shelf",
                    "deploy",
                    "shelf v118",
                    "pipeline",
                    "aisle banners",
                ),
                ChangeSpec::new(
                    2 * HOUR + 5 * MINUTE,
                    "finder",
                    "scale",
                    "finder",
                    "autoscaler",
                    "maximum replicas 6 to 8",
                ),
                ChangeSpec::new(
                    2 * HOUR + 40 * MINUTE,
                    "courier",
                    "config",
                    "courier limits",
                    "maria",
                    "route cache 5m to 10m",
                ),
                ChangeSpec::new(
                    4 * HOUR + 20 * MINUTE,
                    "visitor",
                    "deploy",
                    "visitor v64",
                    "pipeline",
                    "new avatar sizes",
                ),
            ],
            format: Format::Parquet,
        }
    }

    fn check(&self) -> Result<(), Error> {
        let named =
            self.faults.iter().map(|f| &f.service).chain(self.changes.iter().map(|c| &c.service));
        for service in named {
            if self.system.position(service).is_none() {
                return Err(Error::UnknownService { service: service.clone() });
            }
        }
        Ok(())
    }
}

/// Writes the scenario as an outage directory, with the truth about its faults beside it.
pub fn write(scenario: &Scenario, dir: &Path) -> Result<(), Error> {
    scenario.check()?;
    let truth = dir.join("truth");
    fs::create_dir_all(&truth).map_err(|e| Error::unwritable(&truth, e))?;
    let mut metrics = metrics::Metrics::new(scenario.seed, &scenario.system);
    let mut logs = logs::Logs::new(scenario.seed);
    let mut traces = traces::Traces::new(scenario.seed, &scenario.system);
    let traces_per_tick = scenario.traces_per_minute * scenario.step as f64 / MINUTE as f64;
    for (ts, states) in simulate::Simulation::new(scenario) {
        let offset = ts - scenario.start;
        let active: Vec<&FaultSpec> =
            scenario.faults.iter().filter(|f| f.is_active(offset)).collect();
        metrics.tick(ts, &scenario.system, &states);
        logs.tick(ts, scenario.step, &scenario.system, &states, &active);
        traces.tick(ts, scenario.step, traces_per_tick, &states, &mut logs);
    }
    for table in [metrics.finish(), logs.finish(), traces.finish(), changes::table(scenario)] {
        table.write(dir, scenario.format)?;
    }
    let edges =
        scenario.system.edges().into_iter().map(|(caller, callee)| format!("{caller},{callee}"));
    table::write_lines(
        &dir.join("topology.csv"),
        std::iter::once("caller,callee".to_owned()).chain(edges),
    )?;
    changes::write_truth(scenario, &truth)
}

#[cfg(test)]
mod tests;
