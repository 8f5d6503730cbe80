-- Raw log lines around each incident.
-- version: 1
-- partition by: cluster, day
-- written together: incident_id
CREATE TABLE logs (
    cluster        TEXT NOT NULL,        -- cluster of the incident and of the row
    day            TEXT NOT NULL,        -- UTC day of the incident's opened_at, YYYY-MM-DD
    incident_id    TEXT NOT NULL,        -- incident that the rows are kept for; a row near two incidents is kept for each
    ts             TIMESTAMPTZ NOT NULL, -- event time, microseconds
    service        TEXT NOT NULL,        -- service that the row is about
    instance       TEXT NOT NULL,        -- instance; empty for the service as a whole
    severity       TEXT NOT NULL,        -- severity, normalised by the source
    body           TEXT NOT NULL,        -- the line, control characters escaped, cut at 64 KiB
    template_id    TEXT NOT NULL,        -- identifier of the line's template; signals name it as `log:<template id>`
    template       TEXT NOT NULL,        -- the line with its variable parts masked
    trace_id       TEXT NOT NULL,        -- trace that the line belongs to; may be empty
    span_id        TEXT NOT NULL,        -- span that the line belongs to; may be empty
    written        BIGINT                -- which write of the archive the row is of; of two for one row the later counts
);
