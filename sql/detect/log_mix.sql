-- name: log_mix
-- description: A service writes other kinds of log lines, in proportion, than it usually does.
-- severity: warning
--
-- Shares are compared, not numbers: neither traffic nor a gap in collection changes them, but a
-- failure that writes one line instead of another does, and so does a step that no longer happens.
INSERT INTO signals
SELECT cluster, service, '' AS instance, 'log:mix' AS metric,
       window.start AS window_start, window.end AS window_end, score, observed, expected, direction,
       score < 3 AS ongoing, false AS predicted, detail
FROM (
  SELECT cluster, service, window, max(m.score) AS score, max(m.observed) AS observed,
         max(m.expected) AS expected, min(m.direction) AS direction,
         min(CASE WHEN m.moved THEN template END) AS detail
  FROM (
    SELECT cluster, service, window, template,
           mix_shift(template_id, lines) OVER (PARTITION BY cluster, service ORDER BY window) AS m
    FROM (
      SELECT cluster, service, template_id, tumble(interval '1 minute') AS window,
             CAST(count(*) AS DOUBLE) AS lines, min(template) AS template
      FROM logs
      GROUP BY cluster, service, template_id, window
    )
  )
  GROUP BY cluster, service, window
)
WHERE score >= 2;
