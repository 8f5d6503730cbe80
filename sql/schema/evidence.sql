-- Citable facts about incidents; diagnoses and actions name them by evidence_id.
-- version: 1
-- partition by: cluster, day
-- key: incident_id, evidence_id
-- written together: incident_id
CREATE TABLE evidence (
    cluster     TEXT NOT NULL,        -- cluster of the incident
    day         TEXT NOT NULL,        -- UTC day of the incident's opened_at, YYYY-MM-DD
    incident_id TEXT NOT NULL,        -- incident that the fact is about
    evidence_id TEXT NOT NULL,        -- identifier that evidence_ids of other tables cite; unique within an incident
    kind        TEXT NOT NULL,        -- `metric`, `log`, `span`, `edge`, `change`, `case` or `runbook`
    service     TEXT NOT NULL,        -- service that the fact is about
    instance    TEXT NOT NULL,        -- instance; empty for the service as a whole
    subject     TEXT NOT NULL,        -- what was looked at: metric name, template, "lines" for all that a service logs, operation, changed object
    statement   TEXT NOT NULL,        -- one sentence for a person
    from_ts     TIMESTAMPTZ NOT NULL, -- start of the time looked at, inclusive, event time
    to_ts       TIMESTAMPTZ NOT NULL, -- end of the time looked at, exclusive
    observed    DOUBLE NOT NULL,      -- what was seen, in the unit of the subject; of a metric the median of the half of the window that deviates most
    expected    DOUBLE NOT NULL,      -- what would have been normal, in the unit of the subject; of a metric the median before, of which the archive may keep less
    sql         TEXT NOT NULL,        -- query over this archive that returns the rows behind the fact; may be empty
    written     BIGINT                -- which write of the archive the row is of; of two for one row the later counts
);
