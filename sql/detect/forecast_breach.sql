-- name: forecast_breach
-- description: Something that runs out (disk, memory, descriptors, a quota, a queue) will soon have run out.
-- severity: warning
--
-- Metrics are known by the names that Prometheus conventions give them: what is used, as `_ratio`
-- (full at 1) or `_percent` (full at 100), or what is still available (empty at 0). What only
-- grows is looked at a day ahead; memory and queues, which follow the load, no further than they
-- have been seen. The trend has to be real, and to hold in the recent half of four hours that are
-- covered by data; then the score is the surprise of its not being met.
INSERT INTO signals
SELECT cluster, service, instance,
       CASE WHEN labels = '' THEN metric ELSE concat(metric, '{', labels, '}') END AS metric,
       window.start AS window_start, window.end AS window_end, score, observed, ends_at AS expected,
       CASE WHEN ends_at > 0 THEN 'up' ELSE 'down' END AS direction,
       NOT alert.fire AS ongoing, true AS predicted,
       concat(CASE WHEN ends_at > 0 THEN 'full in ' ELSE 'empty in ' END,
              CAST(CAST(seconds / 3600.0 AS BIGINT) AS VARCHAR), ' h at this rate') AS detail
FROM (
  SELECT *, alerting(score) OVER (PARTITION BY cluster, service, instance, metric, labels ORDER BY window) AS alert
  FROM (
    SELECT *, CASE WHEN seconds IS NULL OR confidence < 0.99 THEN 0.0
                   WHEN since > window.start + interval '30 minutes' THEN 0.0
                   WHEN until < window.end - interval '30 minutes' THEN 0.0
                   WHEN confidence > 0.999999 THEN 6.0
                   ELSE -log10(1.0 - confidence) END AS score
    FROM (
      SELECT cluster, service, instance, metric, labels, ends_at, horizon,
             hop(interval '30 minutes', interval '4 hours') AS window,
             CASE WHEN ends_at > 0 THEN max(value) ELSE min(value) END AS observed,
             min(ts) AS since, max(ts) AS until,
             forecast_breach(ts, value, ends_at, horizon) AS seconds,
             forecast_confidence(ts, value, ends_at, horizon) AS confidence
      FROM (
        SELECT *, CASE WHEN metric ILIKE '%percent' THEN 100.0 WHEN metric ILIKE '%ratio' THEN 1.0 ELSE 0.0 END AS ends_at,
               CASE WHEN metric ILIKE '%mem%' OR metric ILIKE '%heap%' OR metric ILIKE '%queue%' THEN 14400.0
                    ELSE 86400.0 END AS horizon
        FROM metrics
        WHERE (metric ILIKE '%disk%' OR metric ILIKE '%filesystem%' OR metric ILIKE '%inode%'
               OR metric ILIKE '%volume%' OR metric ILIKE '%quota%' OR metric ILIKE '%pool%'
               OR metric ILIKE '%memory%' OR metric ILIKE '%heap%' OR metric ILIKE '%queue%'
               OR metric ILIKE '%fds%' OR metric ILIKE '%descriptor%')
          AND ((metric ILIKE '%used%' OR metric ILIKE '%usage%' OR metric ILIKE '%utili_ation%')
               AND (metric ILIKE '%ratio' OR metric ILIKE '%percent')
               OR metric ILIKE '%avail%'
               OR metric ILIKE '%free%' AND metric NOT ILIKE '%mem%')
          AND metric NOT ILIKE '%total' AND metric NOT ILIKE '%limit%'
      )
      GROUP BY cluster, service, instance, metric, labels, ends_at, horizon, window
    )
  )
)
WHERE alert.fire OR alert.active;
