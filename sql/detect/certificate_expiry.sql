-- name: certificate_expiry
-- description: A certificate, token or licence will expire within a week.
-- severity: warning
--
-- Metrics are known by the names that Prometheus exporters give them: what expires, as the moment
-- at which it does, in seconds since 1970. Days before, this is certain and not a matter of
-- chance, so the score does not say how rare it is but grows as the moment comes nearer.
INSERT INTO signals
SELECT cluster, service, instance,
       CASE WHEN labels = '' THEN metric ELSE concat(metric, '{', labels, '}') END AS metric,
       window.start AS window_start, window.end AS window_end, score, observed, expires AS expected,
       'up' AS direction, NOT alert.fire AS ongoing, observed < expires AS predicted,
       CASE WHEN observed < expires
            THEN concat('expires in ', CAST(CAST(floor((expires - observed) / 3600.0) AS BIGINT) AS VARCHAR), ' h')
            ELSE 'has expired' END AS detail
FROM (
  SELECT *, alerting(score) OVER (PARTITION BY cluster, service, instance, metric, labels ORDER BY window) AS alert
  FROM (
    SELECT *, CASE WHEN expires - observed > 604800.0 THEN 0.0
                   WHEN expires - observed > 86400.0 THEN 4.0
                   ELSE 6.0 END AS score
    FROM (
      SELECT cluster, service, instance, metric, labels, expires, window,
             CAST(to_unixtime(window.end) AS DOUBLE) AS observed
      FROM (
        SELECT cluster, service, instance, metric, labels, tumble(interval '10 minutes') AS window,
               min(value) AS expires
        FROM metrics
        WHERE value > 1000000000.0
          AND (metric ILIKE '%expir%' OR metric ILIKE '%not_after%')
          AND (metric ILIKE '%cert%' OR metric ILIKE '%x509%' OR metric ILIKE '%tls%' OR metric ILIKE '%ssl%'
               OR metric ILIKE '%token%' OR metric ILIKE '%licen_e%')
        GROUP BY cluster, service, instance, metric, labels, window
      )
    )
  )
)
WHERE alert.fire OR alert.active;
