//! Signals in, incidents out: the pure core of the monitor agent.
//!
//! Input is held back until a watermark says that event time has reached it, and then taken in
//! order of event time, with everything that is due in between (an incident ends, a series has
//! waited long enough, a group of notifications is looked at) at its own event time. The result
//! therefore depends neither on the order of arrival, nor on how the input was cut into batches,
//! nor on how often a watermark comes.
//!
//! At each tick of event time: abnormal windows extend the series that incidents or the waiting
//! room already hold; waiting series join an open incident that they are related to
//! ([`relation`], [`incident`]); what remains may open one, if it is surprising at once
//! ([`pending`], [`surprise`]) or by lasting ([`unrest`]); what was abnormal in an earlier
//! incident opens one on less ([`known`]). A series
//! that more than chance ties to several fresh incidents makes them one, and the earliest keeps
//! its id.
//!
//! An incident is a burst of onsets. For `growth` after its opening every related series joins.
//! Later ones, and series that had recovered and turn abnormal again, wait like any other, may open
//! an incident of their own, and are listed as context if they do not. Without this, one series
//! that stays abnormal would swallow all later faults of a well-connected system. What a job calls
//! critical would always open one, so of a service of the incident it joins late.
//!
//! Scores are claims. How far they are believed is learned from what became of earlier ones
//! ([`credibility`]), and what one measurement says several times counts once ([`witness`]).

mod config;
mod credibility;
mod entries;
mod incident;
mod known;
mod pending;
mod relation;
#[cfg(test)]
pub mod samples;
mod surprise;
mod surroundings;
#[cfg(test)]
mod tests;
mod tick;
mod track;
mod unrest;
mod witness;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use config::CorrelateConfig;
pub use surroundings::Watched;
pub use track::MAX_SCORE;

use self::incident::OpenIncident;
use self::known::Known;
use self::pending::Pending;
use self::surroundings::Surroundings;
use self::unrest::Unrest;
use super::notify::{Dispatcher, Notification};
use super::topology::Topology;
use crate::model::{Incident, Nanos, Signal};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Input {
    Signal(Signal),
    /// The series is abnormal in this window, which is no new signal.
    Ongoing(Signal),
    /// What is evaluated from `at` on.
    Watched {
        at: Nanos,
        watched: Watched,
    },
    /// Calls seen at `at`, caller first.
    Edges {
        at: Nanos,
        edges: Vec<(String, String)>,
    },
    /// Samples of the series of an open incident are so far apart.
    Sampled {
        incident_id: String,
        step: Nanos,
    },
    /// What was found out by `at` about an open incident, for those who are told of it.
    Explained {
        at: Nanos,
        incident_id: String,
        annotations: BTreeMap<String, String>,
    },
    /// No input up to and including this event time is missing.
    Watermark(Nanos),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Output {
    Opened(Incident),
    /// A series joined the incident or reached a higher peak in it.
    Grew {
        incident_id: String,
        signal: Signal,
    },
    /// An incident has opened of which no job made a signal: its strongest window is one now, so
    /// that every incident has one.
    Raised {
        incident_id: String,
        signal: Signal,
    },
    /// Where a signal belongs, once for each signal; in no incident if `None`.
    Settled {
        signal_id: String,
        incident_id: Option<String>,
    },
    /// `incident`, closed, goes on as part of `survivor`.
    Merged {
        survivor: String,
        incident: Incident,
        signal_count: u64,
    },
    Closed {
        incident: Incident,
        signal_count: u64,
    },
    Notify(Notification),
}

/// What became of the signals: received = rejected + settled + waiting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub received: u64,
    /// No number as score, a window that ends before it starts, the same signal twice at one
    /// time, or a full buffer.
    pub rejected: u64,
    pub settled: u64,
    /// Came after the watermark had passed them, and were taken in where it stood.
    pub late: u64,
    /// Ticks at which an incident would have opened, had not too many been open.
    pub openings_refused: u64,
}

/// A signal, or its continuation, at the event time at which it is taken in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Arrival {
    at: Nanos,
    announced: bool,
    signal: Signal,
}

impl Arrival {
    fn order(&self) -> impl Ord + '_ {
        let s = &self.signal;
        let series = (&s.job, &s.cluster, &s.service, &s.instance, &s.metric);
        // New signals first: what goes on is then known to be of an incident or not.
        (self.at, !self.announced, s.window_end, series, &s.id)
    }
}

/// The state of all incidents; serialised, it is a checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Correlator {
    around: Surroundings,
    /// Event time that the watermark has reached.
    watermark: Nanos,
    /// Event time of the last thing that was done.
    clock: Nanos,
    buffered: Vec<Arrival>,
    watched_from: BTreeMap<Nanos, Watched>,
    edges_from: BTreeMap<Nanos, Vec<(String, String)>>,
    pending: Pending,
    unrest: Unrest,
    known: Known,
    open: BTreeMap<String, OpenIncident>,
    dispatcher: Dispatcher,
    counts: Counts,
}

impl Correlator {
    pub fn new(config: CorrelateConfig, topology: Topology) -> Self {
        Self {
            dispatcher: Dispatcher::new(config.notify.clone()),
            around: Surroundings::new(config, topology),
            watermark: Nanos::MIN,
            clock: Nanos::MIN,
            buffered: Vec::new(),
            watched_from: BTreeMap::new(),
            edges_from: BTreeMap::new(),
            pending: Pending::default(),
            unrest: Unrest::default(),
            known: Known::default(),
            open: BTreeMap::new(),
            counts: Counts::default(),
        }
    }

    /// Goes on under another configuration.
    pub fn reconfigure(&mut self, config: CorrelateConfig) {
        self.dispatcher.reconfigure(config.notify.clone());
        self.around.config = config;
    }

    /// By the name of a job: the least time between two of its windows of one series. Those of
    /// other jobs tumble.
    pub fn set_paces(&mut self, paces: BTreeMap<String, Nanos>) {
        self.around.cadence.set_paces(paces);
    }

    /// Takes one input; only a watermark makes anything happen, but that a signal which cannot be
    /// taken is settled at once.
    pub fn step(&mut self, input: Input) -> Vec<Output> {
        match input {
            Input::Signal(signal) => return self.receive(signal, true).into_iter().collect(),
            Input::Ongoing(signal) => drop(self.receive(signal, false)),
            Input::Watched { at, watched } => {
                self.watched_from.insert(at, watched);
            }
            Input::Edges { at, edges } => {
                self.edges_from.entry(at).or_default().extend(edges);
            }
            Input::Sampled { incident_id, step } => {
                if let Some(incident) = self.open.get_mut(&incident_id) {
                    incident.sampled(step);
                }
            }
            Input::Explained { at, incident_id, annotations } => {
                if let Some(incident) = self.open.get_mut(&incident_id) {
                    incident.annotations = annotations;
                }
                self.alert(&incident_id, at, None);
            }
            Input::Watermark(to) => return self.advance(to),
        }
        Vec::new()
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The graph as known so far: what it began with and all edges since.
    pub fn topology(&self) -> &Topology {
        &self.around.topology
    }

    /// Open incidents as they are now, by id, and how many signals belong to each.
    pub fn open_incidents(&self) -> impl Iterator<Item = (Incident, u64)> {
        self.open.values().map(|incident| (incident.view(None), incident.signal_count()))
    }

    fn receive(&mut self, signal: Signal, announced: bool) -> Option<Output> {
        self.counts.received += u64::from(announced);
        let sound = !signal.score.is_nan() && signal.window_start <= signal.window_end;
        if !sound || self.buffered.len() >= self.around.config.max_buffered {
            self.counts.rejected += u64::from(announced);
            let settled = Output::Settled { signal_id: signal.id, incident_id: None };
            return announced.then_some(settled);
        }
        self.counts.late += u64::from(announced && signal.window_end <= self.watermark);
        let at = signal.window_end.max(self.watermark);
        self.buffered.push(Arrival { at, announced, signal });
        None
    }

    /// Does everything that is due up to and including `to`, in order of event time.
    fn advance(&mut self, to: Nanos) -> Vec<Output> {
        let mut outputs = Vec::new();
        let mut due = self.take_due(to).into_iter().peekable();
        loop {
            let tick = due.peek().map(|arrival| arrival.at);
            let Some(at) = tick.into_iter().chain(self.next_due()).min() else { break };
            if at > to {
                break;
            }
            // What a tick has shortened is over at the tick, not before it.
            self.clock = self.clock.max(at);
            let at = self.clock;
            self.learn(at);
            if tick == Some(at) {
                let now = std::iter::from_fn(|| due.next_if(|arrival| arrival.at == at)).collect();
                self.tick(at, now, &mut outputs);
            } else {
                self.close(at, &mut outputs);
                self.expire(at, &mut outputs);
                let notifications = self.dispatcher.look(at);
                outputs.extend(notifications.into_iter().map(Output::Notify));
            }
        }
        self.learn(to);
        self.watermark = self.watermark.max(to);
        outputs
    }

    /// The arrivals up to `to` in the one order that does not depend on how they came.
    fn take_due(&mut self, to: Nanos) -> Vec<Arrival> {
        let (mut due, rest): (Vec<_>, _) = self.buffered.drain(..).partition(|a| a.at <= to);
        self.buffered = rest;
        due.sort_by(|a, b| a.order().cmp(&b.order()));
        let counts = &mut self.counts;
        due.dedup_by(|b, a| {
            let same = a.at == b.at && a.announced == b.announced && a.signal.id == b.signal.id;
            counts.rejected += u64::from(same && b.announced);
            same
        });
        due
    }

    /// Event time of what is to be done next, if nothing more comes.
    pub fn next_at(&self) -> Option<Nanos> {
        let arrivals = self.buffered.iter().map(|arrival| arrival.at).min();
        arrivals.into_iter().chain(self.next_due()).min()
    }

    fn next_due(&self) -> Option<Nanos> {
        let over = self.open.values().map(|incident| incident.ends_at(&self.around)).min();
        let expiry = self.pending.next_expiry(&self.around.config);
        [over, expiry, self.dispatcher.next_look()].into_iter().flatten().min()
    }
}
