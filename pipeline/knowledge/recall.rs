//! What is known of old about an incident: past cases and runbooks become evidence of its
//! diagnosis, and the prose of runbooks is laid out for the language model.

use super::{Fitting, Library, Question, Similar, described, names_of};
use crate::diagnose::advise::Passage;
use crate::diagnose::sql::literal;
use crate::error::Result;
use crate::model::{Diagnosis, Evidence, Incident, stable_id};

/// Past cases and sections of runbooks that an incident is told with, and how many are looked at
/// for those that fit well enough.
const CASES: usize = 3;
const SECTIONS: usize = 3;
const CONSIDERED: usize = 20;

/// A case is cited from this likeness of fingerprints on; see docs/knowledge.md.
const CASE_LIKENESS: f64 = 0.5;

/// A section that names nothing of the incident is cited from this cosine on.
const SECTION_LIKENESS: f64 = 0.35;

/// The kinds of evidence that come from here.
const CASE: &str = "case";
const RUNBOOK: &str = "runbook";

/// Adds what is known about `incident` to its diagnosis. The order of causes stays: they cite the
/// cases in which the same service was to blame.
pub fn recall(
    library: &mut Library,
    incident: &Incident,
    title: &str,
    diagnosis: &mut Diagnosis,
) -> Result<()> {
    let (text, fingerprint) = described(incident, title, diagnosis);
    let names = names_of(incident, &fingerprint);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let question = Question::of_case(&text, &fingerprint, &names, incident.opened_at);
    let similar = library.similar(&question, CONSIDERED)?;
    let alike = similar.iter().filter(|s| s.likeness >= CASE_LIKENESS);
    for found in alike.take(CASES) {
        let fact = of_case(&incident.id, found);
        let same = diagnosis.causes.iter_mut().find(|c| c.service == fact.service);
        if let Some(cause) = same {
            cause.evidence_ids.push(fact.id.clone());
        }
        diagnosis.evidence.push(fact);
    }
    let fitting = library.fitting(&question, CONSIDERED)?;
    let about = fitting.iter().filter(|f| f.named || f.likeness >= SECTION_LIKENESS);
    for found in about.take(SECTIONS) {
        let fact = of_section(incident, found);
        diagnosis.evidence.push(fact);
    }
    Ok(())
}

/// The prose of the sections that a diagnosis cites.
pub fn passages(library: &Library, diagnosis: &Diagnosis) -> Vec<Passage> {
    let cited = diagnosis.evidence.iter().filter(|e| e.kind == RUNBOOK);
    let prose = cited.filter_map(|e| {
        let passage = library.passage(&e.id)?;
        let text = format!("{}\n{}\n\n{}", passage.title, passage.heading, passage.text);
        Some(Passage { evidence_id: e.id.clone(), text })
    });
    prose.collect()
}

fn of_case(incident_id: &str, found: &Similar) -> Evidence {
    let case = &found.case;
    let times =
        if found.times > 1 { format!(", {} times so far", found.times) } else { String::new() };
    let cause = match case.root_service.is_empty() {
        true => "its cause stayed unknown".to_owned(),
        false => format!("its cause was held to be {} ({})", case.root_service, case.root_kind),
    };
    let judged = match (found.record.right(), found.record.wrong()) {
        (0, 0) => String::new(),
        (right, wrong) => format!(", found right {right} and wrong {wrong} times"),
    };
    let action = case.actions.first().map(|a| format!("; proposed then: {a}")).unwrap_or_default();
    let sql = format!(
        "SELECT incident_id, opened_at, closed_at, title, root_service AS service, root_kind, \
         actions, (SELECT cause FROM feedback WHERE incident_id = {id} AND cause IS NOT NULL \
         ORDER BY number DESC LIMIT 1) AS cause_given FROM cases WHERE incident_id = {id} AND \
         cluster = {}",
        literal(&case.cluster),
        id = literal(&case.incident_id),
    );
    Evidence {
        id: stable_id(&[CASE, &case.incident_id]),
        incident_id: incident_id.to_owned(),
        kind: CASE.to_owned(),
        service: case.root_service.clone(),
        instance: String::new(),
        subject: case.incident_id.clone(),
        statement: format!(
            "like incident {} ({:.2}){times}: {cause}{judged}{action}",
            case.incident_id, found.likeness
        ),
        from: case.opened_at,
        to: case.closed_at,
        observed: found.likeness,
        expected: 0.0,
        sql,
    }
}

fn of_section(incident: &Incident, found: &Fitting) -> Evidence {
    let passage = &found.passage;
    let place = match passage.heading.is_empty() {
        true => passage.title.clone(),
        false => format!("{}: {}", passage.title, passage.heading),
    };
    let sql = format!(
        "SELECT collection, source, heading, text FROM runbooks WHERE section_id = {}",
        literal(&passage.id)
    );
    Evidence {
        id: passage.id.clone(),
        incident_id: incident.id.clone(),
        kind: RUNBOOK.to_owned(),
        // What it is about, as far as it is about a service of this incident.
        service: passage
            .services
            .iter()
            .find(|s| incident.services.contains(s))
            .cloned()
            .unwrap_or_default(),
        instance: String::new(),
        subject: format!("{}/{}", passage.collection, passage.source),
        statement: format!("{} {place} ({})", passage.kind, passage.source),
        from: incident.started_at,
        to: incident.opened_at,
        observed: found.likeness,
        expected: 0.0,
        sql,
    }
}
