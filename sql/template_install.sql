-- install_template(): what it makes and for whom, again, and what is refused. Every refusal changes nothing.
\set SHOW_CONTEXT never
SET TimeZone = 'UTC';
SET client_min_messages = warning;
SELECT setval('orchestry.job_job_id_seq', 8301, false);
SET orchestry.now = '2026-03-10 12:30Z';
CREATE ROLE template_user;
CREATE ROLE template_other;
GRANT CREATE ON DATABASE contrib_regression TO template_user;
\set templates '{control_plane,workflow_events,temporal,temporal_visibility,preferences}'

-- For an ordinary role. All that is made belongs to it, nothing to the extension, and all of it has a comment.
SET ROLE template_user;
SELECT orchestry.install_template(t) FROM unnest(:'templates'::text[]) WITH ORDINALITY u(t, n) ORDER BY n;
RESET ROLE;
CREATE VIEW made AS
SELECT 'pg_class'::regclass AS class, c.oid, c.relname::text AS name, c.relkind::text AS kind, c.relowner AS owner, c.relnamespace AS schema, c.relispartition AS is_part
FROM pg_class c WHERE c.relkind NOT IN ('i', 'I', 't')
UNION ALL SELECT 'pg_proc'::regclass, p.oid, p.proname, 'function', p.proowner, p.pronamespace, false FROM pg_proc p;
SELECT n.nspname, n.nspowner::regrole, count(*) AS objects, count(*) FILTER (WHERE m.owner <> 'template_user'::regrole) AS of_others,
       count(*) FILTER (WHERE m.kind IN ('r', 'p', 'v', 'm', 'function') AND NOT is_part AND m.name !~ '^users$|^workflow_runs$|^metrics_hourly'
                        AND COALESCE(obj_description(m.oid, m.class::text::name), '') = '') AS without_comment
FROM made m JOIN pg_namespace n ON n.oid = m.schema WHERE n.nspname::text = ANY (:'templates') GROUP BY n.oid ORDER BY n.nspname;
SELECT count(*) AS members FROM made m JOIN pg_depend d ON d.classid = m.class AND d.objid = m.oid AND d.deptype = 'e'
WHERE m.schema::regnamespace::text = ANY (:'templates');
-- What depends on the extension is its own rollup alone.
SELECT DISTINCT m.schema::regnamespace, m.name FROM made m JOIN pg_depend d ON d.classid = m.class AND d.objid = m.oid
JOIN pg_depend e ON e.deptype = 'e' AND e.classid = d.refclassid AND e.objid = d.refobjid AND e.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'orchestry_ext')
WHERE m.schema::regnamespace::text = ANY (:'templates') ORDER BY 2;
-- Each table is what the text of the template says, no more and no less: that is how it is known again.
SELECT t AS template, count(*) FILTER (WHERE c.table_name IS NULL OR a.attname IS NULL) AS differences, count(c.column_name) > 5 AS told
FROM unnest(:'templates'::text[]) t
CROSS JOIN LATERAL (SELECT * FROM orchestry._template_columns(t)) c
FULL JOIN (SELECT k.relnamespace::regnamespace::text AS schema, k.relname, a.attname, a.atttypid FROM pg_attribute a JOIN pg_class k ON k.oid = a.attrelid
           WHERE k.relnamespace::regnamespace::text = ANY (:'templates') AND k.relkind IN ('r', 'p') AND NOT k.relispartition AND a.attnum > 0
           AND k.relname NOT IN ('users', 'workflow_runs', 'metrics_hourly_buckets')) a
ON a.schema = t AND a.relname = c.table_name AND a.attname = c.column_name AND a.atttypid = c.column_type
GROUP BY t ORDER BY t;
-- No index does what another one does: one whose columns begin another one, or are another one's.
SELECT i.indexrelid::regclass, j.indexrelid::regclass AS instead
FROM pg_index i JOIN pg_index j ON j.indrelid = i.indrelid AND j.indexrelid <> i.indexrelid
JOIN pg_class c ON c.oid = i.indrelid JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_class y ON y.oid = j.indexrelid
WHERE c.relnamespace::regnamespace::text = ANY (:'templates') AND NOT c.relispartition AND NOT i.indisunique AND x.relam = y.relam
AND COALESCE(pg_get_expr(i.indpred, i.indrelid), '') = COALESCE(pg_get_expr(j.indpred, j.indrelid), '')
AND pg_get_indexdef(j.indexrelid) LIKE '%(' || rtrim(substring(pg_get_indexdef(i.indexrelid) FROM '\((.*)\)'), ')') || '%'
AND (SELECT string_agg(pg_get_indexdef(i.indexrelid, n, true), ',' ORDER BY n) FROM generate_series(1, i.indnkeyatts) n)
  = (SELECT string_agg(pg_get_indexdef(j.indexrelid, n, true), ',' ORDER BY n) FROM generate_series(1, i.indnkeyatts) n);
-- Foreign keys that have no index to find their rows by.
SELECT k.conrelid::regclass, k.conname FROM pg_constraint k WHERE k.contype = 'f' AND k.conparentid = 0 AND k.connamespace::regnamespace::text = ANY (:'templates')
AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = k.conrelid AND i.indkey[0] = k.conkey[1] AND i.indpred IS NULL);

SELECT job_id, kind, target, schedule, settings FROM orchestry.jobs WHERE job_id BETWEEN 8301 AND 8400 ORDER BY job_id;

-- Again: a notice.
RESET client_min_messages;
CREATE TABLE inventory AS SELECT class, oid FROM made;
SET ROLE template_user;
SELECT orchestry.install_template(t) FROM unnest(:'templates'::text[]) WITH ORDINALITY u(t, n) ORDER BY n;
RESET ROLE;
SELECT count(*) FROM ((SELECT class, oid FROM made WHERE name <> 'inventory' EXCEPT TABLE inventory) UNION ALL (TABLE inventory EXCEPT SELECT class, oid FROM made)) d;
SELECT count(*) FROM orchestry.jobs WHERE job_id BETWEEN 8301 AND 8400;

-- Another schema, with a name that wants quotes, beside a table of one's own that the template refers to.
SET client_min_messages = warning;
SET ROLE template_user;
CREATE SCHEMA "Mixed case; 50%s --";
CREATE TABLE "Mixed case; 50%s --".users (email text, id bigint UNIQUE);
SELECT orchestry.install_template('preferences', 'Mixed case; 50%s --');
SELECT orchestry.create_partition('"Mixed case; 50%s --".user_preferences_history', now()) IS NOT NULL AS there; -- a change is written down as of now
INSERT INTO "Mixed case; 50%s --".users VALUES ('a@example.com', 7);
INSERT INTO "Mixed case; 50%s --".user_preferences (user_id, preferences) VALUES (7, '{"theme": "dark"}');
SELECT "Mixed case; 50%s --".get_user_preference(7, 'theme');
SELECT user_id, preferences, changed_by FROM "Mixed case; 50%s --".user_preferences_history;
SELECT orchestry.install_template('control_plane', 'Mixed case; 50%s --');
SELECT orchestry.install_template('temporal_visibility', 'visibility 2');
SELECT "visibility 2".cleanup_old_executions();
SELECT orchestry.install_template('workflow_events', 'events "?');
RESET client_min_messages;

-- What is refused.
SELECT orchestry.install_template('no such');
\echo :LAST_ERROR_SQLSTATE
SELECT orchestry.install_template(NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT orchestry.install_template('temporal', '');
\echo :LAST_ERROR_SQLSTATE
SELECT orchestry.install_template('temporal', E'a\\b');
\echo :LAST_ERROR_SQLSTATE
SELECT orchestry.install_template('temporal', 'a$$b');
\echo :LAST_ERROR_SQLSTATE
SELECT orchestry.install_template('temporal', 'it''s');
\echo :LAST_ERROR_SQLSTATE
SELECT orchestry.install_template('temporal', 'orchestry');
\echo :LAST_ERROR_SQLSTATE
SELECT orchestry.install_template('temporal', 'pg_catalog');
\echo :LAST_ERROR_SQLSTATE
SELECT orchestry.install_template('temporal', 'pg_mine');
\echo :LAST_ERROR_SQLSTATE
SELECT orchestry.install_template('temporal', 'information_schema');
\echo :LAST_ERROR_SQLSTATE
CREATE SCHEMA full_of_others;
CREATE TABLE full_of_others.tasks (id int);
SELECT orchestry.install_template('temporal', 'full_of_others');
\echo :LAST_ERROR_SQLSTATE
DROP TABLE full_of_others.tasks;
CREATE VIEW full_of_others.tasks AS SELECT 1 AS id;
SELECT orchestry.install_template('temporal', 'full_of_others');
\echo :LAST_ERROR_SQLSTATE
DROP VIEW full_of_others.tasks;
SELECT orchestry.install_template('temporal', 'full_of_others');
\echo :LAST_ERROR_SQLSTATE
DROP TABLE full_of_others.history_tree;
SELECT orchestry.install_template('temporal', 'full_of_others');
\echo :LAST_ERROR_SQLSTATE
ALTER TABLE full_of_others.tasks ALTER task_id TYPE int;
SELECT orchestry.install_template('temporal', 'full_of_others');
\echo :LAST_ERROR_SQLSTATE
-- The table that it refers to does not fit.
\set VERBOSITY sqlstate
CREATE SCHEMA odd_users;
CREATE TABLE odd_users.users (id text PRIMARY KEY);
SELECT orchestry.install_template('preferences', 'odd_users');
DROP TABLE odd_users.users;
CREATE TABLE odd_users.users (id bigint);
SELECT orchestry.install_template('preferences', 'odd_users');
-- A function that is in the way.
CREATE FUNCTION odd_users.preferences_touch_updated_at() RETURNS int RETURN 1;
SELECT orchestry.install_template('preferences', 'odd_users');
SELECT count(*) FROM pg_class WHERE relnamespace = 'odd_users'::regnamespace;
-- No right to make a schema, or something in one.
SET ROLE template_other;
SELECT orchestry.install_template('temporal', 'mine');
SELECT orchestry.install_template('temporal', 'odd_users');
RESET ROLE;
SELECT count(*) FROM pg_namespace WHERE nspname IN ('mine', 'it''s', 'a$$b', 'a\b', 'pg_mine', 'events "?');
SELECT count(*) FROM orchestry.jobs WHERE job_id BETWEEN 8301 AND 8400 AND target_schema IN ('full_of_others', 'odd_users');

-- Whoever else makes things in the schema does not get what the owner does: neither while it is installed nor later.
\set VERBOSITY terse
SET ROLE template_user;
CREATE SCHEMA shared_by_all;
GRANT CREATE, USAGE ON SCHEMA shared_by_all TO PUBLIC;
SET ROLE template_other;
CREATE FUNCTION shared_by_all.tell() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'shadow seen by %', current_user; END $$;
CREATE FUNCTION shared_by_all.varchar_eq(varchar, varchar) RETURNS boolean LANGUAGE sql AS 'SELECT shared_by_all.tell()';
CREATE OPERATOR shared_by_all.= (LEFTARG = varchar, RIGHTARG = varchar, FUNCTION = shared_by_all.varchar_eq);
CREATE FUNCTION shared_by_all.count(bigint) RETURNS bigint LANGUAGE sql AS 'SELECT shared_by_all.tell()::int::bigint';
CREATE FUNCTION shared_by_all.jsonb_typeof(jsonb) RETURNS text LANGUAGE sql AS 'SELECT shared_by_all.tell()::text';
CREATE DOMAIN shared_by_all.bigint AS pg_catalog.int8 CHECK (shared_by_all.tell());
SET ROLE template_user;
SET client_min_messages = warning;
SET search_path = shared_by_all, pg_catalog;
SELECT orchestry.install_template('control_plane', 'shared_by_all');
SELECT orchestry.install_template('preferences', 'shared_by_all');
INSERT INTO applications (name, spec) VALUES ('a', '{}');
SELECT table_name, deleted_count FROM cleanup_old_data('2026-03-10 12:30Z');
SELECT name, app_status, running_instances FROM get_apps_summary();
SELECT get_app_metrics_window('a');
SELECT orchestry.create_partition('user_preferences_history', pg_catalog.now()) IS NOT NULL AS there;
INSERT INTO users (id) VALUES (1);
INSERT INTO user_preferences (user_id) VALUES (1);
SELECT delete_user_preferences(1);
RESET search_path;
RESET ROLE;

DROP OWNED BY template_user, template_other;
DROP VIEW made;
DROP TABLE inventory;
DROP ROLE template_user, template_other;
