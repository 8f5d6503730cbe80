-- name: span_mix
-- description: A service runs other operations, in proportion, than it usually does.
-- severity: warning
--
-- Shares are compared, not numbers: neither traffic nor sampling changes them, but a call that is
-- no longer made does, and so does an error handler that runs instead.
INSERT INTO signals
SELECT cluster, service, '' AS instance, 'span:mix' AS metric,
       window.start AS window_start, window.end AS window_end, score, observed, expected, direction,
       score < 3 AS ongoing, false AS predicted, detail
FROM (
  SELECT cluster, service, window, max(m.score) AS score, max(m.observed) AS observed,
         max(m.expected) AS expected, min(m.direction) AS direction,
         min(CASE WHEN m.moved THEN operation END) AS detail
  FROM (
    SELECT cluster, service, window, operation,
           mix_shift(operation, spans) OVER (PARTITION BY cluster, service ORDER BY window) AS m
    FROM (
      SELECT cluster, service, operation, tumble(interval '1 minute') AS window,
             CAST(count(*) AS DOUBLE) AS spans
      FROM spans
      GROUP BY cluster, service, operation, window
    )
  )
  GROUP BY cluster, service, window
)
WHERE score >= 2;
