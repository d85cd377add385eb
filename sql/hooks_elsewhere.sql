-- The hooks of a preloaded library are there in databases without the extension, too: they run nothing of what somebody has put
-- into a schema of its name, whatever a superuser does there.
CREATE ROLE regress_stranger LOGIN;
CREATE DATABASE regress_without OWNER regress_stranger;
SELECT current_database() AS here \gset
\c regress_without
CREATE TABLE public.seen (who text);
GRANT ALL ON public.seen TO PUBLIC;
SET SESSION AUTHORIZATION regress_stranger;
CREATE SCHEMA orchestry;
CREATE TABLE orchestry.job (job_id bigint);
CREATE TABLE orchestry.late (v int);
CREATE FUNCTION orchestry.late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.seen VALUES (current_user); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER late AFTER INSERT ON orchestry.late DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION orchestry.late();
CREATE FUNCTION orchestry.trap() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.seen VALUES (current_user); INSERT INTO orchestry.late VALUES (1); RETURN 1; END $$;
CREATE VIEW orchestry._hold AS SELECT orchestry.trap() AS hold_id, 0::oid AS held, now() AS from_at, now() AS to_at, ''::text AS predicate, ''::text AS reason,
    NULL::name[] AS column_names, NULL::int2[] AS column_numbers, NULL::timestamptz AS released_at;
CREATE VIEW orchestry._detached AS SELECT 0::oid AS relid, ''::name AS quarantine_name, ''::name AS table_name, 0::oid AS parent, orchestry.trap() AS job_id, ''::text AS bounds,
    now() AS from_at, now() AS to_at, now() AS detached_at;
CREATE VIEW orchestry.refresh_state AS SELECT orchestry.trap() AS job_id, ARRAY[0]::oid[] AS parents;
CREATE TABLE orchestry.hold (hold_id bigint, released_at timestamptz);
INSERT INTO orchestry.hold VALUES (1, NULL);
ALTER TABLE orchestry.hold ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY p ON orchestry.hold USING (orchestry.trap() IS NULL);
RESET SESSION AUTHORIZATION;
TRUNCATE public.seen;
CREATE TABLE public.t (id int, a int) PARTITION BY RANGE (id);
CREATE TABLE public.t_1 PARTITION OF public.t FOR VALUES FROM (0) TO (1);
INSERT INTO public.t VALUES (0);
CREATE MATERIALIZED VIEW public.m AS SELECT count(*) FROM public.t;
REFRESH MATERIALIZED VIEW public.m;
ALTER TABLE public.t RENAME COLUMN a TO b;
TRUNCATE public.t_1;
ALTER TABLE public.t DETACH PARTITION public.t_1 CONCURRENTLY;
ALTER TABLE public.t ATTACH PARTITION public.t_1 FOR VALUES FROM (0) TO (1);
ALTER TABLE public.t DROP COLUMN b;
DROP TABLE public.t CASCADE;
DROP TABLE orchestry.hold;
SELECT * FROM public.seen;
\c :here
DROP DATABASE regress_without;
DROP ROLE regress_stranger;
