-- name: silent_service
-- description: A service that always reported metrics has stopped, while others go on.
-- severity: critical
--
-- One missed collection is little; the longer the silence lasts, the surer it is, by how often the
-- service usually reports. Services that come and go are learned to, as are pauses of hours, and
-- where most fall silent at once the collector has failed.
INSERT INTO signals
SELECT cluster, a.name AS service, '' AS instance, 'samples' AS metric,
       window.start AS window_start, window.end AS window_end, a.score AS score, 0 AS observed,
       a.expected AS expected, 'down' AS direction, NOT a.fresh AS ongoing, false AS predicted, '' AS detail
FROM (
  SELECT cluster, window, absence(service, samples) OVER (PARTITION BY cluster ORDER BY window) AS a
  FROM (
    SELECT cluster, service, tumble(interval '1 minute') AS window,
           CAST(count(*) AS DOUBLE) AS samples
    FROM metrics
    GROUP BY cluster, service, window
  )
)
WHERE a.score >= 2;
