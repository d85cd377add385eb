-- Nothing is for everybody unless it says so here. Functions that are check inside that the caller owns the table.
REVOKE ALL ON ALL TABLES IN SCHEMA orchestry FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA orchestry FROM PUBLIC;
REVOKE ALL ON ALL PROCEDURES IN SCHEMA orchestry FROM PUBLIC;

GRANT SELECT ON orchestry.jobs, orchestry.runs, orchestry.run_steps, orchestry.progress, orchestry.partitions,
    orchestry.holds, orchestry.quarantine, orchestry.archive_files, orchestry.rollups, orchestry._rollup_spans,
    orchestry.migrations TO PUBLIC;
GRANT SELECT ON orchestry.unused_indexes, orchestry.duplicate_indexes, orchestry.invalid_indexes, orchestry.missing_fk_indexes,
    orchestry.table_bloat, orchestry.cache_hit, orchestry.connections, orchestry.replication, orchestry.sequence_usage, orchestry.wraparound,
    orchestry.stale_statistics, orchestry.metrics TO PUBLIC;
DO $$ -- the checks of health() run as whoever calls it
BEGIN
    EXECUTE (SELECT format('GRANT SELECT ON %s TO PUBLIC', string_agg(format('orchestry.%I', c.relname), ', '))
             FROM pg_class c WHERE c.relnamespace = 'orchestry'::regnamespace AND c.relname LIKE '\_check\_%');
END $$;
GRANT EXECUTE ON FUNCTION
    orchestry.add_partition_policy(regclass, interval, interval, interval, text, text, text, text),
    orchestry.add_partition_policy(regclass, bigint, bigint, bigint, text, text),
    orchestry.add_partition_policy(regclass, text, text, text, text, text, text, text),
    orchestry.add_retention_policy(regclass, interval, name, text, text, interval, text, integer, name[], integer, text, text, text),
    orchestry.add_retention_policy(regclass, bigint, text, interval, text),
    orchestry.add_retention_policy(regclass, text, name, text, text, interval, text, integer, name[], integer, text, text, text),
    orchestry.reattach(regclass),
    orchestry.hold(regclass, text, timestamptz, timestamptz, text),
    orchestry.release_hold(bigint, text),
    orchestry.add_event_compression_policy(regclass, interval, text, interval, name, name[], name, name, integer, text, text),
    orchestry.verify_event_compression(regclass),
    orchestry.value_counts(text),
    orchestry.value_counts(text, bigint),
    orchestry.latest_distinct(text, timestamptz, integer),
    orchestry.latest_distinct_times(text, timestamptz, integer),
    orchestry.create_partition(regclass, anyelement),
    orchestry.create_partition(regclass, text),
    orchestry.partition_of(regclass, anyelement),
    orchestry.partition_of(regclass, text),
    orchestry.explain(regclass),
    orchestry.timeline(regclass),
    orchestry.verify_partitions(regclass),
    orchestry._partitions(),
    orchestry.plan(regclass, timestamptz),
    orchestry.start_job(bigint),
    orchestry.cancel_run(bigint),
    orchestry.pause_job(bigint, text),
    orchestry.resume_job(bigint),
    orchestry.resume_all(boolean),
    orchestry.alter_policy(bigint, jsonb),
    orchestry.remove_policy(bigint),
    orchestry.create_rollup(text, regclass, name, name, interval, name[], text, text, interval, text),
    orchestry.drop_rollup(text, boolean),
    orchestry.verify_rollup(text, timestamptz, timestamptz),
    orchestry.apply_migration(text, text, text),
    orchestry.verify_migration(text, text),
    orchestry.build_index(text),
    orchestry.explain_query(text),
    orchestry.slow_queries(double precision, integer),
    orchestry._capture(),
    orchestry.window_stats(double precision),
    orchestry.quantiles(double precision, double precision[]),
    orchestry.time_bucket(interval, timestamptz, text),
    orchestry.window_aggregate(regclass, name, name, name[], timestamptz, timestamptz),
    orchestry.summarize(double precision),
    orchestry.merge(orchestry.summary),
    orchestry._summary_in(cstring),
    orchestry._summary_out(orchestry.summary),
    orchestry._summary_send(orchestry.summary),
    orchestry.count(orchestry.summary),
    orchestry.sum(orchestry.summary),
    orchestry.avg(orchestry.summary),
    orchestry.min(orchestry.summary),
    orchestry.max(orchestry.summary),
    orchestry.stddev(orchestry.summary),
    orchestry.quantile(orchestry.summary, double precision),
    orchestry.quantiles(orchestry.summary, double precision[]),
    orchestry.relative_error(orchestry.summary),
    orchestry._summary_of_buckets(integer, bigint, bigint[], bigint[], bigint[], bigint[], double precision, double precision, double precision, bigint),
    orchestry.to_histogram(orchestry.summary, text),
    orchestry.from_histogram(jsonb),
    orchestry.install_template(text, name),
    orchestry._template(text),
    orchestry._template_columns(text),
    orchestry.scheduler_pid(),
    orchestry.capabilities(),
    orchestry._progress(),
    orchestry.health(interval),
    orchestry.verify(regclass),
    orchestry._now(),
    orchestry._has_rows(regclass),
    orchestry._sequence_position(regclass),
    orchestry._tuple_bytes(bigint[], bigint[], double precision[], double precision[]),
    orchestry._system_identifier()
TO PUBLIC;
GRANT EXECUTE ON PROCEDURE
    orchestry.promote_default(regclass),
    orchestry.run(regclass),
    orchestry.run_job(bigint),
    orchestry.run_due(),
    orchestry.refresh_rollup(text, timestamptz, timestamptz, boolean),
    orchestry.ddl(text, interval, interval),
    orchestry.backfill(regclass, text, text, integer),
    orchestry.set_not_null(regclass, name, interval, interval)
TO PUBLIC;

SELECT orchestry._announce();
