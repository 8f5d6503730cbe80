-- name: certificate_expiry
-- description: A certificate, token or licence will expire within a week.
-- severity: warning
--
-- Metrics are known by the names that Prometheus exporters give them: what expires, as the moment
-- at which it does, in seconds since 1970. What is renewed in time every few hours is no news, so
-- two thirds of the longest time that was ever left must be over, too, and what expired more than
-- a day ago is not missed. It is told once, and again on the last day: only what expires soon is
-- remembered, as there is a new moment at every renewal. All this is certain and not a matter of
-- chance, so the score does not say how rare it is.
INSERT INTO signals
SELECT cluster, service, instance,
       CASE WHEN labels = '' THEN metric ELSE concat(metric, '{', labels, '}') END AS metric,
       window.start AS window_start, window.end AS window_end,
       CASE WHEN last_day > 0 THEN 6.0 ELSE 4.0 END AS score, observed, expires AS expected,
       'up' AS direction, first_soon + first_last_day = 0 AS ongoing, observed < expires AS predicted,
       CASE WHEN observed < expires
            THEN concat('expires in ', CAST(CAST(floor((expires - observed) / 3600.0) AS BIGINT) AS VARCHAR), ' h')
            ELSE 'has expired' END AS detail
FROM (
  SELECT *,
         first_seen(soon) OVER (PARTITION BY cluster, service, instance, metric, labels, expires ORDER BY window) AS first_soon,
         first_seen(last_day) OVER (PARTITION BY cluster, service, instance, metric, labels, expires ORDER BY window) AS first_last_day
  FROM (
    SELECT *
    FROM (
      SELECT *, CASE WHEN expires - observed > 604800.0 OR expires - observed > longest / 3.0 THEN 0.0
                     WHEN expires - observed < -86400.0 THEN 0.0
                     ELSE 1.0 END AS soon,
                CASE WHEN expires - observed > 86400.0 OR expires - observed > longest / 3.0 THEN 0.0
                     WHEN expires - observed < -86400.0 THEN 0.0
                     ELSE 1.0 END AS last_day
      FROM (
        SELECT *, highest(expires - observed) OVER (PARTITION BY cluster, service, instance, metric, labels ORDER BY window) AS longest
        FROM (
          SELECT cluster, service, instance, metric, labels, expires, window,
                 CAST(to_unixtime(window.end) AS DOUBLE) AS observed
          FROM (
            SELECT cluster, service, instance, metric, labels, tumble(interval '10 minutes') AS window,
                   min(value) AS expires
            FROM metrics
            WHERE value > 1000000000.0
              AND metric NOT LIKE '%_bucket' AND metric NOT LIKE '%_count' AND metric NOT LIKE '%_sum'
              AND metric NOT LIKE '%_total'
              AND (metric LIKE '%expir%' OR metric LIKE '%not_after%')
              AND (metric LIKE '%cert%' OR metric LIKE '%x509%' OR metric LIKE '%tls%' OR metric LIKE '%ssl%'
                   OR metric LIKE '%token%' OR metric LIKE '%license%' OR metric LIKE '%licence%')
            GROUP BY cluster, service, instance, metric, labels, window
          )
        )
      )
    )
    WHERE soon > 0
  )
);
