//! What the collector hands to the archive, and when.

use super::Collector;
use crate::error::Result;
use crate::knowledge::Outbox;
use crate::model::{Incident, IncidentState, Nanos};
use crate::monitor::template::history::Known;
use crate::run::report::Report;
use crate::run::room;

/// Cases committed together.
const CASES_PER_COMMIT: usize = 16;

/// Signals committed together.
const SIGNALS_PER_COMMIT: usize = 1024;

impl Collector {
    /// Writes what is complete.
    pub(super) async fn commit(&mut self) -> Result<()> {
        if self.checkpoints.is_some() {
            return Ok(());
        }
        if self.cases.len() >= CASES_PER_COMMIT {
            self.commit_cases(CASES_PER_COMMIT).await?;
        }
        while self.settled.len() >= SIGNALS_PER_COMMIT {
            self.commit_signals(SIGNALS_PER_COMMIT).await?;
        }
        Ok(())
    }

    /// The input is over; `known` is what was learned of template ids.
    pub(super) async fn finish(mut self, known: &[Known]) -> Result<Report> {
        if !self.report.stopped {
            self.settle().await?;
            while !self.cases.is_empty() {
                self.commit_cases(CASES_PER_COMMIT).await?;
            }
            while !self.settled.is_empty() {
                self.commit_signals(SIGNALS_PER_COMMIT).await?;
            }
            self.commit_dead().await?;
            self.commit_templates(known).await?;
        } else if self.checkpoints.is_none() {
            // Seen so far; the commits belong to the next run of the same replay, which completes
            // them.
            self.settle().await?;
        }
        if let Some(writer) = self.writer.as_ref().filter(|_| self.commits != [0; 4]) {
            room::spare(writer.compact().await)?;
            room::spare(writer.vacuum().await)?;
        }
        self.report.open = self.waiting.len() as u64;
        self.report.dead_letters = self.dead.report();
        Ok(self.report)
    }

    /// The input is over: what is open is told as open.
    async fn settle(&mut self) -> Result<()> {
        self.tell_watched();
        // Signals of windows that the end of the input closed lie beyond the last watermark.
        let end = self.unsettled.values().map(|s| s.window_end).max().unwrap_or(Nanos::MIN);
        if end > Nanos::MIN {
            self.advance(end).await?;
            self.tick(end.max(self.reached)).await?;
        }
        let mut open: Vec<(Incident, u64)> = self.correlator.open_incidents().collect();
        open.sort_by(|(a, _), (b, _)| (a.opened_at, &a.id).cmp(&(b.opened_at, &b.id)));
        for (incident, signal_count) in open {
            debug_assert_eq!(incident.state, IncidentState::Open);
            self.close(incident, signal_count).await?;
        }
        let rejected = self.correlator.counts().rejected;
        if rejected > 0 {
            tracing::warn!(
                "{rejected} signals came twice, or too many at once to be correlated: they are \
                 archived without an incident; raise the thresholds of the noisiest job"
            );
        }
        for (_, signal) in std::mem::take(&mut self.unsettled) {
            self.settled.push((signal, None));
        }
        Ok(())
    }

    async fn commit_cases(&mut self, count: usize) -> Result<()> {
        let mut outbox = Outbox::default();
        for case in self.cases.drain(..count.min(self.cases.len())) {
            self.templates.of_case(&case);
            outbox.case(&case)?;
        }
        self.append(0, outbox).await
    }

    async fn commit_signals(&mut self, count: usize) -> Result<()> {
        let mut outbox = Outbox::default();
        let settled: Vec<_> = self.settled.drain(..count.min(self.settled.len())).collect();
        self.templates.of_signals(&settled);
        outbox.signals(&settled)?;
        self.append(1, outbox).await
    }

    async fn commit_dead(&mut self) -> Result<()> {
        let mut outbox = Outbox::default();
        outbox.dead_letters(&self.options.cluster, &self.dead.take())?;
        self.append(2, outbox).await
    }

    async fn commit_templates(&mut self, known: &[Known]) -> Result<()> {
        let mut outbox = Outbox::default();
        outbox.templates(&self.templates.news(known))?;
        self.append(3, outbox).await
    }

    /// Commits under the next number of this kind of rows; a replay counts the same every time.
    async fn append(&mut self, kind: usize, outbox: Outbox) -> Result<()> {
        self.commits[kind] += 1;
        if let Some(writer) = &self.writer {
            let run = &self.options.run_id;
            self.report.archived |= writer.append(run, self.commits[kind], outbox).await?;
        }
        Ok(())
    }
}
