INSERT INTO events
SELECT i.at + (now() - s.newest), i.source, i.app, i.event_type, i.severity, i.message, i.details
FROM events_input i JOIN (SELECT source, max(at) AS newest FROM events_input GROUP BY source) s USING (source);
INSERT INTO metrics
SELECT i.at + (now() - s.newest), i.source, i.app, i.metric_type, i.unit, i.value
FROM metrics_input i JOIN (SELECT source, max(at) AS newest FROM metrics_input GROUP BY source) s USING (source);
SELECT count(*) AS events_loaded FROM events_input \gset
SELECT count(*) AS metrics_loaded FROM metrics_input \gset
\ir count.sql
