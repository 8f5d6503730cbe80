//! Benchmarks, in one binary because each would link DataFusion again.
//!
//! ```text
//! cargo bench --bench faultline             # all, about three minutes on two cores
//! cargo bench --bench faultline -- window   # one group: window, replay, ranking, …
//! ```
//!
//! `elem/s` are rows, lines or windows per second, as each group says. Inputs are generated, the
//! same in every run, and made only for the groups that are asked for.

mod detector;
mod miner;
mod noise;
mod plain;
mod ranking;
mod replay;
mod window;

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};

/// Few samples: what is measured runs for a tenth of a second and more, over millions of rows.
fn settings() -> Criterion {
    Criterion::default()
        .without_plots()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
}

criterion_group! {
    name = benches;
    config = settings();
    targets = window::bench, replay::bench, ranking::bench, miner::bench, detector::bench
}
criterion_main!(benches);
