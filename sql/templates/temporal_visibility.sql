-- The visibility store of a Temporal server: what executions there are and were, to search and to count. Its times are
-- timestamps in UTC, as the server writes them.

CREATE TABLE @schema@.executions (
    namespace_id varchar(64) NOT NULL,
    run_id varchar(64) NOT NULL,
    start_time timestamp NOT NULL,
    execution_time timestamp NOT NULL,
    workflow_id varchar(255) NOT NULL,
    workflow_type_name varchar(255) NOT NULL,
    status integer NOT NULL,
    close_time timestamp,
    history_length bigint,
    memo bytea,
    encoding varchar(16),
    task_queue varchar(255),
    search_attributes jsonb,
    PRIMARY KEY (namespace_id, run_id, start_time)
) PARTITION BY RANGE (start_time);
COMMENT ON TABLE @schema@.executions IS 'Executions of workflows. One partition for each month in which they started; times are in UTC.';
COMMENT ON COLUMN @schema@.executions.status IS '1 running, 2 completed, 3 failed, 4 canceled, 5 terminated, 6 continued as new, 7 timed out, 8 paused';
CREATE INDEX idx_executions_start_time ON @schema@.executions (namespace_id, start_time DESC);
CREATE INDEX idx_executions_close_time ON @schema@.executions (namespace_id, close_time DESC);
CREATE INDEX idx_executions_workflow_id ON @schema@.executions (namespace_id, workflow_id);
CREATE INDEX idx_executions_workflow_type ON @schema@.executions (namespace_id, workflow_type_name);
CREATE INDEX idx_executions_status ON @schema@.executions (namespace_id, status);
CREATE INDEX idx_executions_task_queue ON @schema@.executions (namespace_id, task_queue);
CREATE INDEX idx_executions_search_attributes ON @schema@.executions USING gin (search_attributes jsonb_path_ops);
CREATE INDEX idx_executions_active ON @schema@.executions (namespace_id, start_time DESC) WHERE status IN (1, 8);
CREATE INDEX idx_executions_duration ON @schema@.executions (namespace_id, (close_time - start_time)) WHERE close_time IS NOT NULL;
-- For retention, which goes by the time alone.
CREATE INDEX idx_executions_closed ON @schema@.executions (close_time) WHERE close_time IS NOT NULL;

CREATE TABLE @schema@.custom_search_attributes (
    namespace_id varchar(64) NOT NULL,
    run_id varchar(64) NOT NULL,
    search_attributes jsonb NOT NULL,
    PRIMARY KEY (namespace_id, run_id)
);
COMMENT ON TABLE @schema@.custom_search_attributes IS 'Further search attributes of executions. They go when the execution goes, but for those that are held then.';

-- The key of executions has the start time, so that no foreign key can do this. An execution that moves to another
-- partition is deleted and inserted: it is still there when this runs.
CREATE FUNCTION @schema@.delete_search_attributes() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    DELETE FROM @schema@.custom_search_attributes a
    WHERE a.namespace_id = OLD.namespace_id AND a.run_id = OLD.run_id
      AND NOT EXISTS (SELECT FROM @schema@.executions e WHERE e.namespace_id = OLD.namespace_id AND e.run_id = OLD.run_id)
      AND NOT (SELECT @schema@.@template@_must_stay('@schema@.custom_search_attributes'::regclass, '-infinity'::timestamptz, 'infinity'::timestamptz));
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION @schema@.delete_search_attributes() IS 'Trigger: custom search attributes go with their execution, unless orchestry_ext holds them.';
CREATE TRIGGER trg_delete_search_attributes AFTER DELETE ON @schema@.executions
    FOR EACH ROW EXECUTE FUNCTION @schema@.delete_search_attributes();

CREATE TABLE @schema@.cleanup_log (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    cleanup_date timestamptz NOT NULL DEFAULT now(),
    table_name text NOT NULL,
    deleted_rows bigint NOT NULL,
    retention_days integer NOT NULL
);
COMMENT ON TABLE @schema@.cleanup_log IS 'What cleanup_old_executions() has deleted, and when.';

CREATE FUNCTION @schema@.create_monthly_partition(as_of timestamptz DEFAULT now()) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    SELECT @schema@.@template@_create_month_partition('@schema@.executions'::regclass,
        (as_of AT TIME ZONE 'UTC') + make_interval(months => n), '"executions_"YYYY_MM'::text)
    FROM generate_series(0, 1) n
$$;
COMMENT ON FUNCTION @schema@.create_monthly_partition(timestamptz) IS
'Makes the partitions of executions for the month of as_of and the next, where they are missing. The partition policy of orchestry_ext does the same.';

CREATE FUNCTION @schema@.cleanup_old_executions(retention_days integer DEFAULT 90, as_of timestamptz DEFAULT now()) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    cutoff timestamp := (as_of AT TIME ZONE 'UTC') - make_interval(days => retention_days);
    deleted bigint;
BEGIN
    IF retention_days IS NULL OR retention_days < 1 THEN
        RAISE EXCEPTION 'retention_days must be at least 1' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF as_of IS NULL OR NOT isfinite(as_of) THEN
        RAISE EXCEPTION 'as_of must be a finite time' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF @schema@.@template@_must_stay('@schema@.executions'::regclass, '-infinity'::timestamptz, cutoff AT TIME ZONE 'UTC') THEN
        RAISE EXCEPTION 'executions that closed before % are held', cutoff
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Run CALL orchestry.run(''@schema@.executions''), which removes those that are not.';
    END IF;
    IF @schema@.@template@_must_stay('@schema@.custom_search_attributes'::regclass, '-infinity'::timestamptz, 'infinity'::timestamptz) THEN
        RAISE EXCEPTION 'custom search attributes of executions are held'
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Run CALL orchestry.run(''@schema@.executions''), which removes executions and leaves these.';
    END IF;
    DELETE FROM @schema@.executions e WHERE e.close_time < cutoff AND e.status NOT IN (1, 8);
    GET DIAGNOSTICS deleted = ROW_COUNT;
    INSERT INTO @schema@.cleanup_log (table_name, deleted_rows, retention_days) VALUES ('executions', deleted, retention_days);
    RETURN deleted;
END
$$;
COMMENT ON FUNCTION @schema@.cleanup_old_executions(integer, timestamptz) IS
'Deletes the executions that closed that many days before as_of, in one transaction, and returns how many; notes it in cleanup_log. Running and paused ones stay. The retention policy of orchestry_ext does the same in small batches. 22023 for less than one day or a time that is not finite, 55000 when some of them, or custom_search_attributes, are under a hold.';

CREATE MATERIALIZED VIEW @schema@.workflow_metrics AS
SELECT namespace_id, workflow_type_name, start_time::date AS execution_date, count(*) AS total_executions,
       count(*) FILTER (WHERE status = 2) AS completed_executions,
       count(*) FILTER (WHERE status = 3) AS failed_executions,
       count(*) FILTER (WHERE status = 4) AS canceled_executions,
       avg(d.seconds) AS avg_duration_seconds,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY d.seconds) AS median_duration_seconds,
       percentile_cont(0.95) WITHIN GROUP (ORDER BY d.seconds) AS p95_duration_seconds
FROM @schema@.executions CROSS JOIN LATERAL (SELECT extract(epoch FROM close_time - start_time)::double precision AS seconds) d
WHERE start_time >= (now() AT TIME ZONE 'UTC')::date - 30
GROUP BY namespace_id, workflow_type_name, start_time::date;
COMMENT ON MATERIALIZED VIEW @schema@.workflow_metrics IS 'Executions of the last 30 days by namespace, type and day of their start in UTC.';
-- Also what REFRESH MATERIALIZED VIEW CONCURRENTLY needs.
CREATE UNIQUE INDEX workflow_metrics_key ON @schema@.workflow_metrics (namespace_id, workflow_type_name, execution_date);

-- @policies@
SELECT orchestry.add_partition_policy('@schema@.executions'::regclass, every => interval '1 month', ahead => interval '3 months',
    past => interval '3 months', name_pattern => 'executions_{YYYY}_{MM}', schedule => '0 0 * * *');
SELECT orchestry.add_retention_policy('@schema@.executions'::regclass, keep => interval '90 days', time_column => 'close_time',
    "where" => 'status NOT IN (1, 8)', schedule => '0 3 * * *');
-- What it says is about now, so there is nothing to watch that would make a refresh needless.
SELECT orchestry.add_refresh_policy('@schema@.workflow_metrics'::regclass, max_staleness => interval '1 hour', change_detection => 'none');
