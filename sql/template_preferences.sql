-- The template preferences: a change is never refused for want of a partition, and its history can be given and deleted.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SET TimeZone = 'America/Los_Angeles';
SET DateStyle = 'ISO, MDY';
SELECT setval('orchestry.job_job_id_seq', 8701, false);
BEGIN;
SELECT orchestry.install_template('preferences', 'template_prefs');
SET search_path = template_prefs;
-- A year of partitions lies ahead of the moment at which they are made.
SELECT count(*) AS months, max(upper_at) > now() + interval '12 months' AS a_year FROM orchestry.partitions WHERE parent = 'user_preferences_history'::regclass;
COMMIT;

INSERT INTO users (id) VALUES (1), (2), (3);
INSERT INTO user_preferences (user_id, preferences) VALUES (1, '{"theme": "dark", "size": 12, "mail": null, "nested": {"a": [1]}}'), (2, DEFAULT);
UPDATE user_preferences SET preferences = preferences || '{"theme": "light"}' WHERE user_id = 1;
INSERT INTO user_preferences (user_id, preferences) VALUES (1, '{"theme": "blue"}') ON CONFLICT (user_id) DO UPDATE SET preferences = excluded.preferences;
SELECT get_user_preference(1, 'theme'), get_user_preference(1, 'size', '10'), get_user_preference(2, 'theme', 'none'), get_user_preference(4, 'theme') IS NULL AS unknown;
UPDATE user_preferences SET preferences = '{"theme": "dark", "size": 12, "mail": null, "nested": {"a": [1]}}' WHERE user_id = 1;
SELECT get_user_preference(1, 'size', '10'), get_user_preference(1, 'mail', 'yes'), get_user_preference(1, 'nested');
SELECT user_id, preferences, changed_by = current_user AS by_me, changed_at <= now() AS now FROM user_preferences_history ORDER BY id;
SELECT user_id, updated_at > created_at AS touched FROM user_preferences ORDER BY user_id;
\set VERBOSITY sqlstate
INSERT INTO user_preferences (user_id, preferences) VALUES (3, '[]');
INSERT INTO user_preferences (user_id) VALUES (4);
INSERT INTO user_preferences (user_id) VALUES (2);
\set VERBOSITY default
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT user_id FROM user_preferences WHERE preferences @> '{"theme": "dark"}';
RESET enable_seqscan;

-- What there is of a user, to give and to delete.
SELECT e.value - '{changed_at,changed_by}'::text[], e.value ? 'changed_by' AS by FROM jsonb_array_elements(export_user_preferences(1) -> 'history') e;
SELECT export_user_preferences(1) -> 'preferences', export_user_preferences(4);
SELECT orchestry.hold('user_preferences_history', 'case 4') IS NOT NULL AS held;
SELECT delete_user_preferences(1);
\echo :LAST_ERROR_SQLSTATE
SELECT orchestry.release_hold(hold_id, 'closed') FROM orchestry.holds WHERE relation = 'user_preferences_history'::regclass AND released_at IS NULL;
SELECT delete_user_preferences(1);
SELECT export_user_preferences(1);
SELECT count(*) AS of_others FROM user_preferences_history;
DELETE FROM users WHERE id = 2;
SELECT count(*) FROM user_preferences;

RESET search_path;
DROP SCHEMA template_prefs CASCADE;
