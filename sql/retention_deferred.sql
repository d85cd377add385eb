-- Triggers and constraints that wait for the end of a transaction are looked at in the step that caused them: what fails
-- there is that step's failure, with a record, and its rows stay.
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';
SET client_min_messages = warning;
SET orchestry.now = '2026-06-15 12:00:00+00';
SELECT setval('orchestry.job_job_id_seq', 24001, false);
CREATE SCHEMA deferral;
SET search_path = deferral;
CREATE TABLE sample (id int PRIMARY KEY, at timestamptz NOT NULL);
CREATE TABLE seen (id int, as_of bigint);
INSERT INTO sample SELECT g, timestamptz '2026-01-01 00:00+00' + g * interval '10 days' FROM generate_series(1, 16) g;
CREATE FUNCTION look_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.id = (SELECT max(b.id) FROM deferral.blocked b) THEN
        RAISE EXCEPTION 'sample % has to stay', OLD.id USING ERRCODE = 'integrity_constraint_violation', HINT = 'Unblock it.';
    END IF;
    INSERT INTO deferral.seen SELECT OLD.id, count(*) FROM deferral.sample;
    RETURN NULL;
END $$;
CREATE TABLE blocked (id int);
CREATE CONSTRAINT TRIGGER look_at AFTER DELETE ON sample DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION look_at();
SELECT orchestry.add_retention_policy('sample', '3 months', time_column => 'at', batch_rows => 1000) AS job \gset

-- the trigger fails at the end of the last step
INSERT INTO blocked VALUES (5);
CALL orchestry.run('sample');
SELECT last_state, failures FROM orchestry.jobs WHERE job_id = :job;
SELECT s.action, s.state, s.sqlstate, s.message FROM orchestry.run_steps s WHERE s.run_id = (SELECT last_run_id FROM orchestry.jobs WHERE job_id = :job) ORDER BY seq;
SELECT sqlstate, message, hint FROM orchestry.runs WHERE run_id = (SELECT last_run_id FROM orchestry.jobs WHERE job_id = :job);
SELECT count(*) FROM sample;
SELECT count(*) FROM seen;

-- and does not
TRUNCATE blocked;
CALL orchestry.run('sample');
SELECT last_state, failures FROM orchestry.jobs WHERE job_id = :job;
SELECT s.action, s.state, s.rows FROM orchestry.run_steps s WHERE s.run_id = (SELECT last_run_id FROM orchestry.jobs WHERE job_id = :job) ORDER BY seq;
SELECT min(id), count(*) FROM sample;
SELECT count(*), min(as_of), max(as_of) FROM seen;

-- What fails in the commit itself, because a trigger puts it off once more, is the run's failure, and the step was not done.
CREATE TABLE late (id int);
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'sample % is too late', NEW.id; END $$;
CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON late DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse();
CREATE OR REPLACE FUNCTION look_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    SET CONSTRAINTS ALL DEFERRED;
    INSERT INTO deferral.late VALUES (OLD.id);
    RETURN NULL;
END $$;
SET orchestry.now = '2026-06-25 12:00:00+00';
CALL orchestry.run('sample');
SELECT state, last_state, failures FROM orchestry.jobs WHERE job_id = :job;
SELECT state, sqlstate, message FROM orchestry.runs WHERE run_id = (SELECT last_run_id FROM orchestry.jobs WHERE job_id = :job);
SELECT min(id), count(*) FROM sample;

SELECT orchestry.remove_policy(:job);
DROP SCHEMA deferral CASCADE;
