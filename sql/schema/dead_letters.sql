-- Input rows that could not be used, with their place and the reason.
-- version: 1
-- partition by: cluster
CREATE TABLE dead_letters (
    cluster TEXT NOT NULL,   -- cluster that the input belongs to
    stream  TEXT NOT NULL,   -- `metrics`, `logs`, `spans` or `changes`; of `expression` the first that the job reads
    file    TEXT NOT NULL,   -- file that the row came from; of `expression` that of the job
    line    BIGINT NOT NULL, -- 1-based line; the row number for Parquet
    rows    BIGINT NOT NULL, -- rows that this letter stands for: 1, except for a part of a file that is damaged, all of a window that a job cannot work with, and where very many were told: then the last letter of a file and reason stands for the rest
    reason  TEXT NOT NULL,   -- `bad_timestamp`, `bad_value`, `missing_field`, `malformed`, `too_long`, `damaged`, `late` or `future`; `expression` where the SQL of a job fails on it, or on what the job made of such rows: it goes on without it
    detail  TEXT NOT NULL,   -- what exactly is wrong and what to do about it
    text    TEXT NOT NULL    -- the row, escaped and cut; of a window the first
);
