-- Materialized views: as fresh as promised, never refreshed for nothing.

CREATE TABLE orchestry.refresh_policy (
    job_id           bigint PRIMARY KEY REFERENCES orchestry.job ON DELETE CASCADE,
    max_staleness    interval NOT NULL,
    mode             text NOT NULL,
    change_detection text NOT NULL,
    max_unverified   interval NOT NULL,
    assume_pure      boolean NOT NULL
);
COMMENT ON TABLE orchestry.refresh_policy IS 'Refresh policies, as the user said it. The zone and max_runtime are those of the job, and the view its target.';
COMMENT ON COLUMN orchestry.refresh_policy.max_staleness IS 'How old the rows may be at most: the promise';
COMMENT ON COLUMN orchestry.refresh_policy.mode IS 'auto, plain or concurrently';
COMMENT ON COLUMN orchestry.refresh_policy.change_detection IS 'triggers (proof), stats (hint) or none';
COMMENT ON COLUMN orchestry.refresh_policy.max_unverified IS 'With stats: after so long it is refreshed whatever the counters say';
COMMENT ON COLUMN orchestry.refresh_policy.assume_pure IS 'The user says that nothing changes the result but changes that can be seen';
SELECT pg_extension_config_dump('orchestry.refresh_policy', '');
-- pg_restore -j loads dumped tables in any order, so a policy may come before its job.
ALTER TABLE orchestry.refresh_policy DISABLE TRIGGER ALL;

CREATE TABLE orchestry.refresh_state (
    job_id       bigint PRIMARY KEY REFERENCES orchestry.job ON DELETE CASCADE,
    as_of        timestamptz NOT NULL,
    refreshed_at timestamptz NOT NULL,
    durations    interval[] NOT NULL,
    definition   bigint NOT NULL,
    counters     bigint,
    parents      oid[] NOT NULL,
    temp_bytes   bigint NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE orchestry.refresh_state IS 'What is known of each materialized view at run time. Not dumped: a restored view is refreshed by its first run.';
COMMENT ON COLUMN orchestry.refresh_state.as_of IS 'Its rows are what its query said then: it was refreshed, or nothing that it reads had changed';
COMMENT ON COLUMN orchestry.refresh_state.durations IS 'Of the last 20 refreshes, the latest first';
COMMENT ON COLUMN orchestry.refresh_state.definition IS 'Fingerprint of the query, of the views and functions in it, and of the columns of what it reads';
COMMENT ON COLUMN orchestry.refresh_state.counters IS 'With stats: fingerprint of how often its tables had changed';
COMMENT ON COLUMN orchestry.refresh_state.parents IS 'The materialized views that it reads';
COMMENT ON COLUMN orchestry.refresh_state.temp_bytes IS 'Written to temporary tables and files by the last refresh';

CREATE TABLE orchestry.refresh_source (
    job_id bigint NOT NULL REFERENCES orchestry.job ON DELETE CASCADE,
    relid  oid NOT NULL,
    PRIMARY KEY (job_id, relid)
);
COMMENT ON TABLE orchestry.refresh_source IS 'The tables on which jobs of materialized views have put triggers: of no others they are told anything. Not dumped: after a restore the next run puts new ones.';

CREATE TABLE orchestry.refresh_breach (
    job_id  bigint NOT NULL REFERENCES orchestry.job ON DELETE CASCADE,
    from_at timestamptz NOT NULL,
    to_at   timestamptz NOT NULL
);
COMMENT ON TABLE orchestry.refresh_breach IS 'When materialized views were older than they may be. Not dumped, and kept for a day.';
CREATE INDEX refresh_breach_job_idx ON orchestry.refresh_breach (job_id);

-- A trigger that names a job says nothing: anybody can make one, and a dump of single tables brings those of jobs elsewhere.
CREATE VIEW orchestry._job_sources AS
SELECT s.job_id, s.relid FROM orchestry.refresh_source s
UNION ALL
SELECT j.job_id, CASE WHEN o.here THEN j.target ELSE (SELECT c.oid FROM pg_namespace n JOIN pg_class c ON c.relnamespace = n.oid
           WHERE n.nspname = j.target_schema AND c.relname = j.target_name) END
FROM orchestry.rollup r JOIN orchestry.job j ON j.job_id = r.job_id
CROSS JOIN LATERAL (SELECT j.origin_system = orchestry._system_identifier()
     AND j.origin_database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
     AND EXISTS (SELECT FROM orchestry.job_state s WHERE s.job_id = j.job_id) AS here) o
WHERE r.parent IS NULL
UNION ALL
SELECT r.job_id, c.oid
FROM orchestry.rollup r JOIN orchestry.rollup p ON p.job_id = r.parent
JOIN pg_namespace n ON n.nspname = p.rollup_schema JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = (p.rollup_name || '_buckets')::name
UNION ALL
-- A table that is renamed before resume_all() is still the one that the view reads, if nobody has put another view in its place.
SELECT r.job_id, d.refobjid
FROM orchestry.rollup r JOIN pg_namespace n ON n.nspname = r.rollup_schema
JOIN pg_class v ON v.relnamespace = n.oid AND v.relname = r.rollup_name
JOIN pg_class b ON b.relnamespace = n.oid AND b.relname = (r.rollup_name || '_buckets')::name AND b.relowner = v.relowner
JOIN pg_rewrite w ON w.ev_class = v.oid
JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid AND d.refclassid = 'pg_class'::regclass;
COMMENT ON VIEW orchestry._job_sources IS 'The tables of whose changes jobs are told. Rollups that were restored know their table by its name until resume_all(), and by their view. Internal.';

CREATE VIEW orchestry._watches AS
SELECT DISTINCT s.job_id, s.relid
FROM orchestry._job_sources s JOIN pg_trigger t ON t.tgrelid = s.relid AND t.tgparentid = 0 AND t.tgfoid = 'orchestry._capture'::regproc
     AND split_part(encode(t.tgargs, 'escape'), E'\\000', 1) = s.job_id::text;
COMMENT ON VIEW orchestry._watches IS 'Which of these tables have a trigger of the job, that is not of a table they are a partition of. Internal.';

CREATE VIEW orchestry._refresh_settings AS
SELECT p.job_id, jsonb_strip_nulls(jsonb_build_object(
           'max_staleness', p.max_staleness, 'mode', p.mode, 'change_detection', p.change_detection,
           'max_unverified', CASE WHEN p.change_detection = 'stats' THEN p.max_unverified END,
           'assume_pure', nullif(p.assume_pure, false))) AS settings
FROM orchestry.refresh_policy p;
COMMENT ON VIEW orchestry._refresh_settings IS 'Refresh policies with the names of their arguments. Internal.';

CREATE FUNCTION orchestry.add_refresh_policy(matview regclass, max_staleness interval DEFAULT '1 hour', mode text DEFAULT 'auto',
    change_detection text DEFAULT 'triggers', max_runtime interval DEFAULT '10 min', schedule text DEFAULT NULL,
    time_zone text DEFAULT 'UTC', max_unverified interval DEFAULT '1 day', assume_pure boolean DEFAULT false) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'orchestry_add_refresh_policy';
COMMENT ON FUNCTION orchestry.add_refresh_policy(regclass, interval, text, text, interval, text, text, interval, boolean) IS
'Keeps a materialized view no older than max_staleness, and never refreshes it for nothing. Without a schedule it is refreshed by deadline: as long before as its refreshes take. Materialized views that it reads go first. mode: auto (CONCURRENTLY where there is a unique index for that, else plain), plain or concurrently. change_detection: triggers on the tables that it reads prove that nothing has changed, and the view is skipped; stats takes the server''s counters for a hint, for at most max_unverified; none refreshes always. What depends on the clock or on what cannot be seen is refreshed always, unless assume_pure. The query is executed in time_zone. Returns the job''s id, which is due at once. Only for the owner (42501) of a materialized view (42809); wrong settings are 22023. With triggers the library must be preloaded (55000).';

CREATE PROCEDURE orchestry.refresh(matview regclass, force boolean DEFAULT false)
LANGUAGE c AS 'MODULE_PATHNAME', 'orchestry_refresh';
COMMENT ON PROCEDURE orchestry.refresh(regclass, boolean) IS
'Refreshes a materialized view that has a policy now and here, after the ones that it reads, each only when something has changed; force: the view itself whatever has changed. Commits after every step. 42704 when it has no policy. Only for the owner (42501), not inside a transaction block (25001).';
