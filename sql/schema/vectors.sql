-- Vectors of cases and sections of runbooks.
-- version: 1
-- partition by: cluster
-- key: model, vector_id
CREATE TABLE vectors (
    cluster   TEXT NOT NULL,    -- cluster of the first text that had it
    model     TEXT NOT NULL,    -- what made it: `hashed-tfidf-2` is built in, any other is the model of an [embeddings] endpoint
    vector_id TEXT NOT NULL,    -- derived from the text; cases.vector_id and runbooks.vector_id
    vector    DOUBLE[] NOT NULL -- its numbers; for the built-in model frequencies of hashed words, before rarity
);
