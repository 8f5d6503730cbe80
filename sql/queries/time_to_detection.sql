-- How long does it take from the first abnormal window to an open incident?
-- In seconds, by the job whose signal was the first to be known. Long detection times of one job
-- usually mean that its window is wide.
WITH first_signals AS (
    SELECT
        incident_id,
        job,
        row_number() OVER (PARTITION BY incident_id ORDER BY window_end, signal_id) AS nth
    FROM signals
    WHERE incident_id IS NOT NULL
)
SELECT
    f.job AS first_job,
    count(*) AS incidents,
    median(extract(epoch FROM i.opened_at) - extract(epoch FROM i.started_at)) AS median_seconds,
    max(extract(epoch FROM i.opened_at) - extract(epoch FROM i.started_at)) AS longest_seconds
FROM incidents AS i
JOIN first_signals AS f ON f.incident_id = i.incident_id AND f.nth = 1
GROUP BY f.job
ORDER BY median_seconds DESC, first_job;
