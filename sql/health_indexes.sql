-- Index diagnostics on traps: what must be found, and what must not.
SET client_min_messages = warning;
CREATE SCHEMA hx;
SET search_path = hx;

-- missing_fk_indexes: eight foreign keys that lack an index, five that have one.
CREATE TABLE parent (id int PRIMARY KEY);
CREATE TABLE pair (a int, b int, PRIMARY KEY (a, b));
CREATE TABLE bad_none (p int CONSTRAINT fk REFERENCES parent);
CREATE TABLE bad_not_leading (x int, p int CONSTRAINT fk REFERENCES parent);
CREATE INDEX ON bad_not_leading (x, p);
CREATE TABLE bad_partial (x int, p int CONSTRAINT fk REFERENCES parent);
CREATE INDEX ON bad_partial (p) WHERE x > 0;
CREATE TABLE bad_brin (p int CONSTRAINT fk REFERENCES parent);
CREATE INDEX ON bad_brin USING brin (p);
CREATE TABLE bad_include (a int, b int, CONSTRAINT fk FOREIGN KEY (a, b) REFERENCES pair);
CREATE INDEX ON bad_include (a) INCLUDE (b);
CREATE TABLE bad_invalid (p int CONSTRAINT fk REFERENCES parent);
CREATE INDEX bad_invalid_idx ON bad_invalid (p);
UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'bad_invalid_idx'::regclass;
CREATE TABLE bad_expression (p int CONSTRAINT fk REFERENCES parent);
CREATE INDEX ON bad_expression ((p + 0));
CREATE TABLE bad_half (a int, b int, x int, CONSTRAINT fk FOREIGN KEY (a, b) REFERENCES pair);
CREATE INDEX ON bad_half (a, x, b);
CREATE TABLE good_plain (x int, p int CONSTRAINT fk REFERENCES parent);
CREATE INDEX ON good_plain (p, x);
CREATE TABLE good_reordered (x int, a int, b int, CONSTRAINT fk FOREIGN KEY (a, b) REFERENCES pair);
CREATE INDEX ON good_reordered (b, a, x);
CREATE TABLE good_hash (p int CONSTRAINT fk REFERENCES parent);
CREATE INDEX ON good_hash USING hash (p);
CREATE TABLE good_not_null (x int, p int CONSTRAINT fk REFERENCES parent);
CREATE INDEX ON good_not_null (p) WHERE p IS NOT NULL;
CREATE TABLE good_unique (p int UNIQUE CONSTRAINT fk REFERENCES parent);
SELECT relation, columns, referenced, partitions, fix_sql FROM orchestry.missing_fk_indexes WHERE constraint_name = 'fk' ORDER BY relation::text;

-- More of it: predicates on other columns, both columns of a pair, each partition by itself and once, other places of the columns.
CREATE TABLE bad_include_only (x int, p int CONSTRAINT fk2 REFERENCES parent);
CREATE INDEX ON bad_include_only (x) INCLUDE (p);
CREATE TABLE bad_other_null (x int, p int CONSTRAINT fk2 REFERENCES parent);
CREATE INDEX ON bad_other_null (p) WHERE x IS NOT NULL;
CREATE TABLE bad_is_null (x int, p int CONSTRAINT fk2 REFERENCES parent);
CREATE INDEX ON bad_is_null (p) WHERE p IS NULL;
CREATE TABLE bad_more_null (x int, p int CONSTRAINT fk2 REFERENCES parent);
CREATE INDEX ON bad_more_null (p) WHERE p IS NOT NULL AND x > 1;
CREATE TABLE good_pair_null (a int, b int, CONSTRAINT fk2 FOREIGN KEY (a, b) REFERENCES pair);
CREATE INDEX ON good_pair_null (b, a) WHERE a IS NOT NULL AND b IS NOT NULL;
CREATE TABLE bad_hash_pair (a int, b int, CONSTRAINT fk2 FOREIGN KEY (a, b) REFERENCES pair);
CREATE INDEX ON bad_hash_pair USING hash (a);
CREATE TABLE texts (t text PRIMARY KEY);
CREATE TABLE bad_collation (p text CONSTRAINT fk2 REFERENCES texts);
CREATE INDEX ON bad_collation (p COLLATE "POSIX");
CREATE TABLE good_collation (p text COLLATE "POSIX" CONSTRAINT fk2 REFERENCES texts);
CREATE INDEX ON good_collation (p);
CREATE TABLE part (at int, p int CONSTRAINT fk2 REFERENCES parent) PARTITION BY RANGE (at);
CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (10);
CREATE TABLE part_2 (gone int, p int, at int);
ALTER TABLE part_2 DROP gone;
ALTER TABLE part ATTACH PARTITION part_2 FOR VALUES FROM (10) TO (20);
CREATE INDEX ON part_2 (p);
CREATE TABLE part_empty (at int, p int CONSTRAINT fk2 REFERENCES parent) PARTITION BY RANGE (at);
CREATE TABLE part_good (at int, p int CONSTRAINT fk2 REFERENCES parent) PARTITION BY RANGE (at);
CREATE INDEX ON part_good (p);
CREATE TABLE part_good_1 PARTITION OF part_good FOR VALUES FROM (0) TO (10);
CREATE TABLE to_part (at int, PRIMARY KEY (at)) PARTITION BY RANGE (at);
CREATE TABLE to_part_1 PARTITION OF to_part FOR VALUES FROM (0) TO (10);
CREATE TABLE from_part (at int CONSTRAINT fk2 REFERENCES to_part);
-- with a PERIOD (18), which is looked up in a GiST index
SELECT current_setting('server_version_num')::int >= 180000 AS has_period \gset
\if :has_period
CREATE TABLE spans (id int4range, valid daterange, PRIMARY KEY (id, valid WITHOUT OVERLAPS));
CREATE TABLE good_period (p int4range, valid daterange, CONSTRAINT fk2 FOREIGN KEY (p, PERIOD valid) REFERENCES spans (id, PERIOD valid));
CREATE INDEX ON good_period USING gist (p, valid);
\endif
SELECT relation, columns, referenced, partitions, fix_sql FROM orchestry.missing_fk_indexes WHERE constraint_name = 'fk2' ORDER BY relation::text;
SELECT severity, object, detail, fix_lock FROM orchestry._check_missing_fk_index WHERE object LIKE '%part%' ORDER BY object;

-- duplicate_indexes
CREATE TABLE d (id int PRIMARY KEY, a int, b int, t text, g int[]);
CREATE INDEX d_a ON d (a);
CREATE INDEX d_a_b ON d (a, b);                         -- makes d_a needless
CREATE INDEX d_a_bdesc ON d (a, b DESC);                -- another order
CREATE INDEX d_id ON d (id);                            -- the primary key does it
CREATE INDEX d_t ON d (t);
CREATE INDEX d_t_again ON d (t);                        -- the younger of two
CREATE INDEX d_t_posix ON d (t COLLATE "POSIX");        -- another collation
CREATE INDEX d_t_pattern ON d (t text_pattern_ops);     -- other operators
CREATE INDEX d_t_hash ON d USING hash (t);              -- another method
CREATE INDEX d_b_where ON d (b) WHERE a > 1;
CREATE INDEX d_b ON d (b);                              -- partial and whole are two things
CREATE INDEX d_b_where_too ON hx.d   (b)  WHERE a > 1;  -- one predicate, written elsewhere
CREATE INDEX d_lower ON d (lower(t));
CREATE INDEX d_lower_with_a_longer_name ON d (lower(t));
CREATE INDEX d_upper ON d (upper(t));
CREATE INDEX d_lower_b ON d (lower(t), b);              -- not seen: a prefix with expressions
CREATE INDEX d_b_include ON d (b) INCLUDE (t);          -- carries more than d_b, and does all that it does
CREATE UNIQUE INDEX d_b_a_unique ON d (b, a);           -- unique: more than a prefix of what follows
CREATE INDEX d_b_a_t ON d (b, a, t);
CREATE INDEX d_gin ON d USING gin (g);
CREATE INDEX d_gin_too ON d USING gin (g);
CREATE TABLE d_constraint (a int UNIQUE, UNIQUE (a));   -- one constraint, made twice
ALTER TABLE d_constraint ADD CONSTRAINT twice UNIQUE (a); -- needed by a constraint, like the other
CREATE TABLE d_null (a int);
CREATE UNIQUE INDEX d_null_1 ON d_null (a);
CREATE UNIQUE INDEX d_null_2 ON d_null (a) NULLS NOT DISTINCT;
CREATE TABLE d_replica (a int NOT NULL);
CREATE UNIQUE INDEX d_replica_plain ON d_replica (a);
CREATE UNIQUE INDEX d_replica_identity ON d_replica (a);
ALTER TABLE d_replica REPLICA IDENTITY USING INDEX d_replica_identity;
CREATE TABLE d_part (a int) PARTITION BY RANGE (a);
CREATE TABLE d_part_1 PARTITION OF d_part FOR VALUES FROM (0) TO (10);
CREATE INDEX d_part_own ON d_part_1 (a);
CREATE INDEX d_part_a ON d_part (a);                    -- takes d_part_own for its own
CREATE INDEX d_part_a_too ON d_part (a);
SELECT relation, index, made_needless_by, kind, fix_sql FROM orchestry.duplicate_indexes WHERE relation::text LIKE 'd%' ORDER BY 1, 2;
SELECT severity, object, detail, fix_sql, fix_lock FROM orchestry._check_duplicate_index WHERE object LIKE 'd\_part%' ORDER BY object;

-- unused_indexes: of a partitioned table as a whole
SELECT index FROM orchestry.unused_indexes WHERE relation::text LIKE 'd\_part%' ORDER BY index::text;
DROP INDEX d_part_a_too;
INSERT INTO d_part SELECT i % 10 FROM generate_series(1, 20) i;
SET enable_seqscan = off;
SELECT count(*) FROM d_part WHERE a = 3;
SELECT count(*) FROM good_hash WHERE p = 3;
RESET enable_seqscan;
SELECT pg_stat_force_next_flush();
SELECT index, fix_sql FROM orchestry.unused_indexes WHERE relation::text LIKE 'd\_part%' ORDER BY index::text;
SELECT index, supports_foreign_key, has_standby, observed_since IS NOT NULL AS is_known, fix_sql FROM orchestry.unused_indexes
WHERE relation::text IN ('good_plain', 'good_hash', 'good_unique', 'parent', 'd_replica', 'bad_invalid') ORDER BY index::text;
-- nothing is said before it has been watched for a month
SELECT count(*) FROM orchestry._check_unused_index;
SET orchestry.now = '2126-01-01';
SELECT count(*) FROM orchestry._check_unused_index WHERE object = 'd_b'; -- small
CREATE TABLE large (a int, filler text);
INSERT INTO large SELECT i, '' FROM generate_series(1, 600000) i;
CREATE INDEX large_a ON large (a);
SELECT severity, object, fix_sql, fix_lock FROM orchestry._check_unused_index WHERE object = 'large_a';
CREATE INDEX large_a_too ON large (a);
SELECT severity, object, detail, fix_sql, fix_lock FROM orchestry._check_duplicate_index WHERE object LIKE 'large%';
DROP INDEX large_a_too;
ALTER TABLE large ADD FOREIGN KEY (a) REFERENCES parent NOT VALID; -- a DELETE of a parent, be it rare, needs it
SELECT severity, object, fix_sql, fix_lock FROM orchestry._check_unused_index WHERE object = 'large_a';
RESET orchestry.now;

-- invalid_indexes
CREATE TABLE v (a int, t text);
CREATE INDEX v_failed ON v (a);
CREATE UNIQUE INDEX v_failed_unique ON v (a);           -- its reason may be in the rows: what is built again fails again
ALTER TABLE v ADD CONSTRAINT v_failed_constraint UNIQUE (a);
CREATE INDEX v_a_ccnew ON v (a);
CREATE INDEX v_a_ccold1 ON v (a);
UPDATE pg_index SET indisvalid = false WHERE indexrelid IN ('v_failed'::regclass, 'v_failed_unique'::regclass, 'v_failed_constraint'::regclass, 'v_a_ccnew'::regclass, 'v_a_ccold1'::regclass);
UPDATE pg_index SET indisvalid = false WHERE indrelid = (SELECT reltoastrelid FROM pg_class WHERE oid = 'v'::regclass);
CREATE TABLE v_part (a int) PARTITION BY RANGE (a);
CREATE TABLE v_part_1 PARTITION OF v_part FOR VALUES FROM (0) TO (10);
CREATE TABLE v_part_2 PARTITION OF v_part FOR VALUES FROM (10) TO (20);
CREATE INDEX v_part_a ON ONLY v_part (a);
CREATE INDEX v_part_1_a ON v_part_1 (a);
ALTER INDEX v_part_a ATTACH PARTITION v_part_1_a;
SELECT relation, regexp_replace(index::text, '\d{4,}', 'N') AS index, state, missing_in, regexp_replace(fix_sql, '\d{4,}', 'N') AS fix_sql
FROM orchestry.invalid_indexes WHERE relation::text LIKE 'v%' ORDER BY 1, 2;
SELECT severity, object, detail FROM orchestry._check_invalid_index WHERE object LIKE 'v%' ORDER BY object;
CREATE INDEX v_part_2_a ON v_part_2 (a);
ALTER INDEX v_part_a ATTACH PARTITION v_part_2_a;
SELECT index, state FROM orchestry.invalid_indexes WHERE relation = 'v_part'::regclass;

RESET search_path;
DROP SCHEMA hx CASCADE;
