-- How sure are the diagnoses?
-- One row per tenth of confidence of the first ranked cause; `ahead` is how far it is ahead of the
-- second one. Many incidents at low confidence mean that telemetry is missing.
WITH ranked AS (
    SELECT
        incident_id,
        max(confidence) FILTER (WHERE rank = 1) AS best,
        coalesce(max(confidence) FILTER (WHERE rank = 2), 0) AS runner_up
    FROM diagnoses
    GROUP BY incident_id
)
SELECT
    floor(best * 10) / 10 AS confidence_from,
    count(*) AS incidents,
    avg(best - runner_up) AS ahead
FROM ranked
GROUP BY floor(best * 10) / 10
ORDER BY confidence_from DESC;
