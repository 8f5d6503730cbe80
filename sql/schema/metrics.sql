-- Raw metric samples around each incident.
-- version: 1
-- partition by: cluster, day
-- written together: incident_id
CREATE TABLE metrics (
    cluster        TEXT NOT NULL,        -- cluster of the incident and of the row
    day            TEXT NOT NULL,        -- UTC day of the incident's opened_at, YYYY-MM-DD
    incident_id    TEXT NOT NULL,        -- incident that the rows are kept for; a row near two incidents is kept for each
    ts             TIMESTAMPTZ NOT NULL, -- event time, microseconds
    service        TEXT NOT NULL,        -- service that the row is about
    instance       TEXT NOT NULL,        -- instance; empty for the service as a whole
    metric         TEXT NOT NULL,        -- metric name
    labels         TEXT NOT NULL,        -- further labels as the source gave them; may be empty
    value          DOUBLE NOT NULL,      -- sample, in the unit of the metric
    written        BIGINT                -- which write of the archive the row is of; of two for one row the later counts
);
