-- Archives: rows are moved into another table in one transaction with their removal, or not at all.
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';
SET orchestry.now = '2026-06-15 12:00:00+00';
SET client_min_messages = warning;
CREATE SCHEMA live;
CREATE SCHEMA attic;
SET search_path = live;
SELECT setval('orchestry.job_job_id_seq', 7401, false), setval('orchestry.hold_hold_id_seq', 6401, false);
CREATE FUNCTION history(job bigint) RETURNS TABLE (action text, object text, state text, rows bigint, sqlstate text, message text)
LANGUAGE sql BEGIN ATOMIC
    SELECT s.action, s.object, s.state, s.rows, s.sqlstate, s.message FROM orchestry.run_steps s
    WHERE s.run_id = (SELECT j.last_run_id FROM orchestry.jobs j WHERE j.job_id = job) ORDER BY s.seq;
END;

-- a table with everything that makes a column special
CREATE TABLE ev (
    gone int,
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    serial_no serial,
    "Odd name" text DEFAULT 'x' COLLATE "C",
    at timestamptz NOT NULL,
    doubled bigint GENERATED ALWAYS AS (serial_no * 2) STORED,
    amount numeric(6, 2) CHECK (amount < 1000),
    tags text[]
);
ALTER TABLE ev DROP COLUMN gone;
CREATE INDEX ev_at ON ev (at);
INSERT INTO ev (at, amount, tags) SELECT timestamptz '2026-06-15 12:00:00+00' - make_interval(days => d), d * 1.5, ARRAY['t' || d]
FROM generate_series(1, 20) d;
CREATE TABLE everything AS SELECT * FROM ev;

-- one that is not there is made, without what would tie it to the table
SELECT orchestry.add_retention_policy('ev', '10 days', time_column => 'at', archive_to => 'attic.ev') AS ev \gset
SELECT settings ->> 'archive_to' FROM orchestry.jobs WHERE job_id = :ev;
SELECT attname, format_type(atttypid, atttypmod), attnotnull, attidentity, attgenerated, atthasdef FROM pg_attribute
WHERE attrelid = 'attic.ev'::regclass AND attnum > 0 ORDER BY attnum;
SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = 'attic.ev'::regclass ORDER BY 1;
SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'attic.ev'::regclass AND contype <> 'n' ORDER BY 1;
SELECT action, object, reason, sql, locks, destructive FROM orchestry.plan('ev');
CALL orchestry.run('ev');
SELECT * FROM history(:ev);
SELECT (SELECT count(*) FROM ev), (SELECT count(*) FROM attic.ev);
TABLE everything EXCEPT (TABLE ev UNION ALL TABLE attic.ev);
SELECT min(at) FROM ev;
CALL orchestry.run('ev');
SELECT state, rows FROM orchestry.runs WHERE job_id = :ev ORDER BY run_id;

-- a column that comes later: nothing is lost without a word
ALTER TABLE ev ADD COLUMN late text DEFAULT 'late';
INSERT INTO ev (at) VALUES ('2026-01-01'), ('2026-01-02');
CALL orchestry.run('ev');
SELECT * FROM history(:ev);
ALTER TABLE attic.ev ADD COLUMN late text;
CALL orchestry.run('ev');
SELECT count(*), count(late) FROM attic.ev;
-- one that goes: the archive has it still
ALTER TABLE ev DROP COLUMN late;
INSERT INTO ev (at) VALUES ('2026-01-03');
CALL orchestry.run('ev');
SELECT count(*), count(late) FROM attic.ev;

-- what the archive does not take stays: a key that is there already, a row that a trigger leaves out, no archive at all
INSERT INTO ev (at) VALUES ('2026-01-04'), ('2026-01-05');
INSERT INTO attic.ev (id, serial_no, at) SELECT id, serial_no, at FROM ev WHERE at = '2026-01-05';
CALL orchestry.run('ev');
SELECT state, rows, sqlstate FROM history(:ev);
SELECT count(*) FROM ev WHERE at < '2026-02-01';
DELETE FROM attic.ev WHERE at = '2026-01-05';
CREATE FUNCTION leave_out() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN IF NEW.at = ''2026-01-05'' THEN RETURN NULL; END IF; RETURN NEW; END';
CREATE TRIGGER leave_out BEFORE INSERT ON attic.ev FOR EACH ROW EXECUTE FUNCTION leave_out();
CALL orchestry.run('ev');
SELECT count(*) FROM ev WHERE at < '2026-02-01';
DROP TRIGGER leave_out ON attic.ev;
ALTER TABLE attic.ev RENAME TO other;
CALL orchestry.run('ev');
SELECT count(*) FROM ev WHERE at < '2026-02-01';
SELECT orchestry.alter_policy(:ev, '{"archive_to": "attic.other"}');
CALL orchestry.run('ev');
SELECT count(*) FROM ev WHERE at < '2026-02-01';
SELECT orchestry.remove_policy(:ev);
DROP TABLE ev; -- nothing else depends on it
SELECT count(*) FROM attic.other;

-- archives that do not fit are refused, with nothing changed
CREATE TABLE src (id int PRIMARY KEY, at timestamptz NOT NULL, v varchar(10));
CREATE PROCEDURE refuse(definition text, archive text DEFAULT 'attic.bad') LANGUAGE plpgsql AS $$
DECLARE hint text; detail text;
BEGIN
    IF definition <> '' THEN
        EXECUTE definition;
    END IF;
    PERFORM orchestry.add_retention_policy('src', interval '30 days', time_column => 'at', archive_to => archive);
    RAISE 'not refused: %', definition;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RAISE INFO '% % | % | %', SQLSTATE, SQLERRM, detail, hint;
END $$;
CALL refuse('CREATE TABLE attic.bad (id int, at timestamptz)');
CALL refuse('CREATE TABLE attic.bad (id bigint, at timestamptz, v varchar(10))');
CALL refuse('CREATE TABLE attic.bad (id int, at timestamptz, v varchar(9))');
CALL refuse('CREATE TABLE attic.bad (id int, at timestamptz, v varchar(10), more int NOT NULL)');
CALL refuse('CREATE VIEW attic.bad AS SELECT * FROM live.src');
CALL refuse('', 'src');
CALL refuse('', 'attic.a.b');
CALL refuse('', 'nowhere.src');
CALL refuse('', '');
CALL refuse('CREATE TABLE src_child () INHERITS (src)', 'src_child');
SELECT count(*) FROM orchestry.jobs WHERE target_schema = 'live';
-- columns may be in another order, and there may be more of them
CREATE TABLE attic.good (v varchar, moved timestamptz DEFAULT '2000-01-01', id int GENERATED ALWAYS AS IDENTITY, at timestamptz,
    year int GENERATED ALWAYS AS (id / 10) STORED);
SELECT orchestry.add_retention_policy('src', interval '30 days', time_column => 'at', archive_to => 'attic.good') AS src \gset
INSERT INTO src VALUES (71, '2026-01-01', 'a'), (72, '2026-06-15', 'b');
CALL orchestry.run('src');
SELECT * FROM attic.good;
SELECT * FROM src;
SELECT orchestry.remove_policy(:src);

-- the owner of the table needs the right to write into the archive
CREATE ROLE archive_owner;
GRANT USAGE, CREATE ON SCHEMA live TO archive_owner;
GRANT USAGE ON SCHEMA attic TO archive_owner;
ALTER TABLE src OWNER TO archive_owner;
CREATE TABLE attic.mine (LIKE src);
SELECT orchestry.add_retention_policy('src', interval '30 days', time_column => 'at', archive_to => 'attic.mine');
GRANT INSERT ON attic.mine TO archive_owner;
SELECT orchestry.add_retention_policy('src', interval '30 days', time_column => 'at', archive_to => 'attic.mine') AS src \gset
INSERT INTO src VALUES (1, '2026-01-01', 'a');
CALL orchestry.run('src');
SELECT * FROM attic.mine;
REVOKE INSERT ON attic.mine FROM archive_owner;
INSERT INTO src VALUES (2, '2026-01-01', 'a');
CALL orchestry.run('src');
SELECT id FROM src ORDER BY id;
SELECT orchestry.remove_policy(:src);
-- one that is made belongs to the owner of the table
SELECT orchestry.add_retention_policy('src', interval '30 days', time_column => 'at', archive_to => 'attic.made');
SELECT orchestry.add_retention_policy('src', interval '30 days', time_column => 'at', archive_to => 'src_archive') AS src \gset
SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = 'src_archive'::regclass;

-- from partitions into partitions, in which not every row has a place; a leaf is all or nothing only batch by batch
CREATE TABLE parts (at timestamptz NOT NULL, v int) PARTITION BY RANGE (at);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
CREATE TABLE parts_6 PARTITION OF parts FOR VALUES FROM ('2026-06-01') TO ('2026-07-01');
INSERT INTO parts SELECT d, 1 FROM generate_series(timestamptz '2026-01-01', '2026-02-28', '1 day') d;
INSERT INTO parts VALUES ('2026-06-01', 1);
CREATE TABLE attic.parts (at timestamptz NOT NULL, v int, extra int) PARTITION BY RANGE (at); -- or parts_2 would go as a whole
CREATE TABLE attic.parts_1 PARTITION OF attic.parts FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
SELECT orchestry.add_retention_policy('parts', '30 days', archive_to => 'attic.parts') AS parts \gset
CALL orchestry.run('parts');
SELECT action, object, state, rows, message FROM history(:parts);
SELECT tableoid::regclass, count(*) FROM parts GROUP BY 1 ORDER BY 1;
SELECT tableoid::regclass, count(*) FROM attic.parts GROUP BY 1 ORDER BY 1;
CREATE TABLE attic.parts_rest PARTITION OF attic.parts DEFAULT;
-- held rows are not moved either
SELECT orchestry.hold('parts', 'case', "from" => '2026-02-10', "to" => '2026-02-12') AS held \gset
CALL orchestry.run('parts');
SELECT action, object, state, rows FROM history(:parts);
SELECT at FROM parts ORDER BY at;
SELECT orchestry.release_hold(:held, 'over');

-- tables that inherit may have columns of their own: an archive that is made has them, another is to have them
CREATE TABLE base (id int, at timestamptz);
CREATE TABLE kin (secret text, "Big" numeric(4, 1)) INHERITS (base);
CREATE TABLE kin_too (secret text) INHERITS (base);
INSERT INTO kin VALUES (1, '2026-01-01', 'one', 1.5);
INSERT INTO kin_too VALUES (2, '2026-01-01', 'two');
INSERT INTO base VALUES (3, '2026-01-01');
CREATE TABLE attic.base (id int, at timestamptz);
SELECT orchestry.add_retention_policy('base', '30 days', time_column => 'at', archive_to => 'attic.base');
DROP TABLE attic.base;
SELECT orchestry.add_retention_policy('base', '30 days', time_column => 'at', archive_to => 'attic.base') AS base \gset
CALL orchestry.run('base');
SELECT * FROM attic.base ORDER BY id;
SELECT count(*) FROM base;
ALTER TABLE kin_too ADD COLUMN late int DEFAULT 7;
INSERT INTO kin_too VALUES (4, '2026-01-01');
CALL orchestry.run('base');
SELECT object, state, rows, message FROM history(:base);
SELECT sql ~ 'RETURNING \*' AS unknown FROM orchestry.plan('base') WHERE destructive;
SELECT * FROM kin_too;
SELECT orchestry.remove_policy(:base);
SELECT orchestry.add_retention_policy('base', '30 days', time_column => 'at', archive_to => 'kin'); -- a part of the same table

-- an archive that forgets: a temporary table, one that is not logged, a partition that is not; where the table forgets as well, it may
CREATE TABLE logged (id int, at timestamptz);
CREATE TEMPORARY TABLE passing (LIKE logged);
SELECT orchestry.add_retention_policy('logged', '30 days', time_column => 'at', archive_to => 'pg_temp.passing');
\set VERBOSITY terse
SELECT orchestry.add_retention_policy('logged', '30 days', time_column => 'at', archive_to => 'pg_temp.new');
\set VERBOSITY default
SELECT to_regclass('pg_temp.new');
DROP TABLE passing;
CREATE UNLOGGED TABLE attic.logged (LIKE logged);
SELECT orchestry.add_retention_policy('logged', '30 days', time_column => 'at', archive_to => 'attic.logged');
ALTER TABLE attic.logged SET LOGGED;
SELECT orchestry.add_retention_policy('logged', '30 days', time_column => 'at', archive_to => 'attic.logged') AS logged \gset
INSERT INTO logged VALUES (1, '2026-01-01');
ALTER TABLE attic.logged SET UNLOGGED;
CALL orchestry.run('logged');
SELECT state, rows, message FROM history(:logged);
ALTER TABLE logged SET UNLOGGED;
CALL orchestry.run('logged');
SELECT state, rows, message FROM history(:logged);
TABLE attic.logged;
ALTER TABLE logged SET LOGGED;
SELECT orchestry.remove_policy(:logged);
CREATE TABLE attic.leaves (LIKE logged) PARTITION BY RANGE (at);
CREATE TABLE attic.leaves_1 PARTITION OF attic.leaves FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE UNLOGGED TABLE attic.leaves_2 PARTITION OF attic.leaves FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
SELECT orchestry.add_retention_policy('logged', '30 days', time_column => 'at', archive_to => 'attic.leaves');
ALTER TABLE attic.leaves_2 SET LOGGED;
SELECT orchestry.add_retention_policy('logged', '30 days', time_column => 'at', archive_to => 'attic.leaves') IS NOT NULL AS added;

-- a column that the archive alone computes would lose what came; one that both compute is made anew
CREATE TABLE computed (id int, at timestamptz, x int, twice int GENERATED ALWAYS AS (id * 2) STORED);
CREATE TABLE attic.computed (id int, at timestamptz, x int GENERATED ALWAYS AS (id * 2) STORED, twice int GENERATED ALWAYS AS (id * 2) STORED);
SELECT orchestry.add_retention_policy('computed', '30 days', time_column => 'at', archive_to => 'attic.computed');
ALTER TABLE attic.computed ALTER COLUMN x DROP EXPRESSION;
SELECT orchestry.add_retention_policy('computed', '30 days', time_column => 'at', archive_to => 'attic.computed') AS computed \gset
INSERT INTO computed VALUES (1, '2026-01-01', 77);
CALL orchestry.run('computed');
TABLE attic.computed;
CREATE TABLE nothing (at date GENERATED ALWAYS AS (DATE '2026-01-01') STORED);
CREATE TABLE attic.nothing (at date GENERATED ALWAYS AS (DATE '2026-01-01') STORED);
INSERT INTO nothing DEFAULT VALUES;
SELECT orchestry.add_retention_policy('nothing', '30 days', time_column => 'at', archive_to => 'attic.nothing');

-- a foreign key that deletes rows of others, which no archive gets; one that changes them does no harm
CREATE TABLE par (id int PRIMARY KEY, at timestamptz) PARTITION BY RANGE (id);
CREATE TABLE par_1 PARTITION OF par FOR VALUES FROM (0) TO (10);
CREATE TABLE chi (id int, pid int CONSTRAINT chi_of_par REFERENCES par ON DELETE CASCADE);
SELECT orchestry.add_retention_policy('par', '30 days', time_column => 'at', archive_to => 'attic.par');
SELECT to_regclass('attic.par') AS made;
SELECT orchestry.add_retention_policy('par', '30 days', time_column => 'at') AS par \gset
SELECT orchestry.alter_policy(:par, '{"archive_to": "attic.par"}');
ALTER TABLE chi DROP CONSTRAINT chi_of_par, ADD CONSTRAINT chi_of_par FOREIGN KEY (pid) REFERENCES par ON DELETE SET NULL;
SELECT orchestry.alter_policy(:par, '{"archive_to": "attic.par"}');
INSERT INTO par VALUES (1, '2026-01-01'), (2, '2026-01-01');
INSERT INTO chi VALUES (1, 1);
CALL orchestry.run('par');
SELECT (SELECT count(*) FROM par), (SELECT count(*) FROM attic.par);
TABLE chi;
-- made later: onto the table, or onto a partition
INSERT INTO par VALUES (3, '2026-01-01');
ALTER TABLE chi DROP CONSTRAINT chi_of_par, ADD CONSTRAINT chi_of_par FOREIGN KEY (pid) REFERENCES par ON DELETE CASCADE;
SELECT action, object, blocked_by FROM orchestry.plan('par');
CALL orchestry.run('par');
ALTER TABLE chi DROP CONSTRAINT chi_of_par, ADD CONSTRAINT chi_of_part FOREIGN KEY (pid) REFERENCES par_1 ON DELETE CASCADE;
SELECT action, object, blocked_by FROM orchestry.plan('par');
SELECT orchestry.alter_policy(:par, '{"archive_to": null}');
SELECT action, object, blocked_by FROM orchestry.plan('par');
ALTER TABLE chi DROP CONSTRAINT chi_of_part;
SELECT orchestry.alter_policy(:par, '{"archive_to": "attic.par"}');
CALL orchestry.run('par');
SELECT (SELECT count(*) FROM par), (SELECT count(*) FROM attic.par);

RESET orchestry.now;
SELECT count(orchestry.remove_policy(job_id)) FROM orchestry.jobs WHERE target_schema = 'live';
SET search_path = public;
DROP SCHEMA live, attic CASCADE;
DROP ROLE archive_owner;
