//! Whole runs of the correlator: what an operator would notice.

mod noise;
mod order;
mod rules;

use super::samples::signal;
use super::*;
use crate::model::{DAY, MINUTE, Severity};

fn config() -> CorrelateConfig {
    CorrelateConfig::default()
}

/// front → cart → db; front → mail → relay; far alone with nil.
fn shop() -> Topology {
    let edges =
        [("front", "cart"), ("cart", "db"), ("front", "mail"), ("mail", "relay"), ("far", "nil")];
    Topology::of_static(edges)
}

/// Feeds signals minute by minute, a watermark after each minute, up to `until`.
fn run(correlator: &mut Correlator, inputs: &[Input], until: i64) -> Vec<Output> {
    let at = |input: &Input| match input {
        Input::Signal(signal) | Input::Ongoing(signal) => signal.window_end,
        Input::Watched { at, .. } | Input::Edges { at, .. } => *at,
        Input::Sampled { .. } | Input::Explained { .. } | Input::Watermark(_) => Nanos::MIN,
    };
    correlator.around.credibility.begin(-7 * DAY);
    let mut outputs = Vec::new();
    let mut inputs: Vec<&Input> = inputs.iter().collect();
    inputs.sort_by_key(|input| at(input));
    let mut inputs = inputs.into_iter().peekable();
    for minute in 0..=until {
        while let Some(input) = inputs.next_if(|input| at(input) <= minute * MINUTE) {
            outputs.extend(correlator.step(input.clone()));
        }
        outputs.extend(correlator.step(Input::Watermark(minute * MINUTE)));
    }
    outputs
}

fn opened(outputs: &[Output]) -> Vec<&Incident> {
    let mut found = Vec::new();
    for output in outputs {
        if let Output::Opened(incident) = output {
            found.push(incident);
        }
    }
    found
}

fn closed(outputs: &[Output]) -> Vec<&Incident> {
    let mut found = Vec::new();
    for output in outputs {
        if let Output::Closed { incident, .. } = output {
            found.push(incident);
        }
    }
    found
}

/// A fault that any rule must see: several series of a service, far beyond noise, that change by
/// different factors.
fn fault(service: &str, minutes: std::ops::Range<i64>) -> Vec<Input> {
    let mut inputs = Vec::new();
    for minute in minutes.clone() {
        for (metric, observed) in [("cpu", 2.0), ("latency", 9.0), ("errors", 400.0)] {
            let signal = Signal { observed, ..signal(service, metric, minute, 12.0) };
            let first = minute == minutes.start;
            inputs.push(if first { Input::Signal(signal) } else { Input::Ongoing(signal) });
        }
    }
    inputs
}
