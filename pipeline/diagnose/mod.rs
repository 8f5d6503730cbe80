//! Agent 2: turns the raw telemetry around an incident into ranked causes with citable evidence.
//!
//! A pure function of its input: [`capture`] cuts the slices to two periods, [`rank`] weighs what
//! differs between them, and [`cite`] makes of every fact a statement and the query that returns
//! the rows behind it. Neither the order of rows nor how they are cut into batches matters.

pub mod advise;
mod capture;
pub mod changes;
mod cite;
mod columns;
mod deviation;
pub mod evidence;
pub mod family;
mod flow;
mod graph;
pub mod kind;
mod logs;
pub mod lookback;
mod mesh;
mod metrics;
mod onset;
mod periods;
mod pin;
pub mod rank;
mod readings;
mod shape;
mod silence;
pub mod sql;
pub mod telemetry;
#[cfg(test)]
mod tests;
pub mod traces;

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::RecordBatch;

pub use capture::sampling;
pub use columns::clusters;
pub use periods::{Wanted, wanted};
pub use pin::{Caps, pinned};
pub use telemetry::Period;

use crate::error::Result;
use crate::model::{Cause, Diagnosis, MINUTE, Nanos, Signal};

/// The `method` of a diagnosis that no language model has seen.
pub const METHOD: &str = "statistical";

/// Step in which the onset is looked for: the usual sampling of metrics.
const ONSET_STEP: Nanos = MINUTE;

/// How many times clearer the first cause must be for an earlier onset to be believed.
const CLEARER: f64 = 2.0;

/// Score of a first cause that may be chance: about twice what calm moments show.
const DOUBTFUL: f64 = 0.2;

/// Confidence of a cause below which nobody should act on it.
pub const UNLIKELY: f64 = 0.2;

/// What to diagnose.
#[derive(Clone, Debug)]
pub struct Request {
    pub incident_id: String,
    /// Rows of other clusters are not looked at.
    pub cluster: String,
    /// Start of the abnormal window, at the latest.
    pub at: Nanos,
    /// How much earlier it may have begun: a detector is sure only when a window is over, and of
    /// what is short or weak it may not see the first one.
    pub slack: Nanos,
    /// Wanted length of the abnormal window; [`lookback::WINDOW_NS`] is the usual one.
    pub window: Nanos,
    /// Event time up to which telemetry may be read, exclusive. A window that has not ended by
    /// then is diagnosed as far as it goes.
    pub until: Nanos,
    /// Known calls: `(caller, callee)`.
    pub edges: Vec<(String, String)>,
    /// Earlier incidents: logs and spans of then are not taken for usual.
    pub incidents: Vec<Period>,
    /// The incident's own signals, where there is one.
    pub signals: Vec<Signal>,
}

impl Request {
    /// The moments at which it may have begun, the latest first.
    fn moments(&self) -> impl Iterator<Item = Self> {
        let earlier = (0..=self.slack.max(0) / ONSET_STEP).map(|step| step * ONSET_STEP);
        earlier.map(|by| Self { at: self.at - by, slack: 0, ..self.clone() })
    }
}

/// Raw rows around an incident, each stream in columns of
/// [`Stream::schema`](crate::stream::schema::Stream::schema). May hold more than [`wanted`].
#[derive(Clone, Debug, Default)]
pub struct Slices {
    pub metrics: Vec<RecordBatch>,
    /// With `template_id` and `template` filled in.
    pub logs: Vec<RecordBatch>,
    pub spans: Vec<RecordBatch>,
    pub changes: Vec<RecordBatch>,
}

impl Slices {
    pub fn is_empty(&self) -> bool {
        let Self { metrics, logs, spans, changes } = self;
        [metrics, logs, spans, changes].into_iter().all(Vec::is_empty)
    }
}

/// What [`rank::rank`] looks at, made from raw rows.
pub fn telemetry_of(request: &Request, slices: &Slices) -> Result<telemetry::Telemetry> {
    Ok(capture::capture(request, slices)?.telemetry)
}

/// What the detectors say has come; of an incident that only a forecast opened, what it forecasts.
fn word(signals: &[Signal]) -> Vec<&Signal> {
    let come: Vec<&Signal> = signals.iter().filter(|s| !s.predicted).collect();
    if come.is_empty() { signals.iter().collect() } else { come }
}

/// Whether the first cause is a service of which no detector told, and hardly stands out.
fn is_doubtful(ranking: &rank::Ranking, word: &[&Signal]) -> bool {
    let chance = |first: &rank::Candidate| first.score < DOUBTFUL || first.confidence < UNLIKELY;
    let told = |service: &str| word.iter().any(|signal| signal.service == service);
    let first = ranking.candidates.first();
    !word.is_empty() && first.is_none_or(|first| chance(first) && !told(&first.service))
}

/// Ranks the causes of an incident, best first; none where nothing stands out.
///
/// Where the onset may be earlier, each moment is ranked by itself, and an earlier one is taken for
/// the onset where its first cause is by far stronger and clearer: a baseline that holds the
/// beginning of the fault, or a window that misses it, makes every cause look weaker.
///
/// What grows slowly shows little in one window. Where nothing else stands out, the word of the
/// detectors, whose memory is longer, counts as that of the window does.
///
/// Fails only where a batch lacks a column or holds another type than its stream's.
pub fn diagnose(request: &Request, slices: &Slices) -> Result<Diagnosis> {
    let mut best: Option<(f64, Request, capture::Captured, rank::Ranking)> = None;
    let mut complete_at = request.at;
    for moment in request.moments() {
        let captured = capture::capture(&moment, slices)?;
        let ranking = rank::rank(&captured.telemetry);
        complete_at = complete_at.max(captured.ends);
        let clear = ranking.candidates.first().map_or(0.0, |first| first.score * first.confidence);
        if best.as_ref().is_none_or(|(later, ..)| clear > CLEARER * later) {
            best = Some((clear, moment, captured, ranking));
        }
    }
    let word = word(&request.signals);
    if let Some((_, moment, captured, ranking)) = &mut best
        && is_doubtful(ranking, &word)
    {
        capture::told(&mut captured.telemetry.series, &word, moment.until);
        *ranking = rank::rank(&captured.telemetry);
    }
    let (mut causes, evidence) = match &best {
        Some((_, moment, captured, ranking)) => cite::cite(moment, captured, ranking),
        None => (Vec::new(), Vec::new()),
    };
    // A cause that cites nothing cannot be checked.
    causes.retain(|c| !c.evidence_ids.is_empty());
    Ok(Diagnosis {
        incident_id: request.incident_id.clone(),
        diagnosed_at: request.until,
        complete_at,
        method: METHOD.to_owned(),
        reporting: reporting(&causes, best.as_ref().map(|(.., captured, _)| &captured.telemetry)),
        causes,
        evidence,
    })
}

/// Instances of the causes' services that sent samples in the window.
fn reporting(
    causes: &[Cause],
    telemetry: Option<&telemetry::Telemetry>,
) -> BTreeMap<String, BTreeSet<String>> {
    let mut out: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let Some(telemetry) = telemetry else { return out };
    let blamed: BTreeSet<&str> = causes.iter().map(|cause| cause.service.as_str()).collect();
    for series in telemetry.series.iter().filter(|s| blamed.contains(s.service.as_str())) {
        let sent = series.points.iter().rev().any(|(ts, _)| telemetry.window.contains(*ts));
        if sent && !series.instance.is_empty() {
            out.entry(series.service.clone()).or_default().insert(series.instance.clone());
        }
    }
    out
}
