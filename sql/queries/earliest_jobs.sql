-- Which jobs see incidents first?
-- `was_first` counts the incidents where no other job was earlier. A job that is never first and
-- rarely alone adds noise but no warning time.
WITH seen AS (
    SELECT incident_id, job, min(window_end) AS seen_at
    FROM signals
    WHERE incident_id IS NOT NULL
    GROUP BY incident_id, job
),
placed AS (
    SELECT
        job,
        rank() OVER (PARTITION BY incident_id ORDER BY seen_at) AS place,
        count(*) OVER (PARTITION BY incident_id) AS jobs
    FROM seen
)
SELECT
    job,
    count(*) AS incidents,
    count(*) FILTER (WHERE place = 1) AS was_first,
    count(*) FILTER (WHERE jobs = 1) AS was_alone
FROM placed
GROUP BY job
ORDER BY was_first DESC, incidents DESC, job;
