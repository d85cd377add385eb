BEGIN;
SELECT set_config('orchestry.now', (now() - interval '125 days')::text, true) AS as_if_now_were;
SET LOCAL ROLE app;
SELECT orchestry.add_partition_policy('events', every => '1 month', ahead => '3 months', past => :'events_past');
SELECT orchestry.add_partition_policy('metrics', every => :'metrics_every', ahead => '4 weeks', past => :'metrics_past');
RESET ROLE;
-- Before the workers see it.
SELECT parent, count(*) AS partitions, max(upper_at) AS until, date_trunc('second', now()) AS now
FROM orchestry.partitions GROUP BY parent ORDER BY parent;
COMMIT;
