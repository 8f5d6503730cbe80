-- Which incidents began within an hour after a deploy?
-- The slices keep the changes around each incident. A deploy of the root service shortly before
-- is the first thing to roll back; several deploys give several rows.
SELECT
    i.incident_id,
    i.title,
    c.service AS deployed_service,
    c.object,
    c.actor,
    c.ts AS deployed_at,
    (extract(epoch FROM i.started_at) - extract(epoch FROM c.ts)) / 60 AS minutes_before,
    c.service = i.root_service AS of_root_service
FROM incidents AS i
JOIN changes AS c ON c.incident_id = i.incident_id
WHERE c.kind = 'deploy'
    AND c.ts <= i.started_at
    AND c.ts > i.started_at - INTERVAL '1 hour'
ORDER BY deployed_at DESC, i.incident_id, c.object;
