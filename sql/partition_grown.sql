-- A default partition that has become large after the plan was made is not read while nobody can use it: the next run checks it before.
SET orchestry.now = '2026-03-10 12:00Z';
SET client_min_messages = warning;
SELECT setval('orchestry.job_job_id_seq', 33101, false);
CREATE SCHEMA grown;
CREATE TABLE grown.t (at timestamptz NOT NULL, pad text) PARTITION BY RANGE (at);
CREATE TABLE grown.rest PARTITION OF grown.t DEFAULT;
ALTER TABLE grown.rest ALTER COLUMN pad SET STORAGE PLAIN;
SELECT orchestry.add_partition_policy('grown.t', every => '1 day', ahead => '1 day');
SELECT orchestry.alter_policy(33101, '{"ahead": "3 days"}');
SELECT action, object FROM orchestry.plan('grown.t') WHERE action <> 'analyze';
-- somebody loads rows between the first step and the second
CREATE FUNCTION grown.load() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    IF pg_relation_size('grown.rest') = 0 THEN
        INSERT INTO grown.t SELECT '2020-01-01Z', repeat('x', 7000) FROM generate_series(1, 1100);
    END IF;
END $$;
CREATE EVENT TRIGGER regress_load ON ddl_command_start WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION grown.load();
CALL orchestry.run('grown.t');
DROP EVENT TRIGGER regress_load;
SELECT s.action, s.object, s.state, s.message FROM orchestry.run_steps s JOIN orchestry.runs r USING (run_id) WHERE r.job_id = 33101 AND s.action <> 'analyze' ORDER BY s.run_id, s.seq;
CALL orchestry.run('grown.t');
SELECT s.action, s.object, s.state, s.message FROM orchestry.run_steps s JOIN orchestry.runs r USING (run_id)
WHERE r.run_id = (SELECT last_run_id FROM orchestry.jobs WHERE job_id = 33101) AND s.action <> 'analyze' ORDER BY s.seq;
SELECT orchestry.remove_policy(33101);
DROP SCHEMA grown CASCADE;
