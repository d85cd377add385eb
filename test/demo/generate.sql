SELECT setseed(0.42);
INSERT INTO events
SELECT now() - n * interval '6 minutes', 'demo', (ARRAY['checkout', 'search', 'billing'])[1 + n % 3],
       CASE WHEN n % 7 = 0 THEN 'deploy' ELSE 'request' END,
       CASE WHEN random() < 0.02 THEN 'error' WHEN random() < 0.1 THEN 'warning' ELSE 'info' END,
       'request ' || n || ' took ' || round((random() * 900)::numeric) || ' ms',
       jsonb_build_object('status', CASE WHEN random() < 0.02 THEN 500 ELSE 200 END)
FROM generate_series(0, 180 * 24 * 10) n;
\set events_loaded :ROW_COUNT
INSERT INTO metrics
SELECT now() - n * interval '5 minutes', 'demo', app, metric_type, unit,
       base * (1 + 0.3 * sin(n * 2 * pi() / 288)) + random() * base / 10
FROM generate_series(0, 90 * 24 * 12) n,
     (VALUES ('checkout'), ('search'), ('billing')) apps (app),
     (VALUES ('latency', 'ms', 120), ('cpu', '%', 35)) types (metric_type, unit, base);
\set metrics_loaded :ROW_COUNT
\ir count.sql
