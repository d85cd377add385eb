-- Conditions of holds and of retention go by names: a column that is renamed, and another by its name, change nothing.
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';
SET client_min_messages = warning;
SET orchestry.now = '2026-06-15 12:00:00+00';
SELECT setval('orchestry.job_job_id_seq', 16101, false), setval('orchestry.hold_hold_id_seq', 6521, false);
CREATE SCHEMA named;
SET search_path = named;
CREATE FUNCTION planned(target regclass) RETURNS TABLE (job bigint, action text, object text, blocked_by text)
LANGUAGE sql BEGIN ATOMIC
    SELECT p.job_id, p.action, regexp_replace(p.object, 'quarantine_\d+', 'quarantine_N'), regexp_replace(p.blocked_by, 'quarantine_\d+', 'quarantine_N')
    FROM orchestry.plan(target) p WHERE p.action <> 'announce' ORDER BY p.seq;
END;

-- what a held condition reads keeps its name: of the table, of what inherits it, of what is in quarantine
CREATE TABLE ev (gone int, id int, at timestamptz NOT NULL, kind text, note text) PARTITION BY RANGE (at);
ALTER TABLE ev DROP COLUMN gone;
CREATE TABLE ev_1 PARTITION OF ev FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE ev_2 PARTITION OF ev FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
CREATE TABLE ev_3 PARTITION OF ev FOR VALUES FROM ('2026-05-01') TO ('2026-07-01');
INSERT INTO ev VALUES (1, '2026-01-10', 'legal'), (2, '2026-01-11', 'other'), (3, '2026-02-10', 'other');
SELECT orchestry.hold('ev', 'case of names', "where" => 'kind = ''legal''') AS h \gset
SELECT column_names FROM orchestry.hold WHERE hold_id = :h;
ALTER TABLE ev RENAME kind TO kind_v1;
ALTER TABLE IF EXISTS ev RENAME COLUMN kind TO kind_v1;
ALTER TABLE IF EXISTS nothing RENAME COLUMN kind TO kind_v1;
DO $$ BEGIN ALTER TABLE named.ev RENAME COLUMN kind TO kind_v1; EXCEPTION WHEN object_not_in_prerequisite_state THEN RAISE WARNING '%', SQLERRM; END $$;
ALTER TABLE ev RENAME note TO remark;
SELECT orchestry.add_retention_policy('ev', '62 days') AS ev \gset
SELECT * FROM planned('ev');
CALL orchestry.run_job(:ev);
SELECT partition AS ev_2 FROM orchestry.quarantine WHERE former_name = 'named.ev_2' \gset
\set VERBOSITY sqlstate
ALTER TABLE :ev_2 RENAME kind TO kind_v1;
\set VERBOSITY default
CREATE TABLE above (kind text);
CREATE TABLE below (id int) INHERITS (above);
SELECT orchestry.hold('below', 'case of names', "where" => 'kind = ''legal''') AS below \gset
ALTER TABLE above RENAME kind TO kind_v1;
SELECT orchestry.release_hold(:below, 'over');
ALTER TABLE above RENAME kind TO kind_v1;

CREATE TYPE noted AS (id int, kind text);
CREATE TABLE typed OF noted;
SELECT orchestry.hold('typed', 'case of names', "where" => 'kind = ''legal''') AS typed \gset
ALTER TYPE noted RENAME ATTRIBUTE kind TO kind_v1 CASCADE;
SELECT orchestry.release_hold(:typed, 'over');
ALTER TYPE noted RENAME ATTRIBUTE kind TO kind_v1 CASCADE;

-- where the library was not asked every row is held: nobody knows which ones were meant
DELETE FROM ev_1 WHERE id = 1;
SELECT * FROM planned('ev');
UPDATE orchestry.hold SET column_numbers = '{3}' WHERE hold_id = :h;
SELECT * FROM planned('ev');
ALTER TABLE ev RENAME kind TO kind_v1; -- nothing goes by it any more
ALTER TABLE ev ADD kind text;
SELECT orchestry.release_hold(:h, 'over');
UPDATE orchestry.hold SET column_numbers = '{4}', released_at = NULL, released_by = NULL, release_reason = NULL WHERE hold_id = :h;
SELECT blocked_by FROM planned('ev') WHERE object = 'named.ev_1';
SELECT orchestry.release_hold(:h, 'over');
SELECT orchestry.remove_policy(:ev);

-- a policy for rows stops until somebody says which are meant
CREATE TABLE plain (id int, at timestamptz, kind text, size int);
INSERT INTO plain VALUES (1, '2026-01-01', 'audit', 1), (2, '2026-01-01', 'debug', 2);
SELECT orchestry.add_retention_policy('plain', '30 days', time_column => 'at', "where" => 'kind = ''debug''') AS plain \gset
ALTER TABLE plain RENAME kind TO kind_v1;
ALTER TABLE plain ADD kind text DEFAULT 'debug';
SELECT * FROM planned('plain');
CALL orchestry.run_job(:plain);
SELECT orchestry.alter_policy(:plain, '{"keep": "20 days"}');
SELECT blocked_by IS NOT NULL AS blocked FROM planned('plain');
TABLE plain;
SELECT orchestry.alter_policy(:plain, '{"where": "kind_v1 = ''debug''"}');
SELECT * FROM planned('plain');
CALL orchestry.run_job(:plain);
TABLE plain;
-- the same name is right when that is what is said
ALTER TABLE plain RENAME kind_v1 TO kind_v2;
ALTER TABLE plain RENAME kind TO kind_v1;
SELECT orchestry.alter_policy(:plain, '{"where": "kind_v1 = ''debug''"}');
SELECT blocked_by FROM planned('plain');

-- what such a policy is to archive is not known either: partitions wait for all of it
CREATE TABLE parts (at timestamptz NOT NULL, kind text) PARTITION BY RANGE (at);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM ('2026-05-01') TO ('2026-07-01');
INSERT INTO parts VALUES ('2026-01-05', 'audit');
SELECT orchestry.add_retention_policy('parts', '30 days', "where" => 'kind = ''audit''', archive_to => 'audits') AS audits \gset
SELECT orchestry.add_retention_policy('parts', '100 days') AS parts \gset
ALTER TABLE parts RENAME kind TO kind_v1;
ALTER TABLE parts ADD kind text;
SELECT * FROM planned('parts') WHERE job = :parts;

-- what is taken out of quarantine by another name is under the holds of the table that it was in, wherever it goes
CREATE TABLE held (at timestamptz NOT NULL, v int) PARTITION BY RANGE (at);
CREATE TABLE held_1 PARTITION OF held FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE held_2 PARTITION OF held FOR VALUES FROM ('2026-05-01') TO ('2026-07-01');
INSERT INTO held VALUES ('2026-01-05', 1);
SELECT orchestry.add_retention_policy('held', '100 days') AS held \gset
CALL orchestry.run_job(:held);
SELECT orchestry.hold('held', 'case of names') AS h \gset
SELECT partition AS held_1 FROM orchestry.quarantine WHERE former_name = 'named.held_1' \gset
ALTER TABLE :held_1 RENAME TO mine;
SELECT count(*) FROM orchestry.quarantine WHERE former_name = 'named.held_1';
DROP TABLE mine;
TRUNCATE mine;
CREATE SCHEMA elsewhere;
ALTER TABLE mine SET SCHEMA elsewhere;
DROP TABLE elsewhere.mine;
CALL orchestry.run_due(); -- which forgets what is gone
SELECT table_name FROM orchestry.detached_partition WHERE schema_name = 'named' ORDER BY table_name;
DROP TABLE elsewhere.mine;
CREATE TABLE other (LIKE held) PARTITION BY RANGE (at);
ALTER TABLE other ATTACH PARTITION elsewhere.mine FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
DROP TABLE elsewhere.mine;
SELECT orchestry.release_hold(:h, 'over');
SELECT orchestry.hold('elsewhere.mine', 'case of names') AS h \gset
DROP TABLE held; -- of which it is no part any more
SELECT orchestry.release_hold(:h, 'over');
DROP SCHEMA elsewhere CASCADE;

SELECT count(orchestry.remove_policy(job_id)) FROM orchestry.jobs WHERE target_schema = 'named';
RESET orchestry.now;
SET search_path = public;
DROP SCHEMA named CASCADE;
DELETE FROM orchestry.detached_partition WHERE schema_name = 'named';
