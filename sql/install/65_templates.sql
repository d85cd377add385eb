-- Templates: schemas ready to use. Their text is in sql/templates; lines that begin with \i are replaced by files when the
-- install script is put together. What is installed belongs to the caller and not to the extension. Others may make functions in
-- its schema: arguments of the template's own functions have exactly their types, or else another one of the name may be meant.

CREATE FUNCTION orchestry._template(template text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $function$
SELECT CASE template
WHEN 'control_plane' THEN $template$
\i sql/templates/parts/bounds.sql
\i sql/templates/parts/stay.sql
\i sql/templates/parts/touch.sql
\i sql/templates/control_plane.sql
$template$
WHEN 'workflow_events' THEN $template$
\i sql/templates/parts/bounds.sql
\i sql/templates/parts/stay.sql
\i sql/templates/parts/month.sql
\i sql/templates/workflow_events.sql
$template$
WHEN 'temporal' THEN $template$
\i sql/templates/temporal.sql
$template$
WHEN 'temporal_visibility' THEN $template$
\i sql/templates/parts/bounds.sql
\i sql/templates/parts/stay.sql
\i sql/templates/parts/month.sql
\i sql/templates/temporal_visibility.sql
$template$
WHEN 'preferences' THEN $template$
\i sql/templates/parts/stay.sql
\i sql/templates/parts/touch.sql
\i sql/templates/preferences.sql
$template$
END
$function$;
COMMENT ON FUNCTION orchestry._template(text) IS 'The statements of a template, with @schema@ for the schema and @template@ for its own name; NULL: there is none of that name. Internal.';

CREATE FUNCTION orchestry._template_columns(template text) RETURNS TABLE (table_name name, column_name name, column_type regtype)
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
    -- The text is what says which tables there are: each column has a line, its type in small letters.
    SELECT t.definition[1], c.definition[1], c.definition[2]::regtype
    FROM regexp_matches(orchestry._template(template), '^CREATE TABLE @schema@\.(\w+) \(([^;]*);', 'gw') t(definition),
         regexp_matches(t.definition[2], '^    ([a-z_0-9]+) ([a-z0-9]+(?: precision)?(?:\(\d+\))?(?:\[\])?)', 'gw') c(definition)
$$;
COMMENT ON FUNCTION orchestry._template_columns(text) IS 'The columns of the tables that a template makes. Internal.';

CREATE FUNCTION orchestry.install_template(template text, schema_name name DEFAULT NULL) RETURNS name
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $function$
DECLARE
    script text := orchestry._template(template);
    place name := COALESCE(schema_name, template::name);
    tables bigint;
    present bigint;
    misfit record;
    policies text;
    lacks_policies boolean;
BEGIN
    IF script IS NULL THEN
        RAISE EXCEPTION 'there is no template %', quote_nullable(template) USING ERRCODE = 'invalid_parameter_value',
            DETAIL = 'The templates are control_plane, workflow_events, temporal, temporal_visibility and preferences.',
            HINT = 'Run SELECT orchestry.install_template(''control_plane'').';
    END IF;
    -- The characters that PostgreSQL refuses in the schema of an extension, for the same reason.
    IF place = '' OR place ~ '["$''\\]' THEN
        RAISE EXCEPTION 'a template cannot be installed in schema %', quote_nullable(place) USING ERRCODE = 'invalid_schema_name',
            DETAIL = 'The name must not be empty or contain any of "$''\.';
    END IF;
    IF place ~ '^pg_' OR place IN ('information_schema', 'orchestry') THEN
        RAISE EXCEPTION 'a template cannot be installed in schema %', quote_ident(place) USING ERRCODE = 'reserved_name',
            DETAIL = 'It belongs to the server or to an extension.',
            HINT = format('Run SELECT orchestry.install_template(%L).', template);
    END IF;
    -- Who installs the same at the same time waits, and finds it there.
    PERFORM pg_advisory_xact_lock(hashtextextended('orchestry.install_template ' || place, 0));

    SELECT count(DISTINCT t.table_name), count(DISTINCT c.oid) INTO tables, present
    FROM orchestry._template_columns(template) t LEFT JOIN pg_namespace n ON n.nspname = place
    LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t.table_name;
    IF present > 0 THEN
        SELECT t.table_name, t.column_name, t.column_type, c.oid IS NOT NULL AS is_present INTO misfit
        FROM orchestry._template_columns(template) t JOIN pg_namespace n ON n.nspname = place
        LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t.table_name
        LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = t.column_name AND a.attnum > 0 AND a.atttypid = t.column_type
        WHERE c.relkind IS DISTINCT FROM 'r' AND c.relkind IS DISTINCT FROM 'p' OR a.attrelid IS NULL
        ORDER BY is_present DESC, t.table_name, a.attrelid IS NOT NULL, t.column_name LIMIT 1;
        IF FOUND THEN
            RAISE EXCEPTION 'schema % has tables with the names of template %, which are not its own', quote_ident(place), template
                USING ERRCODE = 'duplicate_table',
                DETAIL = CASE WHEN misfit.is_present THEN format('Table %I has no column %I of type %s.', misfit.table_name, misfit.column_name, misfit.column_type)
                              ELSE format('There is no table %I.', misfit.table_name) END,
                HINT = format('Run SELECT orchestry.install_template(%L, %L).', template, left(place, 55) || '_new');
        END IF;
        RAISE NOTICE 'template % is in schema % already', template, quote_ident(place);
        -- Policies go with the extension, and the tables stay. Where all are gone, those of the template are made again; where some
        -- are there, the others were removed by somebody who wants that.
        policies := substring(script FROM '-- @policies@.*');
        SELECT bool_and(pg_has_role(c.relowner, 'USAGE') AND NOT orchestry._has_job(c.oid)) INTO lacks_policies
        FROM (SELECT DISTINCT p.relid FROM regexp_matches(policies, '''@schema@[.](\w+)''::regclass', 'g') t(name)
              CROSS JOIN LATERAL to_regclass(format('%I.%I', place, t.name[1])) r(relation)
              CROSS JOIN LATERAL (SELECT r.relation AS relid UNION SELECT i.relid FROM pg_partition_tree(r.relation) i) p) m
        JOIN pg_class c ON c.oid = m.relid;
        IF lacks_policies THEN
            EXECUTE replace(replace(policies, '@template@', template), '@schema@', quote_ident(place));
            RAISE NOTICE 'its policies were not there, and are again' USING HINT = 'See SELECT * FROM orchestry.jobs;';
        END IF;
        RETURN place;
    END IF;

    IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = place) THEN
        EXECUTE format('CREATE SCHEMA %I', place);
    END IF;
    EXECUTE replace(replace(script, '@template@', template), '@schema@', quote_ident(place));
    RETURN place;
END
$function$;
COMMENT ON FUNCTION orchestry.install_template(text, name) IS
'Makes the tables, functions and policies of a template (control_plane, workflow_events, temporal, temporal_visibility, preferences) in a schema, by default one of the template''s name, which is made if there is none; returns its name. All belongs to the caller, none of it to the extension. Again is a NOTICE, and changes nothing but that policies are made again where none of them is there, as after DROP EXTENSION. 22023 for another template, 3F000 and 42939 for a schema that cannot be, 42501 without the right to create, 42P07 when other tables have the names.';
