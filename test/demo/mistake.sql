SELECT orchestry.partition_of('events', date_trunc('month', now()) + interval '1 month') AS victim \gset
DROP TABLE :victim;
\pset tuples_only on
\o |tail -n 8
SELECT * FROM orchestry.timeline('events');
\o
\pset tuples_only off
\x on
SELECT action, object, reason, sql, locks, destructive, blocked_by FROM orchestry.plan('events');
