-- A control plane for applications in containers: what should run, what runs, what happened, how it does.
-- Columns with a list of values are text: a list of varchar reads differently after a dump.

CREATE TABLE @schema@.applications (
    name varchar(253) PRIMARY KEY,
    spec jsonb NOT NULL,
    status text NOT NULL DEFAULT 'registered',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    replicas integer NOT NULL DEFAULT 0,
    desired_replicas integer NOT NULL DEFAULT 0,
    last_scaled_at timestamptz,
    mode text NOT NULL DEFAULT 'auto',
    CONSTRAINT valid_status CHECK (status IN ('registered', 'starting', 'running', 'stopping', 'stopped', 'error', 'updating')),
    CONSTRAINT valid_mode CHECK (mode IN ('auto', 'manual')),
    CONSTRAINT valid_replicas CHECK (replicas >= 0),
    CONSTRAINT valid_desired_replicas CHECK (desired_replicas >= 0)
);
COMMENT ON TABLE @schema@.applications IS 'Applications: what should run.';
CREATE INDEX idx_applications_status ON @schema@.applications (status);
CREATE INDEX idx_applications_mode ON @schema@.applications (mode);
CREATE INDEX idx_applications_updated_at ON @schema@.applications (updated_at DESC);
CREATE INDEX idx_applications_spec_image ON @schema@.applications ((spec -> 'spec' ->> 'image'));
CREATE INDEX idx_applications_active ON @schema@.applications (name, status, updated_at) WHERE status IN ('running', 'starting', 'updating');

CREATE TABLE @schema@.instances (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    app_name varchar(253) NOT NULL REFERENCES @schema@.applications (name) ON DELETE CASCADE,
    container_id varchar(128) NOT NULL UNIQUE,
    container_name varchar(253) NOT NULL,
    replica_index integer NOT NULL,
    ip inet NOT NULL,
    port integer NOT NULL,
    status text NOT NULL DEFAULT 'starting',
    health_status text NOT NULL DEFAULT 'unknown',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    last_health_check timestamptz,
    failure_count integer NOT NULL DEFAULT 0,
    consecutive_failures integer NOT NULL DEFAULT 0,
    last_failure_at timestamptz,
    cpu_percent double precision DEFAULT 0,
    memory_percent double precision DEFAULT 0,
    memory_usage_bytes bigint DEFAULT 0,
    CONSTRAINT valid_status CHECK (status IN ('starting', 'running', 'stopping', 'stopped', 'error', 'draining')),
    CONSTRAINT valid_health_status CHECK (health_status IN ('unknown', 'healthy', 'unhealthy', 'starting')),
    CONSTRAINT valid_replica_index CHECK (replica_index >= 0),
    CONSTRAINT valid_port CHECK (port > 0 AND port <= 65535),
    CONSTRAINT valid_failure_count CHECK (failure_count >= 0),
    CONSTRAINT valid_cpu_percent CHECK (cpu_percent >= 0),
    CONSTRAINT valid_memory_percent CHECK (memory_percent >= 0 AND memory_percent <= 100),
    UNIQUE (app_name, replica_index)
);
COMMENT ON TABLE @schema@.instances IS 'Containers of applications: what runs.';
CREATE INDEX idx_instances_status ON @schema@.instances (status);
CREATE INDEX idx_instances_health_status ON @schema@.instances (health_status);
CREATE INDEX idx_instances_updated_at ON @schema@.instances (updated_at DESC);
CREATE INDEX idx_instances_health_check ON @schema@.instances (last_health_check DESC);
CREATE INDEX idx_instances_app_status_health ON @schema@.instances (app_name, status, health_status);
CREATE INDEX idx_instances_active ON @schema@.instances (app_name, status, health_status, updated_at) WHERE status IN ('running', 'starting');

CREATE TABLE @schema@.events (
    id bigint GENERATED ALWAYS AS IDENTITY,
    event_type text NOT NULL,
    event_category text NOT NULL DEFAULT 'application',
    app_name varchar(253) REFERENCES @schema@.applications (name) ON DELETE SET NULL,
    container_id varchar(128),
    message text NOT NULL,
    details jsonb,
    severity text NOT NULL DEFAULT 'info',
    timestamp timestamptz NOT NULL DEFAULT now(),
    source varchar(50) DEFAULT 'controller',
    node_id varchar(100),
    CONSTRAINT valid_event_type CHECK (event_type IN ('registration', 'scaling', 'health', 'config', 'deployment',
        'error', 'warning', 'network', 'resource', 'security')),
    CONSTRAINT valid_event_category CHECK (event_category IN ('application', 'system', 'cluster', 'security', 'performance')),
    CONSTRAINT valid_severity CHECK (severity IN ('debug', 'info', 'warning', 'error', 'critical')),
    PRIMARY KEY (id, timestamp)
) PARTITION BY RANGE (timestamp);
COMMENT ON TABLE @schema@.events IS 'What happened in the last 30 days; what is older is in events_compressed. One partition for each week in UTC.';
CREATE INDEX idx_events_app_name_timestamp ON @schema@.events (app_name, timestamp DESC);
CREATE INDEX idx_events_type_timestamp ON @schema@.events (event_type, timestamp DESC);
CREATE INDEX idx_events_timestamp ON @schema@.events (timestamp DESC);
CREATE INDEX idx_events_severity ON @schema@.events (severity, timestamp DESC);
CREATE INDEX idx_events_category ON @schema@.events (event_category, timestamp DESC);
CREATE INDEX idx_events_container ON @schema@.events (container_id, timestamp DESC);
CREATE INDEX idx_events_app_type_severity ON @schema@.events (app_name, event_type, severity, timestamp DESC);

CREATE TABLE @schema@.events_compressed (
    bucket timestamptz NOT NULL,
    app_name varchar(253),
    event_type text NOT NULL,
    event_count bigint NOT NULL,
    severity_counts jsonb NOT NULL,
    sample_messages text[] NOT NULL,
    sample_messages_at timestamptz[] NOT NULL,
    first_at timestamptz NOT NULL,
    last_at timestamptz NOT NULL,
    CONSTRAINT events_compressed_key UNIQUE NULLS NOT DISTINCT (bucket, app_name, event_type)
);
COMMENT ON TABLE @schema@.events_compressed IS 'Old events: one row for each hour in UTC, application (NULL is one) and type.';
COMMENT ON COLUMN @schema@.events_compressed.sample_messages IS 'The five newest distinct messages, newest first';
COMMENT ON COLUMN @schema@.events_compressed.sample_messages_at IS 'The latest time of each of them';

-- Each level has partitions of its own, since each is kept for another time.
CREATE TABLE @schema@.metrics (
    id bigint GENERATED ALWAYS AS IDENTITY,
    app_name varchar(253) NOT NULL REFERENCES @schema@.applications (name) ON DELETE CASCADE,
    metric_type text NOT NULL,
    timestamp timestamptz NOT NULL DEFAULT now(),
    value double precision NOT NULL,
    labels jsonb,
    unit varchar(20),
    aggregation_level text NOT NULL DEFAULT 'instance',
    CONSTRAINT valid_metric_type CHECK (metric_type IN ('cpu_percent', 'memory_percent', 'memory_bytes', 'rps', 'latency_p50', 'latency_p95',
        'latency_p99', 'active_connections', 'error_rate', 'response_time', 'queue_length', 'disk_usage')),
    CONSTRAINT valid_aggregation_level CHECK (aggregation_level IN ('instance', 'app', 'system')),
    PRIMARY KEY (id, timestamp, aggregation_level)
) PARTITION BY LIST (aggregation_level);
COMMENT ON TABLE @schema@.metrics IS 'What was measured: of instances for 7 days, of applications and the system for 30. Partitions by level and time.';
CREATE TABLE @schema@.metrics_instance PARTITION OF @schema@.metrics FOR VALUES IN ('instance') PARTITION BY RANGE (timestamp);
CREATE TABLE @schema@.metrics_app PARTITION OF @schema@.metrics FOR VALUES IN ('app') PARTITION BY RANGE (timestamp);
CREATE TABLE @schema@.metrics_system PARTITION OF @schema@.metrics FOR VALUES IN ('system') PARTITION BY RANGE (timestamp);
COMMENT ON TABLE @schema@.metrics_instance IS 'What was measured of instances. One partition for each day in UTC.';
COMMENT ON TABLE @schema@.metrics_app IS 'What was measured of applications. One partition for each week in UTC.';
COMMENT ON TABLE @schema@.metrics_system IS 'What was measured of the system. One partition for each week in UTC.';
CREATE INDEX idx_metrics_app_timestamp ON @schema@.metrics (app_name, timestamp DESC);
CREATE INDEX idx_metrics_type_timestamp ON @schema@.metrics (metric_type, timestamp DESC);
CREATE INDEX idx_metrics_timestamp ON @schema@.metrics (timestamp DESC);
CREATE INDEX idx_metrics_app_type_time ON @schema@.metrics (app_name, metric_type, timestamp DESC);

CREATE TABLE @schema@.scaling_policies (
    app_name varchar(253) PRIMARY KEY REFERENCES @schema@.applications (name) ON DELETE CASCADE,
    min_replicas integer NOT NULL DEFAULT 1,
    max_replicas integer NOT NULL DEFAULT 5,
    target_rps_per_replica integer DEFAULT 50,
    max_p95_latency_ms integer DEFAULT 250,
    max_cpu_percent double precision DEFAULT 70.0,
    max_memory_percent double precision DEFAULT 75.0,
    max_connections_per_replica integer DEFAULT 100,
    scale_out_threshold_pct integer DEFAULT 80,
    scale_in_threshold_pct integer DEFAULT 30,
    cooldown_seconds integer DEFAULT 180,
    evaluation_window_seconds integer DEFAULT 60,
    max_scale_out_step integer DEFAULT 0,
    max_scale_in_step integer DEFAULT 1,
    stabilization_window_seconds integer DEFAULT 300,
    cpu_weight double precision DEFAULT 1.0,
    memory_weight double precision DEFAULT 1.0,
    rps_weight double precision DEFAULT 1.0,
    latency_weight double precision DEFAULT 1.5,
    connection_weight double precision DEFAULT 0.8,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT valid_replica_bounds CHECK (min_replicas <= max_replicas),
    CONSTRAINT valid_min_replicas CHECK (min_replicas >= 0),
    CONSTRAINT valid_max_replicas CHECK (max_replicas >= 1),
    CONSTRAINT valid_thresholds CHECK (scale_in_threshold_pct < scale_out_threshold_pct),
    CONSTRAINT valid_percentages CHECK (scale_out_threshold_pct >= 1 AND scale_out_threshold_pct <= 100
        AND scale_in_threshold_pct >= 1 AND scale_in_threshold_pct <= 100),
    CONSTRAINT valid_weights CHECK (cpu_weight >= 0 AND memory_weight >= 0 AND rps_weight >= 0 AND latency_weight >= 0 AND connection_weight >= 0)
);
COMMENT ON TABLE @schema@.scaling_policies IS 'When applications get more and fewer replicas.';
COMMENT ON COLUMN @schema@.scaling_policies.max_scale_out_step IS '0: no limit';
CREATE INDEX idx_scaling_policies_updated_at ON @schema@.scaling_policies (updated_at DESC);

CREATE TABLE @schema@.health_checks (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    app_name varchar(253) NOT NULL UNIQUE REFERENCES @schema@.applications (name) ON DELETE CASCADE,
    protocol text NOT NULL DEFAULT 'HTTP',
    path varchar(500),
    port integer NOT NULL,
    method text DEFAULT 'GET',
    headers jsonb,
    body text,
    expected_status_codes integer[] DEFAULT ARRAY[200],
    initial_delay_seconds integer DEFAULT 30,
    period_seconds integer DEFAULT 30,
    timeout_seconds integer DEFAULT 5,
    failure_threshold integer DEFAULT 3,
    success_threshold integer DEFAULT 1,
    enabled boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT valid_protocol CHECK (protocol IN ('HTTP', 'TCP')),
    CONSTRAINT valid_method CHECK (method IN ('GET', 'POST', 'PUT', 'HEAD')),
    CONSTRAINT valid_port CHECK (port > 0 AND port <= 65535),
    CONSTRAINT valid_timings CHECK (initial_delay_seconds >= 0 AND period_seconds > 0 AND timeout_seconds > 0
        AND failure_threshold > 0 AND success_threshold > 0)
);
COMMENT ON TABLE @schema@.health_checks IS 'How the health of applications is checked.';
CREATE INDEX idx_health_checks_enabled ON @schema@.health_checks (enabled);

CREATE TRIGGER trg_touch_updated_at BEFORE UPDATE ON @schema@.applications FOR EACH ROW EXECUTE FUNCTION @schema@.@template@_touch_updated_at();
CREATE TRIGGER trg_touch_updated_at BEFORE UPDATE ON @schema@.instances FOR EACH ROW EXECUTE FUNCTION @schema@.@template@_touch_updated_at();
CREATE TRIGGER trg_touch_updated_at BEFORE UPDATE ON @schema@.scaling_policies FOR EACH ROW EXECUTE FUNCTION @schema@.@template@_touch_updated_at();
CREATE TRIGGER trg_touch_updated_at BEFORE UPDATE ON @schema@.health_checks FOR EACH ROW EXECUTE FUNCTION @schema@.@template@_touch_updated_at();

CREATE FUNCTION @schema@.is_healthy(instance @schema@.instances) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN instance.status = 'running' AND instance.health_status = 'healthy' AND instance.consecutive_failures < 3;
COMMENT ON FUNCTION @schema@.is_healthy(@schema@.instances) IS 'Whether an instance runs, is healthy, and has failed fewer than 3 times in a row.';

CREATE FUNCTION @schema@.is_ready_for_traffic(instance @schema@.instances) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN instance.status = 'running' AND instance.health_status IN ('healthy', 'starting') AND instance.consecutive_failures < 5;
COMMENT ON FUNCTION @schema@.is_ready_for_traffic(@schema@.instances) IS
'Whether an instance may get requests: it runs, is healthy or about to be, and has failed fewer than 5 times in a row.';

CREATE FUNCTION @schema@.get_app_with_instances(app text) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT jsonb_build_object('app', to_jsonb(a), 'instances', COALESCE((
        SELECT jsonb_agg(jsonb_build_object('id', i.id, 'container_id', i.container_id, 'container_name', i.container_name,
                   'replica_index', i.replica_index, 'ip', i.ip, 'port', i.port, 'status', i.status, 'health_status', i.health_status,
                   'cpu_percent', i.cpu_percent, 'memory_percent', i.memory_percent, 'failure_count', i.failure_count,
                   'last_health_check', extract(epoch FROM i.last_health_check)) ORDER BY i.replica_index)
        FROM @schema@.instances i WHERE i.app_name = a.name AND i.status <> 'stopped'), '[]'))
    FROM @schema@.applications a WHERE a.name = app;
END;
COMMENT ON FUNCTION @schema@.get_app_with_instances(text) IS
'An application ("app") and its instances that are not stopped ("instances", by replica), as one object; NULL when there is no such application.';

CREATE FUNCTION @schema@.get_apps_summary(status text DEFAULT NULL)
RETURNS TABLE (name varchar, app_status text, replicas integer, desired_replicas integer, mode text, created_at timestamptz,
               updated_at timestamptz, last_scaled_at timestamptz, running_instances bigint, healthy_instances bigint,
               avg_cpu_percent double precision, avg_memory_percent double precision)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT a.name, a.status, a.replicas, a.desired_replicas, a.mode, a.created_at, a.updated_at, a.last_scaled_at,
           count(i.id) FILTER (WHERE i.status = 'running'), count(i.id) FILTER (WHERE i.health_status = 'healthy'),
           avg(i.cpu_percent) FILTER (WHERE i.status = 'running'), avg(i.memory_percent) FILTER (WHERE i.status = 'running')
    FROM @schema@.applications a LEFT JOIN @schema@.instances i ON i.app_name = a.name
    WHERE get_apps_summary.status IS NULL OR a.status = get_apps_summary.status
    GROUP BY a.name ORDER BY a.name;
END;
COMMENT ON FUNCTION @schema@.get_apps_summary(text) IS
'The applications of a status, or all, by name, with the numbers of their running and healthy instances; averages are of running ones and NULL where there are none.';

CREATE FUNCTION @schema@.get_app_metrics_window(app text, minutes integer DEFAULT 5, as_of timestamptz DEFAULT now())
RETURNS TABLE (metric_type text, avg_value double precision, min_value double precision, max_value double precision,
               p50_value double precision, p95_value double precision, data_points bigint)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT m.metric_type, avg(m.value), min(m.value), max(m.value), percentile_cont(0.5) WITHIN GROUP (ORDER BY m.value),
           percentile_cont(0.95) WITHIN GROUP (ORDER BY m.value), count(*)
    FROM @schema@.metrics m
    WHERE m.app_name = app AND m.timestamp >= as_of - make_interval(mins => minutes) AND m.timestamp <= as_of
      AND m.metric_type IN ('cpu_percent', 'memory_percent', 'rps', 'latency_p95', 'active_connections')
    GROUP BY m.metric_type ORDER BY m.metric_type;
END;
COMMENT ON FUNCTION @schema@.get_app_metrics_window(text, integer, timestamptz) IS
'What was measured of an application in the minutes up to as_of: one row for each type that scaling looks at. What was not measured has no row.';

CREATE FUNCTION @schema@.compress_old_events(days integer DEFAULT 90, as_of timestamptz DEFAULT now()) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    cutoff timestamptz := date_trunc('hour', (as_of AT TIME ZONE 'UTC') - make_interval(days => days)) AT TIME ZONE 'UTC';
    compressed bigint;
BEGIN
    IF days IS NULL OR days < 1 THEN
        RAISE EXCEPTION 'days must be at least 1' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF as_of IS NULL OR NOT isfinite(as_of) THEN
        RAISE EXCEPTION 'as_of must be a finite time' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF @schema@.@template@_must_stay('@schema@.events'::regclass, '-infinity'::timestamptz, cutoff) THEN
        RAISE EXCEPTION 'events before % are held', cutoff USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'Run CALL orchestry.run(''@schema@.events''), which compresses those that are not.';
    END IF;
    -- One statement: what is counted is what is deleted.
    WITH moved AS (
        DELETE FROM @schema@.events e WHERE e.timestamp < cutoff AND isfinite(e.timestamp)
        RETURNING date_trunc('hour', e.timestamp, 'UTC') AS bucket, e.app_name, e.event_type, e.severity, e.message, e.timestamp AS at
    ), counted AS (
        SELECT s.bucket, s.app_name, s.event_type, sum(s.n)::bigint AS event_count, jsonb_object_agg(s.severity, s.n) AS severity_counts,
               min(s.first_at) AS first_at, max(s.last_at) AS last_at
        FROM (SELECT m.bucket, m.app_name, m.event_type, m.severity, count(*) AS n, min(m.at) AS first_at, max(m.at) AS last_at
              FROM moved m GROUP BY m.bucket, m.app_name, m.event_type, m.severity) s
        GROUP BY s.bucket, s.app_name, s.event_type
    ), sampled AS (
        SELECT p.bucket, p.app_name, p.event_type, array_agg(p.message ORDER BY p.place) AS messages, array_agg(p.at ORDER BY p.place) AS times
        FROM (SELECT d.*, row_number() OVER (PARTITION BY d.bucket, d.app_name, d.event_type ORDER BY d.at DESC, d.message COLLATE "C") AS place
              FROM (SELECT m.bucket, m.app_name, m.event_type, m.message, max(m.at) AS at
                    FROM moved m GROUP BY m.bucket, m.app_name, m.event_type, m.message) d) p
        WHERE p.place <= 5
        GROUP BY p.bucket, p.app_name, p.event_type
    ), stored AS (
        INSERT INTO @schema@.events_compressed AS t
        SELECT c.bucket, c.app_name, c.event_type, c.event_count, c.severity_counts, s.messages, s.times, c.first_at, c.last_at
        FROM counted c JOIN sampled s ON s.bucket = c.bucket AND s.event_type = c.event_type AND s.app_name IS NOT DISTINCT FROM c.app_name
        ORDER BY c.bucket, c.event_type, c.app_name
        ON CONFLICT ON CONSTRAINT events_compressed_key DO UPDATE SET
            event_count = t.event_count + excluded.event_count,
            severity_counts = (SELECT jsonb_object_agg(b.key, b.n)
                               FROM (SELECT k.key, sum(k.value::bigint) AS n
                                     FROM (SELECT * FROM jsonb_each_text(t.severity_counts) UNION ALL SELECT * FROM jsonb_each_text(excluded.severity_counts)) k
                                     GROUP BY k.key) b),
            (sample_messages, sample_messages_at) =
                (SELECT array_agg(b.message ORDER BY b.at DESC, b.message COLLATE "C"), array_agg(b.at ORDER BY b.at DESC, b.message COLLATE "C")
                 FROM (SELECT u.message, max(u.at) AS at
                       FROM (SELECT * FROM unnest(t.sample_messages, t.sample_messages_at)
                             UNION ALL SELECT * FROM unnest(excluded.sample_messages, excluded.sample_messages_at)) u(message, at)
                       GROUP BY u.message ORDER BY max(u.at) DESC, u.message COLLATE "C" LIMIT 5) b),
            first_at = least(t.first_at, excluded.first_at), last_at = greatest(t.last_at, excluded.last_at)
    )
    SELECT count(*) INTO compressed FROM moved;
    RETURN compressed;
END
$$;
COMMENT ON FUNCTION @schema@.compress_old_events(integer, timestamptz) IS
'Moves the events of hours that ended that many days before as_of into events_compressed, in one statement, and returns how many; late ones are added to the rows that are there. The event compression policy of orchestry_ext does the same in steps. 22023 for less than one day or a time that is not finite, 55000 when some of them are under a hold.';

CREATE FUNCTION @schema@.cleanup_old_data(as_of timestamptz DEFAULT now()) RETURNS TABLE (table_name text, deleted_count bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $$
DECLARE
    level record;
    old record;
    in_partition bigint;
BEGIN
    IF as_of IS NULL OR NOT isfinite(as_of) THEN
        RAISE EXCEPTION 'as_of must be a finite time' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    table_name := 'events';
    deleted_count := 0;
    IF NOT @schema@.@template@_must_stay('@schema@.events'::regclass, '-infinity'::timestamptz, as_of - interval '30 days') THEN
        deleted_count := @schema@.compress_old_events(30, as_of);
    END IF;
    RETURN NEXT;

    -- Whole partitions: rows that leave with theirs do not change what rollups have computed from them.
    FOR level IN SELECT * FROM (VALUES ('instance', 7), ('app', 30), ('system', 30)) v(name, days) LOOP
        table_name := format('metrics (%s)', level.name);
        deleted_count := 0;
        FOR old IN
            SELECT b.partition, b.from_at, b.to_at FROM @schema@.@template@_partition_bounds(to_regclass('@schema@.metrics_' || level.name)) b
            WHERE b.to_at <= as_of - make_interval(days => level.days) ORDER BY b.to_at
        LOOP
            CONTINUE WHEN @schema@.@template@_must_stay(old.partition, old.from_at, old.to_at);
            EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', old.partition);
            -- Rows may have come while it was waited for.
            CONTINUE WHEN @schema@.@template@_must_stay(old.partition, old.from_at, old.to_at);
            EXECUTE format('SELECT count(*) FROM %s', old.partition) INTO in_partition;
            EXECUTE format('DROP TABLE %s', old.partition);
            deleted_count := deleted_count + in_partition;
        END LOOP;
        RETURN NEXT;
    END LOOP;

    table_name := 'instances (stopped)';
    deleted_count := 0;
    -- Any of their times may be in what is held.
    IF NOT @schema@.@template@_must_stay('@schema@.instances'::regclass, '-infinity'::timestamptz, 'infinity'::timestamptz) THEN
        DELETE FROM @schema@.instances i WHERE i.status = 'stopped' AND i.updated_at < as_of - interval '7 days';
        GET DIAGNOSTICS deleted_count = ROW_COUNT;
    END IF;
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION @schema@.cleanup_old_data(timestamptz) IS
'Compresses events of more than 30 days, drops partitions of metrics that ended 7 (instances) or 30 days (applications, system) before as_of, deletes instances stopped 7 days ago; returns the number of rows of each. What orchestry_ext holds, or a rollup has yet to read, stays. The policies of orchestry_ext do the same, with a grace. 22023 for a time that is not finite.';

-- @policies@
SELECT orchestry.add_partition_policy('@schema@.events'::regclass, every => interval '7 days', ahead => interval '28 days',
    past => interval '30 days', schedule => '1 hour');
SELECT orchestry.add_event_compression_policy('@schema@.events'::regclass, older_than => interval '30 days', group_by => '{app_name,event_type}',
    count_values_of => 'severity', sample_of => 'message', samples => 5, schedule => '0 2 * * *');
-- What is empty by then: events that come later than that are refused.
SELECT orchestry.add_retention_policy('@schema@.events'::regclass, keep => interval '90 days', grace => interval '1 day', schedule => '0 3 * * *');

SELECT orchestry.add_partition_policy('@schema@.metrics_instance'::regclass, every => interval '1 day', ahead => interval '7 days',
    past => interval '7 days', schedule => '1 hour');
SELECT orchestry.add_partition_policy(('@schema@.metrics_' || level)::regclass, every => interval '7 days', ahead => interval '28 days',
    past => interval '30 days', schedule => '1 hour')
FROM unnest('{app,system}'::text[]) level;
SELECT orchestry.add_retention_policy(('@schema@.metrics_' || v.level)::regclass, keep => make_interval(days => v.days), grace => interval '1 day', schedule => '0 2 * * *')
FROM (VALUES ('instance', 7), ('app', 30), ('system', 30)) v(level, days);
SELECT orchestry.add_retention_policy('@schema@.instances'::regclass, keep => interval '7 days', time_column => 'updated_at',
    "where" => $$status = 'stopped'$$, schedule => '0 2 * * *');

DO $$
BEGIN
    PERFORM orchestry.create_rollup('@schema@.metrics_hourly', '@schema@.metrics'::regclass, time_column => 'timestamp', value_column => 'value',
        bucket => interval '1 hour', group_by => '{app_name,metric_type,aggregation_level}', keep => interval '1 year');
EXCEPTION WHEN duplicate_table THEN
    RAISE WARNING 'the rollup metrics_hourly is not there: %', SQLERRM
        USING HINT = 'Run ALTER TABLE @schema@.metrics_hourly_buckets RENAME TO metrics_hourly_before; SELECT orchestry.create_rollup(''@schema@.metrics_hourly'', ''@schema@.metrics'', ''timestamp'', ''value'', ''1 hour'', ''{app_name,metric_type,aggregation_level}'', keep => ''1 year'');';
WHEN object_not_in_prerequisite_state THEN
    RAISE WARNING 'the rollup metrics_hourly is not there: %', SQLERRM
        USING HINT = 'After a restart with shared_preload_libraries = ''orchestry_ext'', run SELECT orchestry.create_rollup(''@schema@.metrics_hourly'', ''@schema@.metrics'', ''timestamp'', ''value'', ''1 hour'', ''{app_name,metric_type,aggregation_level}'', keep => ''1 year'');';
END
$$;
