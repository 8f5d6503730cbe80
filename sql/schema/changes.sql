-- Changes to the system around each incident.
-- version: 1
-- partition by: cluster, day
-- written together: incident_id
CREATE TABLE changes (
    cluster        TEXT NOT NULL,        -- cluster of the incident and of the row
    day            TEXT NOT NULL,        -- UTC day of the incident's opened_at, YYYY-MM-DD
    incident_id    TEXT NOT NULL,        -- incident that the rows are kept for; a row near two incidents is kept for each
    ts             TIMESTAMPTZ NOT NULL, -- event time, microseconds
    service        TEXT NOT NULL,        -- service that the row is about
    kind           TEXT NOT NULL,        -- `deploy`, `config`, `scale`, `node` or `event`
    object         TEXT NOT NULL,        -- what was changed, such as a deployment's name
    actor          TEXT NOT NULL,        -- who changed it; may be empty
    detail         TEXT NOT NULL,        -- what the change was; may be empty
    written        BIGINT                -- which write of the archive the row is of; of two for one row the later counts
);
