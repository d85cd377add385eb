-- Many tables: the checks compare nothing with everything, whether the server has statistics of its catalogs or not.
SET client_min_messages = warning;
SET jit = off;
BEGIN;
CREATE SCHEMA hm;
CREATE FUNCTION hm.most_rows(query text) RETURNS numeric LANGUAGE plpgsql AS $$
DECLARE
    plan jsonb;
BEGIN
    EXECUTE 'EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) ' || query INTO plan;
    RETURN (SELECT max((n ->> 'Actual Loops')::numeric * ((n ->> 'Actual Rows')::numeric + COALESCE((n ->> 'Rows Removed by Join Filter')::numeric, 0) + COALESCE((n ->> 'Rows Removed by Filter')::numeric, 0)))
            FROM jsonb_path_query(plan, 'strict $.** ? (exists (@."Actual Rows"))', silent => true) n);
END $$;
DO $$
BEGIN
    FOR i IN 1..300 LOOP
        EXECUTE format('CREATE TABLE hm.p%1$s (id bigserial PRIMARY KEY); CREATE TABLE hm.c%1$s (id serial PRIMARY KEY, p bigint REFERENCES hm.p%1$s)', i);
    END LOOP;
END $$;
CREATE VIEW hm.check AS SELECT 'orchestry._check_' || unnest('{missing_fk_index,duplicate_index,invalid_index,sequence}'::text[]) AS view;
SELECT view FROM hm.check WHERE view !~ 'duplicate' AND hm.most_rows('SELECT * FROM ' || view) > 50000;
ANALYZE pg_class, pg_index, pg_am, pg_constraint, pg_depend, pg_attrdef, pg_sequence, pg_attribute, pg_type, pg_inherits;
SELECT view FROM hm.check WHERE hm.most_rows('SELECT * FROM ' || view) > 50000;
SELECT count(*) FROM orchestry.missing_fk_indexes WHERE relation::text LIKE 'hm.%';
SELECT count(*) FROM orchestry.sequence_usage WHERE sequence::text LIKE 'hm.%' AND relation::text LIKE 'hm.%';
ROLLBACK;
