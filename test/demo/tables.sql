CREATE EXTENSION orchestry_ext;
GRANT CREATE ON SCHEMA public TO app;
SET ROLE app;
CREATE TABLE events (
    at         timestamptz NOT NULL,
    source     text NOT NULL,
    app        text NOT NULL,
    event_type text NOT NULL,
    severity   text NOT NULL,
    message    text,
    details    jsonb
) PARTITION BY RANGE (at);
CREATE INDEX ON events (app, at);
CREATE TABLE metrics (
    at          timestamptz NOT NULL,
    source      text NOT NULL,
    app         text NOT NULL,
    metric_type text NOT NULL,
    unit        text,
    value       float8
) PARTITION BY RANGE (at);
CREATE INDEX ON metrics (app, metric_type, at);
