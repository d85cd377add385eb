-- Monitoring: one view for exporters.

CREATE VIEW orchestry.metrics WITH (security_barrier) AS
SELECT 'orchestry_' || m.name AS name, '{}'::jsonb AS labels, m.value::float8 AS value, 'gauge' AS type, m.help, 'database' AS family
FROM (SELECT count(*) FILTER (WHERE j.state NOT IN ('dropped', 'restored')) AS jobs, count(*) FILTER (WHERE j.failures > 0) AS failing, count(*) FILTER (WHERE j.state = 'paused') AS paused,
             count(*) FILTER (WHERE j.state = 'restored') AS restored FROM orchestry.jobs j) j
CROSS JOIN (SELECT count(*) AS late FROM orchestry._late_job) l
CROSS JOIN (SELECT count(*) FILTER (WHERE r.state = 'waiting') AS waiting, count(*) FILTER (WHERE r.state = 'running') AS running FROM orchestry.runs r WHERE r.state IN ('waiting', 'running')) r
CROSS JOIN (SELECT count(*) AS partitions, COALESCE(sum(c.relpages::bigint * current_setting('block_size')::bigint), 0) AS bytes FROM orchestry._quarantine q JOIN pg_class c ON c.oid = q.relid
            WHERE pg_has_role(c.relowner, 'USAGE') OR pg_has_role('pg_monitor', 'USAGE')) q
CROSS JOIN (SELECT count(*) AS holds FROM orchestry._hold h LEFT JOIN pg_class c ON c.oid = h.held
            WHERE h.released_at IS NULL AND (pg_has_role(c.relowner, 'USAGE') OR pg_has_role('pg_monitor', 'USAGE'))) h
CROSS JOIN (SELECT count(*) AS invalid FROM orchestry.invalid_indexes i WHERE i.state IN ('failed', 'leftover')) i
CROSS JOIN orchestry.connections c
CROSS JOIN LATERAL (VALUES
    ('enabled', current_setting('orchestry.enabled')::boolean::integer, 'Whether jobs are run at all'),
    ('scheduler_running', (orchestry.scheduler_pid() IS NOT NULL)::integer, 'Whether a scheduler runs in this database'),
    ('jobs', j.jobs, 'Policies'), ('jobs_failing', j.failing, 'Jobs whose last run failed'), ('jobs_paused', j.paused, 'Jobs that somebody has paused'),
    ('jobs_restored', j.restored, 'Jobs that wait for resume_all() after a restore'), ('jobs_late', l.late, 'Jobs that should have run ten minutes ago'),
    ('runs_running', r.running, 'Runs that are active'), ('runs_waiting', r.waiting, 'Runs that wait for a background worker'),
    ('quarantine_partitions', q.partitions, 'Detached partitions that wait for the end of their grace'), ('quarantine_bytes', q.bytes, 'Bytes of these, without indexes'),
    ('holds', h.holds, 'Legal holds in force'), ('invalid_indexes', i.invalid, 'Indexes whose build failed'),
    ('connections_used', c.used, 'Clients of the server'), ('connections_available', c.available, 'How many clients that are not superusers the server takes')) m (name, value, help)
WHERE m.value IS NOT NULL
UNION ALL
SELECT 'orchestry_job_' || m.name, jsonb_build_object('job_id', j.job_id::text, 'kind', j.kind, 'target', format('%I.%I', j.target_schema, j.target_name)), m.value, 'gauge', m.help, 'job'
FROM orchestry.jobs j LEFT JOIN orchestry.run r ON r.run_id = j.last_run_id LEFT JOIN orchestry._lost_look k ON k.job_id = j.job_id
CROSS JOIN LATERAL (VALUES
    ('failures', j.failures::float8, 'Failed runs in a row'),
    ('paused', (j.state = 'paused')::integer::float8, 'Whether the job is paused'),
    ('late_seconds', CASE WHEN j.state IN ('due', 'scheduled', 'queued', 'waiting') AND NOT pg_is_in_recovery() THEN GREATEST(EXTRACT(epoch FROM orchestry._now() - GREATEST(j.next_run_at, k.lost_until)), 0)::float8 ELSE 0 END, 'How long ago the job should have run'),
    ('last_success_timestamp_seconds', EXTRACT(epoch FROM j.last_ok_at)::float8, 'When it last went well'),
    ('last_run_seconds', EXTRACT(epoch FROM r.finished_at - r.started_at)::float8, 'How long its last run took'),
    ('last_run_rows', r.rows::float8, 'Rows that its last run removed or computed')) m (name, value, help)
WHERE m.value IS NOT NULL AND j.state NOT IN ('dropped', 'restored')
UNION ALL
SELECT 'orchestry_set_' || m.name, jsonb_build_object('target', s.parent_name), m.value, 'gauge', m.help, 'set'
FROM orchestry._runway s
CROSS JOIN LATERAL (VALUES
    ('partitions', s.partitions::float8, 'Partitions, the default one apart'), ('partitions_ahead', CASE WHEN NOT s.is_endless THEN s.ahead_count END::float8, 'Partitions after the one that takes rows of now, up to the first gap'),
    ('runway_seconds', CASE WHEN NOT s.is_endless THEN EXTRACT(epoch FROM s.left_over) END::float8, 'How far ahead of now partitions exist without a gap; below 0 when none takes rows of now'),
    ('runway_wanted_seconds', EXTRACT(epoch FROM s.ahead)::float8, 'How far ahead the policy wants them'),
    ('rows', s.rows::float8, 'Rows as of the last VACUUM or ANALYZE'), ('bytes', s.bytes::float8, 'Bytes as of the last VACUUM or ANALYZE, without indexes and TOAST'),
    ('default_rows', s.default_rows::float8, 'Rows of the default partition, as the server has counted')) m (name, value, help)
WHERE m.value IS NOT NULL
UNION ALL
SELECT 'orchestry_rollup_' || m.name, jsonb_build_object('rollup', s.name), m.value, 'gauge', m.help, 'rollup'
FROM (SELECT format('%I.%I', u.rollup_schema, u.rollup_name) AS name, r.dirty * tstzmultirange(tstzrange(NULL, orchestry._now() - r.bucket)) AS dirty
      FROM orchestry.rollups r JOIN orchestry.rollup u ON u.job_id = r.job_id) s
CROSS JOIN LATERAL (SELECT sum(EXTRACT(epoch FROM upper(d) - lower(d)))::float8 AS seconds, count(*) AS spans FROM unnest(s.dirty) d WHERE NOT lower_inf(d)) d
CROSS JOIN LATERAL (VALUES
    ('dirty_seconds', COALESCE(d.seconds, 0), 'Length of the times that are over and not stored, so that readers compute them'),
    ('oldest_dirty_seconds', CASE WHEN isempty(s.dirty) THEN 0 ELSE EXTRACT(epoch FROM orchestry._now() - lower(s.dirty)) END::float8, 'How long ago the oldest of them began')) m (name, value, help)
WHERE m.value IS NOT NULL
UNION ALL
SELECT 'orchestry_wraparound_ratio', jsonb_build_object('kind', w.kind), max(w.used_percent)::float8 / 100, 'gauge', 'Age of the oldest transaction id or multixact as a share of what the server can bear', 'wraparound'
FROM orchestry.wraparound w GROUP BY w.kind
UNION ALL
SELECT 'orchestry_replication_' || m.name, jsonb_build_object('kind', r.kind, 'name', r.name), m.value::float8, 'gauge', m.help, 'replication'
-- standbys may have one name: the worst of them
FROM (SELECT r.kind, r.name, bool_or(r.is_active) AS is_active, max(r.lag_bytes) AS lag_bytes, max(r.retained_bytes) AS retained_bytes, max(r.xmin_age) AS xmin_age FROM orchestry.replication r GROUP BY r.kind, r.name) r
CROSS JOIN LATERAL (VALUES
    ('active', r.is_active::integer::bigint, 'Whether somebody is connected'), ('lag_bytes', r.lag_bytes, 'WAL that is not replayed or not confirmed yet'),
    ('retained_bytes', r.retained_bytes, 'WAL that the slot keeps'), ('xmin_age', r.xmin_age::bigint, 'Transactions for which it keeps dead rows')) m (name, value, help)
WHERE m.value IS NOT NULL
UNION ALL
SELECT 'orchestry_sequence_used_ratio', jsonb_build_object('sequence', s.name), s.ratio, 'gauge', 'Share of the values that fit into the sequence, its column and columns that reference it; of the twenty fullest', 'sequence'
FROM (SELECT format('%I.%I', n.nspname, c.relname) AS name, u.used_percent::float8 / 100 AS ratio FROM orchestry.sequence_usage u JOIN pg_class c ON c.oid = u.sequence JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE u.used_percent IS NOT NULL ORDER BY u.used_percent DESC, c.oid LIMIT 20) s;
COMMENT ON VIEW orchestry.metrics IS 'What exporters should know of this database: policies, jobs, partitions, rollups, and what of the server endangers them. Reads catalogs and counters only. Members of pg_monitor see all of it; what is not known has no row. Ready configurations are in doc/monitoring.';
COMMENT ON COLUMN orchestry.metrics.name IS 'As Prometheus writes it; with labels, unique';
COMMENT ON COLUMN orchestry.metrics.labels IS 'An object of texts';
COMMENT ON COLUMN orchestry.metrics.type IS 'gauge';
COMMENT ON COLUMN orchestry.metrics.family IS 'Metrics with the same labels: database, job, set, rollup, wraparound, replication or sequence. WHERE family = ... computes only these';
