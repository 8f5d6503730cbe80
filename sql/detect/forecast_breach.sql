-- name: forecast_breach
-- description: Something that runs out (disk, memory, descriptors, a quota, a queue) will soon have run out.
-- severity: warning
--
-- Metrics are known by the names that Prometheus conventions give them: what is used, as `_ratio`
-- (full at 1) or `_percent` (full at 100), or what is still available (empty at 0). What only
-- grows is looked at a day ahead; memory, pools and queues, which follow the load, no further than
-- they have been seen. Caches are meant to fill. What is used counts from half of it on: something
-- that is emptied every few hours is no news, and no more is what came as near to its end within a
-- week or two and went back: less than nine tenths must be left of the least that was left, on an
-- average of four hours. The trend has to be real, and to hold in the recent half of four hours
-- that are covered by data; then the score is the surprise of its not being met.
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
                   WHEN ends_at > 0 AND observed < 0.5 * ends_at THEN 0.0
                   WHEN -room <= 0.9 * nearest THEN 0.0
                   WHEN confidence > 0.999999 THEN 6.0
                   ELSE -log10(1.0 - confidence) END AS score
    FROM (
      SELECT *, highest_before(-room) OVER (PARTITION BY cluster, service, instance, metric, labels ORDER BY window) AS nearest
      FROM (
        SELECT cluster, service, instance, metric, labels, ends_at, horizon,
               hop(interval '30 minutes', interval '4 hours') AS window,
               CASE WHEN ends_at > 0 THEN max(value) ELSE min(value) END AS observed,
               CASE WHEN ends_at > 0 THEN ends_at - avg(value) ELSE avg(value) END AS room,
               min(ts) AS since, max(ts) AS until,
               forecast_breach(ts, value, ends_at, horizon) AS seconds,
               forecast_confidence(ts, value, ends_at, horizon) AS confidence
        FROM (
          SELECT *, CASE WHEN metric LIKE '%vail%' OR metric LIKE '%free%' THEN 0.0
                         WHEN metric LIKE '%percent' THEN 100.0 ELSE 1.0 END AS ends_at,
                 CASE WHEN metric LIKE '%memory%' OR metric LIKE '%heap%' OR metric LIKE '%queue%'
                           OR metric LIKE '%pool%' OR metric LIKE '%MemAvail%'
                      THEN 14400.0 ELSE 86400.0 END AS horizon
          FROM metrics
          WHERE (((metric LIKE '%avail%' OR metric LIKE '%free%')
                  AND (metric LIKE '%disk%' OR metric LIKE '%filesystem%' OR metric LIKE '%inode%'
                       OR metric LIKE '%volume%' OR metric LIKE '%quota%' OR metric LIKE '%descriptor%'
                       OR metric LIKE '%fds%'))
                 OR metric LIKE '%MemAvail%' OR (metric LIKE '%memory%' AND metric LIKE '%avail%')
                 OR ((metric LIKE '%ratio' OR metric LIKE '%percent')
                     AND (metric LIKE '%used%' OR metric LIKE '%usage%' OR metric LIKE '%utili%')
                     AND (metric LIKE '%disk%' OR metric LIKE '%filesystem%' OR metric LIKE '%inode%'
                          OR metric LIKE '%volume%' OR metric LIKE '%quota%' OR metric LIKE '%descriptor%'
                          OR metric LIKE '%fds%' OR metric LIKE '%pool%' OR metric LIKE '%memory%'
                          OR metric LIKE '%heap%' OR metric LIKE '%queue%')))
            AND metric NOT LIKE '%total' AND metric NOT LIKE '%limit%'
            AND metric NOT LIKE '%cache%' AND metric NOT LIKE '%buffer%'
        )
        GROUP BY cluster, service, instance, metric, labels, ends_at, horizon, window
      )
    )
  )
)
WHERE alert.fire OR alert.active;
