//! What spans and lines know better than metrics: where time passes, and where a failure begins.

use super::super::family::Aspect;
use super::super::graph::CallGraph;
use super::super::readings::Reading;
use super::MetricLane;

impl MetricLane {
    /// Takes away the slowness that a service's spans do not show: time that passes in no span of
    /// its own passes elsewhere. `slower` is the share of its own time that is new.
    pub fn confirm(&mut self, slower: &[Option<f64>]) {
        let mut worst: Vec<Option<&Reading>> = vec![None; slower.len()];
        for r in &self.readings {
            let slow = matches!(r.aspect(), Aspect::Latency | Aspect::Dependency);
            if slow && worst[r.service].is_none_or(|worst| r.severity > worst.severity) {
                worst[r.service] = Some(r);
            }
        }
        for (v, (slower, worst)) in slower.iter().zip(worst).enumerate() {
            let change = worst.map_or(0.0, |r| r.change() / r.deviation.observed);
            if let Some(slower) = slower.filter(|slower| *slower < change) {
                self.own[v] = slower / change;
                self.residual[v].latency *= self.own[v];
                self.residual[v].dependency *= self.own[v];
            }
        }
    }

    /// Takes away the failures that the spans and lines of a callee account for; `failing` is how
    /// badly it fails by those.
    pub fn inherit(&mut self, graph: &CallGraph, failing: impl Fn(usize) -> f64) {
        for v in 0..self.raw.len() {
            let most = graph.callees(v).iter().map(|c| failing(*c)).fold(0.0, f64::max);
            if most > 0.0 && self.raw[v].error > 0.0 {
                self.residual[v].error *= 1.0 - (most / self.raw[v].error).min(1.0);
            }
        }
    }

    /// How badly users of `v` fare by its own doing.
    pub fn symptom(&self, v: usize) -> f64 {
        (self.raw[v].latency * self.own[v]).max(self.raw[v].error)
    }
}
