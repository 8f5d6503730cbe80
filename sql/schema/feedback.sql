-- What people said about incidents, that is their true cause and whether the explanation helped.
-- version: 2
-- partition by: cluster, day
-- key: incident_id, number
CREATE TABLE feedback (
    cluster     TEXT NOT NULL,   -- cluster of the incident
    day         TEXT NOT NULL,   -- UTC day of the incident's opened_at, YYYY-MM-DD
    incident_id TEXT NOT NULL,   -- incident that it is about
    number      BIGINT NOT NULL, -- from 1 within the incident; of two causes the later one counts, and of one person only the last word
    cause       TEXT,            -- service that was the cause; null where none was named
    helpful     BOOLEAN,         -- whether diagnosis and plan helped; null where not said
    note        TEXT NOT NULL,   -- anything else; may be empty
    given_by    TEXT,            -- who said so; empty where not said, null in rows of older versions
    given_at    TIMESTAMPTZ      -- when it was said, by the clock of who recorded it; null in rows of older versions
);
