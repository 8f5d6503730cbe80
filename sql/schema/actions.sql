-- Proposed actions, one row per step of a plan.
-- version: 1
-- partition by: cluster, day
-- key: incident_id, action_id
-- written together: incident_id
CREATE TABLE actions (
    cluster         TEXT NOT NULL,        -- cluster of the incident
    day             TEXT NOT NULL,        -- UTC day of the incident's opened_at, YYYY-MM-DD
    incident_id     TEXT NOT NULL,        -- incident that the plan is for
    action_id       TEXT NOT NULL,        -- stable identifier of the step
    step            BIGINT NOT NULL,      -- position in the plan, from 1
    planned_at      TIMESTAMPTZ NOT NULL, -- event time of the plan
    status          TEXT NOT NULL,        -- `proposed (dry run)`: nothing was carried out
    kind            TEXT NOT NULL,        -- kind of action, such as `rollout_restart` or `roll_back`; `investigate` asks for a person
    target          TEXT NOT NULL,        -- service, or node for `cordon`, that the action is aimed at
    risk            TEXT NOT NULL,        -- `low`, `medium` or `high`
    reversible      BOOLEAN NOT NULL,     -- whether the action has an inverse
    reason          TEXT NOT NULL,        -- why, citing the evidence
    expected_effect TEXT NOT NULL,        -- what should be seen if the diagnosis is right
    evidence_ids    TEXT[] NOT NULL,      -- evidence.evidence_id of the facts that the step rests on
    action          TEXT NOT NULL,        -- the typed action as JSON
    written         BIGINT                -- which write of the archive the row is of; of two for one row the later counts
);
