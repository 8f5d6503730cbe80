//! Log lines of a simulated system: what services say in good days and in bad ones.

use super::fault::{FaultKind, FaultSpec};
use super::metrics::instance;
use super::random::Random;
use super::simulate::State;
use super::system::{Role, Service, System};
use super::table::Table;
use crate::model::{Nanos, SECOND};

/// Severity, weight and text. `{n}` is a number, `{ms}` a duration, `{id}` an id, `{ip}` an
/// address, `{sku}` an article.
type Line = (&'static str, f64, &'static str);

const EVERY_SERVICE: [Line; 3] = [
    ("INFO", 1.0, "health check passed in {ms} ms"),
    ("DEBUG", 0.6, "connection pool size={n} idle={n}"),
    ("WARN", 0.02, "retrying call after {ms} ms, attempt {n}"),
];

fn lines(service: &Service) -> &'static [Line] {
    match (service.role, service.name.as_str()) {
        (Role::Gateway, _) => &[
            ("INFO", 8.0, "request {id} from {ip} routed in {ms} ms status=200"),
            ("INFO", 0.5, "client {ip} closed connection"),
            ("WARN", 0.03, "rate limit near for client {ip}: {n} requests"),
        ],
        (Role::Database, _) => &[
            ("INFO", 4.0, "checkpoint complete: wrote {n} buffers in {ms} ms"),
            ("INFO", 2.0, "automatic vacuum of table \"stock\": {n} pages removed"),
            ("WARN", 0.02, "slow query ({ms} ms): SELECT * FROM parcels WHERE id = {n}"),
        ],
        (Role::Cache, _) => &[("INFO", 2.0, "evicted {n} keys, memory {n} MiB")],
        (Role::Queue, _) => &[("INFO", 3.0, "segment {n} rolled, offset {n}")],
        (Role::Stateless, "till") => &[
            ("INFO", 6.0, "order {id} placed: {n} items, total {n} cents"),
            ("INFO", 2.0, "voucher {sku} applied to order {id}"),
        ],
        (Role::Stateless, "ledger") => &[
            ("INFO", 6.0, "charge {id} authorised by bank in {ms} ms"),
            ("WARN", 0.04, "bank answered slowly: {ms} ms"),
        ],
        (Role::Stateless, "finder") => {
            &[("INFO", 5.0, "search for \"{sku}\" gave {n} results in {ms} ms")]
        }
        (Role::Stateless, "courier") => &[("INFO", 5.0, "parcel {id} handed over, {n} g")],
        (Role::Stateless, _) => &[
            ("INFO", 5.0, "handled request {id} in {ms} ms"),
            ("DEBUG", 2.0, "cache lookup key={sku} hit=true"),
        ],
    }
}

/// What a service that is hit says, per second and replica.
fn fault_lines(kind: FaultKind) -> &'static [Line] {
    match kind {
        FaultKind::CpuSaturation => &[("WARN", 0.15, "worker pool saturated: {n} tasks waiting")],
        FaultKind::MemoryLeak => &[
            ("WARN", 0.1, "garbage collection took {ms} ms, heap {n} MiB"),
            ("ERROR", 0.02, "allocation of {n} bytes failed"),
        ],
        FaultKind::SlowDatabase => &[
            ("WARN", 0.3, "slow query ({ms} ms): SELECT * FROM stock WHERE sku = '{sku}'"),
            ("WARN", 0.1, "sequential scan on table \"stock\": {n} rows, index not used"),
        ],
        FaultKind::ErrorReturn => &[],
        FaultKind::NetworkDelay => &[("WARN", 0.08, "tcp retransmit to {ip}, rtt {ms} ms")],
        FaultKind::CrashLoop => &[
            ("FATAL", 0.03, "cannot start: configuration key missing at offset {n}"),
            ("INFO", 0.03, "starting, version 4.{n}"),
        ],
    }
}

/// Share of failed requests that are logged, for logs are sampled.
const FAILURES_LOGGED: f64 = 0.1;

pub struct Logs {
    random: Random,
    table: Table,
}

impl Logs {
    pub fn new(seed: u64) -> Self {
        let columns = ["service", "instance", "severity", "body", "trace_id", "span_id"];
        Self { random: Random::new(seed, "logs"), table: Table::new("logs", &columns) }
    }

    pub fn finish(self) -> Table {
        self.table
    }

    /// Lines of everyday work and of faults between this tick and the next.
    pub fn tick(
        &mut self,
        ts: Nanos,
        step: Nanos,
        system: &System,
        states: &[State],
        faults: &[&FaultSpec],
    ) {
        let seconds = step as f64 / SECOND as f64;
        for (service, state) in system.services.iter().zip(states) {
            for replica in (0..service.replicas).filter(|r| !state.effects[*r].down) {
                let name = instance(&service.name, replica);
                let mean =
                    seconds * state.rate * service.lines_per_request / service.replicas as f64;
                for _ in 0..self.random.count(mean) {
                    let own = lines(service);
                    let weight = |l: &[Line]| l.iter().map(|l| l.1).sum::<f64>();
                    let total = weight(own) + weight(&EVERY_SERVICE);
                    let line = self.pick(own.iter().chain(&EVERY_SERVICE), total);
                    self.say(ts, step, service, &name, line);
                }
                let requests = seconds * state.rate / service.replicas as f64 * FAILURES_LOGGED;
                for _ in 0..self.random.count(requests * state.own_errors) {
                    let at = self.moment(ts, step);
                    self.failure(at, service, &name, ("", ""));
                }
                for call in &service.calls {
                    let failed = call.per_request * states[call.callee].errors;
                    for _ in 0..self.random.count(requests * failed) {
                        let at = self.moment(ts, step);
                        self.upstream(at, service, &name, &system.services[call.callee], ("", ""));
                    }
                }
                let hit = faults.iter().filter(|f| f.service == service.name);
                for fault in hit.filter(|f| f.replica.is_none_or(|r| r == replica)) {
                    for line in fault_lines(fault.kind) {
                        for _ in 0..self.random.count(line.1 * seconds) {
                            self.say(ts, step, service, &name, line);
                        }
                    }
                }
            }
        }
    }

    /// A request that failed in the service itself, with the stack that it failed in.
    pub fn failure(&mut self, ts: Nanos, service: &Service, name: &str, ids: (&str, &str)) {
        let class = class(&service.name);
        let body = format!(
            "request failed: {class}Exception: unexpected state {} of {}\n\
             \tat shop.{}.{class}Handler.apply({class}Handler.java:{})\n\
             \tat shop.{}.{class}Handler.handle({class}Handler.java:48)\n\
             \tat shop.runtime.Dispatcher.run(Dispatcher.java:211)",
            self.random.below(90),
            self.id(),
            service.name,
            120 + self.random.below(2),
            service.name,
        );
        self.push(ts, service, name, "ERROR", body, ids);
    }

    /// A callee answered with an error.
    pub fn upstream(
        &mut self,
        ts: Nanos,
        service: &Service,
        name: &str,
        callee: &Service,
        ids: (&str, &str),
    ) {
        let body = format!(
            "call to {} ({}) failed: status 500, attempt {}",
            callee.name,
            callee.operation,
            1 + self.random.below(3)
        );
        self.push(ts, service, name, "WARN", body, ids);
    }

    fn pick<'l>(&mut self, lines: impl Iterator<Item = &'l Line>, total: f64) -> &'l Line {
        let mut left = self.random.uniform() * total;
        let mut chosen = &EVERY_SERVICE[0];
        for line in lines {
            chosen = line;
            left -= line.1;
            if left < 0.0 {
                break;
            }
        }
        chosen
    }

    fn say(&mut self, ts: Nanos, step: Nanos, service: &Service, name: &str, line: &Line) {
        let ts = self.moment(ts, step);
        let body = self.filled(line.2);
        self.push(ts, service, name, line.0, body, ("", ""));
    }

    fn push(
        &mut self,
        ts: Nanos,
        service: &Service,
        name: &str,
        severity: &str,
        body: String,
        ids: (&str, &str),
    ) {
        let cells = [
            service.name.as_str().into(),
            name.into(),
            severity.into(),
            body.into(),
            ids.0.into(),
            ids.1.into(),
        ];
        self.table.push(ts, cells);
    }

    /// Some millisecond between a tick and the next.
    fn moment(&mut self, ts: Nanos, step: Nanos) -> Nanos {
        ts + self.random.below(step as u64 / 1_000_000) as i64 * 1_000_000
    }

    fn filled(&mut self, template: &str) -> String {
        let mut out = String::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            out.push_str(before);
            let (name, after) = after.split_once('}').unwrap_or((after, ""));
            out.push_str(&match name {
                "n" => self.random.below(900).to_string(),
                "ms" => (1 + self.random.below(400)).to_string(),
                "ip" => format!(
                    "10.{}.{}.{}",
                    self.random.below(4),
                    self.random.below(32),
                    1 + self.random.below(250)
                ),
                "sku" => format!("SD-{}", 1000 + self.random.below(300)),
                _ => self.id(),
            });
            rest = after;
        }
        out + rest
    }

    fn id(&mut self) -> String {
        format!("{:08x}", self.random.below(1 << 32))
    }
}

/// `vault-db` → `VaultDb`.
fn class(service: &str) -> String {
    let part = |p: &str| p[..1].to_uppercase() + &p[1..];
    service.split('-').filter(|p| !p.is_empty()).map(part).collect()
}
