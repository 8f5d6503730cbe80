//! Citable facts: each names the rows it comes from, so that a query can fetch them again.

use crate::model::SECOND;
use crate::stream::interval;

/// One fact about the incident.
#[derive(Clone, Debug, PartialEq)]
pub enum Evidence {
    MetricWindow {
        service: String,
        instance: String,
        metric: String,
        labels: String,
        /// A counter, of which the numbers are per second.
        is_rate: bool,
        /// Median of the most deviating half of the window, in the metric's own unit.
        observed: f64,
        /// Median of the baseline.
        expected: f64,
        /// `(observed - expected) / IQR` of the baseline; not finite where that is zero.
        deviation: f64,
        /// -log10 of the tail probability under the series' own baseline.
        surprise: f64,
        direction: Direction,
        /// Back-dated change point, nanoseconds.
        onset: Option<i64>,
    },
    LogTemplate {
        service: String,
        instance: String,
        template_id: u64,
        template: String,
        severity: String,
        owner: Option<String>,
        finding: LogFinding,
        observed: u64,
        expected: f64,
    },
    SpanPath {
        service: String,
        /// Empty where all instances count together.
        instance: String,
        operation: String,
        /// The calling operation, where the finding is about a call.
        caller: Option<(String, String)>,
        finding: SpanFinding,
        /// Microseconds for self time, spans for errors, traces for the rest.
        observed: f64,
        expected: f64,
    },
    Change {
        ts: i64,
        /// Nanoseconds from then until the abnormal window, or until its service turned abnormal.
        lead: i64,
        service: String,
        kind: String,
        object: String,
        detail: String,
    },
    /// A service that writes far more or far fewer lines, beside what others write.
    LogVolume {
        service: String,
        /// Lines in the window.
        observed: u64,
        expected: f64,
    },
    /// An instance that reports less than it used to.
    Silence {
        service: String,
        instance: String,
        /// Samples per series.
        observed: f64,
        expected: f64,
    },
    /// A caller's deviation that its callee accounts for.
    Edge {
        caller: String,
        callee: String,
        /// 0..=1.
        share: f64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Up,
    Down,
}

impl Direction {
    fn turn(self) -> &'static str {
        match self {
            Self::Up => "rose",
            Self::Down => "fell",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFinding {
    New,
    Burst,
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanFinding {
    SelfTime,
    ErrorOrigin,
    Missing,
    New,
}

/// A fact that speaks against one service.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Index of the service.
    pub service: usize,
    pub lane: Lane,
    /// 0..1; decides which findings are cited first.
    pub strength: f64,
    pub evidence: Evidence,
}

/// An independent line of evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Metrics that deviate and that nothing else accounts for.
    Severity,
    Onset,
    /// Blame that runs from the symptoms along the calls.
    Graph,
    Spans,
    Logs,
    Changes,
}

impl Lane {
    pub fn name(self) -> &'static str {
        match self {
            Self::Severity => "metrics",
            Self::Onset => "onset",
            Self::Graph => "graph",
            Self::Spans => "spans",
            Self::Logs => "logs",
            Self::Changes => "changes",
        }
    }
}

/// Beyond so many interquartile ranges it is the range that is next to nothing.
const IQRS_MAX: f64 = 1e4;

impl Evidence {
    /// The fact in one line.
    pub fn text(&self) -> String {
        match self {
            Evidence::MetricWindow {
                service,
                instance,
                metric,
                labels,
                is_rate,
                observed,
                expected,
                deviation,
                direction,
                ..
            } => {
                let turn = direction.turn();
                let who = if instance.is_empty() { service } else { instance };
                let labels = braced(labels);
                let unit = if *is_rate { " per second" } else { "" };
                let (from, to) = (short(*expected), short(*observed));
                // Where the middle half of the past was one value, there is no such measure.
                let by = match deviation.abs() < IQRS_MAX {
                    true => format!(" ({deviation:+.1} IQR)"),
                    false => String::new(),
                };
                format!("{metric}{labels} of {who} {turn} from {from} to {to}{unit}{by}")
            }
            Evidence::LogTemplate { service, template, finding, observed, expected, .. } => {
                let what = match finding {
                    LogFinding::New => "new log template",
                    LogFinding::Burst => "log template bursts",
                    LogFinding::Gone => "usual log template is gone",
                };
                let expected = short(*expected);
                format!(
                    "{service}: {what}, {observed} lines where {expected} are usual: {template}"
                )
            }
            Evidence::LogVolume { service, observed, expected } => {
                format!("{service} wrote {observed} lines where {} are usual", short(*expected))
            }
            Evidence::SpanPath { .. } => self.span_text().unwrap_or_default(),
            Evidence::Change { lead, service, kind, object, detail, .. } => {
                let when = match lead / SECOND {
                    0 => "as it began".to_owned(),
                    seconds => format!("{} before", interval::format(seconds * SECOND)),
                };
                format!("{kind} of {object} on {service} {when}: {detail}")
            }
            Evidence::Silence { service, instance, observed, expected } => {
                let who = if instance.is_empty() { service } else { instance };
                let (seen, usual) = (short(*observed), short(*expected));
                format!("{who} sent {seen} samples of each metric where {usual} are usual")
            }
            Evidence::Edge { caller, callee, share } => {
                format!("{callee} accounts for {:.0} % of what {caller} shows", share * 100.0)
            }
        }
    }

    fn span_text(&self) -> Option<String> {
        let Evidence::SpanPath {
            service,
            instance,
            operation,
            caller,
            finding,
            observed,
            expected,
        } = self
        else {
            return None;
        };
        let who = if instance.is_empty() { service } else { instance };
        let (seen, usual) = (short(*observed), short(*expected));
        let below = caller.as_ref().map_or_else(String::new, |(s, o)| format!(" below {s} {o}"));
        Some(match finding {
            SpanFinding::SelfTime => {
                format!("{who} {operation} itself takes {seen} us where {usual} us are usual")
            }
            SpanFinding::ErrorOrigin => format!(
                "errors begin in {who} {operation}: {seen} spans \
                 where {usual} are usual"
            ),
            SpanFinding::Missing => format!(
                "{service} {operation}{below} is {}: in {seen} traces \
                 where {usual} are usual",
                if *observed > 0.0 { "rarer" } else { "missing" }
            ),
            SpanFinding::New => format!(
                "{service} {operation}{below} is {}: in {seen} traces \
                 where {usual} are usual",
                if *expected > 0.0 { "more frequent" } else { "new" }
            ),
        })
    }
}

/// Labels as Prometheus writes them.
fn braced(labels: &str) -> String {
    if labels.is_empty() { String::new() } else { format!("{{{labels}}}") }
}

/// Four significant digits.
fn short(x: f64) -> String {
    if x == 0.0 {
        return "0".to_owned();
    }
    let digits = (3 - x.abs().log10().floor() as i32).clamp(0, 9) as usize;
    let text = format!("{x:.digits$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}
