
CREATE FUNCTION @schema@.@template@_must_stay(relation regclass, from_at timestamptz, to_at timestamptz) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    stays boolean;
BEGIN
    -- The schema orchestry is what it seems to be only where the extension is.
    IF NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'orchestry_ext') THEN
        RETURN false;
    END IF;
    EXECUTE $query$
        SELECT EXISTS (SELECT FROM orchestry.holds h WHERE h.released_at IS NULL
                           AND (h.relation = $1 OR h.relation IN (SELECT pg_partition_ancestors($1))
                                OR $1 IN (SELECT pg_partition_ancestors(h.relation)))
                           AND (h."from" IS NULL OR h."from" < $3) AND (h."to" IS NULL OR h."to" > $2))
            OR EXISTS (SELECT FROM orchestry.rollups r WHERE (r.source = $1 OR r.source IN (SELECT pg_partition_ancestors($1)))
                           AND r.dirty && tstzmultirange(tstzrange($2, $3)))
    $query$ INTO stays USING relation, from_at, to_at;
    RETURN stays;
END
$$;
COMMENT ON FUNCTION @schema@.@template@_must_stay(regclass, timestamptz, timestamptz) IS
'Whether rows of the table with times from from_at up to to_at are under a legal hold of orchestry_ext, or changed since a rollup of it has read them. False without the extension.';
