-- Archives that are files: what is in them is verified before anything goes, and everything is somewhere once.
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';
SET IntervalStyle = 'postgres';
SET orchestry.now = '2026-06-15 12:00:00+00';
SET client_min_messages = warning;
CREATE SCHEMA filed;
SET search_path = filed;
SELECT setval('orchestry.job_job_id_seq', 7901, false), setval('orchestry.hold_hold_id_seq', 6901, false),
    setval('orchestry.archive_file_archive_id_seq', 1, false);
-- a directory of this test's own, which its output does not name
SELECT current_setting('data_directory') || '/filed' AS dir \gset
COPY (SELECT WHERE false) TO PROGRAM 'rm -rf filed && mkdir filed';
CREATE FUNCTION masked(text) RETURNS text LANGUAGE sql RETURN
    regexp_replace(regexp_replace(replace($1, current_setting('data_directory'), ''), 'orchestry_\d+_\d+_', 'orchestry_N_N_'), 'quarantine_\d+', 'quarantine_N');
CREATE FUNCTION history(job bigint) RETURNS TABLE (action text, object text, state text, rows bigint, sqlstate text, message text)
LANGUAGE sql BEGIN ATOMIC
    SELECT s.action, masked(s.object), s.state, s.rows, s.sqlstate, masked(s.message) FROM orchestry.run_steps s
    WHERE s.run_id = (SELECT j.last_run_id FROM orchestry.jobs j WHERE j.job_id = job) ORDER BY s.seq;
END;
-- psql would show what \gexec runs
CREATE PROCEDURE each(statements text) LANGUAGE plpgsql AS $$
DECLARE statement text;
BEGIN
    FOR statement IN EXECUTE statements LOOP
        EXECUTE statement;
    END LOOP;
END $$;
CREATE VIEW files AS SELECT name FROM pg_ls_dir('filed') name ORDER BY name COLLATE "C";
CREATE PROCEDURE refuse(statement text) LANGUAGE plpgsql AS $$
DECLARE hint text; detail text;
BEGIN
    EXECUTE statement;
    RAISE 'not refused: %', statement;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RAISE INFO '% % | % | %', SQLSTATE, SQLERRM, detail, hint;
END $$;

-- single rows of a table with everything that makes a value hard to write down
CREATE TYPE mood AS ENUM ('happy', 'sad, or so');
CREATE TABLE ev (
    gone int,
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL,
    "Odd, ""name""" text,
    doubled bigint GENERATED ALWAYS AS (id * 2) STORED,
    f double precision, n numeric, b bytea, j jsonb, a text[], m mood, r tstzrange, i interval, c char(5), x xml, flag boolean
);
ALTER TABLE ev DROP COLUMN gone;
INSERT INTO ev (at, "Odd, ""name""", f, n, b, j, a, m, r, i, c, x, flag) VALUES
    ('2026-01-01', E'line\nbreak "quoted", \\ \t and \\.', 0.1 + 0.2, 1e-20, '\x00ff5c', '{"a": "b\"c"}', ARRAY['x,y', NULL, '', '"'], 'sad, or so',
     tstzrange('2026-01-01', NULL), '1 mon -2 days 03:04:05.6', 'ab', '<a b="c"/>', true),
    ('2026-01-02 03:04:05.6', '', 'NaN', 'NaN', '', 'null', '{}', 'happy', 'empty', '0', '', '', false),
    ('2026-01-03', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    ('2026-01-04', E'\\.', '-Infinity', -0.00, '\x5c2e', '"\\."', ARRAY[ARRAY['a'], ARRAY['b']], 'happy', '(,)', '-1 year', E'a\nb', '', NULL),
    ('2026-01-05', ' ( ) , " \ ', 1e300, 123456789012345678901234567890.123456789, NULL, '[]', NULL, NULL, NULL, NULL, '     ', NULL, NULL),
    ('2026-06-15', 'young', 1, 1, '\x01', '1', '{1}', 'happy', NULL, NULL, 'x', NULL, NULL);
CREATE TABLE everything AS SELECT * FROM ev;
SELECT orchestry.add_retention_policy('ev', '10 days', time_column => 'at', archive_to => 'file:' || :'dir' || '//', batch_rows => 2) AS ev \gset
SELECT masked(settings ->> 'archive_to') FROM orchestry.jobs WHERE job_id = :ev;
SELECT action, object, masked(reason) AS reason, masked(sql) AS sql, locks, destructive, blocked_by FROM orchestry.plan('ev');
CALL orchestry.run('ev');
SELECT * FROM history(:ev);
SELECT masked(file) AS file, target, part, least, greatest, rows, published_at IS NOT NULL AS published FROM orchestry.archive_files ORDER BY file;
TABLE files;
-- what a manifest says of its file is so
SELECT m.manifest - 'sha256' - 'written_at' - 'database' - 'system' AS manifest, m.manifest ->> 'sha256' = encode(sha256(c.content), 'hex') AS sha256,
    (m.manifest ->> 'bytes')::bigint = length(c.content) AS bytes
FROM files f, LATERAL (SELECT pg_read_file('filed/' || f.name)::jsonb AS manifest) m, LATERAL (SELECT pg_read_binary_file('filed/' || (m.manifest ->> 'file')) AS content) c
WHERE f.name ~ 'json$' ORDER BY f.name LIMIT 1;
SELECT bool_and(f.sha256 = encode(sha256(pg_read_binary_file(f.file)), 'hex')) FROM orchestry.archive_files f;
-- and read back they are the rows that have gone
CREATE TABLE back (LIKE ev);
ALTER TABLE back ALTER doubled DROP NOT NULL;
CALL each($$SELECT format('COPY back (id, at, "Odd, ""name""", f, n, b, j, a, m, r, i, c, x, flag) FROM %L (FORMAT csv, HEADER match)', file) FROM orchestry.archive_files$$);
UPDATE back SET doubled = id * 2;
SELECT count(*), count(*) FILTER (WHERE e.t = b.t) AS same FROM (SELECT id, everything::text AS t FROM everything) e JOIN (SELECT id, back::text AS t FROM back) b USING (id);
SELECT id FROM ev;
CALL orchestry.run('ev');
SELECT state, rows FROM orchestry.runs WHERE job_id = :ev ORDER BY run_id;

-- the settings of whoever runs it do not matter
SET DateStyle = 'SQL, DMY';
SET TimeZone = 'Asia/Kathmandu';
SET IntervalStyle = 'sql_standard';
SET extra_float_digits = -10;
SET bytea_output = 'escape';
INSERT INTO ev (at, f, i, b) VALUES ('2026-02-03 00:00:00+00', 0.1 + 0.2, '1 mon -2 days', '\x41');
CALL orchestry.run('ev');
SET DateStyle = 'ISO, MDY';
RESET TimeZone;
RESET IntervalStyle;
RESET extra_float_digits;
RESET bytea_output;
SELECT masked(file) AS file, rows FROM orchestry.archive_files ORDER BY written_at DESC LIMIT 1;
SELECT pg_read_file(file) FROM orchestry.archive_files ORDER BY written_at DESC LIMIT 1;

-- a trigger that keeps a row keeps all rows of the batch
INSERT INTO ev (at) VALUES ('2026-03-01'), ('2026-03-02');
CREATE FUNCTION keep_it() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN IF OLD.at = ''2026-03-02'' THEN RETURN NULL; END IF; RETURN OLD; END';
CREATE TRIGGER keep_it BEFORE DELETE ON ev FOR EACH ROW EXECUTE FUNCTION keep_it();
CALL orchestry.run('ev');
SELECT action, state, rows, sqlstate FROM history(:ev);
SELECT count(*) FROM ev WHERE at < '2026-06-01';
SELECT count(*) FROM orchestry.archive_files;
SELECT masked(name) AS name FROM files WHERE name ~ 'partial';
DROP TRIGGER keep_it ON ev;
-- held rows stay out of files
SELECT orchestry.hold('ev', 'case', "where" => $$at = '2026-03-02'$$) AS held \gset
CALL orchestry.run('ev');
SELECT at FROM ev WHERE at < '2026-06-01';
SELECT rows, least, greatest FROM orchestry.archive_files ORDER BY written_at DESC LIMIT 1;
SELECT orchestry.release_hold(:held, 'over');
-- a file of the same name is not overwritten
CALL each($$SELECT format('COPY (SELECT) TO %L', current_setting('data_directory') || '/filed/filed.ev_20260302T000000.000000_20260302T000000.000000_' || (last_value + 1) || '.csv') FROM orchestry.archive_file_archive_id_seq$$);
\set VERBOSITY sqlstate
CALL orchestry.run('ev');
\set VERBOSITY default
SELECT action, state, rows, sqlstate, message FROM history(:ev);
SELECT count(*) FROM ev WHERE at < '2026-06-01';
CALL orchestry.run('ev');
SELECT action, state, rows, sqlstate FROM history(:ev);

-- the directory and the right to write there
CALL refuse($$SELECT orchestry.add_retention_policy('filed.back', interval '10 days', time_column => 'at', archive_to => 'file:archive')$$);
CALL refuse($$SELECT orchestry.add_retention_policy('filed.back', interval '10 days', time_column => 'at', archive_to => 'file:')$$);
CALL refuse($$SELECT orchestry.add_retention_policy('filed.back', interval '10 days', time_column => 'at', archive_to => 'file:/nowhere/at/all')$$);
CREATE ROLE filed_owner;
GRANT USAGE, CREATE ON SCHEMA filed TO filed_owner;
ALTER TABLE back OWNER TO filed_owner;
CALL refuse($$SELECT orchestry.add_retention_policy('filed.back', interval '10 days', time_column => 'at', archive_to => 'file:/tmp')$$);
GRANT pg_write_server_files TO filed_owner;
SELECT orchestry.add_retention_policy('back', interval '10 days', time_column => 'at', archive_to => 'file:' || :'dir') AS back \gset
REVOKE pg_write_server_files FROM filed_owner;
CALL orchestry.run('back');
SELECT action, state, rows, sqlstate, message FROM history(:back);
GRANT pg_write_server_files TO filed_owner;
CALL orchestry.run('back');
SELECT action, state, rows FROM history(:back);
SELECT count(*) FROM back;
-- of a run that was killed before its file had a name: whoever removes the policy gives it one
CREATE PROCEDURE unname(job bigint) LANGUAGE plpgsql AS $$
DECLARE name text;
BEGIN
    UPDATE orchestry.archive_file SET published_at = NULL WHERE archive_id = (SELECT max(f.archive_id) FROM orchestry.archive_file f WHERE f.job_id = job)
        RETURNING regexp_replace(file, '^.*/', '') INTO name;
    EXECUTE format('COPY (SELECT WHERE false) TO PROGRAM %L', format('cd filed && rm %s.json && mv %s orchestry_%s_%s_%s.partial', name, name,
        (SELECT system_identifier FROM pg_control_system()), (SELECT oid FROM pg_database WHERE datname = current_database()), job));
END $$;
CALL unname(:back);
SELECT count(*) FROM files WHERE name ~ 'partial';
SELECT orchestry.remove_policy(:back);
SELECT count(*) FROM files WHERE name ~ 'partial';
SELECT bool_and(f.published_at IS NOT NULL AND encode(sha256(pg_read_binary_file(f.file)), 'hex') = f.sha256) FROM orchestry.archive_files f WHERE f.job_id = :back;
-- or says that it is gone
INSERT INTO back (id, at) VALUES (100, '2026-01-01');
SELECT orchestry.add_retention_policy('back', interval '10 days', time_column => 'at', archive_to => 'file:' || :'dir') AS back \gset
CALL orchestry.run('back');
CALL unname(:back);
COPY (SELECT WHERE false) TO PROGRAM 'rm filed/*.partial';
\set VERBOSITY sqlstate
SELECT orchestry.remove_policy(:back);
\set VERBOSITY default
-- the longest names
CREATE SCHEMA """""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""";
CREATE TABLE """""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""".""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""""
    AS SELECT 1 AS id, timestamptz '2026-01-01' AS at;
SELECT c.oid AS long_oid, c.relnamespace::regnamespace AS long_schema FROM pg_class c WHERE relname ~ '^"+$' \gset
SELECT orchestry.add_retention_policy(:long_oid, interval '10 days', time_column => 'at', archive_to => 'file:' || :'dir') AS long \gset
CALL orchestry.run_job(:long);
SELECT action, state, rows FROM history(:long);
SELECT orchestry.remove_policy(:long);
DROP SCHEMA :long_schema CASCADE;

-- whole partitions: each into a file when its grace is over, and dropped only then
CREATE TABLE parts (at timestamptz NOT NULL, v int) PARTITION BY RANGE (at);
SELECT format('CREATE TABLE parts_%s PARTITION OF parts FOR VALUES FROM (%L) TO (%L)', m, make_date(2026, m, 1), make_date(2026, m + 1, 1))
FROM generate_series(1, 6) m \gexec
INSERT INTO parts SELECT at, 1 FROM generate_series(timestamptz '2026-01-01', '2026-06-10', '12 hours') at WHERE extract(month FROM at) <> 3;
CALL refuse(format($$SELECT orchestry.add_retention_policy('filed.parts', '2 months', archive_to => 'file:/nowhere/at/all')$$));
SELECT orchestry.add_retention_policy('parts', '2 months', archive_to => 'file:' || :'dir') AS parts \gset
CALL refuse(format($$SELECT orchestry.alter_policy(%s, '{"archive_to": "file:/nowhere/at/all"}')$$, :parts));
CALL orchestry.run('parts');
SELECT action, object, state, message FROM history(:parts);
CALL orchestry.run('parts');
SELECT state FROM orchestry.runs WHERE job_id = :parts ORDER BY run_id DESC LIMIT 1;
SELECT orchestry.reattach(q.partition) IS NOT NULL AS back FROM orchestry.quarantine q WHERE q.former_name = 'filed.parts_1';
SET orchestry.now = '2026-06-23 12:00:00+00';
SELECT action, masked(object) AS object, masked(reason) AS reason, masked(sql) AS sql, masked(locks) AS locks, destructive FROM orchestry.plan('parts');
SELECT object, state, next_action FROM (SELECT masked(object) AS object, state, next_action FROM orchestry.explain('parts')) e WHERE object ~ 'quarantine';
CALL orchestry.run('parts');
SELECT action, object, state, message FROM history(:parts);
SELECT masked(file) AS file, least, greatest, rows FROM orchestry.archive_files WHERE job_id = :parts ORDER BY file;
SELECT orchestry.release_hold(hold_id, 'again') FROM orchestry.holds WHERE relation = 'parts_1'::regclass AND released_at IS NULL;

-- without a grace all in one run
SELECT orchestry.alter_policy(:parts, '{"grace": "0"}');
SELECT action, masked(object) AS object FROM orchestry.plan('parts') WHERE action <> 'leave';
CALL orchestry.run('parts');
SELECT action, object, state, message FROM history(:parts);
SELECT count(*) FROM parts;
CREATE TABLE parts_back (LIKE parts);
CALL each(format($$SELECT format('COPY parts_back FROM %%L (FORMAT csv, HEADER match)', file) FROM orchestry.archive_files WHERE job_id = %s$$, :parts));
SELECT count(*), count(DISTINCT at) FROM parts_back;

-- what is only detached goes into its file at once, and comes back as ever; the file that it leaves is named
SELECT orchestry.alter_policy(:parts, '{"action": "detach"}');
SET orchestry.now = '2026-07-23 12:00:00+00';
CREATE TABLE parts_7 PARTITION OF parts FOR VALUES FROM ('2026-07-01') TO ('2026-08-01');
CALL orchestry.run('parts');
CALL orchestry.run('parts');
SELECT action, object, state, message FROM history(:parts);
SELECT count(*) FROM orchestry.archive_files WHERE job_id = :parts;
SELECT orchestry.reattach(q.partition) IS NOT NULL AS back FROM orchestry.quarantine q WHERE q.former_name = 'filed.parts_4';
SELECT count(*) FROM orchestry.archive_files WHERE job_id = :parts;
SELECT orchestry.release_hold(hold_id, 'again') FROM orchestry.holds WHERE relation = 'parts_4'::regclass AND released_at IS NULL;
CALL orchestry.run('parts');
CALL orchestry.run('parts');
SELECT action, object, state, message FROM history(:parts);
-- rows that come in quarantine are not lost when it is dropped after all: the file is of no use any more, and is written again
CALL each($$SELECT 'INSERT INTO ' || partition || ' VALUES (''2026-04-05'', 42)' FROM orchestry.quarantine WHERE former_name = 'filed.parts_4'$$);
SELECT orchestry.alter_policy(:parts, '{"action": "drop"}');
CALL orchestry.run('parts');
SELECT action, object, state, message FROM history(:parts);
CALL orchestry.run('parts');
SELECT action, object, state, message FROM history(:parts);

-- partitions that are partitioned: a file for each table with rows
CREATE TABLE deep (id bigint, v int) PARTITION BY RANGE (id);
CREATE TABLE deep_0 PARTITION OF deep FOR VALUES FROM (0) TO (1000) PARTITION BY LIST (v);
CREATE TABLE deep_0_1 PARTITION OF deep_0 FOR VALUES IN (1);
CREATE TABLE deep_0_2 PARTITION OF deep_0 FOR VALUES IN (2);
CREATE TABLE deep_1 PARTITION OF deep FOR VALUES FROM (1000) TO (2000);
CREATE TABLE deep_2 PARTITION OF deep FOR VALUES FROM (2000) TO (3000);
INSERT INTO deep SELECT i, 1 + i % 2 FROM generate_series(0, 2500, 100) i;
SELECT orchestry.add_retention_policy('deep', '1000', archive_to => 'file:' || :'dir', grace => '0') AS deep \gset
CALL orchestry.run('deep');
CALL orchestry.run('deep');
SELECT action, object, state, message FROM history(:deep);
SELECT masked(file) AS file, part, least, greatest, rows FROM orchestry.archive_files WHERE job_id = :deep ORDER BY file;
SELECT count(*), min(id) FROM deep;
SELECT name FROM files WHERE name !~ '^(filed\.(ev|parts|deep|back)|_+\._+)_[0-9Tnoe._]+\.csv(\.json)?$';

-- what comes back after its policy was removed is not in its file alone any more
CREATE TABLE again (id bigint) PARTITION BY RANGE (id);
CREATE TABLE again_0 PARTITION OF again FOR VALUES FROM (0) TO (1000);
CREATE TABLE again_1 PARTITION OF again FOR VALUES FROM (1000) TO (2000);
CREATE TABLE again_2 PARTITION OF again FOR VALUES FROM (2000) TO (3000);
INSERT INTO again VALUES (1), (2500);
SELECT orchestry.add_retention_policy('again', '1000', archive_to => 'file:' || :'dir', grace => '1 day') AS again \gset
CALL orchestry.run('again');
SELECT partition AS again_0 FROM orchestry.quarantine WHERE former_name = 'filed.again_0' \gset
-- a file is there, and a run was interrupted before the table went
INSERT INTO orchestry.archive_file (job_id, file, schema_name, table_name, owner, part, part_name, columns, rows, hash_high, hash_low, bytes, sha256, written_at,
    published_at, origin_system, origin_database)
SELECT :again, '/nowhere/again.csv', 'filed', 'again', session_user, :'again_0'::regclass, 'filed.' || relname, 'id', 1, 0, 0, 0, '', now(), now(),
    (SELECT system_identifier FROM pg_control_system()), (SELECT oid FROM pg_database WHERE datname = current_database()) FROM pg_class WHERE oid = :'again_0'::regclass;
SELECT orchestry.remove_policy(:again);
SELECT orchestry.reattach(:'again_0') AS hold \gset
SELECT count(*) FROM orchestry.archive_files WHERE job_id = :again;
SELECT orchestry.release_hold(:hold, 'over');

-- a file that could not get its name when its policy was removed gets it from the table's next one
CREATE TABLE left_by (id int, at timestamptz);
INSERT INTO left_by VALUES (1, '2026-01-01');
SELECT orchestry.add_retention_policy('left_by', interval '10 days', time_column => 'at', archive_to => 'file:' || :'dir') AS left_by \gset
CALL orchestry.run('left_by');
CALL unname(:left_by);
COPY (SELECT WHERE false) TO PROGRAM 'mv filed/*.partial filed/away';
\set VERBOSITY sqlstate
SELECT orchestry.remove_policy(:left_by);
\set VERBOSITY default
SELECT orchestry.add_retention_policy('left_by', interval '20 days', time_column => 'at') AS next \gset
CALL orchestry.run('left_by');
SELECT action, state FROM history(:next);
SELECT format('cd filed && mv away orchestry_%s_%s_%s.partial', f.origin_system, f.origin_database, f.job_id) AS back FROM orchestry.archive_file f WHERE f.job_id = :left_by \gset
COPY (SELECT WHERE false) TO PROGRAM :'back';
SELECT action, reason FROM orchestry.plan('left_by');
CALL orchestry.run('left_by');
SELECT action, state FROM history(:next);
SELECT count(*) FROM files WHERE name ~ 'partial';
SELECT bool_and(f.published_at IS NOT NULL AND encode(sha256(pg_read_binary_file(f.file)), 'hex') = f.sha256) FROM orchestry.archive_files f WHERE f.job_id = :left_by;
SELECT action, reason FROM orchestry.plan('left_by');
-- another one is let alone, and the run goes on
CALL unname(:left_by);
UPDATE orchestry.archive_file SET sha256 = 'other' WHERE job_id = :left_by;
CALL orchestry.run('left_by');
SELECT action, state, masked(message) AS message FROM orchestry.run_steps s WHERE s.run_id = (SELECT j.last_run_id FROM orchestry.jobs j WHERE j.job_id = :next);
COPY (SELECT WHERE false) TO PROGRAM 'rm filed/*.partial';

-- whoever does not own the table does not see its files
SET ROLE filed_owner;
SELECT target, count(*) FROM orchestry.archive_files GROUP BY 1;
RESET ROLE;
RESET orchestry.now;
SELECT count(orchestry.remove_policy(job_id)) FROM orchestry.jobs WHERE target_schema = 'filed';
SET search_path = public;
DROP SCHEMA filed CASCADE;
DROP ROLE filed_owner;
COPY (SELECT WHERE false) TO PROGRAM 'rm -rf filed';
