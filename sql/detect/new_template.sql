-- name: new_template
-- description: A service writes more kinds of log lines that it never wrote before than it usually does.
-- severity: warning
--
-- How many new kinds per minute are usual is learned per service, so a service that names its
-- users in its log lines stays quiet.
INSERT INTO signals
SELECT cluster, service, '' AS instance, 'log:new' AS metric,
       window.start AS window_start, window.end AS window_end, a.score, observed, a.expected, a.direction,
       a.score < 3 AS ongoing, false AS predicted, detail
FROM (
  SELECT *, count_anomaly(observed) OVER (PARTITION BY cluster, service ORDER BY window) AS a
  FROM (
    SELECT cluster, service, window, sum(fresh) AS observed,
           min(CASE WHEN fresh > 0 THEN template END) AS detail
    FROM (
      SELECT cluster, service, template_id, window, template,
             first_seen(lines) OVER (PARTITION BY cluster, service, template_id ORDER BY window) AS fresh
      FROM (
        SELECT cluster, service, template_id, tumble(interval '1 minute') AS window,
               CAST(count(*) AS DOUBLE) AS lines, min(template) AS template
        FROM logs
        GROUP BY cluster, service, template_id, window
      )
    )
    GROUP BY cluster, service, window
  )
)
WHERE a.score >= 2 AND a.direction = 'up' AND observed > 0;
