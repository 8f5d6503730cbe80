-- Raw spans around each incident.
-- version: 1
-- partition by: cluster, day
-- written together: incident_id
CREATE TABLE spans (
    cluster        TEXT NOT NULL,        -- cluster of the incident and of the row
    day            TEXT NOT NULL,        -- UTC day of the incident's opened_at, YYYY-MM-DD
    incident_id    TEXT NOT NULL,        -- incident that the rows are kept for; a row near two incidents is kept for each
    ts             TIMESTAMPTZ NOT NULL, -- event time, microseconds
    service        TEXT NOT NULL,        -- service that the row is about
    instance       TEXT NOT NULL,        -- instance; empty for the service as a whole
    operation      TEXT NOT NULL,        -- what the span did
    status         TEXT NOT NULL,        -- status as the source gave it
    trace_id       TEXT NOT NULL,        -- trace of the span
    span_id        TEXT NOT NULL,        -- identifier of the span
    parent_span_id TEXT NOT NULL,        -- span that called; empty for a root
    caller         TEXT,                 -- other service that called: that of the parent span; empty for roots and within a service
    duration_us    BIGINT NOT NULL,      -- duration in microseconds
    written        BIGINT                -- which write of the archive the row is of; of two for one row the later counts
);
