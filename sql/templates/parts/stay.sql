
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
    -- Whoever removes rows need not own the table, and then sees neither its holds nor its rollups.
    EXECUTE 'SELECT orchestry._must_stay($1, $2, $3)' INTO stays USING relation, from_at, to_at;
    RETURN stays;
END
$$;
COMMENT ON FUNCTION @schema@.@template@_must_stay(regclass, timestamptz, timestamptz) IS
'Whether rows of the table with times from from_at up to to_at are under a legal hold of orchestry_ext, or changed since a rollup of it has read them. False without the extension.';
