-- name: error_budget
-- description: So many requests fail that the error budget of a month would be gone in two days.
-- severity: critical
--
-- Metrics that are a share of requests that succeed or fail are known by the words of their names
-- (success_rate, error_ratio, availability, …). What counts is how much more than usual fails, over
-- an hour and over five minutes, against an objective of 99.9 %: the burn rate of site reliability
-- engineering, 3 at 14.4. Users feel it, so it needs no other symptom to open an incident. It is
-- certain and not a matter of chance, so the score does not say how rare it is.
INSERT INTO signals
SELECT cluster, service, instance,
       CASE WHEN labels = '' THEN metric ELSE concat(metric, '{', labels, '}') END AS metric,
       window.start AS window_start, window.end AS window_end, b.score AS score, observed,
       b.expected AS expected, b.direction AS direction, NOT alert.fire AS ongoing, false AS predicted,
       concat(CAST(round(100 * b.failing, 1) AS VARCHAR), ' % of requests fail') AS detail
FROM (
  SELECT *, alerting(b.score) OVER (PARTITION BY cluster, service, instance, metric, labels ORDER BY window) AS alert
  FROM (
    SELECT cluster, service, instance, metric, labels, window, observed,
           error_budget(observed, metric) OVER (PARTITION BY cluster, service, instance, metric, labels ORDER BY window) AS b
    FROM (
      SELECT *, due(newest) OVER (PARTITION BY cluster, service, instance, metric, labels ORDER BY window) AS is_due
      FROM (
        SELECT cluster, service, instance, metric, labels, hop(interval '15 seconds', interval '1 minute') AS window,
               avg(value) AS observed, max(ts) AS newest
        FROM metrics
        WHERE metric ILIKE '%succe%' OR metric ILIKE '%availab%' OR metric ILIKE '%err%' OR metric ILIKE '%fail%'
           OR metric LIKE '%5xx%'
        GROUP BY cluster, service, instance, metric, labels, window
      )
    )
    WHERE is_due
  )
  WHERE b.score IS NOT NULL
)
WHERE alert.fire OR alert.active;
