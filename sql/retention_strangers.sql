-- Tables of others that reference what is to go: they are not read by whoever may not act for their owners, since what is in
-- their indexes would be run with the rights of that one.
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';
SET client_min_messages = warning;
SET orchestry.now = '2026-06-15 12:00:00+00';
CREATE SCHEMA keys;
CREATE ROLE keys_stranger;
GRANT ALL ON SCHEMA keys TO keys_stranger;
SET search_path = keys;
SELECT setval('orchestry.job_job_id_seq', 32101, false);
CREATE TABLE loot (as_whom name);
GRANT ALL ON loot TO PUBLIC;
CREATE TABLE t (id int, at timestamptz NOT NULL, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE t_1 PARTITION OF t FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE t_6 PARTITION OF t FOR VALUES FROM ('2026-06-01') TO ('2026-07-01');
CREATE TABLE e (id int PRIMARY KEY, at timestamptz NOT NULL);
INSERT INTO t VALUES (1, '2026-01-10');
INSERT INTO e VALUES (1, '2026-01-10'), (2, '2026-01-11');
GRANT REFERENCES ON t, e TO keys_stranger;
SET ROLE keys_stranger;
CREATE TABLE of_t (id int, at timestamptz, CONSTRAINT has_t FOREIGN KEY (id, at) REFERENCES t);
CREATE TABLE of_e (id int, CONSTRAINT has_e FOREIGN KEY (id) REFERENCES e);
INSERT INTO of_e VALUES (2);
CREATE FUNCTION note() RETURNS void LANGUAGE sql AS $$INSERT INTO keys.loot SELECT current_user WHERE current_user <> 'keys_stranger'$$;
CREATE FUNCTION is_indexed(int) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS $$BEGIN PERFORM keys.note(); RETURN true; END$$;
CREATE INDEX ON of_t (id) WHERE is_indexed(1);
CREATE INDEX ON of_e (id) WHERE is_indexed(1);
\c -
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';
SET client_min_messages = warning;
SET orchestry.now = '2026-06-15 12:00:00+00';
SET search_path = keys;
SELECT orchestry.add_retention_policy('t', '30 days') AS t, orchestry.add_event_compression_policy('e', '30 days', time_column => 'at') AS e \gset
SELECT action, object, blocked_by FROM orchestry.plan('t');
CALL orchestry.run_job(:t);
-- the server's own look is one of the other table's owner
SELECT DISTINCT action, blocked_by FROM orchestry.plan('e') WHERE action <> 'leave';
CALL orchestry.run_job(:e);
SET ROLE keys_stranger;
DELETE FROM of_e;
RESET ROLE;
CALL orchestry.run_job(:e);
SELECT count(*) AS events, (SELECT sum(event_count) FROM e_compressed) AS compressed FROM e;
TABLE loot;
ALTER TABLE of_t OWNER TO CURRENT_USER;
SELECT action, object, blocked_by FROM orchestry.plan('t') WHERE action <> 'announce';

SELECT count(orchestry.remove_policy(job_id)) FROM orchestry.jobs WHERE job_id BETWEEN 32101 AND 32200;
DROP SCHEMA keys CASCADE;
DROP ROLE keys_stranger;
