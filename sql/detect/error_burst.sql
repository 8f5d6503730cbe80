-- name: error_burst
-- description: A service logs more errors than usual.
-- severity: warning
INSERT INTO signals
SELECT cluster, service, '' AS instance, 'log:errors' AS metric,
       window.start AS window_start, window.end AS window_end, score, observed, expected, 'up' AS direction,
       NOT alert.fire AS ongoing, false AS predicted, '' AS detail
FROM (
  SELECT *, alerting(score) OVER (PARTITION BY cluster, service ORDER BY window) AS alert
  FROM (
    SELECT cluster, service, window, observed, a.expected AS expected,
           CASE WHEN a.direction = 'up' THEN a.score ELSE 0 END AS score
    FROM (
      SELECT *, count_anomaly(observed) OVER (PARTITION BY cluster, service ORDER BY window) AS a
      FROM (
        SELECT cluster, service, tumble(interval '1 minute') AS window,
               CAST(count(*) FILTER (WHERE severity IN ('ERROR', 'FATAL')) AS DOUBLE) AS observed
        FROM logs
        GROUP BY cluster, service, window
      )
    )
  )
)
WHERE alert.fire OR alert.active OR score >= 2;
