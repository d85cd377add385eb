-- Materialized views: what a query reads that its text does not show, and what assume_pure does not waive.
\set VERBOSITY terse
SET client_min_messages = warning;
SET TimeZone = 'UTC';
CREATE SCHEMA matview_reads;
SET search_path = matview_reads;
SELECT setval('orchestry.job_job_id_seq', 14001, false);
CREATE TABLE t (id int, at timestamptz);
INSERT INTO t VALUES (1, '2026-03-10Z');
CREATE TABLE cfg (k int);
INSERT INTO cfg VALUES (3);

-- Each view with a policy is refreshed; what is shown then is what becomes of those that need it.
CREATE VIEW needed AS SELECT m.matview, p.reason FROM orchestry.matviews m, orchestry.plan(m.matview) p WHERE m.job_id BETWEEN 14001 AND 14999 AND p.action = 'refresh';
CREATE VIEW jobs AS SELECT matview, job_id FROM orchestry.matviews WHERE job_id BETWEEN 14001 AND 14999;
CREATE PROCEDURE refresh_needed() LANGUAGE plpgsql AS $$
DECLARE
    v regclass;
BEGIN
    FOR v IN SELECT c.oid FROM pg_class c WHERE c.relnamespace = 'matview_reads'::regnamespace AND c.relkind = 'm' ORDER BY c.oid LOOP
        PERFORM orchestry.add_refresh_policy(v, mode => 'plain') FROM pg_class c WHERE c.oid = v AND v NOT IN (SELECT matview FROM matview_reads.jobs);
    END LOOP;
    FOR v IN SELECT matview FROM matview_reads.jobs ORDER BY job_id LOOP
        CALL orchestry.refresh(v);
    END LOOP;
END$$;
CREATE PROCEDURE remove_all() LANGUAGE plpgsql AS $$
DECLARE
    v regclass;
BEGIN
    PERFORM orchestry.remove_policy(job_id) FROM matview_reads.jobs;
    FOR v IN SELECT c.oid FROM pg_class c WHERE c.relnamespace = 'matview_reads'::regnamespace AND c.relkind = 'm' ORDER BY c.oid DESC LOOP
        EXECUTE format('DROP MATERIALIZED VIEW %s', v);
    END LOOP;
END$$;

-- Defaults of arguments, where they are used.
CREATE FUNCTION plus() RETURNS int LANGUAGE sql STABLE BEGIN ATOMIC SELECT max(k) FROM cfg; END;
CREATE FUNCTION opaque_plus() RETURNS int LANGUAGE plpgsql STABLE SET search_path = matview_reads AS 'BEGIN RETURN (SELECT max(k) FROM cfg); END';
CREATE FUNCTION times(x int, k int DEFAULT plus()) RETURNS int IMMUTABLE LANGUAGE sql RETURN x * k;
CREATE FUNCTION opaque_times(x int, k int DEFAULT opaque_plus()) RETURNS int IMMUTABLE LANGUAGE sql RETURN x * k;
CREATE FUNCTION age_s(a timestamptz, n timestamptz DEFAULT clock_timestamp()) RETURNS float8 IMMUTABLE LANGUAGE sql AS 'SELECT extract(epoch FROM n - a)::float8';
CREATE MATERIALIZED VIEW d_times AS SELECT times(id) FROM t;
CREATE MATERIALIZED VIEW d_opaque AS SELECT opaque_times(id) FROM t;
CREATE MATERIALIZED VIEW d_age AS SELECT age_s(at) FROM t;
CREATE MATERIALIZED VIEW d_given AS SELECT opaque_times(id, 2), age_s(a => at, n => at) FROM t;
CALL refresh_needed();
SELECT * FROM needed ORDER BY 1;
UPDATE cfg SET k = 7;
SELECT * FROM needed ORDER BY 1;
CALL remove_all();

-- Bodies of functions that say that they are immutable: what they are made of, and what they read all the same.
CREATE FUNCTION rate(x int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION price(x int) RETURNS int IMMUTABLE LANGUAGE sql RETURN x * rate(x);
CREATE FUNCTION lie() RETURNS int IMMUTABLE LANGUAGE sql BEGIN ATOMIC SELECT max(k) FROM cfg; END;
CREATE FUNCTION vouched(x timestamptz) RETURNS text IMMUTABLE LANGUAGE sql RETURN x::text || current_user || opaque_plus();
CREATE MATERIALIZED VIEW i_price AS SELECT price(id) FROM t;
CREATE MATERIALIZED VIEW i_lie AS SELECT lie();
CREATE MATERIALIZED VIEW i_vouched AS SELECT vouched(at) FROM t;
CREATE MATERIALIZED VIEW i_both AS SELECT vouched(at), opaque_plus() FROM t;
CALL refresh_needed();
SELECT * FROM needed ORDER BY 1;
CREATE OR REPLACE FUNCTION rate(x int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 2';
SELECT * FROM needed ORDER BY 1;
UPDATE cfg SET k = 8;
CALL orchestry.refresh('i_price');
SELECT * FROM needed ORDER BY 1;
CALL remove_all();

-- Text and JSON of values that are names of something else.
CREATE DOMAIN part AS regclass;
CREATE TYPE place AS (part part, at int4range);
CREATE TABLE placed (p place);
CREATE AGGREGATE any_text(anynonarray) (SFUNC = textanycat, STYPE = text, INITCOND = '');
CREATE VIEW records AS SELECT tableoid::regclass AS part FROM t;
CREATE MATERIALIZED VIEW w_cat AS SELECT 'part ' || tableoid::regclass FROM t;
CREATE MATERIALIZED VIEW w_json AS SELECT json_build_object('p', tableoid::regclass) FROM t;
CREATE MATERIALIZED VIEW w_agg AS SELECT json_agg(tableoid::regtype) FROM t;
CREATE MATERIALIZED VIEW w_role AS SELECT concat(tableoid::regrole) FROM t;
CREATE MATERIALIZED VIEW w_array AS SELECT array_to_string(ARRAY[tableoid::regclass], ' ') FROM t;
CREATE MATERIALIZED VIEW w_record AS SELECT row_to_json(r) FROM (SELECT tableoid::regclass FROM t) r;
CREATE MATERIALIZED VIEW w_row AS SELECT ROW(tableoid::regclass)::text FROM t;
CREATE MATERIALIZED VIEW w_view AS SELECT to_jsonb(records) FROM records;
CREATE MATERIALIZED VIEW w_field AS SELECT to_json(ARRAY[p]) FROM placed;
CREATE MATERIALIZED VIEW w_any AS SELECT any_text(tableoid::regclass) FROM t;
CREATE MATERIALIZED VIEW w_xml AS SELECT xmlforest(tableoid::regclass AS p)::text FROM t;
CREATE MATERIALIZED VIEW w_known AS SELECT row_to_json(r), concat(at, r.*, at::date, id), to_jsonb(t), any_text(at) OVER ()
    FROM t, LATERAL (SELECT ARRAY[at], tstzrange(at, at), numrange(1, 2), interval '1 h', 'x'::name, '{}'::jsonb) r;
CREATE MATERIALIZED VIEW w_kept AS SELECT tableoid::regclass AS part, concat(at, id) FROM t;
CREATE MATERIALIZED VIEW w_compared AS SELECT id, 'x ' || id FROM t WHERE tableoid = 'matview_reads.t'::regclass;
CALL refresh_needed();
SELECT * FROM needed ORDER BY 1;
CALL remove_all();

-- Labels and fields that get another name; how words are found.
CREATE TYPE mood AS ENUM ('ok', 'sad');
CREATE TABLE moods (m mood);
INSERT INTO moods VALUES ('ok');
CREATE TABLE fields (a int);
CREATE TABLE holder (r fields);
INSERT INTO holder VALUES (ROW(1));
CREATE TEXT SEARCH CONFIGURATION words (COPY = simple);
CREATE MATERIALIZED VIEW n_xml AS SELECT xmlforest(m)::text AS x FROM moods;
CREATE MATERIALIZED VIEW n_fields AS SELECT to_json(r)::text AS x FROM holder;
CREATE MATERIALIZED VIEW n_words AS SELECT to_tsvector('matview_reads.words', 'The cats ' || id)::text AS x FROM t;
CREATE MATERIALIZED VIEW n_none AS SELECT m FROM moods;
CALL refresh_needed();
SELECT * FROM needed ORDER BY 1;
ALTER TABLE fields RENAME COLUMN a TO aa;
SELECT * FROM needed ORDER BY 1;
CALL refresh_needed();
TABLE n_fields;
ALTER TEXT SEARCH CONFIGURATION words ALTER MAPPING FOR asciiword WITH english_stem;
SELECT * FROM needed ORDER BY 1;
CALL refresh_needed();
TABLE n_words;
ALTER TYPE mood RENAME VALUE 'ok' TO 'fine';
SELECT matview FROM needed WHERE matview IN ('n_xml'::regclass, 'n_none'::regclass);
CALL remove_all();

-- A class of operators is what its functions are.
CREATE TYPE pair AS (a int, b text);
CREATE FUNCTION pair_cmp(pair, pair) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT pg_catalog.btint4cmp(($1).a, ($2).a)';
CREATE FUNCTION pair_eq(pair, pair) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT ($1).a OPERATOR(pg_catalog.=) ($2).a';
CREATE FUNCTION pair_lt(pair, pair) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT ($1).a OPERATOR(pg_catalog.<) ($2).a';
CREATE OPERATOR = (LEFTARG = pair, RIGHTARG = pair, FUNCTION = pair_eq);
CREATE OPERATOR < (LEFTARG = pair, RIGHTARG = pair, FUNCTION = pair_lt);
CREATE OPERATOR CLASS pair_ops DEFAULT FOR TYPE pair USING btree AS OPERATOR 1 <, OPERATOR 3 =, FUNCTION 1 pair_cmp(pair, pair);
CREATE TABLE pairs (p pair, n int);
CREATE MATERIALIZED VIEW o_distinct AS SELECT DISTINCT p FROM pairs;
CREATE MATERIALIZED VIEW o_group AS SELECT count(*) FROM pairs GROUP BY p;
CREATE MATERIALIZED VIEW o_agg AS SELECT array_agg(n ORDER BY p) FROM pairs;
CREATE MATERIALIZED VIEW o_window AS SELECT rank() OVER (PARTITION BY p) FROM pairs;
CREATE MATERIALIZED VIEW o_union AS SELECT p FROM pairs UNION SELECT p FROM pairs;
CREATE MATERIALIZED VIEW o_none AS SELECT p FROM pairs ORDER BY n;
CALL refresh_needed();
SELECT * FROM needed ORDER BY 1;
CREATE OR REPLACE FUNCTION pair_cmp(pair, pair) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 0';
SELECT matview FROM needed ORDER BY 1;
CALL remove_all();

-- assume_pure: what may depend on more is watched all the same, and what can be changed in parts that nobody sees is not waived.
CREATE TABLE secured (v int);
ALTER TABLE secured ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE TABLE mixed (v int) PARTITION BY RANGE (v);
CREATE TABLE mixed_1 PARTITION OF mixed FOR VALUES FROM (0) TO (10);
CREATE UNLOGGED TABLE mixed_2 PARTITION OF mixed FOR VALUES FROM (10) TO (20);
CREATE UNLOGGED TABLE forgetful (v int);
CREATE MATERIALIZED VIEW p_secured AS SELECT count(*) FROM secured;
CREATE MATERIALIZED VIEW p_mixed AS SELECT count(*) FROM mixed;
CREATE MATERIALIZED VIEW p_forgetful AS SELECT count(*) FROM forgetful;
SET client_min_messages = notice;
\set VERBOSITY default
SELECT orchestry.add_refresh_policy(v, mode => 'plain', assume_pure => true) > 14000 AS added FROM unnest('{p_secured,p_mixed,p_forgetful}'::regclass[]) v;
\set VERBOSITY terse
SET client_min_messages = warning;
CALL refresh_needed();
SELECT * FROM needed ORDER BY 1;
INSERT INTO secured VALUES (1);
SELECT * FROM needed ORDER BY 1;
SELECT orchestry.alter_policy(job_id, '{"change_detection": "stats"}') FROM jobs WHERE matview = 'p_mixed'::regclass;
SELECT pg_stat_force_next_flush();
CALL refresh_needed();
SELECT * FROM needed ORDER BY 1;
INSERT INTO mixed VALUES (1);
SELECT pg_stat_force_next_flush();
SELECT * FROM needed ORDER BY 1;
CALL remove_all();

-- Views that read one another through a function: each job refreshes its own.
CREATE FUNCTION other_count() RETURNS bigint LANGUAGE sql STABLE RETURN 1;
CREATE MATERIALIZED VIEW c_one AS SELECT other_count() AS n;
CREATE MATERIALIZED VIEW c_two AS SELECT n FROM c_one;
CREATE OR REPLACE FUNCTION other_count() RETURNS bigint LANGUAGE sql STABLE BEGIN ATOMIC SELECT count(*) FROM c_two; END;
SELECT orchestry.add_refresh_policy(v, mode => 'plain') > 14000 AS added FROM unnest('{c_one,c_two}'::regclass[]) v;
SELECT action, object FROM orchestry.plan('c_one');
SELECT action, object FROM orchestry.plan('c_two');
CALL refresh_needed();
CREATE OR REPLACE FUNCTION other_count() RETURNS bigint LANGUAGE sql STABLE RETURN 1;
CALL remove_all();

-- A function that finds its tables where its author looks, and the query does not.
CREATE FUNCTION pathless() RETURNS bigint STABLE LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT count(*) FROM t); END';
CREATE MATERIALIZED VIEW h_path AS SELECT pathless() AS n WITH NO DATA;
SELECT orchestry.add_refresh_policy('h_path', mode => 'plain') > 14000 AS added;
\set VERBOSITY default
\set SHOW_CONTEXT never
CALL orchestry.refresh('h_path');
ALTER FUNCTION pathless() SET search_path = matview_reads;
CALL orchestry.refresh('h_path');
TABLE h_path;

DROP SCHEMA matview_reads CASCADE;
CALL orchestry.run_due();
SELECT count(*) FROM orchestry.jobs WHERE job_id BETWEEN 14001 AND 14999;
