-- name: span_errors
-- description: An operation fails more often than usual.
-- severity: warning
INSERT INTO signals
SELECT cluster, service, '' AS instance, concat('span:', operation, ':errors') AS metric,
       window.start AS window_start, window.end AS window_end, score, observed, expected, 'up' AS direction,
       NOT alert.fire AS ongoing, false AS predicted, '' AS detail
FROM (
  SELECT *, alerting(score) OVER (PARTITION BY cluster, service, operation ORDER BY window) AS alert
  FROM (
    SELECT cluster, service, operation, window, observed, a.expected AS expected,
           CASE WHEN a.direction = 'up' THEN a.score ELSE 0 END AS score
    FROM (
      SELECT *, count_anomaly(observed) OVER (PARTITION BY cluster, service, operation ORDER BY window) AS a
      FROM (
        SELECT cluster, service, operation, tumble(interval '1 minute') AS window,
               CAST(count(*) FILTER (WHERE lower(status) = 'error') AS DOUBLE) AS observed
        FROM spans
        GROUP BY cluster, service, operation, window
      )
    )
  )
)
WHERE alert.fire OR alert.active OR score >= 2;
