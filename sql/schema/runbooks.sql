-- Sections of imported runbooks and postmortems.
-- version: 2
-- partition by: cluster
-- key: section_id
-- latest by: revision
-- gone where: removed
CREATE TABLE runbooks (
    cluster    TEXT NOT NULL,    -- cluster that they were imported for; incidents of all clusters find them
    section_id TEXT NOT NULL,    -- stable: derived from collection, source and heading, and from the cluster where it is not `default`
    collection TEXT NOT NULL,    -- name under which the directory was imported
    source     TEXT NOT NULL,    -- path of the document within that directory
    section    BIGINT NOT NULL,  -- position within the document, from 1
    kind       TEXT NOT NULL,    -- `runbook` or `postmortem`
    title      TEXT NOT NULL,    -- title of the document
    heading    TEXT NOT NULL,    -- headings above the section, outermost first, joined by ` > `; may be empty
    text       TEXT NOT NULL,    -- the section without markup
    alerts     TEXT[] NOT NULL,  -- alert names that the document is about
    services   TEXT[] NOT NULL,  -- services that its front matter names
    tags       TEXT[] NOT NULL,  -- tags that its front matter names
    dated      TIMESTAMPTZ,      -- date of its last revision as its front matter has it; null where it has none
    hash       TEXT NOT NULL,    -- BLAKE3 of the document, by which an import knows what has changed
    vector_id  TEXT NOT NULL,    -- vectors.vector_id of the section
    revision   BIGINT NOT NULL,  -- number of the import that wrote the row
    removed    BOOLEAN NOT NULL, -- true once the section is no longer in its directory; such rows are not shown
    root       TEXT              -- directory that the collection was read from; null in rows of older versions
);
