//! Queries on the pinned slices of the archive, in SQL that DataFusion and DuckDB both read.

use std::collections::BTreeSet;
use std::fmt::Write;

use chrono::{DateTime, SecondsFormat};

use super::capture::Templates;
use super::telemetry::Period;
use crate::model::Nanos;

/// The archive keeps microseconds.
const MICROSECOND: Nanos = 1_000;

const METRICS: &str = "ts, service, instance, metric, labels, value";
const LOGS: &str = "ts, service, instance, severity, body, trace_id, span_id";
const SPANS: &str =
    "ts, service, instance, operation, trace_id, span_id, parent_span_id, duration_us, status";
const CHANGES: &str = "ts, service, kind, object, actor, detail";

/// Whose rows a query returns.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    pub incident_id: &'a str,
    pub cluster: &'a str,
    pub period: Period,
}

impl Scope<'_> {
    /// Samples of one series: service, instance, metric and labels.
    pub fn metric(self, [service, instance, metric, labels]: [&str; 4]) -> String {
        let series = [("service", service), ("instance", instance), ("metric", metric)];
        let equal = [series.as_slice(), &[("labels", labels)]].concat();
        self.select(METRICS, "metrics", &equal)
    }

    /// All metrics of two services.
    pub fn metrics_of(self, services: [&str; 2]) -> String {
        let [a, b] = services.map(literal);
        format!(
            "SELECT {METRICS} FROM metrics WHERE {} AND service IN ({a}, {b}) ORDER BY ts",
            self.rows("")
        )
    }

    /// Lines of some templates, by their ids or, where one has none, by their texts.
    pub fn lines(self, service: &str, templates: &Templates) -> String {
        let named = templates.iter().all(|[id, _]| !id.is_empty());
        let column = if named { "template_id" } else { "template" };
        let key = |t: &[String; 2]| literal(&t[usize::from(!named)]);
        let keys: BTreeSet<String> = templates.iter().map(key).collect();
        let keys: Vec<String> = keys.into_iter().collect();
        let which = match keys.as_slice() {
            [one] => format!("{column} = {one}"),
            several => format!("{column} IN ({})", several.join(", ")),
        };
        let (rows, service) = (self.rows(""), equal("service", service));
        format!("SELECT {LOGS} FROM logs WHERE {rows}{service} AND {which} ORDER BY ts")
    }

    /// All lines of one service.
    pub fn lines_of(self, service: &str) -> String {
        self.select(LOGS, "logs", &[("service", service)])
    }

    /// Spans of one operation, of all instances where none is named.
    pub fn spans(self, service: &str, instance: &str, operation: &str) -> String {
        let mut equals = vec![("service", service), ("operation", operation)];
        if !instance.is_empty() {
            equals.insert(1, ("instance", instance));
        }
        self.select(SPANS, "spans", &equals)
    }

    /// Spans of one service right below those of another; `operations` are the caller's and the
    /// callee's, where they matter.
    pub fn calls(self, caller: &str, callee: &str, operations: Option<[&str; 2]>) -> String {
        let columns = SPANS.replace(", ", ", child.");
        let mut sql = format!(
            "SELECT child.{columns} FROM spans AS child JOIN spans AS parent \
             ON child.incident_id = parent.incident_id AND child.trace_id = parent.trace_id \
             AND child.parent_span_id = parent.span_id WHERE {}{}{}",
            self.rows("child."),
            equal("parent.service", caller),
            equal("child.service", callee),
        );
        if let Some([above, below]) = operations {
            sql.push_str(&equal("parent.operation", above));
            sql.push_str(&equal("child.operation", below));
        }
        sql.push_str(" ORDER BY child.ts");
        sql
    }

    pub fn change(self, service: &str, kind: &str, object: &str) -> String {
        let equal = [("service", service), ("kind", kind), ("object", object)];
        self.select(CHANGES, "changes", &equal)
    }

    fn select(self, columns: &str, table: &str, equals: &[(&str, &str)]) -> String {
        let mut sql = format!("SELECT {columns} FROM {table} WHERE {}", self.rows(""));
        equals.iter().for_each(|(column, value)| sql.push_str(&equal(column, value)));
        sql.push_str(" ORDER BY ts");
        sql
    }

    fn rows(self, prefix: &str) -> String {
        // The end is exclusive: what is rounded up still holds all that was asked for.
        let (from, to) = (self.period.from, self.period.to.saturating_add(MICROSECOND - 1));
        format!(
            "{prefix}incident_id = {} AND {prefix}cluster = {} \
             AND {prefix}ts >= {} AND {prefix}ts < {}",
            literal(self.incident_id),
            literal(self.cluster),
            instant(from),
            instant(to),
        )
    }
}

fn equal(column: &str, value: &str) -> String {
    format!(" AND {column} = {}", literal(value))
}

/// Text as a string literal. Control characters are spelt out, so that a query is one line that is
/// safe to print.
pub fn literal(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('\'');
    for c in text.chars() {
        match c {
            '\'' => out.push_str("''"),
            c if c.is_control() => {
                // Writing to a String cannot fail.
                let _ = write!(out, "' || chr({}) || '", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('\'');
    if out.contains(" || ") { format!("({out})") } else { out }
}

/// A timestamp literal, rounded down to the microsecond.
fn instant(ts: Nanos) -> String {
    let micros = ts.div_euclid(MICROSECOND).saturating_mul(MICROSECOND);
    let text = DateTime::from_timestamp_nanos(micros).to_rfc3339_opts(SecondsFormat::AutoSi, true);
    format!("TIMESTAMP '{text}'")
}
