//! Metric rows of a simulated system.

use super::random::Random;
use super::simulate::State;
use super::system::{Role, Service, System};
use super::table::{Cell, Table};
use crate::model::{Nanos, SECOND};

const MIB: f64 = 1024.0 * 1024.0;
const GIB: f64 = 1024.0 * MIB;
/// Bytes of a request and of its reply.
const REQUEST_BYTES: f64 = 900.0;
const REPLY_BYTES: f64 = 5_200.0;

/// Name of a replica.
pub fn instance(service: &str, replica: usize) -> String {
    format!("{service}-{replica}")
}

pub struct Metrics {
    random: Random,
    table: Table,
    /// By replica of every service: AR(1) noise of its memory.
    memory_noise: Vec<Vec<f64>>,
    disk_bytes: f64,
    queue_length: f64,
    last: Option<Nanos>,
}

impl Metrics {
    pub fn new(seed: u64, system: &System) -> Self {
        Self {
            random: Random::new(seed, "metrics"),
            table: Table::new("metrics", &["service", "instance", "metric", "value"]),
            memory_noise: system.services.iter().map(|s| vec![0.0; s.replicas]).collect(),
            disk_bytes: 42.0 * GIB,
            queue_length: 0.0,
            last: None,
        }
    }

    pub fn finish(self) -> Table {
        self.table
    }

    pub fn tick(&mut self, ts: Nanos, system: &System, states: &[State]) {
        let seconds = self.last.map_or(0.0, |last| (ts - last) as f64 / SECOND as f64);
        self.last = Some(ts);
        let traffic: f64 = states.iter().map(|s| s.rate).sum();
        self.disk_bytes += seconds * traffic * 45.0;
        self.queue(system, states, seconds);
        for (i, service) in system.services.iter().enumerate() {
            let up = states[i].effects.iter().filter(|e| !e.down).count().max(1) as f64;
            for replica in 0..service.replicas {
                self.replica(ts, (i, service), replica, &states[i], up);
            }
        }
    }

    /// What is published and not yet delivered: slower couriers leave more of it.
    fn queue(&mut self, system: &System, states: &[State], seconds: f64) {
        let Some(worker) = system.position("courier") else { return };
        let state = &states[worker];
        let capacity =
            1.8 * state.rate * (system.services[worker].self_ms + 60.0) / state.latency_ms.max(1.0);
        let backlog = self.queue_length + seconds * (state.rate - capacity);
        self.queue_length = backlog.clamp(0.0, 50_000.0);
    }

    fn replica(
        &mut self,
        ts: Nanos,
        (i, service): (usize, &Service),
        replica: usize,
        state: &State,
        up: f64,
    ) {
        let effect = state.effects[replica];
        let noise = &mut self.memory_noise[i][replica];
        *noise = 0.95 * *noise + 0.003 * self.random.normal();
        if effect.down {
            return;
        }
        let memory =
            service.memory_mib * MIB * (1.0 + *noise + effect.memory + 0.2 * state.utilisation);
        let mut jitter = |sigma| self.random.lognormal(sigma);
        let share = jitter(0.03) / up;
        let rate = state.rate * share;
        let cpu = (state.utilisation * jitter(0.05) + 0.02 + effect.cpu * jitter(0.02)).min(1.0);
        let p50 = 0.9 * state.latency_ms * jitter(0.04);
        let p95 = 2.1 * state.latency_ms * jitter(0.08);
        let in_flight = rate * state.latency_ms / 1000.0 * jitter(0.1);
        let tx = rate * REPLY_BYTES * jitter(0.04);
        let rx = rate * REQUEST_BYTES * jitter(0.04);
        // Failures are counted, so their share varies as a count of this size does.
        let requests = (rate * 30.0).max(1.0);
        let spread = (state.errors * (1.0 - state.errors) / requests).sqrt();
        let errors = (state.errors + spread * self.random.normal()).clamp(0.0, 1.0);
        let mut rows = vec![
            ("cpu_utilisation", rounded(cpu)),
            ("memory_bytes", rounded(memory)),
            ("request_rate", rounded(rate)),
            ("error_ratio", (errors * 10_000.0).round() / 10_000.0),
            ("latency_p50_ms", rounded(p50)),
            ("latency_p95_ms", rounded(p95)),
            ("requests_in_flight", rounded(in_flight)),
            ("network_receive_bytes", rounded(rx)),
            ("network_transmit_bytes", rounded(tx)),
        ];
        let extra = match service.role {
            Role::Database => vec![
                ("disk_used_bytes", (self.disk_bytes / MIB).round() * MIB),
                ("connections", (8.0 + 40.0 * in_flight).round()),
            ],
            Role::Cache => vec![("hit_ratio", rounded(0.94 - 0.02 * self.random.uniform()))],
            Role::Queue => {
                vec![("queue_length", (self.queue_length + 12.0 * self.random.uniform()).round())]
            }
            Role::Gateway | Role::Stateless => Vec::new(),
        };
        rows.extend(extra);
        let name = instance(&service.name, replica);
        for (metric, value) in rows {
            let cells = [
                service.name.as_str().into(),
                name.clone().into(),
                metric.into(),
                Cell::Float(value),
            ];
            self.table.push(ts, cells);
        }
    }
}

/// Three significant digits, as exporters that save space send them; files get much smaller.
fn rounded(x: f64) -> f64 {
    let mut scale = 1.0;
    while x * scale < 100.0 && scale < 1e6 {
        scale *= 10.0;
    }
    let mut unit = 1.0;
    while x / unit >= 1_000.0 {
        unit *= 10.0;
    }
    if unit > 1.0 { (x / unit).round() * unit } else { (x * scale).round() / scale }
}

#[cfg(test)]
mod tests {
    use super::rounded;

    #[test]
    fn three_digits_are_kept() {
        for (x, y) in
            [(0.0, 0.0), (0.012345, 0.0123), (1.2345, 1.23), (123.45, 123.0), (98765.0, 98800.0)]
        {
            assert_eq!(rounded(x), y);
        }
    }
}
