\pset tuples_only on
\o |tail -n 20
SELECT * FROM orchestry.timeline('events');
\o
\o |tail -n 20
SELECT * FROM orchestry.timeline('metrics');
\o
