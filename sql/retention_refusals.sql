-- What is in the way of retention is named with the command that mends it, and keeps nothing else; what is not in the way does
-- not keep anything.
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';
SET client_min_messages = warning;
SET orchestry.now = '2026-06-15 12:00:00+00';
SELECT setval('orchestry.job_job_id_seq', 7501, false), setval('orchestry.hold_hold_id_seq', 7501, false);
CREATE ROLE refusal_owner;
CREATE ROLE refusal_other;
CREATE SCHEMA refusal AUTHORIZATION refusal_owner;
CREATE SCHEMA refusal_far AUTHORIZATION refusal_other;
GRANT USAGE ON SCHEMA refusal TO refusal_other;
CREATE FUNCTION refusal.mask(text) RETURNS text LANGUAGE sql RETURN regexp_replace($1, 'quarantine_\d+', 'quarantine_N', 'g');
GRANT EXECUTE ON FUNCTION refusal.mask(text) TO PUBLIC;
CREATE FUNCTION refusal.planned(target regclass) RETURNS TABLE (action text, object text, blocked_by text)
LANGUAGE sql BEGIN ATOMIC
    SELECT p.action, refusal.mask(p.object), refusal.mask(p.blocked_by) FROM orchestry.plan(target) p WHERE p.action <> 'announce' ORDER BY p.seq;
END;
SET ROLE refusal_owner;
SET search_path = refusal;
CREATE TABLE ev (name text COLLATE "C", at timestamptz, PRIMARY KEY (name, at)) PARTITION BY RANGE (at);
CREATE TABLE ev_1 PARTITION OF ev FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE ev_2 PARTITION OF ev FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
CREATE TABLE ev_6 PARTITION OF ev FOR VALUES FROM ('2026-06-01') TO ('2026-07-01');
INSERT INTO ev VALUES ('a', '2026-01-10'), ('b', '2026-02-10');
GRANT REFERENCES ON ev TO refusal_other;
SELECT orchestry.add_retention_policy('ev', '2 months') AS job \gset

-- rows of a table of somebody else, which is not read
SET ROLE refusal_other;
CREATE TABLE refusal_far.note (name text COLLATE "POSIX", at timestamptz, CONSTRAINT note_has_ev FOREIGN KEY (name, at) REFERENCES refusal.ev);
INSERT INTO refusal_far.note VALUES ('a', '2026-01-10');
ALTER TABLE refusal_far.note ENABLE ROW LEVEL SECURITY;
RESET ROLE;
SELECT * FROM planned('ev');
CALL orchestry.run('ev');
-- and of a table that the owner cannot see into: which right is missing, one after the other; another collation is none
ALTER TABLE refusal_far.note OWNER TO CURRENT_USER;
SELECT * FROM planned('ev');
GRANT USAGE ON SCHEMA refusal_far TO refusal_owner;
SELECT * FROM planned('ev');
GRANT SELECT ON refusal_far.note TO refusal_owner;
SELECT * FROM planned('ev');
ALTER ROLE refusal_owner BYPASSRLS;
SELECT * FROM planned('ev');
CALL orchestry.run('ev');
SELECT action, mask(object) AS object, state, message FROM orchestry.run_steps WHERE run_id = (SELECT last_run_id FROM orchestry.jobs WHERE job_id = :job) AND action <> 'announce' ORDER BY seq;
DELETE FROM refusal_far.note;
SELECT * FROM planned('ev');
DROP TABLE refusal_far.note;
ALTER ROLE refusal_owner NOBYPASSRLS;

-- row security of the table itself is about rows
ALTER TABLE ev ENABLE ROW LEVEL SECURITY;
ALTER TABLE ev FORCE ROW LEVEL SECURITY;
ALTER TABLE ev_1 ENABLE ROW LEVEL SECURITY;
ALTER TABLE ev_1 FORCE ROW LEVEL SECURITY;
-- but rows that are not to be seen may be held ones
SELECT orchestry.hold('ev_1', 'some', "where" => 'name = ''z''') AS hold \gset
SELECT action, object, regexp_replace(blocked_by, '\d+', 'N', 'g') AS blocked_by FROM planned('ev');
SELECT orchestry.release_hold(:hold, 'over');
CALL orchestry.run('ev');
SELECT former_name FROM orchestry.quarantine WHERE parent = 'ev'::regclass ORDER BY 1;

-- code of the owner that runs while a partition is dropped does not get past the hold on another table
SET ROLE refusal_owner;
CREATE TABLE kept (id int);
INSERT INTO kept VALUES (1);
SELECT orchestry.hold('kept', 'case 1') AS hold \gset
RESET ROLE;
CREATE FUNCTION refusal.drops() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    IF tg_tag = 'DROP TABLE' AND current_user = 'refusal_owner' AND to_regclass('refusal.kept') IS NOT NULL AND pg_trigger_depth() = 0
       AND EXISTS (SELECT FROM pg_event_trigger_dropped_objects() o WHERE o.object_name ~ 'quarantine' AND o.object_type = 'table') THEN
        BEGIN
            DROP TABLE refusal.kept;
        EXCEPTION WHEN object_not_in_prerequisite_state THEN
            RAISE WARNING '%', SQLERRM;
        END;
    END IF;
END $$;
CREATE EVENT TRIGGER refusal_drops ON sql_drop EXECUTE FUNCTION refusal.drops();
SET orchestry.now = '2026-06-22 12:00:00+00';
SET client_min_messages = warning;
CALL orchestry.run('ev');
DROP EVENT TRIGGER refusal_drops;
SELECT count(*) FROM kept;
SELECT count(*) FROM orchestry.quarantine WHERE parent = 'ev'::regclass;
SELECT orchestry.release_hold(:hold, 'over');

-- a table in quarantine that somebody makes the parent of the one it came from: holds find their way all the same
CREATE TABLE a (at timestamptz) PARTITION BY RANGE (at);
CREATE TABLE a_1 PARTITION OF a FOR VALUES FROM ('2026-01-01') TO ('2026-02-01') PARTITION BY RANGE (at);
CREATE TABLE a_6 PARTITION OF a FOR VALUES FROM ('2026-06-01') TO ('2026-07-01');
SELECT orchestry.add_retention_policy('a', '2 months') IS NOT NULL AS added;
CALL orchestry.run('a');
DO $$ BEGIN EXECUTE format('ALTER TABLE %s ATTACH PARTITION a FOR VALUES FROM (''2026-06-01'') TO (''2026-07-01'')', (SELECT partition FROM orchestry.quarantine WHERE former_name = 'refusal.a_1')); END $$;
SELECT orchestry.hold('a', 'round and round') AS hold \gset
DO $$ BEGIN EXECUTE format('DROP TABLE %s', (SELECT partition FROM orchestry.quarantine WHERE former_name = 'refusal.a_1')); EXCEPTION WHEN object_not_in_prerequisite_state THEN RAISE WARNING 'refused'; END $$;
SELECT orchestry.release_hold(:hold, 'over');

-- what is a part of a partition goes with it, whatever columns it names; what needs the type of its rows does not
CREATE TABLE own (name text, at timestamptz) PARTITION BY RANGE (at);
CREATE TABLE own_1 PARTITION OF own FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE own_2 PARTITION OF own FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
CREATE TABLE own_6 PARTITION OF own FOR VALUES FROM ('2026-06-01') TO ('2026-07-01');
ALTER TABLE own_1 ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON own_1 USING (name = current_user);
ALTER TABLE own_1 ADD CHECK ((own_1.*) IS NOT NULL);
CREATE TRIGGER named BEFORE UPDATE OF name ON own_1 FOR EACH ROW WHEN (old.name <> '') EXECUTE FUNCTION suppress_redundant_updates_trigger();
SET client_min_messages = error; -- the server's wal_level may not do for it
CREATE PUBLICATION refusal_some FOR TABLE own_1 WHERE (name <> '');
SET client_min_messages = warning;
CREATE FUNCTION takes(own_2) RETURNS int LANGUAGE sql RETURN 1;
CREATE TABLE near (list own_2[]);
SELECT orchestry.add_retention_policy('own', '2 months') IS NOT NULL AS added;
CALL orchestry.run('own');
SET orchestry.now = '2026-06-30 12:00:00+00';
SELECT * FROM planned('own');
\set VERBOSITY sqlstate
CALL orchestry.run('own'); -- the name in quarantine has an OID
\set VERBOSITY default
SELECT former_name FROM orchestry.quarantine WHERE parent = 'own'::regclass;
DROP TABLE near;
DROP FUNCTION takes;
CALL orchestry.run('own');
SELECT former_name FROM orchestry.quarantine WHERE parent = 'own'::regclass;
DROP PUBLICATION refusal_some;

SELECT count(orchestry.remove_policy(job_id)) FROM orchestry.jobs WHERE target_schema = 'refusal';
DROP SCHEMA refusal, refusal_far CASCADE;
DROP ROLE refusal_owner, refusal_other;
