//! The detector at scale: one window of each of a million grown-up series. Milliseconds per
//! iteration are nanoseconds per window.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use faultline::model::{MINUTE, Nanos};
use faultline_udfs::metric_anomaly::State;

use crate::noise::Noise;

/// Their states together are far larger than any cache.
const SERIES: usize = 1_000_000;
/// Series with a past of their own; the others are copies.
const DISTINCT: usize = 1_000;
/// Two days at one-minute windows: warm-up is over and both seasons have been learnt from.
const PAST: i64 = 2_880;

pub fn bench(c: &mut Criterion) {
    let mut noise = Noise::new(1);
    let mut all: Option<Vec<State>> = None;
    let mut now: Nanos = PAST * MINUTE;
    let mut group = c.benchmark_group("detector");
    group.throughput(Throughput::Elements(SERIES as u64));
    group.bench_function("metric_anomaly, 1 M series", |b| {
        let states = all.get_or_insert_with(|| grown_up(&mut noise));
        b.iter(|| {
            now += MINUTE;
            let scores = states
                .iter_mut()
                .enumerate()
                .map(|(i, state)| state.step(now, value(i % DISTINCT, now, &mut noise)).score);
            black_box(scores.sum::<f64>())
        });
    });
    group.finish();
}

fn grown_up(noise: &mut Noise) -> Vec<State> {
    let grow = |series| {
        let mut state = State::new();
        for window in 1..=PAST {
            black_box(state.step(window * MINUTE, value(series, window * MINUTE, noise)));
        }
        state
    };
    let distinct: Vec<State> = (0..DISTINCT).map(grow).collect();
    distinct.iter().cycle().take(SERIES).cloned().collect()
}

/// A level of its own, a tenth of it noise, and on every second series a step in each hour.
fn value(series: usize, ts: Nanos, noise: &mut Noise) -> f64 {
    let level = 10.0 + series as f64;
    let busy = series.is_multiple_of(2) && ts / MINUTE % 60 < 30;
    level * (if busy { 1.2 } else { 1.0 } + 0.1 * noise.uniform())
}
