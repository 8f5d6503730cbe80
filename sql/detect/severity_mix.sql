-- name: severity_mix
-- description: A service writes lines of other severities, in proportion, than it usually does.
-- severity: warning
--
-- Shares are compared, not numbers, so traffic changes nothing. Warnings that become usual show
-- here before there are errors, and so does a service that no longer says anything but errors.
INSERT INTO signals
SELECT cluster, service, '' AS instance, 'log:severities' AS metric,
       window.start AS window_start, window.end AS window_end, score, observed, expected, direction,
       score < 3 AS ongoing, false AS predicted, detail
FROM (
  SELECT cluster, service, window, max(m.score) AS score, max(m.observed) AS observed,
         max(m.expected) AS expected, min(m.direction) AS direction,
         min(CASE WHEN m.moved THEN severity END) AS detail
  FROM (
    SELECT cluster, service, window, severity,
           mix_shift(severity, lines) OVER (PARTITION BY cluster, service ORDER BY window) AS m
    FROM (
      SELECT cluster, service, severity, tumble(interval '1 minute') AS window,
             CAST(count(*) AS DOUBLE) AS lines
      FROM logs
      WHERE severity <> ''
      GROUP BY cluster, service, severity, window
    )
  )
  GROUP BY cluster, service, window
)
WHERE score >= 2;
