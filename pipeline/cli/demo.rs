//! `faultline demo`: the bundled outage, from files to incidents that SQL can query.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use faultline_storage as storage;

use super::llm::LlmArgs;
use super::replay;
use crate::error::Result;

/// The outage made by `faultline generate`, carried in the binary.
const OUTAGE: [(&str, &[u8]); 5] = [
    ("metrics/part-0.parquet", include_bytes!("../../demo/outage/metrics/part-0.parquet")),
    ("logs/part-0.parquet", include_bytes!("../../demo/outage/logs/part-0.parquet")),
    ("spans/part-0.parquet", include_bytes!("../../demo/outage/spans/part-0.parquet")),
    ("changes/part-0.parquet", include_bytes!("../../demo/outage/changes/part-0.parquet")),
    ("topology.csv", include_bytes!("../../demo/outage/topology.csv")),
];

/// Replay the bundled outage and show what happened, why, and what could be done.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where the outage and its archive are put.
    #[arg(long, value_name = "DIR", default_value = "faultline-demo")]
    dir: PathBuf,
    /// Print each signal, not only incidents.
    #[arg(long)]
    signals: bool,
}

pub async fn run(args: Args, stop: Arc<AtomicBool>) -> Result<()> {
    let outage = args.dir.join("outage");
    unpack(&outage)?;
    let replay = replay::Args {
        dir: outage,
        jobs: Vec::new(),
        archive: Some(args.dir.join("archive")),
        speed: replay::Speed::Max,
        threads: None,
        batch_rows: 8192,
        cluster: "demo".into(),
        signals: args.signals,
        llm: LlmArgs::off(),
        config: None,
    };
    replay::run(replay, stop).await
}

/// Fails as an archive does that cannot be written, whatever the reason: no input is to blame.
fn unpack(dir: &Path) -> Result<()> {
    for (name, bytes) in OUTAGE {
        let path = dir.join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(|e| storage::Error::io("create", parent, e))?;
        }
        std::fs::write(&path, bytes).map_err(|e| storage::Error::io("write", &path, e))?;
    }
    Ok(())
}
