-- Closed incidents as knowledge, with what they looked like, why, and what was proposed.
-- version: 1
-- partition by: cluster, day
-- key: incident_id
-- latest by: written, closed_at
CREATE TABLE cases (
    cluster      TEXT NOT NULL,        -- cluster of the incident
    day          TEXT NOT NULL,        -- UTC day of the incident's opened_at, YYYY-MM-DD
    incident_id  TEXT NOT NULL,        -- incidents.incident_id
    opened_at    TIMESTAMPTZ NOT NULL, -- event time at which the incident opened
    closed_at    TIMESTAMPTZ NOT NULL, -- event time at which it closed; later incidents may find the case
    title        TEXT NOT NULL,        -- one line for a person
    services     TEXT[] NOT NULL,      -- services with signals, sorted
    root_service TEXT NOT NULL,        -- service of the first ranked cause; empty where nothing stood out; feedback.cause corrects it
    root_kind    TEXT NOT NULL,        -- kind of the first ranked cause; `unknown` where nothing stood out
    fingerprint  TEXT[] NOT NULL,      -- exact terms by which like incidents are found, sorted
    actions      TEXT[] NOT NULL,      -- what was proposed, one line each
    text         TEXT NOT NULL,        -- what is searched for words
    vector_id    TEXT NOT NULL,        -- vectors.vector_id of the text
    written      BIGINT                -- which write of the archive the row is of; of two for one row the later counts
);
