//! An incident that is still open, as the archive has it: nobody has learned from it yet, but what
//! is like it can be asked for.

use faultline_storage::archive::Archive;

use super::case::Case;
use super::learned::{Columns, each};
use super::load::rows;
use crate::error::Result;
use crate::model::{Cause, Diagnosis, Evidence, Incident, IncidentState, Plan, Severity, Signal};

/// Strongest signals that are read.
const SIGNALS_MAX: usize = 1_000;

/// What the incident would be as a case if it were over now; `None` if the archive does not have
/// it. A live run archives an incident once it is diagnosed, some minutes after it opened.
pub async fn so_far(archive: &Archive, id: &str) -> Result<Option<Case>> {
    let of = format!("WHERE incident_id = '{}'", id.replace('\'', "''"));
    let found = rows(archive, "incidents", &format!("SELECT * FROM incidents {of}")).await?;
    let Some(batch) = found.iter().find(|batch| batch.num_rows() > 0) else { return Ok(None) };
    let row = Columns(batch);
    let incident = Incident {
        id: id.to_owned(),
        cluster: row.text("cluster", 0),
        state: IncidentState::Open,
        severity: Severity::default(),
        opened_at: row.time("opened_at", 0).unwrap_or_default(),
        started_at: row.time("started_at", 0).unwrap_or_default(),
        last_seen_at: row.time("last_seen_at", 0).unwrap_or_default(),
        closed_at: row.time("closed_at", 0),
        services: row.text("services", 0).split(';').map(str::to_owned).collect(),
        signals: signals(archive, &of).await?,
    };
    let diagnosis = Diagnosis {
        causes: causes(archive, &of).await?,
        evidence: changes(archive, &of).await?,
        ..Diagnosis::default()
    };
    let plan = Plan { incident_id: id.to_owned(), planned_at: incident.opened_at, steps: vec![] };
    Ok(Some(Case::so_far(&incident, &row.text("title", 0), &diagnosis, &plan)))
}

async fn signals(archive: &Archive, of: &str) -> Result<Vec<Signal>> {
    let sql =
        format!("SELECT * FROM signals {of} ORDER BY score DESC, signal_id LIMIT {SIGNALS_MAX}");
    let found = rows(archive, "signals", &sql).await?;
    Ok(each(&found, |columns, row| Signal {
        id: columns.text("signal_id", row),
        job: columns.text("job", row),
        severity: Severity::default(),
        cluster: columns.text("cluster", row),
        service: columns.text("service", row),
        instance: columns.text("instance", row),
        metric: columns.text("metric", row),
        window_start: columns.time("window_start", row).unwrap_or_default(),
        window_end: columns.time("window_end", row).unwrap_or_default(),
        score: columns.real("score", row),
        observed: columns.real("observed", row),
        expected: columns.real("expected", row),
        direction: columns.text("direction", row),
        predicted: columns.flag("predicted", row).unwrap_or_default(),
        detail: columns.text("detail", row),
    }))
}

async fn causes(archive: &Archive, of: &str) -> Result<Vec<Cause>> {
    let sql = format!("SELECT * FROM diagnoses {of} ORDER BY rank");
    let found = rows(archive, "diagnoses", &sql).await?;
    Ok(each(&found, |columns, row| Cause {
        service: columns.text("service", row),
        instance: columns.text("instance", row),
        kind: columns.text("kind", row),
        score: columns.real("score", row),
        confidence: columns.real("confidence", row),
        evidence_ids: Vec::new(),
        lanes: Vec::new(),
    }))
}

/// Of its evidence, what was changed: the only kind that is searched for.
async fn changes(archive: &Archive, of: &str) -> Result<Vec<Evidence>> {
    let sql = format!("SELECT * FROM evidence {of} AND kind = 'change' ORDER BY evidence_id");
    let found = rows(archive, "evidence", &sql).await?;
    Ok(each(&found, |columns, row| Evidence {
        kind: columns.text("kind", row),
        service: columns.text("service", row),
        statement: columns.text("statement", row),
        ..Evidence::default()
    }))
}

#[cfg(test)]
mod tests {
    use faultline_storage::archive::Open;

    use super::*;
    use crate::knowledge::samples::two_cases;
    use crate::knowledge::{ClosedCase, Outbox, Writer, table_specs};

    #[tokio::test]
    async fn an_open_incident_is_asked_for_like_its_case_later() {
        let closed = &two_cases()[0];
        let later = closed.known().unwrap();
        let state = IncidentState::Open;
        let incident = Incident { state, closed_at: None, ..closed.incident.clone() };
        let mut signals: Vec<_> =
            incident.signals.iter().map(|s| (s.clone(), Some(incident.id.clone()))).collect();
        signals.push((Signal { id: "other".into(), ..signals[0].0.clone() }, None));
        let mut outbox = Outbox::default();
        outbox.case(&ClosedCase { incident, ..closed.clone() }).unwrap();
        outbox.signals(&signals).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let writer = Writer::open(dir.path()).await.unwrap();
        writer.append("test", 1, outbox).await.unwrap();

        let specs = table_specs().unwrap();
        let archive = Archive::open(dir.path(), specs, Open::ReadOnly).await.unwrap();
        let now = so_far(&archive, &later.incident_id).await.unwrap().unwrap();
        assert_eq!(now.fingerprint, later.fingerprint);
        assert_eq!((&now.title, &now.services), (&later.title, &later.services));
        assert!(later.text.starts_with(&now.text), "{}\n{}", now.text, later.text);
        assert_eq!(so_far(&archive, "inc'x").await.unwrap(), None);
    }
}
