-- name: log_volume
-- description: A service logs much more or much less than usual, beside the others.
-- severity: warning
--
-- A service that hangs says less and less, and one that retries for ever floods its log, whatever
-- the lines are. Lines are counted per line of the median service in the same minute, so traffic
-- that rises or falls everywhere changes nothing; fewer than four services have no such median.
INSERT INTO signals
SELECT cluster, service, '' AS instance, 'log:volume' AS metric,
       window.start AS window_start, window.end AS window_end, score, observed, expected, direction,
       NOT alert.fire AS ongoing, false AS predicted, '' AS detail
FROM (
  SELECT *, alerting(score) OVER (PARTITION BY cluster, service ORDER BY window) AS alert
  FROM (
    SELECT cluster, service, window, observed, a.expected AS expected, a.direction AS direction,
           a.score AS score
    FROM (
      SELECT *, count_anomaly(observed, typical) OVER (PARTITION BY cluster, service ORDER BY window) AS a
      FROM (
        SELECT cluster, service, window, observed,
               CASE WHEN count(*) OVER (PARTITION BY window, cluster) >= 4
                    THEN median(observed) OVER (PARTITION BY window, cluster) END AS typical
        FROM (
          SELECT cluster, service, tumble(interval '1 minute') AS window,
                 CAST(count(*) AS DOUBLE) AS observed
          FROM logs
          GROUP BY cluster, service, window
        )
      )
    )
  )
)
WHERE alert.fire OR alert.active OR score >= 2;
