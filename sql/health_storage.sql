-- Diagnostics of sizes, sequences and statistics on traps: what must be found, and what must not.
SET client_min_messages = warning;
CREATE SCHEMA hs;
SET search_path = hs;

-- table_bloat: the order of columns, NULLs, dropped columns, fillfactor and wide values are no bloat
CREATE TABLE fresh (a bool, b bigint, c bool, d bigint, e smallint, f timestamptz, g bool);
INSERT INTO fresh SELECT true, i, false, i, 1, now(), true FROM generate_series(1, 20000) i;
CREATE TABLE half (a bigint, t text);
INSERT INTO half SELECT i, repeat('x', 50) FROM generate_series(1, 20000) i;
DELETE FROM half WHERE a % 2 = 0;
CREATE TABLE loose (a bigint, b bigint) WITH (fillfactor = '50.0'); -- which is 50 to the server
INSERT INTO loose SELECT i, i FROM generate_series(1, 20000) i;
CREATE TABLE sparse (a int, b text, c text, d bigint, e bigint, f int, g int, h int, i int, j int);
INSERT INTO sparse (a, b, j) SELECT i, CASE WHEN i % 2 = 0 THEN 'text' END, i FROM generate_series(1, 20000) i;
CREATE TABLE sparse_half (a int, b bigint, c bigint, d bigint, e bigint);
INSERT INTO sparse_half (a) SELECT i FROM generate_series(1, 20000) i;
DELETE FROM sparse_half WHERE a % 2 = 0;
CREATE TABLE dropped (a int, b text, c int);
ALTER TABLE dropped DROP b;
INSERT INTO dropped SELECT i, i FROM generate_series(1, 20000) i;
CREATE TABLE texts (a text, b bigint, c text, d int);
INSERT INTO texts SELECT repeat('a', i % 7), i, repeat('b', i % 5), i FROM generate_series(1, 20000) i;
CREATE TABLE large_rows (a text);
ALTER TABLE large_rows ALTER a SET STORAGE EXTERNAL;
INSERT INTO large_rows SELECT repeat('x', 1500) FROM generate_series(1, 2000) i;
CREATE TABLE toasted (a int, t text);
ALTER TABLE toasted ALTER t SET STORAGE EXTERNAL;
INSERT INTO toasted SELECT i, repeat('x', 5000) FROM generate_series(1, 300) i;
CREATE TABLE names (a name, b name);
INSERT INTO names SELECT 'a', 'b' FROM generate_series(1, 5000);
SELECT pg_stat_force_next_flush();
VACUUM (ANALYZE) fresh, half, loose, sparse, sparse_half, dropped, texts, large_rows, toasted, names;
CREATE TABLE never (a int);
INSERT INTO never SELECT generate_series(1, 5000);
CREATE TABLE no_statistics (a int);
INSERT INTO no_statistics SELECT generate_series(1, 5000);
VACUUM no_statistics;
CREATE TABLE outdated (a int);
INSERT INTO outdated SELECT generate_series(1, 5000);
SELECT pg_stat_force_next_flush();
VACUUM (ANALYZE) outdated;
UPDATE outdated SET a = a + 1;
CREATE TABLE nothing (a int);
VACUUM (ANALYZE) nothing;
SELECT pg_stat_force_next_flush();
SELECT relation, state, CASE WHEN wasted_percent < 5 THEN 'none' WHEN wasted_percent BETWEEN 45 AND 55 THEN 'half' ELSE wasted_percent::text END AS wasted, toast_bytes > 0 AS has_toast
FROM orchestry.table_bloat WHERE relation::text IN ('fresh', 'half', 'loose', 'sparse', 'sparse_half', 'dropped', 'texts', 'large_rows', 'toasted', 'names', 'never', 'no_statistics', 'outdated', 'nothing') ORDER BY relation::text;
SELECT count(*) FROM orchestry._check_table_bloat WHERE object = 'half'; -- too small to matter
CREATE UNLOGGED TABLE big (a bigint, t text);
INSERT INTO big SELECT i, repeat('x', 500) FROM generate_series(1, 160000) i;
DELETE FROM big WHERE a % 10 <> 0;
SELECT pg_stat_force_next_flush();
VACUUM (ANALYZE) big;
SELECT severity, object, fix_sql, fix_lock FROM orchestry._check_table_bloat WHERE object = 'big';
DROP TABLE big;

-- sequence_usage
CREATE TABLE plain (id serial);
CREATE TABLE narrow (id int);
CREATE SEQUENCE wide OWNED BY narrow.id;               -- bigint feeds an int
ALTER TABLE narrow ALTER id SET DEFAULT nextval('wide');
SELECT setval('wide', 2000000000);
CREATE TABLE widened (id serial);                      -- the column is wide by now, the sequence is not
ALTER TABLE widened ALTER id TYPE bigint;
SELECT setval('widened_id_seq', 1932735283);
CREATE TABLE key (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY);
CREATE TABLE refers (key_id int REFERENCES key);       -- narrower than what it references
SELECT setval('key_id_seq', 2040109466);
CREATE TABLE down (id int);
CREATE SEQUENCE down_seq AS int INCREMENT -1 MINVALUE -100 MAXVALUE -1 START -1;
ALTER TABLE down ALTER id SET DEFAULT nextval('down_seq');
SELECT setval('down_seq', -80);
CREATE TABLE steps (id int DEFAULT 0);
CREATE SEQUENCE by_thousand AS int INCREMENT 1000;
SELECT setval('by_thousand', 2147000000);
CREATE TABLE small (id smallserial);
SELECT setval('small_id_seq', 32000);
CREATE SEQUENCE around AS smallint MAXVALUE 10 CYCLE;
SELECT setval('around', 10);
CREATE TABLE around_narrow (id smallint);
CREATE SEQUENCE around_wide MAXVALUE 100000 CYCLE;     -- it would begin anew, were there room for so much
ALTER TABLE around_narrow ALTER id SET DEFAULT nextval('around_wide');
SELECT setval('around_wide', 30000);
CREATE SEQUENCE negative AS int MINVALUE -2147483648 START -2147483648;
CREATE SEQUENCE unused;
CREATE DOMAIN short AS smallint;
CREATE TABLE of_domain (id short);
CREATE SEQUENCE for_domain;
ALTER TABLE of_domain ALTER id SET DEFAULT nextval('for_domain');
SELECT setval('for_domain', 30000);
CREATE TABLE numbers (id numeric DEFAULT 0);
CREATE SEQUENCE for_numbers AS int;
ALTER TABLE numbers ALTER id SET DEFAULT nextval('for_numbers');
SELECT nextval('for_numbers');
CREATE TABLE parts (id int GENERATED ALWAYS AS IDENTITY, at int) PARTITION BY RANGE (at);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10);
SELECT sequence, relation, column_name, column_type, last_value, last_possible, remaining, used_percent, state FROM orchestry.sequence_usage
WHERE sequence::text NOT LIKE '%.%' ORDER BY sequence::text;
SELECT severity, object, detail, fix_sql FROM orchestry._check_sequence WHERE object NOT LIKE '%.%' ORDER BY object;
-- who may not use them, and who may know
CREATE ROLE regress_health;
CREATE ROLE regress_health_monitor IN ROLE pg_monitor;
GRANT USAGE ON SCHEMA hs TO regress_health, regress_health_monitor;
GRANT USAGE ON SEQUENCE wide TO regress_health;
SET ROLE regress_health;
SELECT sequence, last_value, used_percent, state FROM orchestry.sequence_usage WHERE sequence::text IN ('wide', 'small_id_seq') ORDER BY 1;
SELECT severity, object, detail, fix_sql FROM orchestry._check_sequence WHERE object IN ('wide', 'small_id_seq') ORDER BY 2;
SET ROLE regress_health_monitor;
SELECT sequence, last_value, used_percent, state FROM orchestry.sequence_usage WHERE sequence::text IN ('wide', 'small_id_seq') ORDER BY 1;
RESET ROLE;

-- what mends them does, or is not said
CREATE SEQUENCE fix_cut AS bigint MAXVALUE 2147483647;
CREATE SEQUENCE fix_down AS int INCREMENT -1;
CREATE SEQUENCE fix_both AS int MAXVALUE 32767;
CREATE SEQUENCE fix_chosen AS int MAXVALUE 1000;
CREATE TABLE fix_serial (id serial PRIMARY KEY);
CREATE TABLE fix_identity (id int GENERATED ALWAYS AS IDENTITY);
CREATE TABLE fix_key (id serial) PARTITION BY RANGE (id);
CREATE TABLE fix_generated (id serial, twice bigint GENERATED ALWAYS AS (2 * id::bigint) STORED);
CREATE TABLE fix_viewed (id serial);
CREATE VIEW fix_view AS SELECT id FROM fix_viewed;
SELECT setval(s::regclass, CASE s WHEN 'fix_down' THEN -2147000000 WHEN 'fix_chosen' THEN 999 WHEN 'fix_both' THEN 32000 ELSE 2147000000 END)
FROM unnest('{fix_both,fix_cut,fix_down,fix_chosen,fix_serial_id_seq,fix_identity_id_seq,fix_key_id_seq,fix_generated_id_seq,fix_viewed_id_seq}'::text[]) s \g /dev/null
SELECT object, detail, fix_sql, fix_lock FROM orchestry._check_sequence WHERE object LIKE 'fix\_%' ORDER BY object;
DO $$
DECLARE
    fix text;
BEGIN
    FOR fix IN SELECT fix_sql FROM orchestry._check_sequence WHERE object LIKE 'fix\_%' AND fix_sql IS NOT NULL LOOP
        EXECUTE fix;
    END LOOP;
END $$;
SELECT object FROM orchestry._check_sequence WHERE object LIKE 'fix\_%' ORDER BY object;

-- stale_statistics: autovacuum is off here, so whatever has changed enough waits for ANALYZE
CREATE TABLE st_new (a int);
INSERT INTO st_new SELECT generate_series(1, 49);
CREATE TABLE st_never (a int);
INSERT INTO st_never SELECT generate_series(1, 20000);
CREATE TABLE st_fresh (a int);
INSERT INTO st_fresh SELECT generate_series(1, 1000);
SELECT pg_stat_force_next_flush();
ANALYZE st_fresh;
INSERT INTO st_fresh SELECT generate_series(1, 100);
CREATE TABLE st_stale (a int);
INSERT INTO st_stale SELECT generate_series(1, 1000);
SELECT pg_stat_force_next_flush();
ANALYZE st_stale;
INSERT INTO st_stale SELECT generate_series(1, 30000);
CREATE TABLE st_own (a int) WITH (autovacuum_analyze_threshold = 1000000);
INSERT INTO st_own SELECT generate_series(1, 20000);
CREATE TABLE st_parent (a int) PARTITION BY RANGE (a);
CREATE TABLE st_parent_1 PARTITION OF st_parent FOR VALUES FROM (0) TO (5000);
CREATE TABLE st_parent_2 PARTITION OF st_parent FOR VALUES FROM (5000) TO (50000);
INSERT INTO st_parent SELECT generate_series(1, 9000);
SELECT pg_stat_force_next_flush();
ANALYZE st_parent_1, st_parent_2;      -- as autovacuum does
CREATE TABLE st_empty (a int) PARTITION BY RANGE (a);
CREATE TABLE st_empty_1 PARTITION OF st_empty FOR VALUES FROM (0) TO (5000);
CREATE TABLE st_whole (a int) PARTITION BY RANGE (a);
CREATE TABLE st_whole_1 PARTITION OF st_whole FOR VALUES FROM (0) TO (50000);
INSERT INTO st_whole SELECT generate_series(1, 2000);
SELECT pg_stat_force_next_flush();
ANALYZE st_whole;
CREATE TABLE st_inherit (a int);
CREATE TABLE st_inherit_1 () INHERITS (st_inherit);
INSERT INTO st_inherit_1 SELECT generate_series(1, 2000);
SELECT pg_stat_force_next_flush();
ANALYZE st_inherit_1;
SELECT pg_stat_force_next_flush();
SELECT relation, state, rows_estimate, changed_rows, threshold, fix_sql FROM orchestry.stale_statistics WHERE relation::text LIKE 'st\_%' ORDER BY relation::text;
INSERT INTO st_whole SELECT generate_series(2001, 9000);
SELECT pg_stat_force_next_flush();
ANALYZE st_whole_1;
SELECT pg_stat_force_next_flush();
SELECT relation, state, changed_rows FROM orchestry.stale_statistics WHERE relation = 'st_whole'::regclass;
SET orchestry.now = '2126-01-01';      -- autovacuum has had its time
SELECT 'statistics' AS of, severity, object, fix_sql FROM orchestry._check_stale_statistics WHERE object LIKE 'st\_%'
UNION ALL SELECT 'parents', severity, object, fix_sql FROM orchestry._check_parent_statistics WHERE object LIKE 'st\_%' ORDER BY 1, 3;
RESET orchestry.now;
SELECT count(*) FROM orchestry._check_stale_statistics WHERE object = 'st_stale';
ANALYZE st_parent, st_whole, st_inherit;
SELECT relation FROM orchestry.stale_statistics WHERE state LIKE 'parent%' AND relation::text LIKE 'st\_%';

-- vacuum backlog, and a table of which autovacuum is told to keep off
CREATE TABLE dead (a int) WITH (autovacuum_enabled = off);
INSERT INTO dead SELECT generate_series(1, 20000);
DELETE FROM dead;
SELECT pg_stat_force_next_flush();
SELECT severity, object, detail, evidence FROM orchestry._check_vacuum_backlog WHERE object = 'hs.dead';
ALTER TABLE dead SET (autovacuum_vacuum_threshold = 10000); -- as many as its owner bears
SELECT count(*) FROM orchestry._check_vacuum_backlog WHERE object = 'hs.dead';

-- wraparound: transactions and multixacts, of databases, tables and their TOAST
SELECT scope, kind, bool_and(age >= 0 AND remaining > 2000000000 AND used_percent < 5) AS young, bool_or(relation IS NULL) AS of_databases
FROM orchestry.wraparound GROUP BY 1, 2 ORDER BY 1, 2;
SELECT count(*) FROM orchestry.wraparound w JOIN pg_class c ON c.oid = w.relation WHERE c.oid = (SELECT reltoastrelid FROM pg_class WHERE oid = 'toasted'::regclass);
ALTER TABLE fresh SET (autovacuum_freeze_max_age = '123456.0', autovacuum_vacuum_threshold = '0x20');
SELECT kind, freeze_max_age FROM orchestry.wraparound WHERE relation = 'fresh'::regclass ORDER BY kind;
SELECT count(*) FROM orchestry._check_wraparound;
-- tables as old as it takes; somewhat over autovacuum_freeze_max_age (200 million) is normal
CREATE FUNCTION aged(age bigint) RETURNS xid LANGUAGE sql AS $$ SELECT (((pg_current_xact_id()::text::bigint - age + 4294967296) % 4294967296)::text)::xid $$;
BEGIN;
SELECT relid::regclass AS toast, relid FROM (SELECT reltoastrelid FROM pg_class WHERE oid = 'toasted'::regclass) t (relid) \gset
UPDATE pg_class SET relfrozenxid = aged(300000000) WHERE oid = 'half'::regclass;
UPDATE pg_class SET relfrozenxid = aged(500000000) WHERE oid = 'sparse'::regclass;
UPDATE pg_class SET relfrozenxid = aged(1700000000) WHERE oid = :relid;
UPDATE pg_class SET relfrozenxid = aged(2120000000) WHERE oid = 'texts'::regclass;
UPDATE pg_class SET relminmxid = (((mxid_age('1') + 1)::bigint - 1700000000 + 4294967296) % 4294967296)::text::xid WHERE oid = 'loose'::regclass;
SELECT severity, replace(object, :'toast', 'TOAST') AS object, fix_sql, fix_lock, evidence ->> 'kind' AS kind FROM orchestry._check_wraparound ORDER BY 2;
ROLLBACK;

-- connections: clients, not processes; and nothing rather than something wrong for those who cannot see
SELECT is_visible, max_connections - reserved = available AS sums_up, used >= 1 AND used < (SELECT count(*) FROM pg_stat_activity) AS are_clients, active >= 1 AS some_active FROM orchestry.connections;
SET ROLE regress_health;
SELECT is_visible, used, active, idle, oldest_transaction FROM orchestry.connections;
SELECT severity, code, object, fix_sql FROM orchestry.health() WHERE code = 'visibility';
SET ROLE regress_health_monitor;
SELECT is_visible, used >= 1 AS is_known FROM orchestry.connections;
SELECT count(*) FROM orchestry.health() WHERE code = 'visibility' OR severity = 'unknown';
RESET ROLE;

-- replication: a slot that keeps WAL
SELECT pg_create_physical_replication_slot('health_slot', true) IS NOT NULL AS made;
SELECT kind, name, state, is_active, retained_bytes >= 0 AS keeps FROM orchestry.replication;
SELECT count(*) FROM orchestry._check_replication_slot; -- little of it
SELECT pg_drop_replication_slot('health_slot');

-- cache_hit: no blocks, no ratio
SELECT table_hit_percent FROM orchestry.cache_hit WHERE relation = 'nothing'::regclass;
SELECT table_hit_percent BETWEEN 0 AND 100 AS is_ratio, index_hit_percent FROM orchestry.cache_hit WHERE relation = 'fresh'::regclass;
SELECT count(*), bool_and(table_blocks_hit >= 0) FROM orchestry.cache_hit WHERE relation IS NULL;

-- an interrupted DETACH CONCURRENTLY
BEGIN;
UPDATE pg_inherits SET inhdetachpending = true WHERE inhrelid = 'st_parent_1'::regclass;
SELECT severity, object, fix_sql FROM orchestry._check_detach_pending;
ROLLBACK;

-- publications, and constraints that are not valid
CREATE TABLE keyless (a int);
CREATE TABLE keyless_full (a int);
ALTER TABLE keyless_full REPLICA IDENTITY FULL;
CREATE TABLE keyed (a int PRIMARY KEY);
SET client_min_messages = error; -- wal_level may be too low to use them
CREATE PUBLICATION health_pub FOR TABLE keyless, keyless_full, keyed;
-- what counts is the partition that has the row, and a key that is checked at once
CREATE TABLE keyed_later (a int PRIMARY KEY DEFERRABLE);
CREATE TABLE keyless_below (a int) PARTITION BY RANGE (a);
ALTER TABLE keyless_below REPLICA IDENTITY FULL;
CREATE TABLE keyless_below_1 PARTITION OF keyless_below FOR VALUES FROM (0) TO (10);
CREATE TABLE keyless_above (a int) PARTITION BY RANGE (a);
CREATE TABLE keyless_above_1 PARTITION OF keyless_above FOR VALUES FROM (0) TO (10);
ALTER TABLE keyless_above_1 REPLICA IDENTITY FULL;
CREATE PUBLICATION health_whole FOR TABLE keyed_later, keyless_below, keyless_above WITH (publish_via_partition_root);
CREATE TABLE keyless_inserts (a int);
CREATE PUBLICATION health_inserts FOR TABLE keyless_inserts WITH (publish = 'insert');
SET client_min_messages = warning;
SELECT severity, object, fix_sql FROM orchestry._check_replica_identity WHERE object LIKE 'hs.%' ORDER BY object;
DROP PUBLICATION health_pub, health_inserts, health_whole;
ALTER TABLE keyless ADD CONSTRAINT positive CHECK (a > 0) NOT VALID, ADD CONSTRAINT fine CHECK (a < 1000);
SELECT severity, object, fix_sql FROM orchestry._check_unvalidated_constraint WHERE object LIKE 'hs.%';

RESET search_path;
DROP SCHEMA hs CASCADE;
DROP ROLE regress_health, regress_health_monitor;
