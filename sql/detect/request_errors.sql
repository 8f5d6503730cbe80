-- name: request_errors
-- description: By their status codes, so many requests fail that the error budget of a month would be gone in two days.
-- severity: critical
--
-- Counters of requests by status, as instrumented servers, proxies and meshes have them: HTTP codes
-- in a label that ends in `code` or `status`, gRPC codes by name. Failures are the server's own:
-- 5xx, and what gRPC calls Unknown, DeadlineExceeded, Unimplemented, Internal, Unavailable and
-- DataLoss. All instances, paths and methods of a service count together, per metric. The score is
-- that of the job `error_budget`.
INSERT INTO signals
SELECT cluster, service, '' AS instance, concat(metric, ':errors') AS metric,
       window.start AS window_start, window.end AS window_end, b.score AS score, b.failing AS observed,
       b.expected AS expected, b.direction AS direction, NOT alert.fire AS ongoing, false AS predicted,
       concat(CAST(round(100 * b.failing, 1) AS VARCHAR), ' % of requests fail') AS detail
FROM (
  SELECT *, alerting(b.score) OVER (PARTITION BY cluster, service, metric ORDER BY window) AS alert
  FROM (
    SELECT cluster, service, metric, window,
           error_budget(failures / requests) OVER (PARTITION BY cluster, service, metric ORDER BY window) AS b
    FROM (
      SELECT cluster, service, metric, window,
             sum(CASE WHEN regexp_like(labels, '(code|status)="?(5(xx|[0-9][0-9])|Unknown|DeadlineExceeded|Unimplemented|Internal|Unavailable|DataLoss)"?([,}]|$)')
                      THEN rate ELSE 0 END) OVER (PARTITION BY window, cluster, service, metric) AS failures,
             sum(rate) OVER (PARTITION BY window, cluster, service, metric) AS requests,
             row_number() OVER (PARTITION BY window, cluster, service, metric ORDER BY instance, labels) AS place
      FROM (
        SELECT cluster, service, instance, metric, labels, window,
               counter_rate(value, newest) OVER (PARTITION BY cluster, service, instance, metric, labels ORDER BY window) AS rate
        FROM (
          SELECT cluster, service, instance, metric, labels, tumble(interval '1 minute') AS window,
                 max(value) AS value, max(ts) AS newest
          FROM metrics
          WHERE (metric LIKE '%_total' OR metric LIKE '%_count')
            AND (labels LIKE '%code=%' OR labels LIKE '%status=%')
          GROUP BY cluster, service, instance, metric, labels, window
        )
        WHERE regexp_like(labels, '(code|status)="?([1-5](xx|[0-9][0-9])|OK|[A-Z][a-z]+([A-Z][a-z]+)*)"?([,}]|$)')
      )
      WHERE rate IS NOT NULL
    )
    WHERE place = 1 AND requests > 0
  )
  WHERE b.score IS NOT NULL
)
WHERE alert.fire OR alert.active;
