-- Diagnostic views. They read catalogs and counters, never the rows of a table, and take no lock on one: sizes are those
-- that the last VACUUM, ANALYZE or index build has written down. What the caller may not see is NULL, and a column says so.

CREATE VIEW orchestry._user_table AS
SELECT c.oid AS relid, format('%I.%I', n.nspname, c.relname) AS name, c.relkind, c.relispartition, c.relowner, c.relam,
       c.relpages, c.reltuples, c.reltoastrelid, c.reloptions, c.relreplident
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'm') AND c.relpersistence <> 't' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e');
COMMENT ON VIEW orchestry._user_table IS 'Tables and materialized views of users: neither the server''s own, nor an extension''s, nor temporary. Internal.';

-- The server takes numbers in more ways than a cast does, and one table must not be the end of what is said about all.
CREATE FUNCTION orchestry._option(options text[], wanted text) RETURNS float8
LANGUAGE sql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
    SELECT CASE WHEN o.option_value ~ '^\s*[-+]?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][-+]?\d{1,2})?\s*$' THEN o.option_value::float8 END
    FROM pg_options_to_table(options) o WHERE o.option_name = wanted
$$;
COMMENT ON FUNCTION orchestry._option(text[], text) IS 'Internal: a storage parameter as a number; NULL when it is not set, and when it is written as octal or hexadecimal.';

-- The indexes of a partitioned table and those attached to them are one index for whoever judges them.
CREATE VIEW orchestry._user_index AS
WITH RECURSIVE family AS (
    SELECT i.indexrelid AS root, i.indexrelid AS member
    FROM pg_index i JOIN orchestry._user_table t ON t.relid = i.indrelid
    WHERE NOT EXISTS (SELECT FROM pg_inherits h WHERE h.inhrelid = i.indexrelid)
    UNION ALL
    SELECT f.root, h.inhrelid FROM family f JOIN pg_inherits h ON h.inhparent = f.member),
total AS (
    SELECT f.root, sum(c.relpages::bigint * current_setting('block_size')::bigint)::bigint AS bytes, sum(s.idx_scan)::bigint AS scans,
           -- 16 counts when as well
           max((to_jsonb(s) ->> 'last_idx_scan')::timestamptz) AS last_scan
    FROM family f JOIN pg_class c ON c.oid = f.member LEFT JOIN pg_stat_all_indexes s ON s.indexrelid = f.member
    GROUP BY f.root)
SELECT i.indexrelid, i.indrelid AS relid, t.name AS table_name, t.relkind AS table_kind, format('%I.%I', n.nspname, c.relname) AS name,
       w.bytes, COALESCE(w.scans, 0) AS scans, w.last_scan,
       i.indisunique OR i.indisreplident OR i.indisclustered OR EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid)
           AS is_needed,
       format('DROP INDEX %s%I.%I;', CASE WHEN t.relkind <> 'p' THEN 'CONCURRENTLY ' END, n.nspname, c.relname) AS drop_sql
FROM total w JOIN pg_index i ON i.indexrelid = w.root JOIN orchestry._user_table t ON t.relid = i.indrelid
JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace;
COMMENT ON VIEW orchestry._user_index IS 'Indexes of users, those that are attached to another counted with it; is_needed: something besides queries needs it. Internal.';

-- What tells whether one index can do what another does. In the text of an expression its place in the statement that made
-- it is left out.
CREATE VIEW orchestry._index_shape AS
SELECT i.indexrelid, i.indrelid, c.relam, i.indnkeyatts::integer AS keys, i.indisunique, i.indisvalid AND i.indisready AND i.indislive AS is_usable,
       -- not joined: of all indexes with one method the planner thinks as of a few
       (SELECT a.amname FROM pg_am a WHERE a.oid = c.relam) AS amname, i.indkey::smallint[] AS columns, i.indclass::oid[] AS classes, i.indcollation::oid[] AS collations,
       i.indoption::smallint[] AS options,
       COALESCE(regexp_replace(i.indexprs::text, ':location -?\d+', '', 'g'), '') AS expressions,
       COALESCE(regexp_replace(i.indpred::text, ':location -?\d+', '', 'g'), '') AS predicate,
       i.indnullsnotdistinct AS nulls_not_distinct, i.indimmediate
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid;
COMMENT ON VIEW orchestry._index_shape IS 'Indexes as what can be compared. Internal.';

CREATE VIEW orchestry._observed_since AS
SELECT GREATEST(d.stats_reset, b.stats_reset) AS observed_since
FROM pg_stat_database d, pg_stat_bgwriter b WHERE d.datname = current_database();
COMMENT ON VIEW orchestry._observed_since IS 'From when on this server has counted: since its counters were reset, by hand or by a crash. Internal.';

CREATE VIEW orchestry.unused_indexes WITH (security_barrier) AS
SELECT u.relid::regclass AS relation, u.indexrelid::regclass AS index, u.bytes, o.observed_since,
       EXISTS (SELECT FROM pg_constraint k, pg_index i WHERE i.indexrelid = u.indexrelid AND k.conrelid = u.relid AND k.contype = 'f'
               AND k.conkey @> (i.indkey::smallint[])[0:0]) AS supports_foreign_key,
       EXISTS (SELECT FROM pg_stat_replication) OR EXISTS (SELECT FROM pg_replication_slots s WHERE s.slot_type = 'physical') AS has_standby,
       u.drop_sql AS fix_sql
FROM orchestry._user_index u CROSS JOIN orchestry._observed_since o JOIN pg_index x ON x.indexrelid = u.indexrelid
WHERE u.scans = 0 AND NOT u.is_needed AND x.indisvalid;
COMMENT ON VIEW orchestry.unused_indexes IS 'Indexes that no query has used since this server counts, and that nothing else needs: they are neither unique nor part of a constraint, a replica identity or CLUSTER. An index of a partitioned table is one with those of its partitions.';
COMMENT ON COLUMN orchestry.unused_indexes.bytes IS 'As of the last VACUUM or build';
COMMENT ON COLUMN orchestry.unused_indexes.observed_since IS 'An index made later, or used less often than that, looks unused as well';
COMMENT ON COLUMN orchestry.unused_indexes.supports_foreign_key IS 'It begins with a column of a foreign key: a DELETE of the referenced table, be it rare, may need it';
COMMENT ON COLUMN orchestry.unused_indexes.has_standby IS 'Queries of standbys are counted there, not here';

CREATE VIEW orchestry.duplicate_indexes WITH (security_barrier) AS
WITH redundant AS (
    SELECT u.relid, u.indexrelid, u.bytes, u.drop_sql, b.indexrelid AS other, a.keys = b.keys AS is_whole,
           a.keys = b.keys AND a.indisunique = b.indisunique AND a.columns @> b.columns AND a.nulls_not_distinct = b.nulls_not_distinct
           AND NOT v.is_kept AS is_mutual
    FROM orchestry._user_index u
    JOIN orchestry._index_shape a ON a.indexrelid = u.indexrelid
    JOIN orchestry._index_shape b ON b.indrelid = a.indrelid AND b.indexrelid <> a.indexrelid AND b.relam = a.relam
    CROSS JOIN LATERAL (SELECT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = b.indexrelid)
             OR EXISTS (SELECT FROM pg_inherits h WHERE h.inhrelid = b.indexrelid)
             OR EXISTS (SELECT FROM pg_index x WHERE x.indexrelid = b.indexrelid AND (x.indisreplident OR x.indisclustered)) AS is_kept) v
    WHERE a.is_usable AND b.is_usable AND a.predicate = b.predicate
      AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = a.indexrelid)
      AND NOT EXISTS (SELECT FROM pg_index x WHERE x.indexrelid = a.indexrelid AND (x.indisreplident OR x.indisclustered))
      -- the same keys in the same order, each understood alike, or the first ones of a btree with more of them
      AND (a.keys = b.keys OR (a.keys < b.keys AND a.amname = 'btree' AND a.expressions = ''))
      AND a.columns[0:a.keys - 1] = b.columns[0:a.keys - 1] AND a.classes[0:a.keys - 1] = b.classes[0:a.keys - 1]
      AND a.collations[0:a.keys - 1] = b.collations[0:a.keys - 1] AND a.options[0:a.keys - 1] = b.options[0:a.keys - 1]
      AND (a.keys < b.keys OR a.expressions = b.expressions)
      -- whatever else it carries
      AND b.columns @> a.columns
      -- what it keeps unique
      AND (NOT a.indisunique OR (b.indisunique AND a.keys = b.keys AND a.nulls_not_distinct = b.nulls_not_distinct AND (b.indimmediate OR NOT a.indimmediate))))
SELECT DISTINCT ON (r.relid, r.indexrelid) r.relid::regclass AS relation, r.indexrelid::regclass AS index, r.other::regclass AS made_needless_by,
       CASE WHEN r.is_whole THEN 'duplicate' ELSE 'prefix' END AS kind, r.bytes, r.drop_sql AS fix_sql
FROM redundant r WHERE NOT r.is_mutual OR r.indexrelid > r.other
ORDER BY r.relid, r.indexrelid, r.is_whole DESC, r.other;
COMMENT ON VIEW orchestry.duplicate_indexes IS 'Indexes that another index of the same table makes needless: of the same method, columns, expressions, operator classes, collations, directions and predicate, keeping as much unique and carrying as much. Of two that are alike the younger is listed; never one that a constraint, a replica identity, CLUSTER or an index of the partitioned table needs.';
COMMENT ON COLUMN orchestry.duplicate_indexes.kind IS 'duplicate: the other has the same keys; prefix: the other is a btree that goes on with more keys';
COMMENT ON COLUMN orchestry.duplicate_indexes.bytes IS 'As of the last VACUUM or build';

CREATE VIEW orchestry.invalid_indexes WITH (security_barrier) AS
SELECT t.relid::regclass AS relation, c.oid::regclass AS index,
       CASE WHEN b.mine THEN 'building'
            WHEN b.hidden THEN 'unknown'
            WHEN c.relkind = 'I' THEN 'incomplete'
            WHEN c.relname ~ '_cc(new|old)\d*$' THEN 'leftover'
            ELSE 'failed' END AS state,
       CASE WHEN c.relkind = 'I' THEN ARRAY(
           SELECT p.inhrelid::regclass FROM pg_inherits p WHERE p.inhparent = i.indrelid AND NOT EXISTS (
               SELECT FROM pg_inherits h JOIN pg_index x ON x.indexrelid = h.inhrelid AND x.indisvalid
               WHERE h.inhparent = i.indexrelid AND x.indrelid = p.inhrelid) ORDER BY p.inhrelid) END AS missing_in,
       c.relpages::bigint * current_setting('block_size')::bigint AS bytes,
       CASE WHEN b.mine OR b.hidden OR c.relkind = 'I' THEN NULL
            WHEN c.relname ~ '_cc(new|old)\d*$' OR (i.indisunique AND NOT c.relispartition AND i.indrelid = t.relid AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid))
            THEN format('DROP INDEX CONCURRENTLY %I.%I;', n.nspname, c.relname)
            ELSE format('REINDEX INDEX CONCURRENTLY %I.%I;', n.nspname, c.relname) END AS fix_sql
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN orchestry._user_table t ON i.indrelid IN (t.relid, NULLIF(t.reltoastrelid, 0))
CROSS JOIN LATERAL (
    SELECT COALESCE(bool_or(p.relid IN (t.relid, i.indrelid)), false) AS mine, COALESCE(bool_or(p.relid IS NULL), false) AS hidden
    FROM pg_stat_progress_create_index p WHERE p.datname = current_database()) b
WHERE NOT (i.indisvalid AND i.indisready AND i.indislive);
COMMENT ON VIEW orchestry.invalid_indexes IS 'Indexes that no query can use, those of TOAST tables included.';
COMMENT ON COLUMN orchestry.invalid_indexes.state IS 'building (an index of the table is being built right now), failed (a build was interrupted; writers still keep it), leftover (of REINDEX CONCURRENTLY), incomplete (of a partitioned table: no valid index of the partitions missing_in is attached, which is how it begins), unknown (some index is being built, and the caller may not see which: see pg_read_all_stats)';
COMMENT ON COLUMN orchestry.invalid_indexes.bytes IS 'As of the last VACUUM or build';

CREATE VIEW orchestry.missing_fk_indexes WITH (security_barrier) AS
WITH RECURSIVE part AS ( -- a foreign key is one with those of the partitions
    SELECT k.oid AS root, k.oid, k.conrelid, k.conkey, COALESCE((to_jsonb(k) ->> 'conperiod')::boolean, false) AS has_period -- 18
    FROM pg_constraint k JOIN orchestry._user_table t ON t.relid = k.conrelid
    WHERE k.contype = 'f' AND k.conparentid = 0 AND COALESCE((to_jsonb(k) ->> 'conenforced')::boolean, true)
    UNION ALL
    SELECT p.root, k.oid, k.conrelid, k.conkey, p.has_period FROM part p JOIN pg_constraint k ON k.conparentid = p.oid), -- foreign keys, all of them
place AS ( -- where its rows are: a partitioned table counts as long as it has no partitions
    SELECT DISTINCT p.root, p.conrelid, p.conkey, p.has_period FROM part p JOIN pg_class c ON c.oid = p.conrelid
    WHERE c.relkind <> 'p' OR NOT EXISTS (SELECT FROM pg_inherits h WHERE h.inhparent = p.conrelid)),
bare AS (
    SELECT p.* FROM place p WHERE NOT EXISTS (
        SELECT FROM orchestry._index_shape x
        WHERE x.indrelid = p.conrelid AND (x.is_usable OR EXISTS (SELECT FROM pg_class c WHERE c.oid = x.indexrelid AND c.relkind = 'I'))
          AND x.keys >= cardinality(p.conkey)
          AND (x.amname = 'btree' OR (x.amname = 'hash' AND cardinality(p.conkey) = 1) OR (x.amname = 'gist' AND p.has_period))
          -- its first keys are the columns, in whatever order
          AND x.columns[0:cardinality(p.conkey) - 1] @> p.conkey AND x.columns[0:cardinality(p.conkey) - 1] <@ p.conkey
          -- compared as the columns are
          AND NOT EXISTS (SELECT FROM unnest(x.columns[0:cardinality(p.conkey) - 1], x.collations[0:cardinality(p.conkey) - 1]) u (attnum, collation_oid)
                          JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = u.attnum WHERE a.attcollation <> u.collation_oid)
          -- partial at most by "column IS NOT NULL", which every row that references something meets
          AND (x.predicate = '' OR (x.predicate ~ '^(\{BOOLEXPR :boolop and :args \()?(\{NULLTEST :arg \{VAR [^{}]*\} :nulltesttype 1 :argisrow false [^{}]*\} ?)+(\)[^{}]*\})?$'
               AND NOT EXISTS (SELECT FROM regexp_matches(x.predicate, ':varattno (\d+)', 'g') m WHERE m[1]::smallint <> ALL (p.conkey))))))
SELECT k.conrelid::regclass AS relation, k.conname AS constraint_name,
       ARRAY(SELECT a.attname FROM unnest(k.conkey) WITH ORDINALITY u (attnum, nth) JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.attnum ORDER BY nth) AS columns,
       k.confrelid::regclass AS referenced, f.partitions,
       CASE WHEN f.rows_estimate >= 0 THEN f.rows_estimate END::bigint AS rows_estimate,
       COALESCE(pg_stat_get_tuples_deleted(k.confrelid), 0) + COALESCE(pg_stat_get_tuples_updated(k.confrelid), 0) AS referenced_changes, f.fix_sql
FROM pg_constraint k
JOIN (SELECT b.root, NULLIF(array_agg(b.conrelid::regclass ORDER BY b.conrelid), ARRAY[min(k.conrelid)::regclass]) AS partitions, sum(c.reltuples) FILTER (WHERE c.reltuples >= 0) AS rows_estimate,
             string_agg(format('CREATE INDEX %sON %I.%I (%s);', CASE WHEN c.relkind <> 'p' THEN 'CONCURRENTLY ' END, n.nspname, c.relname,
                 (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY nth) FROM unnest(b.conkey) WITH ORDINALITY u (attnum, nth) JOIN pg_attribute a ON a.attrelid = b.conrelid AND a.attnum = u.attnum)),
                 ' ' ORDER BY n.nspname, c.relname) AS fix_sql
      FROM bare b JOIN pg_constraint k ON k.oid = b.root JOIN pg_class c ON c.oid = b.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace GROUP BY b.root) f ON f.root = k.oid;
COMMENT ON VIEW orchestry.missing_fk_indexes IS 'Foreign keys whose columns are not the first keys, in any order and with the collations of the columns, of a btree (or the only one of a hash index, or those of a GiST index where the key has a PERIOD) that has all rows with a reference: a DELETE of a referenced row, or an UPDATE of its key, reads the whole table.';
COMMENT ON COLUMN orchestry.missing_fk_indexes.partitions IS 'Of a partitioned table: the partitions that lack the index';
COMMENT ON COLUMN orchestry.missing_fk_indexes.rows_estimate IS 'Rows to be read each time, as of the last VACUUM or ANALYZE; NULL: never';
COMMENT ON COLUMN orchestry.missing_fk_indexes.referenced_changes IS 'Rows of the referenced table deleted and updated since this server counts: none, and nobody has felt it';

CREATE FUNCTION orchestry._tuple_bytes(lengths bigint[], alignments bigint[], widths float8[], shares float8[]) RETURNS float8
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'orchestry_tuple_bytes';
COMMENT ON FUNCTION orchestry._tuple_bytes(bigint[], bigint[], float8[], float8[]) IS 'Internal: bytes of an average row on its page, with header, padding and line pointer, given for each column its fixed length (or -1), alignment, average width and share of rows that have it.';

CREATE VIEW orchestry.table_bloat WITH (security_barrier) AS
WITH shape AS (
    SELECT a.attrelid, bool_and(a.attisdropped OR a.attgenerated = 'v' OR s.starelid IS NOT NULL) AS is_known,
           orchestry._tuple_bytes(array_agg(a.attlen::bigint ORDER BY a.attnum),
               array_agg(CASE WHEN a.attlen = -1 AND a.attstorage <> 'p' AND COALESCE(s.stawidth, 0) <= 127 THEN 1
                              ELSE CASE a.attalign WHEN 'c' THEN 1 WHEN 's' THEN 2 WHEN 'i' THEN 4 ELSE 8 END END::bigint ORDER BY a.attnum),
               array_agg(COALESCE(CASE WHEN a.attlen > 0 THEN a.attlen ELSE s.stawidth END, 0)::float8 ORDER BY a.attnum),
               array_agg(CASE WHEN a.attisdropped OR a.attgenerated = 'v' THEN 0 ELSE 1 - COALESCE(s.stanullfrac, 0) END::float8 ORDER BY a.attnum)) AS bytes
    FROM pg_attribute a LEFT JOIN pg_statistic s ON s.starelid = a.attrelid AND s.staattnum = a.attnum AND NOT s.stainherit
    WHERE a.attnum > 0 GROUP BY a.attrelid),
page AS (
    SELECT t.*, h.bytes AS row_bytes, pg_stat_get_mod_since_analyze(t.relid) AS changes, current_setting('block_size')::bigint AS block,
           COALESCE(orchestry._option(t.reloptions, 'fillfactor')::integer, 100) AS fillfactor,
           CASE WHEN m.amname IS DISTINCT FROM 'heap' THEN 'not a heap'
                WHEN t.reltuples < 0 THEN 'never analyzed'
                WHEN t.reltuples > 0 AND NOT COALESCE(h.is_known, true) THEN 'no statistics'
                WHEN pg_stat_get_mod_since_analyze(t.relid) > 1000 + 0.2 * t.reltuples THEN 'outdated'
                ELSE 'estimate' END AS state
    FROM orchestry._user_table t LEFT JOIN pg_am m ON m.oid = t.relam LEFT JOIN shape h ON h.attrelid = t.relid WHERE t.relkind <> 'p'),
guess AS (
    SELECT p.*, CASE WHEN p.state IN ('estimate', 'outdated') THEN
           ceil(p.reltuples / GREATEST(floor((p.block - 24 - p.block * (100 - p.fillfactor) / 100) / p.row_bytes), 1)) END AS pages
    FROM page p)
SELECT g.relid::regclass AS relation, g.relpages * g.block AS bytes, CASE WHEN g.pages IS NOT NULL THEN GREATEST(g.relpages - g.pages, 0) * g.block END::bigint AS wasted_bytes,
       CASE WHEN g.pages IS NOT NULL THEN round((100 * GREATEST(g.relpages - g.pages, 0) / NULLIF(g.relpages, 0))::numeric, 1) END AS wasted_percent,
       pg_stat_get_dead_tuples(g.relid) AS dead_rows, g.state, x.relpages * g.block AS toast_bytes,
       GREATEST(pg_stat_get_last_analyze_time(g.relid), pg_stat_get_last_autoanalyze_time(g.relid)) AS analyzed_at
FROM guess g LEFT JOIN pg_class x ON x.oid = NULLIF(g.reltoastrelid, 0);
COMMENT ON VIEW orchestry.table_bloat IS 'How much of each table''s own pages is more than its rows need, estimated from the statistics of its columns: their order, alignment and NULLs are counted, what fillfactor keeps free is not. Measure with pgstattuple_approx() before you rewrite a table.';
COMMENT ON COLUMN orchestry.table_bloat.bytes IS 'Of the table itself, without TOAST and indexes, as of the last VACUUM or ANALYZE';
COMMENT ON COLUMN orchestry.table_bloat.wasted_bytes IS 'NULL: not known, see state';
COMMENT ON COLUMN orchestry.table_bloat.state IS 'estimate; outdated (an estimate, and more than a fifth of the rows has changed since); never analyzed; no statistics (some column has none); not a heap';
COMMENT ON COLUMN orchestry.table_bloat.toast_bytes IS 'Of its TOAST table, of which no estimate is made';

CREATE VIEW orchestry.cache_hit WITH (security_barrier) AS
SELECT t.relid::regclass AS relation, sum(s.heap_blks_read + COALESCE(s.toast_blks_read, 0))::bigint AS table_blocks_read,
       sum(s.heap_blks_hit + COALESCE(s.toast_blks_hit, 0))::bigint AS table_blocks_hit,
       round(100 * sum(s.heap_blks_hit + COALESCE(s.toast_blks_hit, 0)) / NULLIF(sum(s.heap_blks_read + s.heap_blks_hit + COALESCE(s.toast_blks_read + s.toast_blks_hit, 0)), 0), 1) AS table_hit_percent,
       COALESCE(sum(s.idx_blks_read + COALESCE(s.tidx_blks_read, 0)), 0)::bigint AS index_blocks_read,
       COALESCE(sum(s.idx_blks_hit + COALESCE(s.tidx_blks_hit, 0)), 0)::bigint AS index_blocks_hit,
       round(100 * sum(s.idx_blks_hit + COALESCE(s.tidx_blks_hit, 0)) / NULLIF(sum(s.idx_blks_read + s.idx_blks_hit + COALESCE(s.tidx_blks_read + s.tidx_blks_hit, 0)), 0), 1) AS index_hit_percent,
       min(o.observed_since) AS observed_since
FROM orchestry._user_table t JOIN pg_statio_all_tables s ON s.relid = t.relid CROSS JOIN orchestry._observed_since o
GROUP BY GROUPING SETS ((t.relid), ());
COMMENT ON VIEW orchestry.cache_hit IS 'Blocks that queries found in shared buffers, and those that they asked the operating system for, of whose cache the server knows nothing. A figure to look at, not one to wake somebody for.';
COMMENT ON COLUMN orchestry.cache_hit.relation IS 'NULL: all tables of users together';
COMMENT ON COLUMN orchestry.cache_hit.table_hit_percent IS 'NULL: nothing was read';

CREATE VIEW orchestry.connections WITH (security_barrier) AS
SELECT v.is_visible, v.max_connections, v.reserved, v.max_connections - v.reserved AS available,
       CASE WHEN v.is_visible THEN a.used END AS used,
       CASE WHEN v.is_visible THEN round(100.0 * a.used / NULLIF(v.max_connections - v.reserved, 0), 1) END AS used_percent,
       CASE WHEN v.is_visible THEN a.active END AS active, CASE WHEN v.is_visible THEN a.idle END AS idle,
       CASE WHEN v.is_visible THEN a.idle_in_transaction END AS idle_in_transaction,
       CASE WHEN v.is_visible THEN a.waiting_for_lock END AS waiting_for_lock,
       CASE WHEN v.is_visible THEN a.oldest_transaction END AS oldest_transaction,
       CASE WHEN v.is_visible THEN a.oldest_idle_in_transaction END AS oldest_idle_in_transaction
FROM (SELECT pg_has_role('pg_read_all_stats', 'USAGE') AS is_visible, current_setting('max_connections')::integer AS max_connections,
             current_setting('superuser_reserved_connections')::integer + COALESCE(current_setting('reserved_connections', true), '0')::integer AS reserved) v
CROSS JOIN (SELECT count(*) AS used, count(*) FILTER (WHERE s.state = 'active') AS active, count(*) FILTER (WHERE s.state = 'idle') AS idle,
                   count(*) FILTER (WHERE s.state LIKE 'idle in transaction%') AS idle_in_transaction,
                   count(*) FILTER (WHERE s.wait_event_type = 'Lock') AS waiting_for_lock, max(clock_timestamp() - s.xact_start) AS oldest_transaction,
                   max(clock_timestamp() - s.state_change) FILTER (WHERE s.state LIKE 'idle in transaction%') AS oldest_idle_in_transaction
            FROM pg_stat_activity s WHERE s.backend_type = 'client backend') a;
COMMENT ON VIEW orchestry.connections IS 'One row: clients of the whole server, and how many it takes. Background processes and replication are not among them, since they have slots of their own.';
COMMENT ON COLUMN orchestry.connections.is_visible IS 'False: only members of pg_read_all_stats can see the clients of others, so nothing is said about them';
COMMENT ON COLUMN orchestry.connections.reserved IS 'Kept for superusers and for members of pg_use_reserved_connections';

CREATE VIEW orchestry.replication WITH (security_barrier) AS
WITH here AS (
    SELECT CASE WHEN pg_is_in_recovery() THEN COALESCE(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) ELSE pg_current_wal_lsn() END AS lsn)
SELECT 'standby' AS kind, COALESCE(NULLIF(r.application_name, ''), r.pid::text) AS name, COALESCE(r.state, 'unknown') AS state, true AS is_active,
       pg_wal_lsn_diff(h.lsn, r.replay_lsn)::bigint AS lag_bytes, r.replay_lag AS lag, NULL::bigint AS retained_bytes, NULL::bigint AS safe_wal_bytes,
       CASE WHEN r.backend_xmin IS NOT NULL THEN age(r.backend_xmin) END AS xmin_age, NULL::timestamptz AS inactive_since
FROM pg_stat_replication r CROSS JOIN here h
UNION ALL
SELECT 'slot', s.slot_name, COALESCE(s.wal_status, 'new'), s.active,
       pg_wal_lsn_diff(h.lsn, COALESCE(s.confirmed_flush_lsn, s.restart_lsn))::bigint, NULL, pg_wal_lsn_diff(h.lsn, s.restart_lsn)::bigint, s.safe_wal_size,
       GREATEST(age(s.xmin), age(s.catalog_xmin)), (to_jsonb(s) ->> 'inactive_since')::timestamptz
FROM pg_replication_slots s CROSS JOIN here h
UNION ALL
SELECT 'receiver', current_setting('cluster_name'), CASE WHEN pg_is_wal_replay_paused() THEN 'paused' ELSE 'replaying' END, true,
       pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())::bigint,
       CASE WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN interval '0' ELSE clock_timestamp() - pg_last_xact_replay_timestamp() END,
       NULL, NULL, NULL, NULL
WHERE CASE WHEN pg_is_in_recovery() THEN true END;
COMMENT ON VIEW orchestry.replication IS 'Who gets WAL from this server, which slots keep WAL for somebody, and, on a standby, how far it is itself.';
COMMENT ON COLUMN orchestry.replication.kind IS 'standby (connected now, cascading and logical ones included), slot, or receiver (this server is a standby)';
COMMENT ON COLUMN orchestry.replication.state IS 'Of a standby as in pg_stat_replication (unknown: only members of pg_read_all_stats can see it), of a slot its wal_status (unreserved and lost: too late), of the receiver replaying or paused';
COMMENT ON COLUMN orchestry.replication.lag IS 'As the standby has reported it; NULL: it is idle and has nothing to replay. Bytes are what to judge by';
COMMENT ON COLUMN orchestry.replication.retained_bytes IS 'WAL that the slot keeps';
COMMENT ON COLUMN orchestry.replication.safe_wal_bytes IS 'How much WAL may still come before the slot is lost; NULL: it is never given up';
COMMENT ON COLUMN orchestry.replication.xmin_age IS 'Transactions for which VACUUM keeps dead rows because of it';
COMMENT ON COLUMN orchestry.replication.inactive_since IS 'From PostgreSQL 17 on';

CREATE FUNCTION orchestry._sequence_position(sequence regclass) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'orchestry_sequence_position';
COMMENT ON FUNCTION orchestry._sequence_position(regclass) IS 'Internal: the last value of a sequence, for whoever may use it and for members of pg_monitor; NULL for others, and when none was drawn.';

CREATE VIEW orchestry.sequence_usage WITH (security_barrier) AS
WITH fed AS (
    SELECT d.objid AS seqrelid, d.refobjid AS relid, d.refobjsubid::smallint AS attnum FROM pg_sequence s JOIN pg_depend d ON d.objid = s.seqrelid
    WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0
    UNION
    SELECT d.refobjid, f.adrelid, f.adnum FROM pg_sequence s JOIN pg_depend d ON d.refobjid = s.seqrelid JOIN pg_attrdef f ON f.oid = d.objid
    WHERE d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_class'::regclass),
taker AS ( -- and whoever references these columns; joined by grouping, since the planner would compare all with all
    SELECT * FROM fed
    UNION
    SELECT s.seqrelid, r.relid, r.attnum
    FROM (SELECT array_agg(b.seqrelid) FILTER (WHERE b.seqrelid IS NOT NULL) AS sequences,
                 array_agg(b.referring) FILTER (WHERE b.referring IS NOT NULL) AS referring, array_agg(b.attnum) FILTER (WHERE b.referring IS NOT NULL) AS attnums
          FROM (SELECT f.relid, f.attnum AS referenced, f.seqrelid, NULL::oid AS referring, NULL::smallint AS attnum FROM fed f
                UNION ALL
                SELECT k.confrelid, u.referenced, NULL, k.conrelid, u.attnum FROM pg_constraint k CROSS JOIN LATERAL unnest(k.conkey, k.confkey) u (attnum, referenced) WHERE k.contype = 'f') b
          GROUP BY b.relid, b.referenced) g
    CROSS JOIN LATERAL unnest(g.sequences) s (seqrelid) CROSS JOIN LATERAL unnest(g.referring, g.attnums) r (relid, attnum)),
narrowest AS (
    SELECT DISTINCT ON (t.seqrelid) t.seqrelid, t.relid, a.attname, b.oid AS type, y.least, y.greatest
    FROM taker t JOIN pg_attribute a ON a.attrelid = t.relid AND a.attnum = t.attnum JOIN pg_type d ON d.oid = a.atttypid
    JOIN pg_type b ON b.oid = COALESCE(NULLIF(d.typbasetype, 0), d.oid) JOIN pg_class c ON c.oid = t.relid
    JOIN (VALUES ('int2'::regtype, -32768::bigint, 32767::bigint), ('int4', -2147483648, 2147483647),
                 ('int8', -9223372036854775808, 9223372036854775807)) y (type, least, greatest) ON y.type = b.oid
    ORDER BY t.seqrelid, y.greatest, c.relispartition, (t.relid, t.attnum) NOT IN (SELECT f.relid, f.attnum FROM fed f), t.relid, t.attnum),
place AS (
    SELECT s.seqrelid, w.relid, w.attname, w.type, s.seqincrement, s.seqstart,
           CASE WHEN s.seqincrement > 0 THEN LEAST(s.seqmax, w.greatest) ELSE GREATEST(s.seqmin, w.least) END AS last_possible,
           s.seqcycle AND CASE WHEN s.seqincrement > 0 THEN s.seqmax <= COALESCE(w.greatest, s.seqmax) ELSE s.seqmin >= COALESCE(w.least, s.seqmin) END AS cycles,
           has_sequence_privilege(s.seqrelid, 'USAGE') OR has_sequence_privilege(s.seqrelid, 'SELECT') OR pg_has_role('pg_monitor', 'USAGE') AS is_visible
    FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN narrowest w ON w.seqrelid = s.seqrelid
    WHERE c.relpersistence <> 't' AND (c.relpersistence = 'p' OR NOT pg_is_in_recovery()) AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
      AND n.nspname <> 'orchestry'),
drawn AS (SELECT p.*, CASE WHEN p.is_visible THEN orchestry._sequence_position(p.seqrelid) END AS last_value FROM place p)
SELECT d.seqrelid::regclass AS sequence, d.relid::regclass AS relation, d.attname AS column_name, d.type::regtype AS column_type,
       d.last_value, d.last_possible,
       CASE WHEN d.is_visible AND NOT d.cycles THEN floor(abs(d.last_possible::numeric - COALESCE(d.last_value, d.seqstart - d.seqincrement::numeric)) / abs(d.seqincrement)) END AS remaining,
       CASE WHEN d.is_visible AND NOT d.cycles THEN LEAST(round(100 * CASE
           WHEN d.last_value IS NULL THEN 0
           WHEN d.seqincrement > 0 THEN (d.last_value - LEAST(d.seqstart, d.last_value)::numeric + 1) / NULLIF(d.last_possible - LEAST(d.seqstart, d.last_value)::numeric + 1, 0)
           ELSE (GREATEST(d.seqstart, d.last_value)::numeric - d.last_value + 1) / NULLIF(GREATEST(d.seqstart, d.last_value)::numeric - d.last_possible + 1, 0) END, 1), 100) END AS used_percent,
       CASE WHEN NOT d.is_visible THEN 'unknown' WHEN d.cycles THEN 'cycles' ELSE 'counts' END AS state
FROM drawn d;
COMMENT ON VIEW orchestry.sequence_usage IS 'How far sequences have come on their way to the last value that they, the columns that they feed and the columns that reference these can hold.';
COMMENT ON COLUMN orchestry.sequence_usage.relation IS 'With column_name, the narrowest column among those; NULL: no column of whole numbers is known to take its values';
COMMENT ON COLUMN orchestry.sequence_usage.last_possible IS 'The greatest value that fits, or the least when it counts down';
COMMENT ON COLUMN orchestry.sequence_usage.remaining IS 'How many values are left; NULL when it begins anew by itself (CYCLE), and when unknown';
COMMENT ON COLUMN orchestry.sequence_usage.used_percent IS 'Of the way from its start to last_possible; NULL when it begins anew by itself (CYCLE), and when unknown';
COMMENT ON COLUMN orchestry.sequence_usage.state IS 'counts, cycles, or unknown: the caller may neither use nor read it, and is no member of pg_monitor';

CREATE VIEW orchestry.wraparound WITH (security_barrier) AS
WITH aged AS (
    SELECT 'database' AS scope, quote_ident(d.datname) AS name, NULL::oid AS relid, x.kind, x.age, NULL::text[] AS options
    FROM pg_database d CROSS JOIN LATERAL (VALUES ('transactions', age(d.datfrozenxid)), ('multixacts', mxid_age(d.datminmxid))) x (kind, age)
    UNION ALL
    SELECT 'table', format('%I.%I', n.nspname, c.relname), c.oid, x.kind, x.age, c.reloptions
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    CROSS JOIN LATERAL (VALUES ('transactions', CASE WHEN c.relfrozenxid <> '0' THEN age(c.relfrozenxid) END),
                               ('multixacts', CASE WHEN c.relminmxid <> '0' THEN mxid_age(c.relminmxid) END)) x (kind, age)
    WHERE c.relkind IN ('r', 'm', 't') AND x.age IS NOT NULL)
SELECT a.scope, a.name, a.relid::regclass AS relation, a.kind, a.age,
       COALESCE(orchestry._option(a.options, l.option)::integer, l.freeze_max_age) AS freeze_max_age,
       l.failsafe_age, 2147483648 - 3000000 - a.age AS remaining, round(100.0 * a.age / (2147483648 - 3000000), 1) AS used_percent
FROM aged a JOIN (VALUES
    ('transactions', 'autovacuum_freeze_max_age', current_setting('autovacuum_freeze_max_age')::integer, current_setting('vacuum_failsafe_age')::integer),
    ('multixacts', 'autovacuum_multixact_freeze_max_age', current_setting('autovacuum_multixact_freeze_max_age')::integer, current_setting('vacuum_multixact_failsafe_age')::integer))
    l (kind, option, freeze_max_age, failsafe_age) ON l.kind = a.kind;
COMMENT ON VIEW orchestry.wraparound IS 'How old the oldest transaction ids and multixact ids are, of all databases and of the tables of this one, TOAST and temporary tables included.';
COMMENT ON COLUMN orchestry.wraparound.kind IS 'transactions or multixacts: each wraps around on its own';
COMMENT ON COLUMN orchestry.wraparound.freeze_max_age IS 'At this age autovacuum freezes the table whatever else holds: to be somewhat older is normal';
COMMENT ON COLUMN orchestry.wraparound.failsafe_age IS 'At this age VACUUM skips everything but freezing';
COMMENT ON COLUMN orchestry.wraparound.remaining IS 'How many more there can be before the server takes no more writes';

CREATE VIEW orchestry.stale_statistics WITH (security_barrier) AS
WITH counted AS (
    SELECT t.*, GREATEST(pg_stat_get_last_analyze_time(t.relid), pg_stat_get_last_autoanalyze_time(t.relid)) AS analyzed_at,
           EXISTS (SELECT FROM pg_inherits h WHERE h.inhparent = t.relid) AS is_parent,
           COALESCE(orchestry._option(t.reloptions, 'autovacuum_analyze_threshold'), current_setting('autovacuum_analyze_threshold')::float8)
           + COALESCE(orchestry._option(t.reloptions, 'autovacuum_analyze_scale_factor'), current_setting('autovacuum_analyze_scale_factor')::float8)
             * GREATEST(t.reltuples, 0) AS threshold
    FROM orchestry._user_table t),
own AS ( -- autovacuum looks after these
    SELECT c.relid, c.name, c.analyzed_at, CASE WHEN c.reltuples >= 0 THEN c.reltuples END AS rows, pg_stat_get_mod_since_analyze(c.relid) AS changes, c.threshold,
           CASE WHEN EXISTS (SELECT FROM pg_statistic s WHERE s.starelid = c.relid AND NOT s.stainherit) THEN 'stale' ELSE 'never analyzed' END AS state
    FROM counted c WHERE c.relkind <> 'p' AND pg_stat_get_mod_since_analyze(c.relid) > c.threshold),
family AS (
    WITH RECURSIVE below AS (
        SELECT c.relid AS root, h.inhrelid AS relid FROM counted c JOIN pg_inherits h ON h.inhparent = c.relid
        UNION ALL SELECT b.root, h.inhrelid FROM below b JOIN pg_inherits h ON h.inhparent = b.relid)
    SELECT b.root, sum(GREATEST(c.reltuples, pg_stat_get_live_tuples(c.oid), 0)) AS rows FROM below b JOIN pg_class c ON c.oid = b.relid AND c.relkind = 'r' GROUP BY b.root),
parents AS ( -- and after these never
    SELECT c.relid, c.name, c.analyzed_at, f.rows, CASE WHEN c.relkind = 'p' AND c.reltuples >= 0 THEN abs(f.rows - c.reltuples) END AS changes, c.threshold,
           CASE WHEN NOT EXISTS (SELECT FROM pg_statistic s WHERE s.starelid = c.relid AND s.stainherit) THEN 'parent never analyzed'
                WHEN c.relkind = 'p' AND abs(f.rows - c.reltuples) > current_setting('autovacuum_analyze_threshold')::float8 + 0.2 * f.rows THEN 'parent stale' END AS state
    FROM counted c JOIN family f ON f.root = c.relid WHERE c.is_parent AND f.rows > 0)
SELECT s.relid::regclass AS relation, s.state, s.analyzed_at, s.rows::bigint AS rows_estimate, s.changes::bigint AS changed_rows, s.threshold::bigint AS threshold, format('ANALYZE %s;', s.name) AS fix_sql
FROM (SELECT * FROM own UNION ALL SELECT * FROM parents WHERE state IS NOT NULL) s;
COMMENT ON VIEW orchestry.stale_statistics IS 'Tables that have changed enough to be analyzed again, and parents of partitions or of inheritance, which autovacuum never analyzes: without statistics of the whole the planner guesses.';
COMMENT ON COLUMN orchestry.stale_statistics.state IS 'never analyzed, stale, parent never analyzed, or parent stale (the rows of its partitions have become a fifth more or less)';
COMMENT ON COLUMN orchestry.stale_statistics.changed_rows IS 'Since it was analyzed, as far as this server has counted; of a parent the difference of its rows then and now';
COMMENT ON COLUMN orchestry.stale_statistics.threshold IS 'From how many on autovacuum analyzes a table with these settings and storage parameters';
