-- name: silent_series
-- description: A metric that an instance always reported has stopped, while its others go on.
-- severity: warning
--
-- Runs where it is named: after a restart many metrics come back only with their first use, and
-- nothing in the data tells that from a measurement that has stopped.
--
-- What is measured per call goes missing when the call is no longer made. One missed window is
-- little; the longer the silence lasts, the surer it is. Metrics that come and go are learned to,
-- and where most of an instance falls silent at once that is told of the service as a whole. Of a
-- metric with labels all series must be gone.
INSERT INTO signals
SELECT cluster, service, instance, concat('samples:', a.name) AS metric,
       window.start AS window_start, window.end AS window_end, a.score AS score, 0 AS observed,
       a.expected AS expected, 'down' AS direction, NOT a.fresh AS ongoing, false AS predicted, '' AS detail
FROM (
  SELECT cluster, service, instance, window,
         absence(metric, samples) OVER (PARTITION BY cluster, service, instance ORDER BY window) AS a
  FROM (
    SELECT cluster, service, instance, metric, tumble(interval '1 minute') AS window,
           CAST(count(*) AS DOUBLE) AS samples
    FROM metrics
    GROUP BY cluster, service, instance, metric, window
  )
)
WHERE a.score >= 2;
