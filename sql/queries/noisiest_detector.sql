-- Which job raises most signals that lead nowhere?
-- `share_in_incidents` is the share of a job's signals that an incident took; a job with many
-- signals and a low share is the first one to tune.
SELECT
    job,
    count(*) AS signals,
    count(*) - count(incident_id) AS in_no_incident,
    count(incident_id) / CAST(count(*) AS DOUBLE) AS share_in_incidents,
    count(DISTINCT incident_id) AS incidents
FROM signals
GROUP BY job
ORDER BY in_no_incident DESC, signals DESC, job;
