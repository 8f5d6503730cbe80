-- What kinds of faults are behind the incidents?
-- `share` is of all incidents; `unknown` counts those where nothing stood out.
SELECT
    root_kind,
    count(*) AS incidents,
    count(*) / CAST(sum(count(*)) OVER () AS DOUBLE) AS share,
    count(DISTINCT root_service) AS services
FROM incidents
GROUP BY root_kind
ORDER BY incidents DESC, root_kind;
