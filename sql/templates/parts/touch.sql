
CREATE FUNCTION @schema@.@template@_touch_updated_at() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NEW.updated_at IS NOT DISTINCT FROM OLD.updated_at THEN
        NEW.updated_at := now();
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION @schema@.@template@_touch_updated_at() IS 'Trigger: a row that is changed gets a new updated_at, unless the change gives one.';
