-- name: missing_callee
-- description: A service no longer calls another one that it always called.
-- severity: warning
--
-- One window without a call is little; the longer it lasts, the surer it is. Calls that come and go
-- are learned to; fewer than five a minute may all have escaped sampling; and where most calls of a
-- cluster go missing at once the collector has failed.
INSERT INTO signals
SELECT cluster, split_part(a.name, ' > ', 1) AS service, '' AS instance,
       concat('span:calls to ', split_part(a.name, ' > ', 2)) AS metric,
       window.start AS window_start, window.end AS window_end, a.score AS score, 0 AS observed,
       a.expected AS expected, 'down' AS direction, NOT a.fresh AS ongoing, false AS predicted, '' AS detail
FROM (
  SELECT cluster, window,
         absence(concat(caller, ' > ', service), calls) OVER (PARTITION BY cluster ORDER BY window) AS a
  FROM (
    SELECT cluster, caller, service, tumble(interval '1 minute') AS window,
           CAST(count(*) AS DOUBLE) AS calls
    FROM spans
    WHERE caller <> ''
    GROUP BY cluster, caller, service, window
  )
)
WHERE a.score >= 2 AND a.expected >= 5;
