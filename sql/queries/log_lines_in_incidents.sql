-- Which kinds of log lines are part of most incidents?
-- A kind is counted over all ids that it ever had: templates that turn out to be one message are
-- merged, and what was written before carries the old ids. `ids` is how many of them there are.
SELECT
    t.canonical_id,
    min(t.template) AS template,
    count(DISTINCT l.incident_id) AS incidents,
    count(*) AS lines,
    count(DISTINCT l.template_id) AS ids,
    min(l.ts) AS first_line_at
FROM logs AS l
JOIN templates AS t ON t.cluster = l.cluster AND t.template_id = l.template_id
GROUP BY t.canonical_id
ORDER BY incidents DESC, lines DESC, t.canonical_id
LIMIT 50;
