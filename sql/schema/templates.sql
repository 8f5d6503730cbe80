-- What became of the ids of log templates that logs and signals name.
-- version: 1
-- partition by: cluster
-- key: template_id
-- latest by: moved_at, written
CREATE TABLE templates (
    cluster       TEXT NOT NULL,        -- cluster whose logs or signals name the id
    template_id   TEXT NOT NULL,        -- as logs.template_id has it, and signals.metric behind `log:`
    canonical_id  TEXT NOT NULL,        -- id of the template that its lines are part of now, after all merges; template_id itself where there was none
    template      TEXT NOT NULL,        -- text of that template, with `<*>` where lines differ
    first_seen_at TIMESTAMPTZ NOT NULL, -- event time of the first line of the run that was given template_id; of the merge that made the id, where it came first
    moved_at      TIMESTAMPTZ,          -- event time of the line that made canonical_id what it is; null where it is template_id and was from the beginning
    written       BIGINT                -- which write of the archive the row is of; of two with one moved_at the later counts
);
