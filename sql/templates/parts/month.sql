
CREATE FUNCTION @schema@.@template@_create_month_partition(parent regclass, at timestamp, name_format text) RETURNS regclass
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC' SET DateStyle = 'ISO, MDY' SET lock_timeout = '2s'
AS $$
DECLARE
    month timestamp := date_trunc('month', at);
    partition regclass;
    qualified text;
BEGIN
    IF month IS NULL OR NOT isfinite(month) THEN
        RAISE EXCEPTION 'the time of a partition must be finite' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- One at a time. Readers and writers of the table go on, here and in ATTACH PARTITION.
    EXECUTE format('LOCK TABLE %s IN SHARE UPDATE EXCLUSIVE MODE', parent);
    SELECT b.partition INTO partition FROM @schema@.@template@_partition_bounds(parent) b
    WHERE b.from_at <= at AT TIME ZONE 'UTC' AND b.to_at > at AT TIME ZONE 'UTC';
    IF FOUND THEN
        RETURN partition;
    END IF;
    SELECT format('%I.%I', n.nspname, to_char(month, name_format)) INTO qualified
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = parent;
    EXECUTE format('CREATE TABLE %s (LIKE %s INCLUDING ALL EXCLUDING IDENTITY)', qualified, parent);
    partition := qualified::regclass;
    -- Whoever calls this, a superuser maybe: of another owner than the table's, retention would have to leave it.
    IF (SELECT c.relowner <> p.relowner FROM pg_class c, pg_class p WHERE c.oid = partition AND p.oid = parent) THEN
        EXECUTE (SELECT format('ALTER TABLE %s OWNER TO %I', partition, pg_get_userbyid(p.relowner)) FROM pg_class p WHERE p.oid = parent);
    END IF;
    -- Policies are the parent's: without any of its own, a partition that is read by its own name shows nothing.
    IF (SELECT c.relrowsecurity FROM pg_class c WHERE c.oid = parent) THEN
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', partition);
    END IF;
    EXECUTE format('ALTER TABLE %s ATTACH PARTITION %s FOR VALUES FROM (%L) TO (%L)', parent, partition, month, month + interval '1 month');
    RETURN partition;
END
$$;
COMMENT ON FUNCTION @schema@.@template@_create_month_partition(regclass, timestamp, text) IS
'The partition that rows of the time at, in UTC, go to; if there is none, one for its month is made, whose name_format is one of to_char() over the first day of the month. It has all indexes and constraints of the table, and its owner. 55P03 when others are at it for two seconds, 42P07 when its name is taken.';
