-- The clean-up jobs that people write by hand, as policies: the rows that stay are those that the statements beside them say.
SET TimeZone = 'Asia/Tokyo'; -- nine hours off for whoever compares a timestamp without zone with now()
SET client_min_messages = warning;
SET orchestry.now = '2026-06-15 12:00:00+00';
CREATE SCHEMA rules;
SET search_path = rules;
SELECT setval('orchestry.job_job_id_seq', 7601, false);
CREATE FUNCTION moment() RETURNS timestamptz LANGUAGE sql IMMUTABLE AS $$ SELECT timestamptz '2026-06-15 12:00:00+00' $$;

CREATE TABLE applications (name text PRIMARY KEY);
INSERT INTO applications VALUES ('a'), ('b');
CREATE TABLE events (id serial PRIMARY KEY, app_name text REFERENCES applications ON DELETE SET NULL, severity text, "timestamp" timestamptz DEFAULT now());
INSERT INTO events (app_name, "timestamp") SELECT (ARRAY['a', 'b', NULL])[1 + n % 3], moment() - n * interval '6 hours' FROM generate_series(-5, 300) n;
INSERT INTO events ("timestamp") VALUES (NULL), ('-infinity'), ('infinity');
CREATE TABLE metrics (id serial PRIMARY KEY, app_name text NOT NULL REFERENCES applications ON DELETE CASCADE, value float8, "timestamp" timestamptz,
    aggregation_level text DEFAULT 'instance');
INSERT INTO metrics (app_name, "timestamp", aggregation_level)
SELECT 'a', moment() - n * interval '6 hours', l FROM generate_series(0, 400) n, unnest(ARRAY['instance', 'app', 'system', NULL]) l;
CREATE INDEX ON metrics ("timestamp" DESC);
CREATE TABLE instances (id serial PRIMARY KEY, app_name text NOT NULL REFERENCES applications ON DELETE CASCADE, status text NOT NULL, updated_at timestamptz DEFAULT now());
INSERT INTO instances (app_name, status, updated_at) SELECT 'b', s, moment() - n * interval '1 day' FROM generate_series(0, 20) n, unnest(ARRAY['running', 'stopped']) s;
-- 1 running, 2 completed, 3 failed, 4 canceled, 5 terminated, 6 continued as new, 7 timed out, 8 paused; times are UTC
CREATE TABLE executions (namespace_id char(64), run_id char(64), status int NOT NULL, start_time timestamp NOT NULL, close_time timestamp, PRIMARY KEY (namespace_id, run_id));
INSERT INTO executions SELECT 'n' || s, n, s, (moment() AT TIME ZONE 'UTC') - n * interval '1 hour' - interval '3 days',
    CASE WHEN s NOT IN (1, 8) THEN (moment() AT TIME ZONE 'UTC') - n * interval '1 hour' END
FROM generate_series(1, 8) s, generate_series(2100, 2200) n;

CREATE TABLE expected AS
SELECT 'events' AS t, id::text FROM events WHERE "timestamp" < moment() - interval '30 days' AND "timestamp" > '-infinity'
UNION ALL SELECT 'metrics', id::text FROM metrics WHERE "timestamp" < moment() - CASE aggregation_level WHEN 'instance' THEN interval '7 days' WHEN 'app' THEN interval '30 days' ELSE interval '90 days' END
UNION ALL SELECT 'instances', id::text FROM instances WHERE status = 'stopped' AND updated_at < moment() - interval '7 days'
UNION ALL SELECT 'executions', namespace_id || run_id FROM executions WHERE close_time < (moment() - interval '90 days') AT TIME ZONE 'UTC' AND status NOT IN (1, 8);
SELECT t, count(*) FROM expected GROUP BY t ORDER BY t;
CREATE TABLE before AS
SELECT 'events' AS t, id::text FROM events UNION ALL SELECT 'metrics', id::text FROM metrics UNION ALL SELECT 'instances', id::text FROM instances
UNION ALL SELECT 'executions', namespace_id || run_id FROM executions;

SELECT orchestry.add_retention_policy('events', '30 days', time_column => 'timestamp', schedule => '0 2 * * *');
SELECT orchestry.add_retention_policy('metrics', '7 days', time_column => 'timestamp', "where" => $$aggregation_level = 'instance'$$, schedule => '0 2 * * *');
SELECT orchestry.add_retention_policy('metrics', '30 days', time_column => 'timestamp', "where" => $$aggregation_level = 'app'$$, schedule => '0 2 * * *');
-- the levels that were forgotten
SELECT orchestry.add_retention_policy('metrics', '90 days', time_column => 'timestamp', "where" => $$aggregation_level IS NULL OR aggregation_level NOT IN ('instance', 'app')$$);
SELECT orchestry.add_retention_policy('instances', '7 days', time_column => 'updated_at', "where" => $$status = 'stopped'$$, schedule => '0 2 * * *');
SELECT orchestry.add_retention_policy('executions', '90 days', time_column => 'close_time', "where" => 'status NOT IN (1, 8)', schedule => '0 3 * * *');
CALL orchestry.run('events');
CALL orchestry.run('metrics');
CALL orchestry.run('instances');
CALL orchestry.run('executions');

CREATE TABLE after AS
SELECT 'events' AS t, id::text FROM events UNION ALL SELECT 'metrics', id::text FROM metrics UNION ALL SELECT 'instances', id::text FROM instances
UNION ALL SELECT 'executions', namespace_id || run_id FROM executions;
-- nothing that should have stayed, and nothing that should have gone
(SELECT t, id FROM before EXCEPT SELECT t, id FROM after) EXCEPT TABLE expected;
TABLE expected EXCEPT (SELECT t, id FROM before EXCEPT SELECT t, id FROM after);
SELECT j.target, r.state, r.rows FROM orchestry.runs r JOIN orchestry.jobs j USING (job_id) WHERE j.target_schema = 'rules' ORDER BY r.run_id;

RESET orchestry.now;
SELECT count(orchestry.remove_policy(job_id)) FROM orchestry.jobs WHERE target_schema = 'rules';
SET search_path = public;
DROP SCHEMA rules CASCADE;
