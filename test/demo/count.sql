-- What was loaded, beside what is found: in the table, and in those partitions whose bounds fit the row.
CREATE VIEW demo_counts AS
SELECT 'events' AS relation, :events_loaded AS loaded, count(*) AS counted,
       count(*) FILTER (WHERE e.at >= p.lower_at AND e.at < p.upper_at) AS in_partitions
FROM events e LEFT JOIN orchestry.partitions p ON p.partition = e.tableoid
UNION ALL
SELECT 'metrics', :metrics_loaded, count(*), count(*) FILTER (WHERE m.at >= p.lower_at AND m.at < p.upper_at)
FROM metrics m LEFT JOIN orchestry.partitions p ON p.partition = m.tableoid;
ANALYZE events, metrics;
