-- Calls of a language model about incidents, one row per call, made or skipped; none without a model.
-- version: 1
-- partition by: cluster, day
-- key: incident_id, round
-- latest by: written, asked_at
CREATE TABLE llm_calls (
    cluster     TEXT NOT NULL,        -- cluster of the incident
    day         TEXT NOT NULL,        -- UTC day of the incident's opened_at, YYYY-MM-DD
    incident_id TEXT NOT NULL,        -- incident that was asked about; for `faultline diagnose`, an id of the asking
    asked_at    TIMESTAMPTZ NOT NULL, -- event time of the diagnosis that the model was to rank again
    round       BIGINT NOT NULL,      -- 1 for the first call about the incident
    model       TEXT NOT NULL,        -- name of the model
    verdict     TEXT NOT NULL,        -- `accepted`, `unknown` (the model cannot tell), `asked` (for more evidence), `rejected`, `failed`, or `skipped` (it was not asked)
    detail      TEXT NOT NULL,        -- why it was rejected, skipped or has failed; may be empty
    prompt_hash TEXT NOT NULL,        -- BLAKE3 of the request, by which recorded answers are found
    prompt      TEXT NOT NULL,        -- the request as it was sent, or would have been: redacted, names as pseudonyms
    answer      TEXT NOT NULL,        -- what the model wrote, with names in place of pseudonyms; empty where the call failed
    tokens      BIGINT NOT NULL,      -- tokens read and written; where the endpoint does not say, the most that it can have been
    cost_usd    DOUBLE NOT NULL,      -- their price in US dollars
    latency_ms  BIGINT NOT NULL,      -- time until the answer or the failure, retries included, in milliseconds of wall clock; 0 from the cache and where it was skipped
    flagged     BIGINT NOT NULL,      -- facts of the incident whose text looks as if written for a model; none was sent as text
    written     BIGINT                -- which write of the archive the row is of; of two for one row the later counts
);
