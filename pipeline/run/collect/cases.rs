//! Incidents from their opening to their end: when they are diagnosed, and who is told of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Collector;
use crate::coordinate;
use crate::diagnose::advise::Refined;
use crate::error::Result;
use crate::knowledge::ClosedCase;
use crate::model::{Diagnosis, Incident, MINUTE, Nanos};
use crate::monitor::correlate::Input;
use crate::monitor::title::title;

/// Length of the abnormal window that a diagnosis reads, from the first abnormal window on.
pub(super) const DIAGNOSIS_WINDOW: Nanos = 5 * MINUTE;

/// An open incident and what is known about its cause so far.
#[derive(Serialize, Deserialize)]
pub(super) struct Waiting {
    pub incident: Incident,
    pub diagnosis: Option<Diagnosis>,
    /// Event time at which it is diagnosed, or diagnosed again; `None` if it would learn no more.
    pub due: Option<Nanos>,
    /// People have seen it.
    shown: bool,
    /// The archive has it with this diagnosis.
    pub told: bool,
}

impl Waiting {
    pub(super) fn new(incident: Incident) -> Self {
        let due = Some(incident.opened_at + DIAGNOSIS_WINDOW);
        Self { incident, diagnosis: None, due, shown: false, told: false }
    }

    /// Takes a diagnosis and tells whether it stands. One that was made before its window was over
    /// is made once more then: where metrics come every few minutes, the first minutes hold a
    /// sample or two. Nothing that was found is given up for finding nothing.
    fn learn(&mut self, diagnosis: Diagnosis) -> bool {
        let Diagnosis { diagnosed_at, complete_at, .. } = diagnosis;
        self.due = (complete_at > diagnosed_at).then_some(complete_at);
        let found = self.diagnosis.as_ref().is_some_and(|before| !before.causes.is_empty());
        let stands = !diagnosis.causes.is_empty() || !found;
        if stands {
            self.told = false;
            self.diagnosis = Some(diagnosis);
        }
        stands
    }
}

impl Collector {
    pub(super) async fn close(&mut self, incident: Incident, signal_count: u64) -> Result<()> {
        self.report.incidents += 1;
        self.remember(&incident);
        let known = self.waiting.remove(&incident.id);
        let mut waiting = known.unwrap_or_else(|| Waiting::new(incident.clone()));
        let until = incident.closed_at.unwrap_or(self.reached);
        self.renew(&mut waiting, &incident, until).await?;
        let refined = self.refined(&waiting, &incident, true).await;
        let case = self.case(incident, signal_count, refined, &waiting)?;
        if let Some(known) = case.known() {
            self.library.add_case(known, Vec::new());
        }
        self.tell(case, true);
        Ok(())
    }

    /// Shows an incident to people and, if the archive is to get it now, keeps it for that. What
    /// the archive has yet to get of it is outdated where this one is complete.
    fn tell(&mut self, case: ClosedCase, archived: bool) {
        self.observer.case(&case);
        if archived {
            if !case.retold {
                self.cases.retain(|earlier| earlier.incident.id != case.incident.id);
            }
            self.cases.push(case);
        }
    }

    /// An incident as it stands now, for people and the archive.
    fn case(
        &self,
        incident: Incident,
        signal_count: u64,
        refined: Refined,
        &Waiting { shown, told: retold, .. }: &Waiting,
    ) -> Result<ClosedCase> {
        let Refined { diagnosis, calls } = refined;
        let changes = self.recent_changes(&incident)?;
        let plan = coordinate::plan(&incident, &diagnosis, &changes);
        let title = self.title(&incident, &diagnosis);
        let slices = self.pinned(&incident, &diagnosis)?;
        Ok(ClosedCase {
            incident,
            title,
            signal_count,
            diagnosis,
            calls,
            plan,
            slices,
            shown,
            retold,
        })
    }

    /// Named after the likeliest cause among those that were seen to be abnormal.
    pub(super) fn title(&self, incident: &Incident, diagnosis: &Diagnosis) -> String {
        let causes = diagnosis.causes.iter().map(|cause| &cause.service);
        let seen = causes.filter(|service| incident.services.contains(service));
        let main = seen.chain(&incident.services).map(String::as_str).next().unwrap_or_default();
        title(incident, main, self.correlator.topology())
    }

    /// Diagnoses an incident whose first minutes are over. Who watches live need not wait for its
    /// end to read it.
    pub(super) async fn diagnose(&mut self, id: &str, due: Nanos) -> Result<()> {
        let open = self.correlator.open_incidents().find(|(incident, _)| incident.id == id);
        if let (true, Some((incident, signals))) = (self.options.live, open) {
            return self.tell_open(incident, signals, due, false).await;
        }
        let Some(mut waiting) = self.waiting.remove(id) else { return Ok(()) };
        let incident = waiting.incident.clone();
        self.renew(&mut waiting, &incident, due).await?;
        self.waiting.insert(id.to_owned(), waiting);
        Ok(())
    }

    /// Diagnoses an incident, by what is known up to `until`, unless that would bring nothing new;
    /// tells whether its diagnosis is another now.
    async fn renew(
        &mut self,
        waiting: &mut Waiting,
        incident: &Incident,
        until: Nanos,
    ) -> Result<bool> {
        let Some(due) = waiting.due else { return Ok(false) };
        let until = due.min(until);
        if waiting.diagnosis.as_ref().is_some_and(|known| known.diagnosed_at >= until) {
            return Ok(false);
        }
        let diagnosis = self.explain(incident, until).await?;
        Ok(waiting.learn(diagnosis))
    }

    /// The diagnosis, with what a model has made of it if the archive is to get it now.
    async fn refined(&self, waiting: &Waiting, incident: &Incident, archived: bool) -> Refined {
        let diagnosis = waiting.diagnosis.clone().unwrap_or_default();
        if !archived || waiting.told {
            return Refined { diagnosis, calls: Vec::new() };
        }
        let beside = self.beside(&diagnosis);
        self.refiner.finish(incident, diagnosis, beside).await
    }

    /// Tells of an incident while it is open. Where a model ranks its causes again, the archive
    /// waits for the answer: until the incident is over, or the run stops.
    pub(super) async fn tell_open(
        &mut self,
        incident: Incident,
        signal_count: u64,
        until: Nanos,
        stopping: bool,
    ) -> Result<()> {
        let known = self.waiting.remove(&incident.id);
        let mut waiting = known.unwrap_or_else(|| Waiting::new(incident.clone()));
        if self.renew(&mut waiting, &incident, until).await?
            && let Some(diagnosis) = &waiting.diagnosis
        {
            self.refiner.submit(&incident, diagnosis, self.beside(diagnosis));
        }
        let archived = stopping || !self.refiner.asks();
        let refined = self.refined(&waiting, &incident, archived).await;
        waiting.diagnosis = Some(refined.diagnosis.clone());
        let case = self.case(incident, signal_count, refined, &waiting)?;
        self.correlator.step(Input::Explained {
            at: self.reached,
            incident_id: case.incident.id.clone(),
            annotations: annotations(&case),
        });
        waiting.told |= archived;
        waiting.shown = true;
        self.waiting.insert(case.incident.id.clone(), waiting);
        self.tell(case, archived);
        Ok(())
    }
}

/// What a receiver of notifications reads first: the likeliest cause, what speaks for it, and what
/// may be done.
fn annotations(case: &ClosedCase) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    let Some(cause) = case.diagnosis.causes.first() else { return out };
    let who = if cause.instance.is_empty() { &cause.service } else { &cause.instance };
    let text = format!("{who}: {} (confidence {:.2})", cause.kind, cause.confidence);
    out.insert("cause".to_owned(), text);
    let cited = cause.evidence_ids.first();
    let evidence = cited.and_then(|id| case.diagnosis.evidence.iter().find(|e| e.id == *id));
    out.extend(evidence.map(|e| ("evidence".to_owned(), e.statement.clone())));
    let step = case.plan.steps.first();
    out.extend(step.map(|step| ("proposed".to_owned(), step.action.to_string())));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::knowledge::samples::two_cases;

    #[test]
    fn what_was_diagnosed_early_is_diagnosed_again_when_its_window_is_over() {
        let case = &two_cases()[0];
        let mut waiting = Waiting::new(case.incident.clone());
        let first = case.incident.opened_at + DIAGNOSIS_WINDOW;
        assert_eq!(waiting.due, Some(first));
        let over = first + 20 * MINUTE;
        let early = Diagnosis { diagnosed_at: first, complete_at: over, ..case.diagnosis.clone() };
        assert!(waiting.learn(early.clone()));
        assert_eq!(waiting.due, Some(over));
        waiting.told = true;
        let whole = Diagnosis { diagnosed_at: over, ..early };
        assert!(waiting.learn(whole.clone()));
        assert_eq!((waiting.due, waiting.told), (None, false));
        assert_eq!(waiting.diagnosis, Some(whole));
    }

    #[test]
    fn what_was_found_is_not_given_up_for_finding_nothing() {
        let case = &two_cases()[0];
        let mut waiting = Waiting::new(case.incident.clone());
        assert!(waiting.learn(case.diagnosis.clone()));
        waiting.told = true;
        assert!(!waiting.learn(Diagnosis { causes: Vec::new(), ..case.diagnosis.clone() }));
        assert!(waiting.told);
        assert_eq!(waiting.diagnosis.as_ref(), Some(&case.diagnosis));
    }
}
