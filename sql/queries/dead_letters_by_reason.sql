-- Which input could not be used, and why?
-- `rows` counts input rows; `example` is one of the explanations. Fix the source with most rows first:
-- what detectors do not see they cannot report.
SELECT
    stream,
    reason,
    file,
    sum(rows) AS rows,
    min(line) AS first_line,
    min(detail) AS example
FROM dead_letters
GROUP BY stream, reason, file
ORDER BY sum(rows) DESC, stream, reason, file;
