//! The collector's part of a checkpoint: what it keeps, and how it goes on from it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Collector;
use super::cases::Waiting;
use super::causes::Past;
use super::templates::Templates;
use crate::error::Result;
use crate::knowledge::{Outbox, Writer};
use crate::model::{Incident, Nanos, Signal};
use crate::monitor::calls::Calls;
use crate::monitor::correlate::Correlator;
use crate::monitor::notify::Notification;
use crate::run::Webhook;
use crate::run::checkpoint::{self, Share};
use crate::run::room::{self, Room};

/// Commits of a live run after which small files are merged.
const COMMITS_PER_COMPACTION: i64 = 64;
/// Commits after which the files that merging has replaced are removed.
const COMMITS_PER_VACUUM: i64 = 16 * COMMITS_PER_COMPACTION;

/// The part of a checkpoint that is the collector's own.
const COLLECTOR: &str = "collector.json";

/// What the collector keeps in a checkpoint beside the raw telemetry.
#[derive(Serialize)]
struct Kept<'a> {
    correlator: &'a Correlator,
    calls: &'a Calls,
    waiting: &'a BTreeMap<String, Waiting>,
    unsettled: &'a BTreeMap<String, Signal>,
    past: &'a [Past],
    templates: &'a Templates,
    dead_by_reason: &'a BTreeMap<String, u64>,
    series: &'a [usize],
    services: usize,
    reached: Nanos,
    signals: u64,
    incidents: u64,
    /// What the receiver of notifications has not taken.
    unsent: Vec<Notification>,
}

/// What [`Kept`] is read back as.
#[derive(Deserialize)]
struct Found {
    correlator: Correlator,
    calls: Calls,
    waiting: BTreeMap<String, Waiting>,
    unsettled: BTreeMap<String, Signal>,
    past: Vec<Past>,
    templates: Templates,
    dead_by_reason: BTreeMap<String, u64>,
    series: Vec<usize>,
    services: usize,
    reached: Nanos,
    signals: u64,
    incidents: u64,
    unsent: Vec<Notification>,
}

impl Collector {
    /// Takes up the state of the checkpoint that the run goes on from, if there is one.
    pub(super) fn restore(&mut self) -> Result<()> {
        let Some(checkpoints) = &self.checkpoints else { return Ok(()) };
        self.epoch = checkpoints.store.last_epoch()?;
        let Some(checkpoint) = &checkpoints.resumed else { return Ok(()) };
        self.recorder.load(checkpoint)?;
        let found: Found = checkpoint::from_bytes(checkpoint.bytes(COLLECTOR)?)?;
        self.correlator = found.correlator;
        self.correlator.reconfigure(self.options.correlate.clone());
        self.calls = found.calls;
        self.waiting = found.waiting;
        self.unsettled = found.unsettled;
        self.past = found.past;
        self.templates = found.templates;
        self.dead.resume(found.dead_by_reason);
        self.series = found.series;
        self.services = found.services;
        self.reached = found.reached;
        self.report.signals = found.signals;
        self.report.incidents = found.incidents;
        if let Some(webhook) = &self.options.webhook {
            found.unsent.into_iter().for_each(|notification| webhook.send(notification));
        }
        // Answers that a model owed to the run before.
        for waiting in self.waiting.values().filter(|w| !w.told) {
            if let Some(diagnosis) = &waiting.diagnosis {
                self.refiner.submit(&waiting.incident, diagnosis, self.beside(diagnosis));
            }
        }
        Ok(())
    }

    /// Commits again what the checkpoint holds for the archive: it may not have come there.
    pub(super) async fn deliver_resumed(&mut self) -> Result<()> {
        let Some(checkpoint) = self.checkpoints.as_mut().and_then(|c| c.resumed.take()) else {
            return Ok(());
        };
        let Some(writer) = &self.writer else { return Ok(()) };
        let (run, epoch) = (checkpoint::written_by(&checkpoint)?, number(checkpoint.epoch));
        let outbox = checkpoint::outbox(&checkpoint)?;
        self.report.archived |= deliver(writer, &mut self.room, &run, epoch, &outbox).await?;
        Ok(())
    }

    /// Every origin has come to the same barrier: makes durable what there is, then archives what
    /// has become of it since the last one.
    pub(super) async fn checkpoint(&mut self, barriers: Vec<(Share, bool)>) -> Result<()> {
        if barriers.iter().any(|(_, last)| *last) {
            self.show_open().await?;
        }
        let mut outbox = Outbox::default();
        for case in std::mem::take(&mut self.cases) {
            self.templates.of_case(&case);
            outbox.case(&case)?;
        }
        let settled = std::mem::take(&mut self.settled);
        self.templates.of_signals(&settled);
        outbox.signals(&settled)?;
        outbox.dead_letters(&self.options.cluster, &self.dead.take())?;
        if let Some((ingest, _)) = barriers.first() {
            outbox.templates(&self.templates.news(&ingest.templates))?;
        }
        let state = checkpoint::to_bytes(&Kept {
            correlator: &self.correlator,
            calls: &self.calls,
            waiting: &self.waiting,
            unsettled: &self.unsettled,
            past: &self.past,
            templates: &self.templates,
            dead_by_reason: self.dead.by_reason(),
            series: &self.series,
            services: self.services,
            reached: self.reached,
            signals: self.report.signals,
            incidents: self.report.incidents,
            unsent: self.options.webhook.as_ref().map(Webhook::unsent).unwrap_or_default(),
        })?;
        let Some(checkpoints) = &mut self.checkpoints else { return Ok(()) };
        let mut parts = vec![(COLLECTOR.to_owned(), state)];
        parts.extend(self.recorder.save()?);
        parts.extend(checkpoint::outbox_parts(&outbox));
        let mut notes = Vec::new();
        for (share, _) in barriers {
            parts.extend(share.parts);
            notes.push(share.meta);
        }
        self.epoch += 1;
        let note = checkpoint::note(&self.options.run_id, notes);
        while let Err(error) = checkpoints.store.write(self.epoch, &checkpoints.plan, &parts, &note)
        {
            self.room.wait(error.into()).await?;
        }
        let Some(writer) = self.writer.as_ref().filter(|_| !outbox.is_empty()) else {
            self.room.found();
            return Ok(());
        };
        let (run, epoch) = (&self.options.run_id, number(self.epoch));
        self.report.archived |= deliver(writer, &mut self.room, run, epoch, &outbox).await?;
        self.commits[0] += 1;
        if self.commits[0] % COMMITS_PER_COMPACTION == 0 {
            room::spare(writer.compact().await)?;
        }
        if self.commits[0] % COMMITS_PER_VACUUM == 0 {
            room::spare(writer.vacuum().await)?;
        }
        Ok(())
    }

    /// Incidents that are open when a run stops are archived as open, diagnosed by what there is.
    async fn show_open(&mut self) -> Result<()> {
        let open: Vec<(Incident, u64)> = self.correlator.open_incidents().collect();
        for (incident, signals) in open {
            self.tell_open(incident, signals, self.reached, true).await?;
        }
        Ok(())
    }
}

/// Appends to the archive, as soon as there is room.
async fn deliver(
    writer: &Writer,
    room: &mut Room,
    run: &str,
    epoch: i64,
    outbox: &Outbox,
) -> Result<bool> {
    loop {
        match writer.append(run, epoch, outbox.clone()).await {
            Ok(new) => {
                room.found();
                return Ok(new);
            }
            Err(error) => room.wait(error).await?,
        }
    }
}

/// A number as the archive counts.
fn number(epoch: u64) -> i64 {
    i64::try_from(epoch).unwrap_or(i64::MAX)
}
