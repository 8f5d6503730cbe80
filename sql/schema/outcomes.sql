-- What became of actions that were carried out; empty while everything is a dry run.
-- version: 1
-- partition by: cluster, day
-- key: incident_id, action_id
-- latest by: decided_at
CREATE TABLE outcomes (
    cluster      TEXT NOT NULL,        -- cluster of the incident
    day          TEXT NOT NULL,        -- UTC day of the incident's opened_at, YYYY-MM-DD
    incident_id  TEXT NOT NULL,        -- incident that the action was for
    action_id    TEXT NOT NULL,        -- actions.action_id
    decided_at   TIMESTAMPTZ NOT NULL, -- event time of the windows that decided
    result       TEXT NOT NULL,        -- `verified`, `not verified`, `rolled back` or `failed`
    detail       TEXT NOT NULL,        -- what the detectors said afterwards, or why it failed
    evidence_ids TEXT[] NOT NULL       -- evidence.evidence_id of the windows that decided
);
