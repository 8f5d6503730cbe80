//! What a diagnosis is asked, and what it may look at.

use serde::{Deserialize, Serialize};

use super::Collector;
use super::cases::DIAGNOSIS_WINDOW;
use crate::diagnose::{self, Caps, Period, Request, Slices};
use crate::error::{Error, Result};
use crate::knowledge::{ClosedCase, Model, load, recall};
use crate::model::{Change, DAY, Diagnosis, HOUR, Incident, MINUTE, Nanos};
use crate::run::changes;
use crate::run::refine::Beside;
use crate::stream::schema::Stream;

/// How much earlier than its first abnormal window an incident may have begun.
const ONSET_SLACK: Nanos = 3 * MINUTE;

/// When an incident was.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Past {
    cluster: String,
    opened_at: Nanos,
    period: Period,
}

impl Past {
    fn of(incident: &Incident, to: Nanos) -> Self {
        let period = Period { from: incident.started_at, to };
        Self { cluster: incident.cluster.clone(), opened_at: incident.opened_at, period }
    }
}

impl Collector {
    pub(super) async fn explain(&mut self, incident: &Incident, until: Nanos) -> Result<Diagnosis> {
        self.learn_news().await?;
        let request = self.request(incident, until);
        let slices = self.slices(&request)?;
        let mut diagnosis = diagnose::diagnose(&request, &slices)?;
        let title = self.title(incident, &diagnosis);
        recall::recall(&mut self.library, incident, &title, &mut diagnosis)?;
        Ok(diagnosis)
    }

    /// Live, what people have imported or said since is known from the next diagnosis on. A replay
    /// knows what was there when it began, so that it comes out the same.
    async fn learn_news(&mut self) -> Result<()> {
        let Some(writer) = self.writer.as_ref().filter(|_| self.options.live) else {
            return Ok(());
        };
        let edition = load::edition(writer.archive()).await?;
        if self.edition == edition {
            return Ok(());
        }
        self.library = load::load(writer.archive(), Model::built_in()).await?;
        // Cases that are yet to be archived.
        for known in self.cases.iter().filter_map(ClosedCase::known) {
            self.library.add_case(known, Vec::new());
        }
        self.edition = edition;
        Ok(())
    }

    pub(super) fn beside(&self, diagnosis: &Diagnosis) -> Beside {
        let passages = recall::passages(&self.library, diagnosis);
        Beside { calls: self.edges(), passages }
    }

    fn request(&self, incident: &Incident, until: Nanos) -> Request {
        Request {
            incident_id: incident.id.clone(),
            cluster: incident.cluster.clone(),
            at: incident.started_at,
            slack: ONSET_SLACK,
            window: DIAGNOSIS_WINDOW,
            until: until.max(incident.started_at + 1),
            edges: self.edges(),
            incidents: self.before(incident),
            signals: incident.signals.clone(),
        }
    }

    /// Takes note of a closed incident, as long as a baseline may reach back to it.
    pub(super) fn remember(&mut self, incident: &Incident) {
        let oldest = self.reached.saturating_sub(DAY + HOUR);
        self.past.retain(|past| past.period.to > oldest);
        self.past.push(Past::of(incident, incident.closed_at.unwrap_or(self.reached)));
    }

    /// When the incidents were that were known before this one opened, up to its start.
    fn before(&self, incident: &Incident) -> Vec<Period> {
        let open = self.waiting.values().map(|w| Past::of(&w.incident, Nanos::MAX));
        let all = self.past.iter().cloned().chain(open);
        let known = all
            .filter(|past| past.cluster == incident.cluster && past.opened_at < incident.opened_at);
        let at = incident.started_at;
        let clipped = known.map(|p| Period { from: p.period.from, to: p.period.to.min(at) });
        clipped.filter(|period| period.from < period.to).collect()
    }

    pub(super) fn edges(&self) -> Vec<(String, String)> {
        let edges = self.correlator.topology().edges();
        edges.map(|(a, b, _)| (a.to_owned(), b.to_owned())).collect()
    }

    /// How far apart the samples were, before it opened, of the metrics in which it shows.
    pub(super) fn sampling(&self, incident: &Incident) -> Result<Nanos> {
        let period = Period { from: incident.opened_at - HOUR, to: incident.opened_at };
        let metrics = self.recorder.slice(Stream::Metrics.name(), period.from, period.to)?;
        diagnose::sampling(&metrics, &incident.cluster, period, |service, metric| {
            let bare = |named: &str| named.split('{').next() == Some(metric);
            incident.signals.iter().any(|s| s.service == service && bare(&s.metric))
        })
    }

    fn slices(&self, request: &Request) -> Result<Slices> {
        let wanted = diagnose::wanted(request);
        let slice = |stream: Stream, from: Nanos| {
            Ok::<_, Error>(self.recorder.slice(stream.name(), from, request.until)?)
        };
        Ok(Slices {
            metrics: slice(Stream::Metrics, wanted.metrics.from)?,
            logs: slice(Stream::Logs, wanted.logs.from)?,
            spans: slice(Stream::Spans, wanted.logs.from)?,
            changes: slice(Stream::Changes, wanted.changes.from)?,
        })
    }

    pub(super) fn pinned(&self, incident: &Incident, diagnosis: &Diagnosis) -> Result<Slices> {
        let request = self.request(incident, diagnosis.diagnosed_at);
        let slices = self.slices(&request)?;
        diagnose::pinned(&request, diagnosis, &incident.services, &slices, Caps::default())
    }

    pub(super) fn recent_changes(&self, incident: &Incident) -> Result<Vec<Change>> {
        let from = incident.started_at - HOUR;
        changes::read(&self.recorder.slice(Stream::Changes.name(), from, incident.last_seen_at)?)
    }
}
