TABLE demo_counts;
SELECT date_part('year', p.lower_at) AS year, count(DISTINCT p.partition) AS partitions, count(*) AS events
FROM events e JOIN orchestry.partitions p ON p.partition = e.tableoid GROUP BY 1 ORDER BY 1;
SELECT date_part('year', p.lower_at) AS year, count(DISTINCT p.partition) AS partitions, count(*) AS metrics
FROM metrics m JOIN orchestry.partitions p ON p.partition = m.tableoid GROUP BY 1 ORDER BY 1;
-- The newest partitions that have rows.
SELECT p.partition, p.lower_at, p.upper_at, count(*) AS rows
FROM metrics m JOIN orchestry.partitions p ON p.partition = m.tableoid
GROUP BY 1, 2, 3 ORDER BY 2 DESC LIMIT 12;
