//! What happens at one moment of event time.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::incident::{OpenIncident, is_binding};
use super::relation::{Link, Relation};
use super::track::{MAX_UNSETTLED, SeriesKey, Track};
use super::unrest::{Heard, Restless};
use super::{Arrival, Correlator, Output};
use crate::model::{Nanos, Severity, stable_id};
use crate::monitor::notify::{Alert, LABELS};
use crate::monitor::title::title;

/// What one tick gathers.
struct Tick<'a> {
    at: Nanos,
    /// Incidents that opened in this tick and are announced at its end, complete.
    opened: BTreeSet<String>,
    /// Incidents of which a receiver of notifications may have to hear.
    changed: BTreeSet<String>,
    outputs: &'a mut Vec<Output>,
}

/// An open incident to which a waiting series is related.
struct Home {
    id: String,
    opened_at: Nanos,
    link: Link,
    binding: bool,
    late: bool,
}

impl Home {
    /// The best home sorts first: binding before context, fresh before late, near before far,
    /// and of equals the one that opened last.
    fn rank(&self) -> impl Ord + '_ {
        (!self.binding, self.late, self.link.relation, Reverse(self.opened_at), &self.id)
    }

    fn ties(&self) -> bool {
        self.binding && !self.late
    }
}

impl Correlator {
    pub(super) fn tick(&mut self, at: Nanos, arrivals: Vec<Arrival>, outputs: &mut Vec<Output>) {
        self.expire(at, outputs);
        let (opened, changed) = (BTreeSet::new(), BTreeSet::new());
        let mut tick = Tick { at, opened, changed, outputs };
        for arrival in arrivals {
            self.take_in(arrival, &mut tick);
        }
        self.join_all(&mut tick);
        while let Some(key) = self.pending.opening(&self.around) {
            if self.open.len() >= self.around.config.max_open_incidents {
                self.counts.openings_refused += 1;
                break;
            }
            self.open_with(&key, &mut tick);
            self.join_all(&mut tick);
        }
        self.open_restless(&mut tick);
        let Tick { opened, changed, .. } = tick;
        for id in &opened {
            let Some(incident) = self.open.get_mut(id) else { continue };
            outputs.push(Output::Opened(incident.view(None)));
            if let Some(signal) = incident.raise() {
                outputs.push(Output::Raised { incident_id: id.clone(), signal });
            }
        }
        for id in changed.union(&opened) {
            self.alert(id, at, None);
        }
    }

    /// Makes count what is known from `at` on.
    pub(super) fn learn(&mut self, at: Nanos) {
        while let Some(entry) = self.watched_from.first_entry().filter(|e| *e.key() <= at) {
            self.around.credibility.begin(*entry.key());
            self.around.watched = entry.remove();
        }
        let mut changed = false;
        while let Some(entry) = self.edges_from.first_entry().filter(|e| *e.key() <= at) {
            let (from, edges) = entry.remove_entry();
            for (caller, callee) in edges {
                changed |= self.around.topology.observe(&caller, &callee, from);
            }
        }
        if changed {
            self.open.values_mut().for_each(|incident| incident.redraw(&self.around.topology));
        }
    }

    /// Lets go of the series that have waited long enough.
    ///
    /// One that came too late for an incident it is related to, and opened none itself, is listed
    /// there as context.
    pub(super) fn expire(&mut self, at: Nanos, outputs: &mut Vec<Output>) {
        for mut track in self.pending.expire(at, &self.around.config) {
            let unsettled = std::mem::take(&mut track.unsettled);
            let home = self.homes(&track).into_iter().min_by(|a, b| a.rank().cmp(&b.rank()));
            let Some(home) = home else {
                let surprise = self.around.claimed(&track);
                self.around.credibility.learn(&track, surprise);
                self.settle(unsettled, None, outputs);
                continue;
            };
            if let Some(incident) = self.open.get_mut(&home.id) {
                let signal = track.signal.clone();
                incident.list(SeriesKey::of(&signal), track, &self.around);
                outputs.push(Output::Grew { incident_id: home.id.clone(), signal });
            }
            self.settle(unsettled, Some(&home.id), outputs);
        }
    }

    /// Closes the incidents that are over by `at`.
    pub(super) fn close(&mut self, at: Nanos, outputs: &mut Vec<Output>) {
        let over = self.open.values().filter(|incident| incident.ends_at(&self.around) <= at);
        for id in over.map(|incident| incident.id.clone()).collect::<Vec<_>>() {
            self.alert(&id, at, Some(at));
            if let Some(incident) = self.open.remove(&id) {
                for track in incident.bystanders() {
                    let surprise = self.around.claimed(track);
                    self.around.credibility.learn(track, surprise);
                }
                incident.teach(&mut self.known, at, &self.around);
                let signal_count = incident.signal_count();
                outputs.push(Output::Closed { incident: incident.view(Some(at)), signal_count });
            }
        }
    }

    /// Extends the series where it is held, or lets it wait.
    fn take_in(&mut self, arrival: Arrival, tick: &mut Tick) {
        let Arrival { announced, signal, .. } = arrival;
        self.around.cadence.learn(&signal);
        self.around.credibility.begin(signal.window_start);
        let key = SeriesKey::of(&signal);
        let told = announced || signal.score >= self.around.config.score_floor;
        let continued = |i: &&mut OpenIncident| i.continues(&key, &signal, &self.around);
        if let Some(incident) = self.open.values_mut().find(continued) {
            if !told && !incident.goes_on_with(&key) {
                return;
            }
            let rose = incident.extend(&key, &signal, &self.around);
            let incident_id = incident.id.clone();
            if announced {
                self.settle(vec![signal.id.clone()], Some(&incident_id), tick.outputs);
            }
            if rose {
                tick.changed.insert(incident_id.clone());
                tick.outputs.push(Output::Grew { incident_id, signal });
            }
            self.unrest.spend(&key);
            return;
        }
        let width = (signal.window_end - signal.window_start).max(1);
        let step = self.around.cadence.step(&signal.job, &signal.service, width);
        let score = self.around.believed(&signal);
        self.unrest.feed(&signal, Heard { score, step, announced, told });
        if !told {
            return;
        }
        if let Some(track) = self.pending.get_mut(&key) {
            track.extend(&signal);
            track.announced |= announced;
            if announced {
                track.unsettled.push(signal.id);
            }
            let excess = track.unsettled.len().saturating_sub(MAX_UNSETTLED);
            let oldest = track.unsettled.drain(..excess).collect();
            self.settle(oldest, None, tick.outputs);
        } else {
            let mut track = Track::new(signal, announced);
            track.width = track.width.max(step);
            self.wait(key, track, tick);
        }
    }

    /// Opens an incident for each service that is restless beyond what noise may open, unless its
    /// series belong to one.
    fn open_restless(&mut self, tick: &mut Tick) {
        // What goes wrong beside an open incident of the service is most likely part of it.
        let open: BTreeSet<(String, String)> =
            self.open.values().flat_map(OpenIncident::binding_keys).map(SeriesKey::place).collect();
        while let Some(series) = self.unrest.opening(tick.at, &self.around, |key| {
            self.known.knows(key, tick.at) && !open.contains(&key.place())
        }) {
            let keys: Vec<SeriesKey> = series.iter().map(|s| s.key.clone()).collect();
            for Restless { key, track } in series {
                self.unrest.spend(&key);
                match self.pending.get_mut(&key) {
                    Some(waiting) => waiting.restless = true,
                    None => self.wait(key, track, tick),
                }
            }
            self.join_all(tick);
            if keys.iter().all(|key| self.pending.get(key).is_some()) {
                if self.open.len() >= self.around.config.max_open_incidents {
                    self.counts.openings_refused += 1;
                    continue;
                }
                self.open_with(&keys[0], tick);
                self.join_all(tick);
            }
        }
    }

    fn wait(&mut self, key: SeriesKey, track: Track, tick: &mut Tick) {
        if let Some(weakest) = self.pending.insert(key, track, self.around.config.max_pending) {
            self.settle(weakest.unsettled, None, tick.outputs);
        }
    }

    /// Lets waiting series join open incidents until none can; each may bring others within reach.
    fn join_all(&mut self, tick: &mut Tick) {
        let mut joined = !self.open.is_empty();
        while joined {
            let keys: Vec<SeriesKey> = self.pending.keys().cloned().collect();
            joined = false;
            for key in keys {
                joined |= self.join(&key, tick);
            }
        }
    }

    fn join(&mut self, key: &SeriesKey, tick: &mut Tick) -> bool {
        let Some(track) = self.pending.get(key) else { return false };
        let critical = self.around.config.critical_opens
            && track.announced
            && track.signal.severity == Severity::Critical;
        let mut homes = self.homes(track);
        homes.retain(|home| !home.late || (critical && home.link.relation == Relation::Service));
        homes.sort_by(|a, b| a.rank().cmp(&b.rank()));
        let Some(best) = homes.first() else { return false };
        let link = best.link;
        let mut tied: Vec<&Home> = homes.iter().filter(|home| home.ties()).collect();
        tied.sort_by_key(|home| (home.opened_at, &home.id));
        let id = tied.first().map_or(&best.id, |earliest| &earliest.id).clone();
        for other in tied.iter().skip(1) {
            self.merge(&id, &other.id, tick);
        }
        let Some(mut track) = self.pending.take(key) else { return false };
        let unsettled = std::mem::take(&mut track.unsettled);
        let signal = track.signal.clone();
        self.unrest.spend(key);
        if let Some(incident) = self.open.get_mut(&id) {
            incident.join(key.clone(), track, Some(link), &self.around);
        }
        self.settle(unsettled, Some(&id), tick.outputs);
        tick.changed.insert(id.clone());
        if !tick.opened.contains(&id) {
            tick.outputs.push(Output::Grew { incident_id: id, signal });
        }
        true
    }

    /// The open incidents of its cluster to which a series is related.
    fn homes(&self, track: &Track) -> Vec<Home> {
        let of_cluster = self.open.values().filter(|i| i.cluster == track.signal.cluster);
        of_cluster
            .filter_map(|incident| {
                let link = incident.link(track, &self.around)?;
                Some(Home {
                    id: incident.id.clone(),
                    opened_at: incident.opened_at,
                    late: incident.is_late(track, &self.around.config),
                    binding: is_binding(link, &self.around.config),
                    link,
                })
            })
            .collect()
    }

    fn open_with(&mut self, key: &SeriesKey, tick: &mut Tick) {
        let Some(mut anchor) = self.pending.take(key) else { return };
        let unsettled = std::mem::take(&mut anchor.unsettled);
        let id = stable_id(&["incident", &anchor.signal.id, &tick.at.to_string()]);
        self.unrest.spend(key);
        let (at, patience) = (tick.at, self.known.patience(key, tick.at));
        let graph = &self.around.topology;
        let incident = OpenIncident::open(id.clone(), anchor, at, patience, graph);
        self.open.insert(id.clone(), incident);
        self.settle(unsettled, Some(&id), tick.outputs);
        tick.opened.insert(id);
    }

    fn merge(&mut self, survivor: &str, other: &str, tick: &mut Tick) {
        let Some(merged) = self.open.remove(other) else { return };
        if !tick.opened.remove(other) {
            self.dispatcher.update(self.alert_of(&merged, Some(tick.at)), tick.at);
            let (survivor, incident) = (survivor.to_owned(), merged.view(Some(tick.at)));
            let signal_count = merged.signal_count();
            tick.outputs.push(Output::Merged { survivor, incident, signal_count });
        }
        if let Some(kept) = self.open.get_mut(survivor) {
            kept.merge(merged, &self.around);
        }
    }

    fn settle(&mut self, ids: Vec<String>, incident: Option<&str>, outputs: &mut Vec<Output>) {
        self.counts.settled += ids.len() as u64;
        if let Some(open) = incident.and_then(|id| self.open.get_mut(id)) {
            open.count(ids.len());
        }
        outputs.extend(ids.into_iter().map(|signal_id| {
            let incident_id = incident.map(str::to_owned);
            Output::Settled { signal_id, incident_id }
        }));
    }

    pub(super) fn alert(&mut self, id: &str, at: Nanos, ends_at: Option<Nanos>) {
        if let Some(incident) = self.open.get(id) {
            let alert = self.alert_of(incident, ends_at);
            self.dispatcher.update(alert, at);
        }
    }

    fn alert_of(&self, incident: &OpenIncident, ends_at: Option<Nanos>) -> Alert {
        let values = [
            "incident",
            &incident.cluster,
            &incident.id,
            &incident.service,
            incident.severity().as_str(),
        ];
        let labels = LABELS.into_iter().zip(values);
        Alert {
            incident_id: incident.id.clone(),
            labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            title: title(&incident.view(None), &incident.service, &self.around.topology),
            annotations: incident.annotations.clone(),
            starts_at: incident.opened_at,
            ends_at,
        }
    }
}
