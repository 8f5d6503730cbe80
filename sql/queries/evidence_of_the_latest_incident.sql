-- On what does the diagnosis of the latest incident rest?
-- One row per cited fact, best cause first. The column `sql` of table evidence holds a query that
-- returns the rows behind it.
WITH latest AS (
    SELECT incident_id FROM incidents ORDER BY opened_at DESC, incident_id LIMIT 1
)
SELECT
    d.rank,
    d.service AS cause,
    d.kind AS cause_kind,
    d.confidence,
    e.evidence_id,
    e.kind,
    e.statement,
    e.observed,
    e.expected
FROM diagnoses AS d
JOIN latest AS l ON l.incident_id = d.incident_id
JOIN evidence AS e ON e.incident_id = d.incident_id AND array_has(d.evidence_ids, e.evidence_id)
ORDER BY d.rank, e.evidence_id;
