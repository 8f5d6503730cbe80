-- name: silent_service
-- description: A service that always reported metrics has stopped, while others go on.
-- severity: critical
--
-- One missed collection is little; the longer the silence lasts, the surer it is. Services that
-- come and go are learned to, and where most fall silent at once the collector has failed.
INSERT INTO signals
SELECT cluster, service, '' AS instance, 'samples' AS metric,
       window.start AS window_start, window.end AS window_end, score, 0 AS observed, expected, 'down' AS direction,
       NOT alert.fire AS ongoing, false AS predicted, '' AS detail
FROM (
  SELECT *, alerting(score) OVER (PARTITION BY cluster, service ORDER BY window) AS alert
  FROM (
    SELECT cluster, window, a.name AS service, a.score AS score, a.expected AS expected
    FROM (
      SELECT cluster, window, absence(service, samples) OVER (PARTITION BY cluster ORDER BY window) AS a
      FROM (
        SELECT cluster, service, tumble(interval '1 minute') AS window,
               CAST(count(*) AS DOUBLE) AS samples
        FROM metrics
        GROUP BY cluster, service, window
      )
    )
    WHERE a.score >= 2
  )
)
WHERE alert.fire OR alert.active OR score >= 2;
