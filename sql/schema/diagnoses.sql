-- Ranked causes, one row per cause; an incident where nothing stood out has none.
-- version: 1
-- partition by: cluster, day
-- key: incident_id, rank
-- written together: incident_id
CREATE TABLE diagnoses (
    cluster      TEXT NOT NULL,        -- cluster of the incident
    day          TEXT NOT NULL,        -- UTC day of the incident's opened_at, YYYY-MM-DD
    incident_id  TEXT NOT NULL,        -- incident that is explained
    diagnosed_at TIMESTAMPTZ NOT NULL, -- event time up to which telemetry was read
    method       TEXT NOT NULL,        -- `statistical`, or `llm` where a language model ranked again
    rank         BIGINT NOT NULL,      -- 1 for the most likely cause
    service      TEXT NOT NULL,        -- service that is held to be the cause
    instance     TEXT NOT NULL,        -- instance; empty for the service as a whole
    kind         TEXT NOT NULL,        -- kind of fault, such as `cpu`, `memory`, `network_delay`, or `unknown`
    score        DOUBLE NOT NULL,      -- strength, 0 to 1, comparable within one diagnosis only
    confidence   DOUBLE NOT NULL,      -- 0 to 1, comparable between diagnoses
    evidence_ids TEXT[] NOT NULL,      -- evidence.evidence_id of the facts that the cause rests on; use array_has(evidence_ids, …)
    lanes        TEXT[],               -- what the score is made of, the most first: a line of evidence (metrics, onset, graph, spans, logs, changes) and its part
    tokens       BIGINT NOT NULL,      -- tokens that a language model read and wrote for the diagnosis; 0 without one
    cost_usd     DOUBLE NOT NULL,      -- money that the diagnosis cost, in US dollars; 0 without a model
    latency_ms   BIGINT,               -- time that the model took, in milliseconds of wall clock; null without one
    written      BIGINT                -- which write of the archive the row is of; of two for one row the later counts
);
