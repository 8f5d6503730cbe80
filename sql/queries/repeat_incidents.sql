-- Which causes come back?
-- One row per cause that was found more than once, with the days between its first and its last
-- incident. What comes back was not fixed.
SELECT
    cluster,
    root_service,
    root_kind,
    count(*) AS incidents,
    min(opened_at) AS first_opened_at,
    max(opened_at) AS last_opened_at,
    (extract(epoch FROM max(opened_at)) - extract(epoch FROM min(opened_at))) / 86400
        AS days_between
FROM incidents
WHERE root_service IS NOT NULL
GROUP BY cluster, root_service, root_kind
HAVING count(*) > 1
ORDER BY incidents DESC, last_opened_at DESC, root_service, root_kind;
