-- name: log_template_rate
-- description: A kind of log line is written more or less often than usual.
-- severity: warning
INSERT INTO signals
SELECT cluster, service, '' AS instance, concat('log:', template_id) AS metric,
       window.start AS window_start, window.end AS window_end, raw AS score, observed, expected, direction,
       NOT alert.fire AS ongoing, false AS predicted, detail
FROM (
  SELECT *, alerting(score) OVER (PARTITION BY cluster, service, template_id ORDER BY window) AS alert
  FROM (
    SELECT cluster, service, template_id, window, observed, detail, expected, direction, raw,
           CASE WHEN discoveries(raw) OVER (PARTITION BY window) > 0
                THEN benjamini_hochberg(raw) OVER (PARTITION BY window, cluster, service)
                ELSE 0 END AS score
    FROM (
      SELECT cluster, service, template_id, window, observed, detail,
             a.expected AS expected, a.direction AS direction, a.score AS raw
      FROM (
        SELECT *, count_anomaly(observed) OVER (PARTITION BY cluster, service, template_id ORDER BY window) AS a
        FROM (
          SELECT cluster, service, template_id, tumble(interval '1 minute') AS window,
                 CAST(count(*) AS DOUBLE) AS observed, min(template) AS detail
          FROM logs
          GROUP BY cluster, service, template_id, window
        )
      )
    )
  )
)
WHERE alert.fire OR alert.active OR raw >= 2;
