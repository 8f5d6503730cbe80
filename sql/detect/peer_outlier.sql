-- name: peer_outlier
-- description: One replica of a service differs from the others, and more than it usually does.
-- severity: warning
--
-- Counters are compared by how fast they count. A replica that is always busier than its peers is
-- no news, so two things must hold: it lies outside the cluster of its peers now, and its distance
-- from their median is unusual for itself.
INSERT INTO signals
SELECT cluster, service, instance,
       CASE WHEN labels = '' THEN metric ELSE concat(metric, '{', labels, '}') END AS metric,
       window.start AS window_start, window.end AS window_end, score, observed, centre,
       CASE WHEN observed > centre THEN 'up' ELSE 'down' END AS direction,
       NOT alert.fire AS ongoing, false AS predicted, 'differs from its peers' AS detail
FROM (
  SELECT *, alerting(score) OVER (PARTITION BY cluster, service, instance, metric, labels ORDER BY window) AS alert
  FROM (
    SELECT cluster, service, instance, metric, labels, window, observed, centre,
           CASE WHEN own < peer THEN own ELSE peer END AS score
    FROM (
      SELECT cluster, service, instance, metric, labels, window, observed, centre, peer, a.score AS own
      FROM (
        SELECT *, metric_anomaly(observed - centre, NULL, is_rate) OVER (PARTITION BY cluster, service, instance, metric, labels ORDER BY window) AS a
        FROM (
          SELECT cluster, service, instance, metric, labels, window, observed, is_rate,
                 median(observed) OVER (PARTITION BY window, cluster, service, metric, labels) AS centre,
                 peer_outlier(observed) OVER (PARTITION BY window, cluster, service, metric, labels) AS peer
          FROM (
            SELECT cluster, service, instance, metric, labels, window, r.value AS observed, r.is_rate AS is_rate
            FROM (
              SELECT *, reading(typical, highest, metric, newest) OVER (PARTITION BY cluster, service, instance, metric, labels ORDER BY window) AS r
              FROM (
                SELECT cluster, service, instance, metric, labels, tumble(interval '1 minute') AS window,
                       avg(value) AS typical, max(value) AS highest, max(ts) AS newest
                FROM metrics
                GROUP BY cluster, service, instance, metric, labels, window
              )
            )
            WHERE r.value IS NOT NULL
          )
        )
      )
    )
  )
)
WHERE alert.fire OR alert.active OR score >= 2;
