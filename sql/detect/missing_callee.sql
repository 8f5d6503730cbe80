-- name: missing_callee
-- description: A service no longer calls another one that it always called.
-- severity: warning
--
-- One window without a call is little; the longer it lasts, the surer it is. Calls that come and go
-- are learned to, and where most calls of a cluster go missing at once the collector has failed.
INSERT INTO signals
SELECT cluster, caller AS service, '' AS instance, concat('span:calls to ', callee) AS metric,
       window.start AS window_start, window.end AS window_end, score, 0 AS observed, expected, 'down' AS direction,
       NOT alert.fire AS ongoing, false AS predicted, '' AS detail
FROM (
  SELECT *, alerting(score) OVER (PARTITION BY cluster, caller, callee ORDER BY window) AS alert
  FROM (
    SELECT cluster, window, split_part(a.name, ' > ', 1) AS caller, split_part(a.name, ' > ', 2) AS callee,
           a.score AS score, a.expected AS expected
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
    WHERE a.score >= 2
  )
)
WHERE alert.fire OR alert.active OR score >= 2;
