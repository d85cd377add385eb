
CREATE FUNCTION @schema@.@template@_partition_bounds(parent regclass) RETURNS TABLE (partition regclass, from_at timestamptz, to_at timestamptz)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC' SET DateStyle = 'ISO, MDY'
AS $$
    SELECT i.inhrelid::regclass,
           (regexp_match(b.bound, 'FROM [(]''([^'']+)''[)]'))[1]::timestamptz, (regexp_match(b.bound, 'TO [(]''([^'']+)''[)]'))[1]::timestamptz
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid CROSS JOIN LATERAL pg_get_expr(c.relpartbound, c.oid) b(bound)
    WHERE i.inhparent = parent AND c.relispartition
$$;
COMMENT ON FUNCTION @schema@.@template@_partition_bounds(regclass) IS
'The partitions of a table with the times that they are for, from from_at up to but without to_at; NULL: no limit, or the default partition. Times without a zone are in UTC.';
