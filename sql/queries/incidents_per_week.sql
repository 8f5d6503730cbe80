-- How many incidents are there per week, and how bad are they?
-- Weeks begin on Monday, in UTC. Weeks without incidents have no row.
SELECT
    date_trunc('week', opened_at) AS week,
    count(*) AS incidents,
    count(*) FILTER (WHERE severity = 'critical') AS critical,
    count(DISTINCT root_service) AS root_services
FROM incidents
GROUP BY week
ORDER BY week;
