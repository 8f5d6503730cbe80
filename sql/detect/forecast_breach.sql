-- name: forecast_breach
-- description: A disk, volume, quota or pool that fills steadily will be full within a day.
-- severity: warning
--
-- Metrics are known by the names that Prometheus conventions give them: what is used of something
-- that can run out, as `_ratio` (full at 1) or `_percent` (full at 100). The trend has to be real,
-- and to hold in the recent half of four hours that are covered by data; then the score is the
-- surprise of its not being met.
INSERT INTO signals
SELECT cluster, service, instance,
       CASE WHEN labels = '' THEN metric ELSE concat(metric, '{', labels, '}') END AS metric,
       window.start AS window_start, window.end AS window_end, score, observed, full_at AS expected,
       'up' AS direction, NOT alert.fire AS ongoing, true AS predicted,
       concat('full in ', CAST(CAST(seconds / 3600.0 AS BIGINT) AS VARCHAR), ' h at this rate') AS detail
FROM (
  SELECT *, alerting(score) OVER (PARTITION BY cluster, service, instance, metric, labels ORDER BY window) AS alert
  FROM (
    SELECT *, CASE WHEN seconds IS NULL OR confidence < 0.99 THEN 0.0
                   WHEN since > window.start + interval '30 minutes' THEN 0.0
                   WHEN until < window.end - interval '30 minutes' THEN 0.0
                   WHEN confidence > 0.999999 THEN 6.0
                   ELSE -log10(1.0 - confidence) END AS score
    FROM (
      SELECT cluster, service, instance, metric, labels, full_at,
             hop(interval '30 minutes', interval '4 hours') AS window, max(value) AS observed,
             min(ts) AS since, max(ts) AS until,
             forecast_breach(ts, value, full_at, 86400.0) AS seconds,
             forecast_confidence(ts, value, full_at, 86400.0) AS confidence
      FROM (
        SELECT *, CASE WHEN metric LIKE '%percent' THEN 100.0 ELSE 1.0 END AS full_at
        FROM metrics
        WHERE (metric LIKE '%disk%' OR metric LIKE '%filesystem%' OR metric LIKE '%inode%'
               OR metric LIKE '%volume%' OR metric LIKE '%quota%' OR metric LIKE '%pool%')
          AND (metric LIKE '%used%' OR metric LIKE '%usage%' OR metric LIKE '%utili_ation%')
          AND (metric LIKE '%ratio' OR metric LIKE '%percent')
      )
      GROUP BY cluster, service, instance, metric, labels, full_at, window
    )
  )
)
WHERE alert.fire OR alert.active;
