-- Incidents, one row each; of a live run also those that are still open, once they are diagnosed.
-- version: 1
-- partition by: cluster, day
-- key: incident_id
-- latest by: written, closed_at
CREATE TABLE incidents (
    cluster         TEXT NOT NULL,        -- cluster that the incident happened in; `default` where telemetry names none
    day             TEXT NOT NULL,        -- UTC day of opened_at, YYYY-MM-DD
    incident_id     TEXT NOT NULL,        -- stable: derived from the signal that opened it
    opened_at       TIMESTAMPTZ NOT NULL, -- event time at which the opening signal became known
    started_at      TIMESTAMPTZ NOT NULL, -- start of the earliest abnormal window; opened_at - started_at is the time to detection
    last_seen_at    TIMESTAMPTZ NOT NULL, -- end of the latest abnormal window
    closed_at       TIMESTAMPTZ,          -- event time at which it closed; null while open
    state           TEXT NOT NULL,        -- `open` or `closed`
    severity        TEXT NOT NULL,        -- `info`, `warning` or `critical`: the worst of its signals
    title           TEXT NOT NULL,        -- one line for a person
    services        TEXT NOT NULL,        -- services with signals, sorted, joined by `;`; use string_to_array(services, ';')
    root_service    TEXT,                 -- service of the first ranked cause; null where nothing stood out
    root_instance   TEXT,                 -- instance of the first ranked cause; empty where the cause is the whole service
    root_kind       TEXT NOT NULL,        -- kind of the first ranked cause, such as `cpu` or `network_delay`; `unknown` where nothing stood out
    root_confidence DOUBLE,               -- confidence in the first ranked cause, 0 to 1
    signal_count    BIGINT NOT NULL,      -- signals that belong to the incident, as many as `signals` has of it once it is closed
    written         BIGINT                -- which write of the archive the row is of; of two for one row the later counts
);
