-- Which input could not be used, and why?
-- `lost_rows` counts input rows; `example` is one of the explanations. Fix the source that loses
-- most first: what detectors do not see they cannot report.
SELECT
    stream,
    reason,
    file,
    sum(rows) AS lost_rows,
    min(line) AS first_line,
    min(detail) AS example
FROM dead_letters
GROUP BY stream, reason, file
ORDER BY lost_rows DESC, stream, reason, file;
