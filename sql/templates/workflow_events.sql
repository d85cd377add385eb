-- Events of workflow runs, in monthly partitions: what happened, when, in which run.

CREATE TABLE IF NOT EXISTS @schema@.workflow_runs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE @schema@.workflow_events (
    id bigint GENERATED ALWAYS AS IDENTITY,
    run_id uuid NOT NULL REFERENCES @schema@.workflow_runs ON DELETE CASCADE,
    ts timestamptz NOT NULL DEFAULT now(),
    type text NOT NULL,
    payload jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (id, ts)
) PARTITION BY RANGE (ts);
COMMENT ON TABLE @schema@.workflow_events IS 'What happened in runs of workflows. One partition for each month in UTC.';
COMMENT ON COLUMN @schema@.workflow_events.ts IS 'When it happened; the partition key';
-- Of the parent, so that every partition has them, whoever makes it. The first serves both a run and its times.
CREATE INDEX workflow_events_run_ts_idx ON @schema@.workflow_events (run_id, ts);
CREATE INDEX workflow_events_type_idx ON @schema@.workflow_events (type);

CREATE FUNCTION @schema@.create_workflow_events_partition(at timestamp) RETURNS regclass
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$ SELECT @schema@.@template@_create_month_partition('@schema@.workflow_events'::regclass, at, '"workflow_events_y"YYYY"m"MM'::text) $$;
COMMENT ON FUNCTION @schema@.create_workflow_events_partition(timestamp) IS
'The partition of workflow_events for the month of at, a date or a time in UTC; made if there is none.';

CREATE FUNCTION @schema@.maintain_workflow_events_partitions(as_of timestamptz DEFAULT now()) RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    present bigint := (SELECT count(*) FROM pg_inherits WHERE inhparent = '@schema@.workflow_events'::regclass);
BEGIN
    PERFORM @schema@.create_workflow_events_partition((as_of AT TIME ZONE 'UTC') + make_interval(months => n)) FROM generate_series(0, 3) n;
    RETURN (SELECT count(*) FROM pg_inherits WHERE inhparent = '@schema@.workflow_events'::regclass) - present;
END
$$;
COMMENT ON FUNCTION @schema@.maintain_workflow_events_partitions(timestamptz) IS
'Makes the partitions of workflow_events for the month of as_of and the three after it, where they are missing; returns how many. The partition policy of orchestry_ext does the same.';

CREATE FUNCTION @schema@.drop_old_workflow_events_partitions(months integer DEFAULT 12, as_of timestamptz DEFAULT now()) RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $$
DECLARE
    old record;
    dropped integer := 0;
BEGIN
    IF months IS NULL OR months < 1 THEN
        RAISE EXCEPTION 'months must be at least 1' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF as_of IS NULL OR NOT isfinite(as_of) THEN
        RAISE EXCEPTION 'as_of must be a finite time' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    FOR old IN
        SELECT b.partition, b.from_at, b.to_at FROM @schema@.@template@_partition_bounds('@schema@.workflow_events'::regclass) b
        WHERE b.to_at <= (date_trunc('month', as_of AT TIME ZONE 'UTC') - make_interval(months => months)) AT TIME ZONE 'UTC' ORDER BY b.to_at
    LOOP
        IF @schema@.@template@_must_stay(old.partition, old.from_at, old.to_at) THEN
            RAISE NOTICE 'partition % stays: it is held', old.partition USING HINT = 'See SELECT * FROM orchestry.holds;';
            CONTINUE;
        END IF;
        EXECUTE format('DROP TABLE %s', old.partition);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END
$$;
COMMENT ON FUNCTION @schema@.drop_old_workflow_events_partitions(integer, timestamptz) IS
'Drops the partitions of workflow_events that ended that many months before the month of as_of, for good; returns how many. Partitions under a hold of orchestry_ext stay. The retention policy of orchestry_ext keeps them in quarantine first. 22023 for less than one month or a time that is not finite, 55P03 when others are at the table for two seconds.';

CREATE FUNCTION @schema@.get_workflow_run_events(run uuid, from_at timestamptz DEFAULT NULL, to_at timestamptz DEFAULT NULL)
RETURNS SETOF @schema@.workflow_events
LANGUAGE sql STABLE PARALLEL SAFE
-- Written so that partitions out of the times are not looked at; an event at infinity lies within no limit.
BEGIN ATOMIC
    SELECT e.* FROM @schema@.workflow_events e
    WHERE e.run_id = run AND e.ts >= COALESCE(from_at, '-infinity') AND e.ts <= COALESCE(to_at - interval '1 microsecond', 'infinity')
      AND e.ts IS DISTINCT FROM to_at
    ORDER BY e.ts, e.id;
END;
COMMENT ON FUNCTION @schema@.get_workflow_run_events(uuid, timestamptz, timestamptz) IS
'The events of a run, oldest first, from from_at up to but without to_at; NULL: no limit. Times make it faster: partitions out of them are not read.';

CREATE VIEW @schema@.workflow_events_partition_info AS
SELECT c.relname::text AS partition_name, pg_size_pretty(pg_total_relation_size(c.oid)) AS size,
       CASE WHEN c.reltuples >= 0 THEN c.reltuples::bigint END AS row_count_estimate
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = '@schema@.workflow_events'::regclass;
COMMENT ON VIEW @schema@.workflow_events_partition_info IS 'The partitions of workflow_events: size with indexes, and rows as of the last ANALYZE or VACUUM (NULL: never).';

CREATE FUNCTION @schema@.get_workflow_events_partition_stats()
RETURNS TABLE (partition_name text, from_at timestamptz, to_at timestamptz, row_count bigint, size_bytes bigint, size_pretty text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT c.relname::text, b.from_at, b.to_at, COALESCE(e.row_count, 0), s.bytes, pg_size_pretty(s.bytes)
    FROM @schema@.@template@_partition_bounds('@schema@.workflow_events'::regclass) b JOIN pg_class c ON c.oid = b.partition
    LEFT JOIN (SELECT w.tableoid, count(*) AS row_count FROM @schema@.workflow_events w GROUP BY w.tableoid) e ON e.tableoid = c.oid
    CROSS JOIN LATERAL (SELECT pg_total_relation_size(c.oid) AS bytes) s
    ORDER BY b.from_at, c.relname
$$;
COMMENT ON FUNCTION @schema@.get_workflow_events_partition_stats() IS
'The partitions of workflow_events with their times, exact numbers of rows, and sizes with indexes. Reads the whole table.';

-- @policies@
SELECT orchestry.add_partition_policy('@schema@.workflow_events'::regclass, every => interval '1 month', ahead => interval '3 months',
    past => interval '2 months', name_pattern => 'workflow_events_y{YYYY}m{MM}', schedule => '0 2 * * *');
SELECT orchestry.add_retention_policy('@schema@.workflow_events'::regclass, keep => interval '12 months', schedule => '0 3 * * *');
