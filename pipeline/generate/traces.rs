//! Sampled traces: spans whose times add up as the simulation says.

use super::logs::Logs;
use super::metrics::instance;
use super::random::Random;
use super::simulate::{PASSED_ON, State};
use super::system::{Role, System};
use super::table::{Cell, Table};
use crate::model::Nanos;

const MICROSECOND: i64 = 1_000;

pub struct Traces<'a> {
    random: Random,
    table: Table,
    system: &'a System,
}

/// What a caller learns of a call.
struct Reply {
    duration_us: f64,
    failed: bool,
}

/// Where a span hangs.
struct Parent<'s> {
    trace_id: &'s str,
    span_id: &'s str,
}

impl<'a> Traces<'a> {
    pub fn new(seed: u64, system: &'a System) -> Self {
        let columns = [
            "service",
            "instance",
            "operation",
            "status",
            "trace_id",
            "span_id",
            "parent_span_id",
            "duration_us",
        ];
        Self { random: Random::new(seed, "traces"), table: Table::new("spans", &columns), system }
    }

    pub fn finish(self) -> Table {
        self.table
    }

    /// Traces that begin between this tick and the next, `mean` of them.
    pub fn tick(&mut self, ts: Nanos, step: Nanos, mean: f64, states: &[State], logs: &mut Logs) {
        // Work that nobody calls begins traces of its own, one for five of the first service.
        for (root, share) in [(Some(0), 1.0), (self.system.position("courier"), 0.2)] {
            let Some(root) = root else { continue };
            for _ in 0..self.random.count(mean * share) {
                let start = ts + self.random.below(step as u64 / 1_000_000) as i64 * 1_000_000;
                let trace_id = self.id();
                self.span(start, root, &Parent { trace_id: &trace_id, span_id: "" }, states, logs);
            }
        }
    }

    fn span(
        &mut self,
        start: Nanos,
        index: usize,
        parent: &Parent<'_>,
        states: &[State],
        logs: &mut Logs,
    ) -> Reply {
        let system = self.system;
        let (service, state) = (&system.services[index], &states[index]);
        let up: Vec<usize> = (0..service.replicas).filter(|r| !state.effects[*r].down).collect();
        let replica =
            up.get(self.random.below(up.len().max(1) as u64) as usize).copied().unwrap_or(0);
        let name = instance(&service.name, replica);
        let span_id = self.id();
        let own_us = 1000.0 * 0.92 * state.self_ms * self.random.lognormal(0.35);
        // Half of the own work comes before the calls.
        let mut elapsed = own_us / 2.0;
        let mut failed = self.random.chance(state.own_errors);
        let ids = (parent.trace_id, span_id.as_str());
        if failed {
            logs.failure(start + own_us as i64 / 2 * MICROSECOND, service, &name, ids);
        }
        for callee in self.callees(index) {
            if failed {
                break;
            }
            let wait = 1000.0 * states[callee].network_ms * self.random.lognormal(0.1);
            let at = start + (elapsed + wait / 2.0) as i64 * MICROSECOND;
            let child = Parent { trace_id: parent.trace_id, span_id: &span_id };
            let reply = self.span(at, callee, &child, states, logs);
            elapsed += wait + reply.duration_us;
            if reply.failed {
                let at = start + elapsed as i64 * MICROSECOND;
                logs.upstream(at, service, &name, &system.services[callee], ids);
                failed = self.random.chance(PASSED_ON);
            }
        }
        let duration_us = elapsed + own_us / 2.0;
        let cells = [
            service.name.as_str().into(),
            name.into(),
            service.operation.as_str().into(),
            if failed { "error" } else { "ok" }.into(),
            parent.trace_id.into(),
            span_id.as_str().into(),
            parent.span_id.into(),
            Cell::Integer(duration_us as i64),
        ];
        self.table.push(start, cells);
        Reply { duration_us, failed }
    }

    /// The calls of one request, in order.
    fn callees(&mut self, index: usize) -> Vec<usize> {
        let service = &self.system.services[index];
        if service.role == Role::Gateway {
            let mut left = self.random.uniform();
            let route = service.calls.iter().find(|c| {
                left -= c.per_request;
                left < 0.0
            });
            return route.or(service.calls.last()).map(|c| c.callee).into_iter().collect();
        }
        let mut callees = Vec::new();
        for call in &service.calls {
            let times = call.per_request as usize
                + usize::from(self.random.chance(call.per_request.fract()));
            callees.extend(std::iter::repeat_n(call.callee, times));
        }
        callees
    }

    fn id(&mut self) -> String {
        format!("{:016x}", self.random.next())
    }
}
