-- Which services are most often affected together?
-- Pairs of services with signals in the same incident. A pair that is nearly always together shares
-- a dependency or is one.
WITH affected AS (
    SELECT incident_id, unnest(string_to_array(services, ';')) AS service FROM incidents
)
SELECT
    a.service,
    b.service AS together_with,
    count(*) AS incidents
FROM affected AS a
JOIN affected AS b ON a.incident_id = b.incident_id AND a.service < b.service
GROUP BY a.service, b.service
ORDER BY incidents DESC, a.service, b.service
LIMIT 20;
