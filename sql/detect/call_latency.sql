-- name: call_latency
-- description: Calls from one service to another take longer than usual at their 95th percentile.
-- severity: warning
--
-- Measured at the service that is called: who is slow for one caller only shows it here, and not
-- among all its spans. Latencies spread by factors, so they are scored as logarithms. Fewer than
-- five calls a minute say nothing about a percentile.
INSERT INTO signals
SELECT cluster, service, '' AS instance, concat('span:from ', caller, ':p95') AS metric,
       window.start AS window_start, window.end AS window_end, score, observed, expected, 'up' AS direction,
       NOT alert.fire AS ongoing, false AS predicted, '' AS detail
FROM (
  SELECT *, alerting(score) OVER (PARTITION BY cluster, service, caller ORDER BY window) AS alert
  FROM (
    SELECT cluster, service, caller, window, observed, exp(a.expected) AS expected,
           CASE WHEN a.direction = 'up' THEN a.score ELSE 0 END AS score
    FROM (
      SELECT *, metric_anomaly(ln(observed), 'p95') OVER (PARTITION BY cluster, service, caller ORDER BY window) AS a
      FROM (
        SELECT cluster, service, caller, tumble(interval '1 minute') AS window,
               approx_percentile_cont(CAST(duration_us + 1 AS DOUBLE), 0.95) AS observed
        FROM spans
        WHERE caller <> ''
        GROUP BY cluster, service, caller, window
        HAVING count(*) >= 5
      )
    )
  )
)
WHERE alert.fire OR alert.active OR score >= 2;
