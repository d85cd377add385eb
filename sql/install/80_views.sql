-- Views over the catalog. Whoever owns a table (or is a member of its owner) sees its jobs and runs; members of
-- pg_monitor see them too, without texts that may quote data.

CREATE VIEW orchestry._job_look WITH (security_barrier) AS
SELECT l.job_id, l.next_run_at, l.seen_at,
       -- a run may have failed since; and what is in the future is of a clock that was ahead
       CASE WHEN l.seen_at >= l.last_at OR l.last_at > orchestry._now() THEN l.seen_at END AS looked_at
FROM (SELECT s.job_id, orchestry._due_at(s.job_id, s.next_run_at) AS next_run_at, orchestry._looked_at(s.job_id, s.next_run_at) AS seen_at, s.last_at
      FROM orchestry.job_state s) l;
COMMENT ON VIEW orchestry._job_look IS 'When jobs are due, after what was not written down: when they were looked at and had nothing to do, and whether that is the last that is known of them. Internal.';

CREATE VIEW orchestry._lost_look WITH (security_barrier) AS
SELECT s.job_id, orchestry._lost_until(s.job_id, s.refreshed_at) AS lost_until
FROM orchestry.refresh_state s JOIN orchestry.refresh_policy p ON p.job_id = s.job_id WHERE p.change_detection <> 'none';
COMMENT ON VIEW orchestry._lost_look IS 'Until when materialized views may have been found right without anybody knowing it by now. Internal.';

CREATE VIEW orchestry.jobs WITH (security_barrier) AS
SELECT j.job_id, j.kind, c.oid::regclass AS target, j.target_schema, j.target_name, r.rolname AS owner,
       CASE WHEN c.oid IS NULL AND o.here THEN 'dropped'
            WHEN c.oid IS NULL THEN 'restored'
            WHEN j.paused THEN 'paused'
            WHEN a.state IS NOT NULL THEN a.state
            WHEN k.next_run_at <= now() THEN 'due'
            ELSE 'scheduled' END AS state,
       j.schedule, j.time_zone, k.next_run_at, CASE WHEN k.looked_at IS NULL THEN s.last_state ELSE 'noop' END AS last_state,
       COALESCE(k.looked_at, s.last_at) AS last_at, COALESCE(k.seen_at, s.last_ok_at) AS last_ok_at, s.failures, s.last_run_id,
       j.max_runtime, j.pause_reason, COALESCE(p.settings, q.settings, e.settings, u.settings, w.settings, m.settings)
           - CASE WHEN pg_has_role(c.relowner, 'USAGE') OR (c.oid IS NULL AND j.created_by = session_user) OR (SELECT u.rolsuper FROM pg_roles u WHERE u.rolname = current_user) THEN '' ELSE 'where' END AS settings
FROM orchestry.job j
LEFT JOIN orchestry.job_state s ON s.job_id = j.job_id
LEFT JOIN orchestry._job_look k ON k.job_id = j.job_id
LEFT JOIN orchestry._partition_settings p ON p.job_id = j.job_id
LEFT JOIN orchestry._retention_settings q ON q.job_id = j.job_id
LEFT JOIN orchestry._event_settings e ON e.job_id = j.job_id
LEFT JOIN orchestry._rollup_settings u ON u.job_id = j.job_id
LEFT JOIN orchestry._once_settings w ON w.job_id = j.job_id
LEFT JOIN orchestry._refresh_settings m ON m.job_id = j.job_id
CROSS JOIN LATERAL (SELECT s.job_id IS NOT NULL AND j.origin_system = orchestry._system_identifier()
     AND j.origin_database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()) AS here) o
LEFT JOIN pg_class c ON c.oid = j.target AND o.here
LEFT JOIN pg_roles r ON r.oid = c.relowner
LEFT JOIN LATERAL (SELECT x.state FROM orchestry.run x WHERE x.job_id = j.job_id
     AND x.state IN ('queued', 'waiting', 'running') ORDER BY x.run_id DESC LIMIT 1) a ON true
WHERE pg_has_role(c.relowner, 'USAGE') OR pg_has_role('pg_monitor', 'USAGE')
   OR (c.oid IS NULL AND j.created_by = session_user);
COMMENT ON VIEW orchestry.jobs IS 'One row for each policy: what it is for, when it runs next, how it went last.';
COMMENT ON COLUMN orchestry.jobs.state IS 'restored (waits for resume_all()), dropped (its table is gone, and soon the job), paused, queued, waiting, running, due or scheduled';
COMMENT ON COLUMN orchestry.jobs.failures IS 'Failed runs in a row';
COMMENT ON COLUMN orchestry.jobs.settings IS 'What the policy says; alter_policy() takes the same keys. Without where, a condition that may quote data, for those who are not members of the owner';

CREATE VIEW orchestry.rollups WITH (security_barrier) AS
SELECT r.job_id, to_regclass(format('%I.%I', r.rollup_schema, r.rollup_name)) AS rollup,
       to_regclass(format('%I.%I', r.rollup_schema, r.rollup_name || '_buckets')) AS stored, c.oid::regclass AS source,
       r.time_column, r.value_column, r.bucket, r.group_by, CASE WHEN pg_has_role(c.relowner, 'USAGE') THEN r.predicate END AS "where", j.time_zone, r.keep,
       p.dirty, p.frozen, CASE WHEN o.job_id IS NOT NULL THEN to_regclass(format('%I.%I', o.rollup_schema, o.rollup_name)) END AS parent
FROM orchestry.rollup r LEFT JOIN orchestry.rollup o ON o.job_id = r.parent JOIN orchestry.job j ON j.job_id = r.job_id JOIN orchestry._rollup_spans p ON p.job_id = r.job_id
JOIN pg_class c ON c.oid = j.target AND j.origin_system = orchestry._system_identifier()
     AND j.origin_database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
WHERE pg_has_role(c.relowner, 'USAGE') OR pg_has_role('pg_monitor', 'USAGE');
COMMENT ON VIEW orchestry.rollups IS 'Rollups: what they are made of, and which of their times are not stored as they are now.';
COMMENT ON COLUMN orchestry.rollups.rollup IS 'The view to read; NULL: it has another name by now';
COMMENT ON COLUMN orchestry.rollups.stored IS 'The table with the buckets that are stored';
COMMENT ON COLUMN orchestry.rollups."where" IS 'Only rows that meet it, for members of the owner alone; NULL: all, or not visible';
COMMENT ON COLUMN orchestry.rollups.dirty IS 'Times whose buckets are computed by whoever reads the view: changed since they were stored, or not over yet';
COMMENT ON COLUMN orchestry.rollups.frozen IS 'Times whose rows were removed because of their age; what is stored stays';
COMMENT ON COLUMN orchestry.rollups.parent IS 'The finer rollup whose stored buckets it is made of; NULL: it is made of the rows';

CREATE VIEW orchestry.migrations WITH (security_barrier) AS
SELECT m.version, m.description, m.applied_by, m.applied_at, m.duration, m.statements, m.sha256, m.raw_sha256
FROM orchestry.migration m
WHERE EXISTS (SELECT FROM pg_roles r WHERE r.rolname = m.applied_by AND pg_has_role(r.oid, 'USAGE'))
   OR pg_has_role('pg_monitor', 'USAGE');
COMMENT ON VIEW orchestry.migrations IS 'The ledger of apply_migration(); members of a role see what it has applied, members of pg_monitor everything.';
COMMENT ON COLUMN orchestry.migrations.sha256 IS 'Checksum of the text without byte order mark, with line feeds alone and without empty lines at its end; verify_migration() compares it';

CREATE VIEW orchestry.matviews WITH (security_barrier) AS
SELECT j.job_id, c.oid::regclass AS matview, c.relispopulated AS populated, p.mode, p.change_detection, p.max_staleness,
       a.as_of, now() - a.as_of AS staleness, EXISTS (SELECT FROM orchestry.dirty_mark d WHERE d.job_id = j.job_id) AS changed,
       CASE WHEN NOT pg_is_in_recovery() THEN round(100 * (1 - extract(epoch FROM b.breached + greatest(now() - greatest(a.as_of + p.max_staleness, w.since, o.lost_until), interval '0'))
           / extract(epoch FROM greatest(now() - w.since, interval '1 second'))), 1) END AS percent_in_time,
       s.refreshed_at, e.expected AS expected_runtime, e.expected > p.max_staleness / 2 AS breach_predicted,
       k.next_run_at, CASE WHEN k.looked_at IS NULL THEN t.last_state ELSE 'noop' END AS last_state, r.message AS last_error, s.parents::regclass[] AS parents,
       d.dead AS dead_rows, round(100.0 * d.dead / nullif(d.dead + d.live, 0), 1) AS dead_percent,
       -- the server's own functions for sizes would wait for whoever has locked it
       (SELECT sum(x.relpages::bigint) FROM pg_class x WHERE x.oid IN (c.oid, c.reltoastrelid))::bigint * current_setting('block_size')::bigint AS bytes, s.temp_bytes
FROM orchestry.refresh_policy p JOIN orchestry.job j ON j.job_id = p.job_id
JOIN pg_class c ON c.oid = j.target AND j.origin_system = orchestry._system_identifier()
     AND j.origin_database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
LEFT JOIN orchestry.job_state t ON t.job_id = j.job_id
LEFT JOIN orchestry.refresh_state s ON s.job_id = j.job_id
LEFT JOIN orchestry._job_look k ON k.job_id = j.job_id
LEFT JOIN orchestry._lost_look o ON o.job_id = j.job_id
CROSS JOIN LATERAL (SELECT orchestry._proven_at(s.job_id, s.refreshed_at, s.as_of) AS as_of) a
LEFT JOIN LATERAL (SELECT x.message FROM orchestry.run x WHERE x.job_id = j.job_id AND x.state IN ('failed', 'timeout', 'crashed')
     AND pg_has_role(x.owner, 'USAGE') ORDER BY x.run_id DESC LIMIT 1) r ON true
CROSS JOIN LATERAL (SELECT max(d) AS expected FROM unnest(s.durations) d) e
CROSS JOIN LATERAL (SELECT pg_stat_get_dead_tuples(c.oid) AS dead, greatest(pg_stat_get_live_tuples(c.oid), c.reltuples::bigint) AS live) d
CROSS JOIN LATERAL (SELECT greatest(j.anchor, now() - interval '1 day') AS since) w
CROSS JOIN LATERAL (SELECT COALESCE(sum(least(x.to_at, now()) - greatest(x.from_at, w.since)), interval '0') AS breached
     FROM orchestry.refresh_breach x WHERE x.job_id = j.job_id AND x.to_at > w.since) b
WHERE pg_has_role(c.relowner, 'USAGE') OR pg_has_role('pg_monitor', 'USAGE');
COMMENT ON VIEW orchestry.matviews IS 'Materialized views with a refresh policy: how old they are, how old they may be, and what comes next.';
COMMENT ON COLUMN orchestry.matviews.as_of IS 'Its rows are what its query said then: it was refreshed, or nothing that it reads had changed; NULL: never by its job';
COMMENT ON COLUMN orchestry.matviews.staleness IS 'Time since as_of: the rows are at most so old';
COMMENT ON COLUMN orchestry.matviews.changed IS 'Something that it reads has changed since, as far as that is watched';
COMMENT ON COLUMN orchestry.matviews.percent_in_time IS 'For how much of the last 24 hours, or since the policy was made, it was no older than max_staleness, as far as is known after a restart of the server; NULL: not known on a standby';
COMMENT ON COLUMN orchestry.matviews.expected_runtime IS 'The longest of the last 20 refreshes';
COMMENT ON COLUMN orchestry.matviews.breach_predicted IS 'A refresh takes more than half of max_staleness: the promise will not be kept for long';
COMMENT ON COLUMN orchestry.matviews.last_error IS 'Of the last run that failed; for members of the owner alone';
COMMENT ON COLUMN orchestry.matviews.dead_rows IS 'Rows that refreshes have replaced and no vacuum has removed yet';
COMMENT ON COLUMN orchestry.matviews.dead_percent IS 'Of all its rows; above 50, if they are 10000 or more, mode auto refreshes plainly when no reader is in the way';
COMMENT ON COLUMN orchestry.matviews.bytes IS 'With TOAST and without indexes, as of the last VACUUM, ANALYZE or build of an index';
COMMENT ON COLUMN orchestry.matviews.temp_bytes IS 'Written to temporary tables and files by the last refresh: CONCURRENTLY computes all rows there, and then the differences';

CREATE VIEW orchestry.runs WITH (security_barrier) AS
SELECT r.run_id, r.job_id, r.kind, r.target_name AS target, r.state, r.started_at, r.finished_at, r.steps, r.rows, r.bytes, r.sqlstate,
       CASE WHEN pg_has_role(r.owner, 'USAGE') THEN r.message END AS message,
       CASE WHEN pg_has_role(r.owner, 'USAGE') THEN r.detail END AS detail,
       CASE WHEN pg_has_role(r.owner, 'USAGE') THEN r.hint END AS hint,
       CASE WHEN pg_has_role(r.owner, 'USAGE') THEN r.context END AS context,
       r.trigger, r.attempt, r.repeated, r.queued_at, r.pid, r.cancel_by
FROM orchestry.run r
WHERE EXISTS (SELECT FROM pg_roles o WHERE o.oid = r.owner)
  AND (pg_has_role(r.owner, 'USAGE') OR pg_has_role('pg_monitor', 'USAGE'));
COMMENT ON VIEW orchestry.runs IS 'History of runs. Repeated no-ops and repeated identical failures of a job share a row; repeated counts them.';
COMMENT ON COLUMN orchestry.runs.state IS 'queued, waiting (no worker slot), running, ok, noop (nothing to do), skipped, failed, timeout, crashed';
COMMENT ON COLUMN orchestry.runs.bytes IS 'Bytes made or freed by the steps';

CREATE VIEW orchestry.run_steps WITH (security_barrier) AS
SELECT s.run_id, s.seq, s.action, s.object, s.reason, s.sql, s.state, s.started_at, s.finished_at, s.attempts, s.lock_wait_ms,
       s.rows, s.bytes, s.sqlstate, s.message
FROM orchestry.run_step s JOIN orchestry.run r ON r.run_id = s.run_id
WHERE EXISTS (SELECT FROM pg_roles o WHERE o.oid = r.owner) AND pg_has_role(r.owner, 'USAGE');
COMMENT ON VIEW orchestry.run_steps IS 'The steps of the runs: what was done, why, by which SQL, how long it waited for locks.';
COMMENT ON COLUMN orchestry.run_steps.lock_wait_ms IS 'Milliseconds spent waiting for locks, all attempts together';

CREATE VIEW orchestry.progress WITH (security_barrier) AS
SELECT p.pid, p.run_id, p.job_id, r.kind, p.target, p.phase, p.steps_done, p.steps_total, p.rows_done, p.rows_total,
       r.started_at, clock_timestamp() - r.started_at AS elapsed,
       CASE WHEN p.rows_total > 0 THEN round(100.0 * p.rows_done / p.rows_total, 1)
            WHEN p.steps_total > 0 THEN round(100.0 * p.steps_done / p.steps_total, 1) END AS percent,
       CASE WHEN p.rows_total > 0 AND p.rows_done > 0
            THEN (clock_timestamp() - r.started_at) * ((p.rows_total - p.rows_done)::float8 / p.rows_done)
            WHEN p.steps_done > 0
            THEN (clock_timestamp() - r.started_at) * ((p.steps_total - p.steps_done)::float8 / p.steps_done) END AS eta
FROM orchestry._progress() p LEFT JOIN orchestry.run r ON r.run_id = p.run_id;
COMMENT ON VIEW orchestry.progress IS 'What runs right now in this database, live; visible to the run''s role and to members of pg_read_all_stats.';
COMMENT ON COLUMN orchestry.progress.phase IS 'planning, step, waiting for lock, or stepping aside (nothing held) before another try';
COMMENT ON COLUMN orchestry.progress.rows_total IS 'Estimate; 0 when the steps do not count rows';
COMMENT ON COLUMN orchestry.progress.eta IS 'Time left if it goes on like this';

-- In a restored or copied database OIDs are others, or other tables': there names are right.
CREATE VIEW orchestry._hold AS
SELECT h.hold_id, h.from_at, h.to_at, h.predicate, h.reason, h.created_at, h.created_by, h.released_at, h.released_by,
       h.release_reason, COALESCE(o.here, to_regclass(format('%I.%I', h.schema_name, h.table_name))::oid) AS held,
       h.column_names, CASE WHEN o.here IS NOT NULL THEN h.column_numbers END AS column_numbers
FROM orchestry.hold h CROSS JOIN LATERAL (SELECT (SELECT c.oid FROM pg_class c WHERE c.oid = h.relid
     AND h.origin_system = orchestry._system_identifier()
     AND h.origin_database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())) AS here) o;
COMMENT ON VIEW orchestry._hold IS 'Holds with the OID that their tables have in this database. Internal.';

CREATE VIEW orchestry._detached AS
SELECT c.oid AS relid, c.relname = d.quarantine_name AS in_quarantine, d.relid AS recorded_relid, d.quarantine_name, d.schema_name, d.table_name, d.job_id, d.bounds, d.from_at, d.to_at,
       d.detached_at, COALESCE((SELECT x.oid FROM pg_class x WHERE x.oid = d.parent AND d.is_here),
           to_regclass(format('%I.%I', d.parent_schema, d.parent_name))::oid) AS parent
FROM (SELECT r.*, r.origin_system = orchestry._system_identifier()
             AND r.origin_database = (SELECT b.oid FROM pg_database b WHERE b.datname = current_database()) AS is_here
      FROM orchestry.detached_partition r) d
JOIN pg_class c ON c.oid = COALESCE((SELECT x.oid FROM pg_class x WHERE x.oid = d.relid AND d.is_here),
         to_regclass(format('%I.%I', d.schema_name, d.quarantine_name))::oid);
COMMENT ON VIEW orchestry._detached IS 'Partitions that retention has detached, those as well that somebody gave another name and so took out of quarantine. Internal.';

CREATE VIEW orchestry._quarantine AS
SELECT d.relid, d.recorded_relid, d.quarantine_name, d.schema_name, d.table_name, d.job_id, d.bounds, d.from_at, d.to_at, d.detached_at, d.parent
FROM orchestry._detached d WHERE d.in_quarantine;
COMMENT ON VIEW orchestry._quarantine IS 'Partitions in quarantine with the OIDs that they and their parents have in this database. Internal.';

CREATE VIEW orchestry.holds WITH (security_barrier) AS
SELECT h.hold_id, c.oid::regclass AS relation, h.from_at AS "from", h.to_at AS "to", h.predicate AS "where", h.reason,
       h.created_at, h.created_by, h.released_at, h.released_by, h.release_reason
FROM orchestry._hold h LEFT JOIN pg_class c ON c.oid = h.held
WHERE pg_has_role(c.relowner, 'USAGE') OR (c.oid IS NULL AND h.created_by = session_user)
   OR (SELECT u.rolsuper FROM pg_roles u WHERE u.rolname = current_user);
COMMENT ON VIEW orchestry.holds IS 'Legal holds on the caller''s tables; those in force have no released_at.';
COMMENT ON COLUMN orchestry.holds.relation IS 'The held table; NULL: it is gone';
COMMENT ON COLUMN orchestry.holds."where" IS 'Only rows that meet it; NULL: all';

CREATE VIEW orchestry.archive_files WITH (security_barrier) AS
SELECT f.file, f.job_id, format('%I.%I', f.schema_name, f.table_name) AS target, f.part_name AS part, f.least, f.greatest,
       f.rows, f.bytes, f.sha256, f.written_at, f.published_at
FROM orchestry.archive_file f LEFT JOIN pg_roles r ON r.rolname = f.owner
WHERE pg_has_role(r.oid, 'USAGE') OR pg_has_role('pg_monitor', 'USAGE');
COMMENT ON VIEW orchestry.archive_files IS 'The files that retention has archived rows to, each with a manifest of the same beside it, FILE.json.';
COMMENT ON COLUMN orchestry.archive_files.least IS 'With greatest, the range of its rows: of the time column or the partition key';
COMMENT ON COLUMN orchestry.archive_files.published_at IS 'When the file got its name; NULL: it is complete, and the next run of its job gives it its name, or of another retention policy of its table when that job was removed';

CREATE VIEW orchestry.quarantine WITH (security_barrier) AS
SELECT c.oid::regclass AS partition, format('%I.%I', n.nspname, q.table_name) AS former_name, p.oid::regclass AS parent,
       q.bounds, q.detached_at, CASE WHEN r.action = 'drop' THEN q.detached_at + r.grace END AS drop_after,
       (SELECT sum(x.relpages::bigint) FROM pg_class x
        JOIN (SELECT c.oid UNION ALL SELECT c.reltoastrelid UNION ALL SELECT i.indexrelid FROM pg_index i WHERE i.indrelid IN (c.oid, c.reltoastrelid)) t ON t.oid = x.oid)::bigint
           * current_setting('block_size')::bigint AS bytes, q.job_id
FROM orchestry._quarantine q
JOIN pg_class c ON c.oid = q.relid
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_class p ON p.oid = q.parent
LEFT JOIN orchestry.retention_policy r ON r.job_id = q.job_id
WHERE pg_has_role(c.relowner, 'USAGE') OR pg_has_role('pg_monitor', 'USAGE');
COMMENT ON VIEW orchestry.quarantine IS 'Detached partitions that wait for the end of their grace: SELECT orchestry.reattach(partition) brings one back, ALTER TABLE ... RENAME takes one out for good.';
COMMENT ON COLUMN orchestry.quarantine.former_name IS 'Its name as a partition';
COMMENT ON COLUMN orchestry.quarantine.detached_at IS 'NULL: a run was interrupted while it was detached';
COMMENT ON COLUMN orchestry.quarantine.bytes IS 'With indexes and TOAST, as of the last VACUUM, ANALYZE or build of an index';
COMMENT ON COLUMN orchestry.quarantine.drop_after IS 'The first run after this drops it, unless a hold keeps it; NULL: it is kept';
