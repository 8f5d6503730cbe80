-- name: metric_shift
-- description: A metric moves to another level slowly, which single minutes do not show.
-- severity: warning
--
-- Runs where it is named: metric_level sees what lasts as well, and both tell it twice.
--
-- Of a gauge the median of a window counts, of a counter how fast it counts. Each series is scored
-- against its own baseline; within ten minutes the scores are corrected for the number of series of
-- the instance, and only what survives a false discovery rate of 5 % over everything watched may
-- raise a signal, if it lasts or is overwhelming.
INSERT INTO signals
SELECT cluster, service, instance,
       CASE WHEN labels = '' THEN metric ELSE concat(metric, '{', labels, '}') END AS metric,
       window.start AS window_start, window.end AS window_end, raw AS score, observed, expected, direction,
       NOT alert.fire AS ongoing, false AS predicted,
       CASE WHEN is_rate THEN 'per second' ELSE '' END AS detail
FROM (
  SELECT *, alerting(score) OVER (PARTITION BY cluster, service, instance, metric, labels ORDER BY window) AS alert
  FROM (
    SELECT cluster, service, instance, metric, labels, window, observed, is_rate, expected, direction, raw,
           CASE WHEN discoveries(raw) OVER (PARTITION BY window) > 0
                THEN benjamini_hochberg(raw) OVER (PARTITION BY window, cluster, service, instance)
                ELSE 0 END AS score
    FROM (
      SELECT cluster, service, instance, metric, labels, window, observed, is_rate,
             a.expected AS expected, a.direction AS direction, a.score AS raw
      FROM (
        SELECT cluster, service, instance, metric, labels, window, observed, is_rate,
               metric_anomaly(observed, metric, is_rate) OVER (PARTITION BY cluster, service, instance, metric, labels ORDER BY window) AS a
        FROM (
          SELECT cluster, service, instance, metric, labels, window, r.value AS observed, r.is_rate AS is_rate
          FROM (
            SELECT *, reading(typical, highest, metric, newest) OVER (PARTITION BY cluster, service, instance, metric, labels ORDER BY window) AS r
            FROM (
              SELECT cluster, service, instance, metric, labels, tumble(interval '10 minutes') AS window,
                     median(value) AS typical, max(value) AS highest, max(ts) AS newest
              FROM metrics
              GROUP BY cluster, service, instance, metric, labels, window
            )
          )
          WHERE r.value IS NOT NULL
        )
      )
    )
  )
)
WHERE alert.fire OR alert.active OR raw >= 2;
