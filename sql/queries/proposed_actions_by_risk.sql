-- What would have been done, and how risky is it?
-- Nothing here was carried out unless `status` says so. Reversible actions of low risk that come up
-- often are the candidates for automation.
SELECT
    risk,
    kind,
    status,
    count(*) AS actions,
    count(*) FILTER (WHERE reversible) AS reversible,
    count(DISTINCT incident_id) AS incidents
FROM actions
GROUP BY risk, kind, status
ORDER BY
    CASE risk WHEN 'high' THEN 1 WHEN 'medium' THEN 2 ELSE 3 END,
    actions DESC,
    kind,
    status;
