-- name: silent_series
-- description: A metric that an instance always reported has stopped, while its others go on.
-- severity: warning
--
-- What is measured per call goes missing when the call is no longer made. One missed window is
-- little; the longer the silence lasts, the surer it is. Series that come and go are learned to,
-- and where most of a service falls silent at once that is told of the service as a whole.
INSERT INTO signals
SELECT cluster, service, instance, concat('samples:', metric) AS metric,
       window.start AS window_start, window.end AS window_end, score, 0 AS observed, expected, 'down' AS direction,
       NOT alert.fire AS ongoing, false AS predicted, '' AS detail
FROM (
  SELECT *, alerting(score) OVER (PARTITION BY cluster, service, instance, metric ORDER BY window) AS alert
  FROM (
    SELECT cluster, service, instance, window, a.name AS metric, a.score AS score, a.expected AS expected
    FROM (
      SELECT cluster, service, instance, window,
             absence(CASE WHEN labels = '' THEN metric ELSE concat(metric, '{', labels, '}') END, samples)
               OVER (PARTITION BY cluster, service, instance ORDER BY window) AS a
      FROM (
        SELECT cluster, service, instance, metric, labels, tumble(interval '1 minute') AS window,
               CAST(count(*) AS DOUBLE) AS samples
        FROM metrics
        GROUP BY cluster, service, instance, metric, labels, window
      )
    )
    WHERE a.score >= 2
  )
)
WHERE alert.fire OR alert.active OR score >= 2;
