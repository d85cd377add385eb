-- Health: the checks, one view each, and what runs them. A check says nothing when nothing is wrong.

CREATE FUNCTION orchestry._has_rows(relation regclass) RETURNS boolean
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'orchestry_has_rows';
COMMENT ON FUNCTION orchestry._has_rows(regclass) IS 'Internal: whether a table has a row, read as its owner; for the owner and for members of pg_monitor.';

CREATE VIEW orchestry._check_wraparound WITH (security_barrier) AS
SELECT CASE WHEN w.remaining < 40000000 THEN 'critical' WHEN w.age >= w.failsafe_age THEN 'error' ELSE 'warning' END AS severity,
       w.scope || ' ' || w.name AS object,
       format('The oldest of its %s is %s old, %s %% of what the server can bear: VACUUM does not keep up with it, or something holds it back (see xmin_horizon).', w.kind, w.age, w.used_percent) AS detail,
       CASE WHEN w.scope = 'table' AND c.relkind <> 't' THEN format('VACUUM (FREEZE, VERBOSE) %s;', w.name)
            WHEN w.scope = 'table' THEN format('VACUUM (FREEZE, VERBOSE) %s;', (SELECT format('%I.%I', n.nspname, o.relname) FROM pg_class o JOIN pg_namespace n ON n.oid = o.relnamespace WHERE o.reltoastrelid = w.relation)) END AS fix_sql,
       CASE WHEN w.scope = 'table' THEN 'ShareUpdateExclusiveLock' END AS fix_lock,
       jsonb_build_object('kind', w.kind, 'age', w.age, 'freeze_max_age', w.freeze_max_age, 'remaining', w.remaining) AS evidence
FROM orchestry.wraparound w LEFT JOIN pg_class c ON c.oid = w.relation
-- somewhat over freeze_max_age is where every table gets to now and then
WHERE w.age >= LEAST(w.failsafe_age, 2 * w.freeze_max_age::bigint + 50000000) OR w.remaining < 40000000;

-- An end at infinity is no end. What begins there, or ends at -infinity, is beside all times.
CREATE VIEW orchestry._policy_set WITH (security_barrier) AS
SELECT p.parent, p.partition, p.is_default, NULLIF(p.lower_at, '-infinity') AS lower_at, NULLIF(p.upper_at, 'infinity') AS upper_at, p.lower_key, p.upper_key, p.phase, p.gap_to_fill,
       format('%I.%I', n.nspname, c.relname) AS parent_name, x.relname AS partition_name, j.job_id, j.every, j.past, j.every_keys
FROM orchestry._partitions() p JOIN pg_class c ON c.oid = p.parent JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_class x ON x.oid = p.partition
JOIN (SELECT q.*, b.target FROM orchestry.partition_policy q JOIN orchestry.job b ON b.job_id = q.job_id) j ON j.target = p.parent;
COMMENT ON VIEW orchestry._policy_set IS 'Partitions of the tables that have a partition policy, with what it says. Internal.';

-- What lies behind a gap is no runway: rows get no further than to the gap.
CREATE VIEW orchestry._runway WITH (security_barrier) AS
WITH stretch AS ( -- numbered from one gap to the next
    SELECT p.*, count(*) FILTER (WHERE p.is_behind_gap) OVER (PARTITION BY p.job_id, p.is_apart ORDER BY p.lower_at NULLS FIRST, p.upper_at, p.lower_key NULLS FIRST) AS stretch
    FROM (SELECT s.*, s.phase IN ('default', 'detaching') AS is_apart, lag(s.upper_at) OVER set < s.lower_at OR lag(s.upper_key) OVER set < s.lower_key AS is_behind_gap
          FROM orchestry._policy_set s
          WINDOW set AS (PARTITION BY s.job_id, s.phase IN ('default', 'detaching') ORDER BY s.lower_at NULLS FIRST, s.upper_at, s.lower_key NULLS FIRST)) p),
reach AS (
    SELECT s.*, s.stretch = max(s.stretch) FILTER (WHERE s.phase = 'open') OVER (PARTITION BY s.job_id, s.is_apart) AS is_reached FROM stretch s)
SELECT format('%I.%I', n.nspname, c.relname) AS parent_name, j.job_id, COALESCE(q.ahead, GREATEST(3 * q.every, interval '7 days')) AS ahead,
       COALESCE(bool_or(r.phase = 'open'), false) AS is_open, COALESCE(bool_or(r.is_reached AND r.upper_at IS NULL AND (q.every IS NOT NULL OR r.upper_key IS NULL)), false) AS is_endless,
       count(*) FILTER (WHERE r.is_reached AND r.phase = 'ahead') AS ahead_count,
       -- less than nothing: since when no partition takes rows of now
       COALESCE(max(r.upper_at) FILTER (WHERE r.is_reached), max(r.upper_at) FILTER (WHERE r.phase = 'past' AND isfinite(r.upper_at)),
                CASE WHEN q.every IS NOT NULL THEN orchestry._now() END) - orchestry._now() AS left_over,
       count(*) FILTER (WHERE NOT r.is_default) AS partitions, COALESCE(sum(GREATEST(x.reltuples, 0)), 0) AS rows,
       COALESCE(sum(x.relpages::bigint * current_setting('block_size')::bigint), 0) AS bytes,
       sum(pg_stat_get_live_tuples(x.oid)) FILTER (WHERE r.is_default) AS default_rows
FROM orchestry.jobs j JOIN orchestry.partition_policy q ON q.job_id = j.job_id JOIN pg_class c ON c.oid = j.target JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN reach r ON r.job_id = j.job_id LEFT JOIN pg_class x ON x.oid = r.partition
-- a table without partitions counts, but not one whose partitions could not be listed
WHERE j.state NOT IN ('dropped', 'restored') AND (r.job_id IS NOT NULL OR NOT EXISTS (SELECT FROM pg_inherits h WHERE h.inhparent = j.target))
GROUP BY n.nspname, c.relname, j.job_id, q.job_id;
COMMENT ON VIEW orchestry._runway IS 'Tables that have a partition policy: how far ahead of now their partitions reach without a gap, and what they hold. Internal.';

CREATE VIEW orchestry._check_runway WITH (security_barrier) AS
SELECT CASE WHEN NOT r.is_open THEN 'critical' WHEN r.ahead_count = 0 OR r.left_over < r.ahead / 4 THEN 'error' ELSE 'warning' END AS severity,
       r.parent_name AS object,
       CASE WHEN NOT r.is_open THEN 'No partition takes rows of now: they are refused, or go to the default partition.'
            WHEN r.left_over IS NULL THEN 'No partition follows the one that takes rows of now.'
            ELSE format('Partitions reach %s ahead; the policy wants %s.', justify_hours(date_trunc('minute', r.left_over)), r.ahead) END AS detail,
       format('CALL orchestry.run_job(%s);', r.job_id) AS fix_sql, 'ShareUpdateExclusiveLock' AS fix_lock,
       jsonb_build_object('runway_seconds', floor(EXTRACT(epoch FROM r.left_over)), 'partitions_ahead', r.ahead_count) AS evidence
FROM orchestry._runway r WHERE NOT r.is_endless AND (NOT r.is_open OR r.ahead_count = 0 OR r.left_over < r.ahead / 2);

CREATE VIEW orchestry._check_partition_gap WITH (security_barrier) AS
SELECT CASE WHEN g.is_ahead THEN 'error' ELSE 'warning' END AS severity, g.parent_name AS object,
       format('No partition takes rows from %s up to %s: they are refused, or go to the default partition.', g.from_at, g.to_at) AS detail,
       format('CALL orchestry.run_job(%s);', g.job_id) AS fix_sql, 'ShareUpdateExclusiveLock' AS fix_lock,
       jsonb_build_object('from', g.from_at, 'to', g.to_at) AS evidence
FROM (SELECT p.parent_name, p.job_id, COALESCE((lag(p.upper_at) OVER set)::text, (lag(p.upper_key) OVER set)::text) AS from_at, COALESCE(p.lower_at::text, p.lower_key::text) AS to_at,
             p.gap_to_fill, p.phase = 'ahead' AS is_ahead
      FROM orchestry._policy_set p WHERE NOT p.is_default AND p.phase <> 'detaching' WINDOW set AS (PARTITION BY p.parent ORDER BY p.lower_at NULLS FIRST, p.upper_at, p.lower_key NULLS FIRST)) g
WHERE g.gap_to_fill;

CREATE VIEW orchestry._check_default_rows WITH (security_barrier) AS
SELECT 'warning' AS severity, format('%s', p.partition) AS object,
       'The default partition has rows: partitions of their ranges cannot be made before they are moved.' AS detail,
       format('CALL orchestry.promote_default(%L);', p.parent_name) AS fix_sql, 'AccessExclusiveLock' AS fix_lock,
       jsonb_build_object('rows_estimate', pg_stat_get_live_tuples(p.partition)) AS evidence
FROM orchestry._policy_set p JOIN pg_class c ON c.oid = p.partition
WHERE CASE WHEN p.is_default AND c.relkind = 'r' THEN orchestry._has_rows(p.partition) END;

CREATE VIEW orchestry._check_detach_pending WITH (security_barrier) AS
SELECT 'warning' AS severity, t.name AS object,
       'A DETACH CONCURRENTLY of it was interrupted: its rows cannot be seen any more, and no other partition can be detached that way.' AS detail,
       format('ALTER TABLE %s DETACH PARTITION %s FINALIZE;', p.name, t.name) AS fix_sql, 'AccessExclusiveLock' AS fix_lock, NULL::jsonb AS evidence
FROM pg_inherits h JOIN orchestry._user_table t ON t.relid = h.inhrelid JOIN orchestry._user_table p ON p.relid = h.inhparent
WHERE h.inhdetachpending AND NOT EXISTS (SELECT FROM pg_locks l WHERE l.locktype = 'relation' AND l.relation = h.inhparent AND l.mode = 'ShareUpdateExclusiveLock' AND l.granted);

CREATE VIEW orchestry._check_retention_drift WITH (security_barrier) AS
SELECT 'warning' AS severity, d.name AS object, d.detail, format('CALL orchestry.run_job(%s);', d.job_id) AS fix_sql, 'AccessExclusiveLock' AS fix_lock,
       jsonb_build_object('late_seconds', floor(EXTRACT(epoch FROM d.late))) AS evidence
FROM (
    SELECT format('%s', p.partition) AS name, r.job_id, l.late,
           format('The policy keeps %s, and this partition ended %s before that. See SELECT * FROM orchestry.plan(%L);', r.keep, justify_hours(date_trunc('hour', l.late)), format('%s', p.parent)) AS detail
    FROM orchestry.retention_policy r JOIN orchestry.job j ON j.job_id = r.job_id JOIN orchestry._partitions() p ON p.parent = j.target
    CROSS JOIN LATERAL (SELECT CASE WHEN isfinite(p.upper_at) THEN orchestry._now() - r.keep - p.upper_at END AS late) l
    WHERE r.keep IS NOT NULL AND r.time_column IS NULL AND r.predicate IS NULL AND r.keep_last IS NULL AND (r.archive_to IS NULL OR r.archive_to LIKE 'file:%')
      AND NOT p.is_default AND p.phase = 'past'
      AND NOT EXISTS (SELECT FROM orchestry._hold h WHERE h.released_at IS NULL AND h.held IN (p.partition, p.parent)
                      AND COALESCE(h.from_at, '-infinity') < p.upper_at AND COALESCE(h.to_at, 'infinity') > COALESCE(p.lower_at, '-infinity'))
      AND EXISTS (SELECT FROM orchestry._partitions() n WHERE n.parent = p.parent AND n.lower_at >= p.upper_at)
    UNION ALL
    SELECT format('%s', q.partition), q.job_id, orchestry._now() - q.drop_after,
           format('It was to be dropped %s ago. See SELECT * FROM orchestry.plan(%L);', justify_hours(date_trunc('hour', orchestry._now() - q.drop_after)), format('%s', q.parent))
    FROM orchestry.quarantine q WHERE NOT EXISTS (SELECT FROM orchestry._hold h WHERE h.released_at IS NULL AND h.held IN (q.partition, q.parent))) d
-- a day for the schedule, and another one for a failure
WHERE d.late > interval '2 days';

CREATE VIEW orchestry._check_job_failed WITH (security_barrier) AS
SELECT CASE WHEN j.failures >= 3 THEN 'error' ELSE 'warning' END AS severity, format('job %s (%s)', j.job_id, j.target_name) AS object,
       format('Its last %s ended as %s%s.', CASE WHEN j.failures = 1 THEN 'run' ELSE j.failures || ' runs' END, COALESCE(j.last_state, 'failed'), COALESCE(': ' || r.message, '')) AS detail,
       format('SELECT * FROM orchestry.runs WHERE job_id = %s ORDER BY run_id DESC LIMIT 5;', j.job_id) AS fix_sql, NULL AS fix_lock,
       jsonb_build_object('failures', j.failures, 'kind', j.kind, 'sqlstate', r.sqlstate, 'last_ok_at', j.last_ok_at) AS evidence
FROM orchestry.jobs j LEFT JOIN orchestry.runs r ON r.run_id = j.last_run_id WHERE j.failures > 0 AND j.state NOT IN ('dropped', 'restored');

CREATE VIEW orchestry._late_job WITH (security_barrier) AS
SELECT j.job_id, j.target_name, j.kind, j.state, orchestry._now() - d.due AS late FROM orchestry.jobs j
LEFT JOIN orchestry._lost_look l ON l.job_id = j.job_id CROSS JOIN LATERAL (SELECT GREATEST(j.next_run_at, l.lost_until) AS due) d
WHERE j.state IN ('due', 'scheduled', 'queued', 'waiting') AND d.due < orchestry._now() - interval '10 minutes' AND NOT pg_is_in_recovery();
COMMENT ON VIEW orchestry._late_job IS 'Jobs that should have run ten minutes ago. Internal.';

CREATE VIEW orchestry._check_job_late WITH (security_barrier) AS
SELECT 'warning' AS severity, format('job %s (%s)', l.job_id, l.target_name) AS object,
       format('It should have run %s ago%s.', justify_hours(date_trunc('minute', l.late)), CASE WHEN l.state IN ('queued', 'waiting') THEN ', and waits for a background worker' ELSE '' END) AS detail,
       format('CALL orchestry.run_job(%s);', l.job_id) AS fix_sql, NULL AS fix_lock, jsonb_build_object('late_seconds', floor(EXTRACT(epoch FROM l.late)), 'kind', l.kind) AS evidence
FROM orchestry._late_job l;

CREATE VIEW orchestry._check_scheduler WITH (security_barrier) AS
SELECT 'error' AS severity, 'scheduler' AS object,
       CASE WHEN NOT e.is_enabled THEN 'orchestry.enabled is off: no job runs.' ELSE 'Jobs are late and no scheduler runs in this database.' END AS detail,
       CASE WHEN NOT e.is_enabled THEN 'ALTER SYSTEM SET orchestry.enabled = on; SELECT pg_reload_conf();' ELSE 'SELECT orchestry.start_scheduler();' END AS fix_sql,
       NULL AS fix_lock, jsonb_build_object('late_jobs', l.jobs) AS evidence
FROM (SELECT count(*) AS jobs FROM orchestry._late_job) l CROSS JOIN (SELECT current_setting('orchestry.enabled')::boolean AS is_enabled) e
WHERE l.jobs > 0 AND (NOT e.is_enabled OR orchestry.scheduler_pid() IS NULL);

CREATE VIEW orchestry._check_restored_job WITH (security_barrier) AS
SELECT 'warning' AS severity, format('job %s (%s)', j.job_id, j.target_name) AS object,
       'It came with a restored or copied database and waits until somebody says that it may run here.' AS detail,
       format('SELECT orchestry.resume_job(%s);', j.job_id) AS fix_sql, NULL AS fix_lock, NULL::jsonb AS evidence
FROM orchestry.jobs j WHERE j.state = 'restored';

CREATE VIEW orchestry._check_rollup_lag WITH (security_barrier) AS
SELECT 'warning' AS severity, COALESCE(r.rollup::text, 'rollup of ' || r.source) AS object,
       format('Times that were over an hour ago are computed from the source by every reader, and the job %s.', COALESCE('last went well at ' || j.last_ok_at, 'has never gone well')) AS detail,
       format('CALL orchestry.run_job(%s);', r.job_id) AS fix_sql, NULL AS fix_lock, jsonb_build_object('last_ok_at', j.last_ok_at) AS evidence
FROM orchestry.rollups r JOIN orchestry.jobs j ON j.job_id = r.job_id
WHERE r.dirty && tstzmultirange(tstzrange(NULL, orchestry._now() - GREATEST(interval '1 hour', 2 * r.bucket)))
  AND COALESCE(j.last_ok_at, '-infinity') < orchestry._now() - interval '1 hour' AND j.next_run_at < orchestry._now() - interval '1 hour'
  AND NOT pg_is_in_recovery();

CREATE VIEW orchestry._check_matview_stale WITH (security_barrier) AS
SELECT CASE WHEN s.age > 2 * m.max_staleness THEN 'error' ELSE 'warning' END AS severity, s.name AS object,
       format(CASE WHEN m.as_of IS NULL THEN 'Its job was to refresh it %s ago and never has; its rows are to be no older than %s%s.' ELSE 'Its rows are those of %s ago, and are to be no older than %s%s.' END,
              justify_hours(date_trunc('minute', s.age)), m.max_staleness, CASE WHEN m.breach_predicted THEN ', of which a refresh takes more than half' END) AS detail,
       format('CALL orchestry.refresh(%L);', s.name) AS fix_sql, 'AccessExclusiveLock' AS fix_lock,
       jsonb_build_object('age_seconds', floor(EXTRACT(epoch FROM s.age)), 'max_staleness_seconds', floor(EXTRACT(epoch FROM m.max_staleness)), 'last_state', m.last_state) AS evidence
FROM orchestry.matviews m JOIN orchestry.job j ON j.job_id = m.job_id JOIN pg_class c ON c.oid = m.matview JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (SELECT format('%I.%I', n.nspname, c.relname) AS name, orchestry._now() - COALESCE(m.as_of, j.anchor) AS age) s
-- a minute for the scheduler, and some when the server has just been started; and who has paused a job knows it
WHERE s.age > m.max_staleness + interval '1 minute' AND NOT j.paused AND NOT pg_is_in_recovery()
  AND NOT EXISTS (SELECT FROM orchestry._lost_look l WHERE l.job_id = m.job_id AND l.lost_until > orchestry._now() - interval '5 minutes');

CREATE VIEW orchestry._check_sequence WITH (security_barrier) AS
SELECT CASE WHEN s.state = 'unknown' THEN 'unknown' WHEN s.used_percent >= 95 THEN 'critical' WHEN s.used_percent >= 90 THEN 'error' ELSE 'warning' END AS severity,
       s.sequence::text AS object,
       CASE WHEN s.state = 'unknown' THEN 'The current role may not read the sequence.'
            WHEN n.is_narrow THEN format('%s %% are used: %s more values fit into the column %I of %s, which is %s%s.', s.used_percent, s.remaining, s.column_name, s.relation, s.column_type,
                 CASE WHEN o.is_key THEN ' and stays so, since the table is partitioned by it: a table with a wider one has to be made and filled'
                      WHEN o.users IS NOT NULL THEN ' and stays so as long as something uses it: ' || o.users END)
            ELSE format('%s %% are used, %s values are left.', s.used_percent, s.remaining) END AS detail,
       CASE WHEN s.state = 'unknown' THEN format('GRANT pg_monitor TO %I;', current_user)
            WHEN n.is_narrow AND (o.is_key OR o.users IS NOT NULL) THEN NULL
            WHEN n.is_narrow THEN format('ALTER TABLE %s ALTER COLUMN %I TYPE bigint;', s.relation, s.column_name) || CASE WHEN q.is_short THEN ' ' || q.fix_sql ELSE '' END
            WHEN q.is_short THEN q.fix_sql END AS fix_sql,
       CASE WHEN n.is_narrow AND (o.is_key OR o.users IS NOT NULL) THEN NULL WHEN n.is_narrow THEN 'AccessExclusiveLock, while the table is written anew' WHEN q.is_short THEN 'ShareRowExclusiveLock' END AS fix_lock,
       jsonb_build_object('last_value', s.last_value, 'last_possible', s.last_possible, 'used_percent', s.used_percent, 'remaining', s.remaining) AS evidence
FROM orchestry.sequence_usage s
CROSS JOIN LATERAL (SELECT COALESCE(abs(s.last_possible) >= CASE s.column_type WHEN 'int2'::regtype THEN 32767 WHEN 'int4'::regtype THEN 2147483647 END, false) AS is_narrow) n
-- where it ends by its own bounds, if these are those of a type and not somebody's choice
CROSS JOIN LATERAL (SELECT CASE WHEN x.seqincrement > 0 THEN x.seqmax IN (32767, 2147483647) ELSE x.seqmin IN (-32768, -2147483648, -32767, -2147483647) END AS is_short,
                           -- with another type those of its own type change as well
                           format('ALTER SEQUENCE %s;', concat_ws(' ', s.sequence::text, CASE WHEN x.seqtypid <> 'int8'::regtype THEN 'AS bigint' END,
                                  CASE WHEN CASE WHEN x.seqincrement > 0 THEN x.seqmax ELSE -1 - x.seqmin END = CASE x.seqtypid WHEN 'int4'::regtype THEN 2147483647 WHEN 'int2'::regtype THEN 32767 END THEN NULL
                                       WHEN x.seqincrement > 0 THEN 'NO MAXVALUE' ELSE 'NO MINVALUE' END)) AS fix_sql
                    FROM pg_sequence x WHERE x.seqrelid = s.sequence) q
-- ALTER TABLE refuses another type for a column of the partition key, and for one that something else is made of
CROSS JOIN LATERAL (SELECT COALESCE(bool_or(EXISTS (SELECT FROM pg_depend k WHERE k.classid = 'pg_class'::regclass AND k.objid = a.attrelid AND k.objsubid = a.attnum
                                                    AND k.refclassid = 'pg_class'::regclass AND k.refobjid = a.attrelid AND k.refobjsubid = 0 AND k.deptype = 'i')), false) AS is_key,
                           string_agg(DISTINCT pg_describe_object(d.classid, d.objid, d.objsubid), ', ') AS users
                    FROM pg_attribute a LEFT JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum
                         AND (d.classid IN ('pg_rewrite'::regclass, 'pg_trigger'::regclass, 'pg_policy'::regclass, 'pg_proc'::regclass, 'pg_publication_rel'::regclass)
                              OR (d.classid = 'pg_attrdef'::regclass AND EXISTS (SELECT FROM pg_attrdef f WHERE f.oid = d.objid AND f.adnum <> a.attnum)))
                    WHERE n.is_narrow AND a.attrelid = s.relation AND a.attname = s.column_name) o
WHERE s.used_percent >= 75 OR s.state = 'unknown';

CREATE VIEW orchestry._check_replication_slot WITH (security_barrier) AS
SELECT CASE WHEN r.state IN ('lost', 'unreserved') THEN 'error' ELSE 'warning' END AS severity, r.name AS object,
       CASE WHEN r.state = 'lost' THEN 'The slot is lost: whoever used it has to start anew.'
            ELSE format('The slot is %s and keeps %s of WAL.', CASE WHEN r.is_active THEN 'in use' ELSE 'not in use' END, pg_size_pretty(r.retained_bytes)) END AS detail,
       CASE WHEN NOT r.is_active THEN format('SELECT pg_drop_replication_slot(%L);', r.name) END AS fix_sql, NULL AS fix_lock,
       jsonb_build_object('wal_status', r.state, 'active', r.is_active, 'retained_bytes', r.retained_bytes, 'safe_wal_bytes', r.safe_wal_bytes, 'inactive_since', r.inactive_since) AS evidence
FROM orchestry.replication r
WHERE r.kind = 'slot' AND (r.state IN ('lost', 'unreserved') OR r.retained_bytes >= CASE WHEN r.is_active THEN 10737418240 ELSE 1073741824 END);

CREATE VIEW orchestry._check_replication_lag WITH (security_barrier) AS
SELECT CASE WHEN r.state = 'unknown' THEN 'unknown' WHEN r.lag_bytes >= 10737418240 THEN 'error' ELSE 'warning' END AS severity, r.name AS object,
       CASE WHEN r.state = 'unknown' THEN 'The current role may not see how far the standby is.' WHEN r.state = 'paused' THEN 'Replay is paused.'
            ELSE format('%s of WAL are not replayed yet.', pg_size_pretty(r.lag_bytes)) END AS detail,
       CASE WHEN r.state = 'unknown' THEN format('GRANT pg_monitor TO %I;', current_user) WHEN r.state = 'paused' THEN 'SELECT pg_wal_replay_resume();' END AS fix_sql, NULL AS fix_lock,
       jsonb_build_object('kind', r.kind, 'state', r.state, 'lag_bytes', r.lag_bytes, 'lag', r.lag) AS evidence
FROM orchestry.replication r WHERE r.kind <> 'slot' AND (r.lag_bytes >= 1073741824 OR r.state IN ('unknown', 'paused'));

CREATE VIEW orchestry._check_xmin_horizon WITH (security_barrier) AS
SELECT CASE WHEN h.age >= 100000000 THEN 'error' ELSE 'warning' END AS severity, h.holder AS object,
       format('VACUUM keeps the dead rows of %s transactions for it%s.', h.age, COALESCE(', since ' || h.since, '')) AS detail, h.fix_sql, NULL AS fix_lock,
       jsonb_build_object('xmin_age', h.age, 'since', h.since) AS evidence
FROM (
    SELECT format('process %s (%s%s)', a.pid, a.usename, COALESCE(', ' || a.state, '')) AS holder, GREATEST(age(a.backend_xmin), age(a.backend_xid)) AS age, a.xact_start AS since,
           format('SELECT pg_terminate_backend(%s);', a.pid) AS fix_sql
    FROM pg_stat_activity a WHERE a.backend_type = 'client backend'
    UNION ALL SELECT format('prepared transaction %s', p.gid), age(p.transaction), p.prepared, format('ROLLBACK PREPARED %L;', p.gid) FROM pg_prepared_xacts p
    UNION ALL SELECT format('replication slot %s', s.slot_name), GREATEST(age(s.xmin), age(s.catalog_xmin)), NULL, CASE WHEN NOT s.active THEN format('SELECT pg_drop_replication_slot(%L);', s.slot_name) END FROM pg_replication_slots s
    UNION ALL SELECT format('standby %s', r.application_name), age(r.backend_xmin), NULL, NULL FROM pg_stat_replication r) h
WHERE h.age >= 10000000 OR (h.since < orchestry._now() - interval '1 hour' AND h.age >= 1000000) OR (h.holder LIKE 'prepared%' AND h.since < orchestry._now() - interval '1 hour');

CREATE VIEW orchestry._check_lock_wait WITH (security_barrier) AS
SELECT 'warning' AS severity, format('process %s', w.pid) AS object,
       format('It has waited for %s for %s. In the way: %s.', w.what, date_trunc('second', orchestry._now() - w.waitstart), w.blockers) AS detail,
       w.fix_sql, NULL AS fix_lock, jsonb_build_object('wait_seconds', floor(EXTRACT(epoch FROM orchestry._now() - w.waitstart)), 'blocking_pids', w.pids) AS evidence
FROM (SELECT l.pid, l.waitstart,
             -- the names of another database are not known here, and its numbers mean something else
             l.mode || CASE WHEN l.relation IS NULL THEN ' of a ' || l.locktype WHEN l.database IN (0, d.oid) THEN format(' on %s', l.relation::regclass) ELSE format(' on a relation of database %I', (SELECT o.datname FROM pg_database o WHERE o.oid = l.database)) END AS what, to_jsonb(pg_blocking_pids(l.pid)) AS pids,
             (SELECT string_agg(format('process %s (%s, %s)', b.pid, COALESCE(a.usename, '?'), COALESCE(a.state, 'not visible')), ', ' ORDER BY b.pid) FROM unnest(pg_blocking_pids(l.pid)) b (pid) LEFT JOIN pg_stat_activity a ON a.pid = b.pid) AS blockers,
             -- whoever waits as well is not the one to end
             (SELECT string_agg(format(CASE WHEN a.state LIKE 'idle in transaction%' THEN 'SELECT pg_terminate_backend(%s);' ELSE 'SELECT pg_cancel_backend(%s);' END, b.pid), ' ' ORDER BY b.pid)
              FROM unnest(pg_blocking_pids(l.pid)) b (pid) LEFT JOIN pg_stat_activity a ON a.pid = b.pid WHERE b.pid <> 0 AND cardinality(pg_blocking_pids(b.pid)) = 0) AS fix_sql
      FROM pg_locks l CROSS JOIN (SELECT oid FROM pg_database WHERE datname = current_database()) d WHERE NOT l.granted AND l.waitstart < orchestry._now() - interval '1 minute') w;

CREATE VIEW orchestry._check_connections WITH (security_barrier) AS
SELECT CASE WHEN c.used_percent >= 95 THEN 'error' ELSE 'warning' END AS severity, 'max_connections' AS object,
       format('%s of %s connections for ordinary roles are used, %s of them idle.', c.used, c.available, c.idle) AS detail, NULL AS fix_sql, NULL AS fix_lock,
       jsonb_build_object('used', c.used, 'available', c.available, 'idle', c.idle, 'idle_in_transaction', c.idle_in_transaction) AS evidence
FROM orchestry.connections c WHERE c.used_percent >= 85;

CREATE VIEW orchestry._check_invalid_index WITH (security_barrier) AS
SELECT CASE WHEN i.state IN ('failed', 'leftover') THEN 'warning' WHEN i.state = 'unknown' THEN 'unknown' ELSE 'info' END AS severity, i.index::text AS object,
       CASE i.state WHEN 'failed' THEN 'Its build did not come to its end: queries do not use it, writes keep it up.'
                         || CASE WHEN i.fix_sql LIKE 'DROP %' THEN ' Rows that it does not allow twice may be the reason: look for them before it is built again.' ELSE '' END
                    WHEN 'leftover' THEN 'REINDEX CONCURRENTLY was interrupted and left it behind.'
                    WHEN 'unknown' THEN 'It is not valid; whether it is being built the current role may not see.'
                    ELSE format('It is not valid before each partition has such an index attached: %s missing.', cardinality(i.missing_in)) END AS detail,
       COALESCE(i.fix_sql, CASE WHEN i.state = 'unknown' THEN format('GRANT pg_monitor TO %I;', current_user) END) AS fix_sql,
       CASE WHEN i.fix_sql IS NOT NULL THEN 'ShareUpdateExclusiveLock' END AS fix_lock, jsonb_build_object('state', i.state, 'bytes', i.bytes) AS evidence
FROM orchestry.invalid_indexes i WHERE i.state <> 'building' AND COALESCE(cardinality(i.missing_in), 1) > 0;

CREATE VIEW orchestry._check_missing_fk_index WITH (security_barrier) AS
SELECT CASE WHEN f.referenced_changes > 0 AND f.rows_estimate >= 10000 THEN 'warning' ELSE 'info' END AS severity, format('%s.%s', f.relation, quote_ident(f.constraint_name)) AS object,
       format('A DELETE of a row of %s, or an UPDATE of its key, reads all of %s.', f.referenced, f.relation) AS detail, f.fix_sql,
       CASE WHEN f.fix_sql LIKE '%CONCURRENTLY%' THEN 'ShareUpdateExclusiveLock' ELSE 'ShareLock' END AS fix_lock,
       jsonb_build_object('columns', f.columns, 'rows_estimate', f.rows_estimate, 'referenced_changes', f.referenced_changes) AS evidence
FROM orchestry.missing_fk_indexes f;

CREATE VIEW orchestry._check_duplicate_index WITH (security_barrier) AS
SELECT CASE WHEN d.bytes >= 10485760 AND d.kind = 'duplicate' THEN 'warning' ELSE 'info' END AS severity, d.index::text AS object,
       format('%s does all that it does.', d.made_needless_by) AS detail, d.fix_sql,
       CASE WHEN d.fix_sql LIKE '%CONCURRENTLY%' THEN 'ShareUpdateExclusiveLock' ELSE 'AccessExclusiveLock' END AS fix_lock,
       jsonb_build_object('kind', d.kind, 'bytes', d.bytes) AS evidence
FROM orchestry.duplicate_indexes d;

CREATE VIEW orchestry._check_unused_index WITH (security_barrier) AS
SELECT 'info' AS severity, u.index::text AS object,
       format('No query has used it since %s%s. It costs every write.', u.observed_since::date, CASE WHEN u.has_standby THEN ' on this server; standbys count for themselves' ELSE '' END) AS detail, u.fix_sql,
       CASE WHEN u.fix_sql LIKE '%CONCURRENTLY%' THEN 'ShareUpdateExclusiveLock' ELSE 'AccessExclusiveLock' END AS fix_lock,
       jsonb_build_object('bytes', u.bytes, 'observed_since', u.observed_since, 'has_standby', u.has_standby) AS evidence
FROM orchestry.unused_indexes u WHERE u.observed_since < orchestry._now() - interval '30 days' AND u.bytes >= 10485760 AND NOT u.supports_foreign_key;

CREATE VIEW orchestry._check_vacuum_backlog WITH (security_barrier) AS
SELECT 'warning' AS severity, v.name AS object,
       format('%s dead rows, and VACUUM is due from %s on%s.', v.dead, v.threshold, CASE WHEN NOT v.is_on THEN '; autovacuum is off for it' ELSE '' END) AS detail,
       format('VACUUM (ANALYZE) %s;', v.name) AS fix_sql, 'ShareUpdateExclusiveLock' AS fix_lock, jsonb_build_object('dead_rows', v.dead, 'threshold', v.threshold, 'autovacuum', v.is_on) AS evidence
FROM (SELECT t.name, pg_stat_get_dead_tuples(t.relid) AS dead, current_setting('autovacuum')::boolean AND COALESCE(o.enabled, true) AS is_on,
             ceil(LEAST(NULLIF(COALESCE(orchestry._option(t.reloptions, 'autovacuum_vacuum_max_threshold'), current_setting('autovacuum_vacuum_max_threshold', true)::float8, -1), -1), -- from 18 on
                        COALESCE(orchestry._option(t.reloptions, 'autovacuum_vacuum_threshold'), current_setting('autovacuum_vacuum_threshold')::float8)
                        + COALESCE(orchestry._option(t.reloptions, 'autovacuum_vacuum_scale_factor'), current_setting('autovacuum_vacuum_scale_factor')::float8) * GREATEST(t.reltuples, 0)))::bigint AS threshold
      FROM orchestry._user_table t CROSS JOIN LATERAL (
          SELECT max(p.option_value) FILTER (WHERE p.option_name = 'autovacuum_enabled')::boolean AS enabled FROM pg_options_to_table(t.reloptions) p) o WHERE t.relkind <> 'p') v
WHERE v.dead >= 10000 AND v.dead > 3 * v.threshold;

CREATE VIEW orchestry._check_parent_statistics WITH (security_barrier) AS
SELECT CASE WHEN s.state = 'parent stale' THEN 'info' ELSE 'warning' END AS severity, s.relation::text AS object,
       CASE WHEN s.state = 'parent stale' THEN 'Its partitions have become a fifth more or less since the whole was analyzed, which autovacuum does not do.'
            ELSE 'The whole was never analyzed, which autovacuum does not do: the planner guesses for every query of more than one partition.' END AS detail,
       s.fix_sql, 'ShareUpdateExclusiveLock' AS fix_lock, jsonb_build_object('rows_estimate', s.rows_estimate, 'analyzed_at', s.analyzed_at) AS evidence
FROM orchestry.stale_statistics s WHERE s.state LIKE 'parent%' AND s.rows_estimate >= 1000;

CREATE VIEW orchestry._check_stale_statistics WITH (security_barrier) AS
SELECT 'warning' AS severity, s.relation::text AS object,
       format('%s; %s rows have changed, and ANALYZE is due from %s on.', CASE WHEN s.state = 'stale' THEN 'Its statistics are old' ELSE 'It was never analyzed' END, s.changed_rows, s.threshold) AS detail,
       s.fix_sql, 'ShareUpdateExclusiveLock' AS fix_lock, jsonb_build_object('rows_estimate', s.rows_estimate, 'changed_rows', s.changed_rows, 'threshold', s.threshold, 'analyzed_at', s.analyzed_at) AS evidence
FROM orchestry.stale_statistics s WHERE s.state NOT LIKE 'parent%' AND s.changed_rows >= 10000 AND s.changed_rows > 5 * s.threshold
-- autovacuum has had its time; and what a session has changed just before its own ANALYZE is counted after it
  AND (s.analyzed_at IS NULL OR s.analyzed_at < orchestry._now() - interval '1 day');

CREATE VIEW orchestry._check_table_bloat WITH (security_barrier) AS
SELECT 'warning' AS severity, b.relation::text AS object,
       format('About %s of its %s, %s %%, have no rows in them. VACUUM makes room for new rows; only a rewrite gives it back.', pg_size_pretty(b.wasted_bytes), pg_size_pretty(b.bytes), b.wasted_percent) AS detail,
       format('VACUUM (FULL, ANALYZE) %s;', t.name) AS fix_sql, 'AccessExclusiveLock' AS fix_lock, jsonb_build_object('bytes', b.bytes, 'wasted_bytes', b.wasted_bytes, 'state', b.state) AS evidence
FROM orchestry.table_bloat b JOIN orchestry._user_table t ON t.relid = b.relation
WHERE b.state = 'estimate' AND b.wasted_percent >= 50 AND b.wasted_bytes >= 33554432;

CREATE VIEW orchestry._check_replica_identity WITH (security_barrier) AS
SELECT 'error' AS severity, t.name AS object, format('%s publishes its updates or deletes, and nothing identifies its rows: such statements fail.', string_agg(quote_ident(p.pubname), ', ' ORDER BY p.pubname)) AS detail,
       format('ALTER TABLE %s REPLICA IDENTITY FULL;', t.name) AS fix_sql, 'AccessExclusiveLock' AS fix_lock, NULL::jsonb AS evidence
-- what counts is the partition that has the row, even where the whole is what is published
FROM (WITH RECURSIVE published AS (
          SELECT p.pubname, m.relid::oid AS relid FROM pg_publication p CROSS JOIN LATERAL pg_get_publication_tables(p.pubname) m WHERE p.pubupdate OR p.pubdelete
          UNION SELECT b.pubname, h.inhrelid FROM published b JOIN pg_class c ON c.oid = b.relid AND c.relkind = 'p' JOIN pg_inherits h ON h.inhparent = b.relid)
      SELECT * FROM published) p
JOIN orchestry._user_table t ON t.relid = p.relid
WHERE t.relkind = 'r' AND t.relreplident <> 'f'
  AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = t.relid AND i.indisvalid AND i.indimmediate AND CASE t.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident END)
GROUP BY t.name;

CREATE VIEW orchestry._check_unvalidated_constraint WITH (security_barrier) AS
SELECT 'info' AS severity, format('%s.%s', t.name, quote_ident(k.conname)) AS object, 'Rows that were there before it are not checked, so the planner cannot rely on it.' AS detail,
       format('ALTER TABLE %s VALIDATE CONSTRAINT %I;', t.name, k.conname) AS fix_sql, 'ShareUpdateExclusiveLock' AS fix_lock, NULL::jsonb AS evidence
FROM pg_constraint k JOIN orchestry._user_table t ON t.relid = k.conrelid
WHERE NOT k.convalidated AND k.conparentid = 0 AND COALESCE((to_jsonb(k) ->> 'conenforced')::boolean, true);

CREATE VIEW orchestry._check_held_data WITH (security_barrier) AS
SELECT 'info' AS severity, format('hold %s', h.hold_id) AS object,
       format('It keeps rows of %s that job %s would remove: %s.', h.relation, r.job_id, h.reason) AS detail,
       format('SELECT orchestry.release_hold(%s, %L);', h.hold_id, 'why') AS fix_sql, NULL AS fix_lock, jsonb_build_object('created_at', h.created_at) AS evidence
FROM orchestry.holds h JOIN orchestry.jobs j ON j.kind = 'retention' AND (j.target = h.relation OR j.target IN (SELECT i.inhparent FROM pg_inherits i WHERE i.inhrelid = h.relation))
JOIN orchestry.retention_policy r ON r.job_id = j.job_id
WHERE h.released_at IS NULL AND COALESCE(h."from", '-infinity') < orchestry._now() - r.keep;

CREATE VIEW orchestry._check_visibility WITH (security_barrier) AS
SELECT 'unknown' AS severity, current_user::text AS object, 'This role does not see the sessions, jobs and tables of others, so nothing is said about them.' AS detail,
       format('GRANT pg_monitor TO %I;', current_user) AS fix_sql, NULL AS fix_lock, NULL::jsonb AS evidence
WHERE NOT pg_has_role('pg_monitor', 'USAGE');

DO $$
DECLARE
    c name;
BEGIN
    FOR c IN SELECT relname FROM pg_class WHERE relnamespace = 'orchestry'::regnamespace AND relname LIKE '\_check\_%' LOOP
        EXECUTE format('COMMENT ON VIEW orchestry.%I IS %L', c, 'The check ' || substr(c, 8) || ' of orchestry.health(). Internal.');
    END LOOP;
END $$;

CREATE FUNCTION orchestry.health(max_time interval DEFAULT '2 s')
RETURNS TABLE (severity text, code text, object text, detail text, fix_sql text, fix_lock text, evidence jsonb)
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'orchestry_health';
COMMENT ON FUNCTION orchestry.health(interval) IS
'What is wrong in this database and on this server, the worst kinds first, and the SQL that mends it with the strongest lock that it takes; no row is what to expect. severity is info (nothing hurts), warning, error, critical (writes fail, or will soon) or unknown (it could not be found out); code is the check, the same for good; evidence holds the figures. Nothing is executed. Each check has max_time (22023 below a millisecond and from a day on) and waits for locks for orchestry.lock_timeout at most; one that fails is a row unknown. Members of pg_monitor see what concerns everybody, others what concerns them.';

CREATE FUNCTION orchestry.verify(target regclass) RETURNS TABLE (job_id bigint, what text, ok boolean, detail text)
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'orchestry_verify';
COMMENT ON FUNCTION orchestry.verify(regclass) IS
'Whether what the policies of a table promise holds now. Of a partitioned table: it is partitioned, every partition has its indexes, rows of now have a partition, and a query for one partition reads no other. Of each policy: its job goes well, and what it is for is the case: partitions reach far enough, nothing past its time is left, compressed events and stored buckets are right, which are computed again for that, and a materialized view is no older than it may be. ok is NULL where it does not apply, or is not known because somebody has locked what was to be looked at for longer than orchestry.lock_timeout. Writes nothing: no row is inserted. 55000 when the table has no policy, 55P03 when it is itself locked for so long. The caller must own the table (42501).';
