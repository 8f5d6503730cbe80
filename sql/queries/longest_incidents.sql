-- Which incidents took longest?
-- Minutes from the first abnormal window to the close, with the cause that was found.
SELECT
    incident_id,
    title,
    severity,
    started_at,
    (extract(epoch FROM closed_at) - extract(epoch FROM started_at)) / 60 AS minutes,
    root_service,
    root_kind,
    signal_count
FROM incidents
WHERE closed_at IS NOT NULL
ORDER BY minutes DESC, incident_id
LIMIT 10;
