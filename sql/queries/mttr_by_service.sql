-- How long do incidents last, by the service that caused them?
-- MTTR is counted from the first abnormal window to the close of the incident, in minutes. A median
-- far below the mean means that a few long incidents dominate: look at longest_incidents.
SELECT
    root_service,
    count(*) AS incidents,
    avg(extract(epoch FROM closed_at) - extract(epoch FROM started_at)) / 60 AS mttr_minutes,
    median(extract(epoch FROM closed_at) - extract(epoch FROM started_at)) / 60 AS median_minutes
FROM incidents
WHERE closed_at IS NOT NULL AND root_service IS NOT NULL
GROUP BY root_service
ORDER BY mttr_minutes DESC, root_service;
