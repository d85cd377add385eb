-- What one policy is to archive or to compress is not deleted before by another, nor by a foreign key, nor moved elsewhere.
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';
SET client_min_messages = warning;
SET orchestry.now = '2026-06-15 12:00:00+00';
SELECT setval('orchestry.job_job_id_seq', 16201, false), setval('orchestry.hold_hold_id_seq', 6541, false);
CREATE SCHEMA claims;
SET search_path = claims;
CREATE FUNCTION planned(job bigint) RETURNS TABLE (action text, object text, reason text, blocked_by text)
LANGUAGE sql BEGIN ATOMIC
    SELECT p.action, p.object, substring(p.reason from '; (?:those|it).*'), p.blocked_by
    FROM orchestry.jobs j, orchestry.plan(j.target) p WHERE j.job_id = job AND p.job_id = job AND p.action <> 'announce' ORDER BY p.seq;
END;

-- two policies of a table: whichever runs first, what is to be archived by now is
CREATE TABLE two (id int, at timestamptz, kind text);
INSERT INTO two SELECT n, at, kind FROM (VALUES (1, timestamptz '2026-01-01', 'audit'), (2, '2026-01-01', 'debug'), (3, '2026-01-01', NULL),
    (4, '2026-05-01', 'audit'), (5, '2026-06-10', 'audit'), (6, '-infinity', 'audit')) v (n, at, kind);
SELECT orchestry.add_retention_policy('two', '30 days', time_column => 'at', "where" => 'kind = ''audit''', archive_to => 'two_arch') AS audits \gset
SELECT orchestry.add_retention_policy('two', '90 days', time_column => 'at') AS rest \gset
SELECT * FROM planned(:rest);
CALL orchestry.run_job(:rest);
SELECT string_agg(id::text, ' ' ORDER BY id) FROM two;
CALL orchestry.run_job(:audits);
CALL orchestry.run_job(:rest);
SELECT (SELECT string_agg(id::text, ' ' ORDER BY id) FROM two) AS two, (SELECT string_agg(id::text, ' ' ORDER BY id) FROM two_arch) AS two_arch;
-- what is to be archived later only, or is among the newest of it, is deleted by who has a shorter time for it
INSERT INTO two VALUES (7, '2026-03-01', 'audit'), (8, '2026-02-01', 'audit');
SELECT orchestry.alter_policy(:audits, '{"keep": "120 days"}');
CALL orchestry.run_job(:rest);
SELECT string_agg(id::text, ' ' ORDER BY id) FROM two WHERE id > 6;
SELECT orchestry.alter_policy(:audits, '{"keep": "30 days", "keep_last": 2}');
INSERT INTO two SELECT 10 + n, timestamptz '2026-02-01' + n * interval '1 day', 'audit' FROM generate_series(1, 3) n;
CALL orchestry.run_job(:rest);
SELECT string_agg(id::text, ' ' ORDER BY id) FROM two WHERE id > 6;
SELECT orchestry.remove_policy(:rest);
-- of two archives the one for fewer rows comes first
SELECT orchestry.alter_policy(:audits, '{"keep_last": null}');
INSERT INTO two VALUES (20, '2026-02-01', 'audit'), (21, '2026-02-01', 'debug');
SELECT orchestry.add_retention_policy('two', '90 days', time_column => 'at', archive_to => 'two_rest') AS rest \gset
CALL orchestry.run_job(:rest);
TABLE two_rest;
CALL orchestry.run_job(:audits);
SELECT count(*) FROM two_arch WHERE id > 6;

-- a partition that could move as a whole waits for who brings rows of it elsewhere
CREATE TABLE parts (at timestamptz NOT NULL, kind text) PARTITION BY RANGE (at);
SELECT format('CREATE TABLE parts_%s PARTITION OF parts FOR VALUES FROM (%L) TO (%L)', m, make_date(2026, m, 1), make_date(2026, m + 1, 1)) FROM generate_series(1, 6) m \gexec
INSERT INTO parts VALUES ('2026-01-05', 'audit'), ('2026-01-06', 'debug'), ('2026-02-06', 'debug');
CREATE TABLE attic (LIKE parts) PARTITION BY RANGE (at);
SELECT orchestry.add_retention_policy('parts', '100 days', archive_to => 'attic') AS whole \gset
SELECT orchestry.add_retention_policy('parts', '30 days', "where" => 'kind = ''audit''', archive_to => 'audits') AS audits \gset
SELECT * FROM planned(:whole);
CALL orchestry.run_job(:whole);
SELECT tableoid::regclass, * FROM attic;
CALL orchestry.run_job(:audits);
CALL orchestry.run_job(:whole);
SELECT tableoid::regclass, * FROM attic ORDER BY at;
TABLE audits;

-- by a foreign key: rows stay as long as others would go with them that are to be archived or compressed
CREATE TABLE flow (id int PRIMARY KEY, at timestamptz);
CREATE TABLE log (id int PRIMARY KEY, flow int REFERENCES flow ON DELETE CASCADE, at timestamptz, kind text);
CREATE TABLE event (flow int REFERENCES flow ON DELETE CASCADE, at timestamptz, type text);
INSERT INTO flow SELECT n, '2026-01-01' FROM generate_series(1, 4) n;
INSERT INTO log VALUES (1, 1, '2026-01-01', 'audit'), (2, 2, '2026-01-01', 'debug');
INSERT INTO event VALUES (3, '2026-01-01', 'a');
SELECT orchestry.add_retention_policy('log', '30 days', time_column => 'at', "where" => 'kind = ''audit''', archive_to => 'log_arch') AS log \gset
SELECT orchestry.add_event_compression_policy('event', '30 days', group_by => '{type}') AS event \gset
SELECT orchestry.add_retention_policy('flow', '90 days', time_column => 'at') AS flow \gset
CREATE INDEX ON log (flow);
CREATE INDEX ON event (flow);
SELECT * FROM planned(:flow);
CALL orchestry.run_job(:flow);
TABLE flow;
SELECT orchestry.remove_policy(:log);
CREATE TABLE line (log int REFERENCES log ON DELETE CASCADE, at timestamptz);
SELECT orchestry.add_retention_policy('line', '30 days', time_column => 'at', archive_to => 'line_arch') AS line \gset
SELECT action, blocked_by FROM planned(:flow);
CALL orchestry.run_job(:flow);
DROP TABLE line;
CALL orchestry.run_job(:event);
CALL orchestry.run_job(:flow);
SELECT (SELECT count(*) FROM flow), (SELECT count(*) FROM event), (SELECT sum(event_count) FROM event_compressed);

-- what is compressed is not deleted, whichever of a table and those that inherit from it has which policy
CREATE TABLE base (at timestamptz, type text);
CREATE TABLE child () INHERITS (base);
INSERT INTO base VALUES ('2026-01-01', 'a');
INSERT INTO child VALUES ('2026-01-01', 'a');
SELECT orchestry.add_event_compression_policy('child', '30 days', group_by => '{type}') AS child \gset
SELECT orchestry.add_retention_policy('base', '90 days', time_column => 'at') AS base \gset
SELECT DISTINCT blocked_by FROM planned(:base);
SELECT orchestry.remove_policy(:child), orchestry.remove_policy(:base);
SELECT orchestry.add_event_compression_policy('base', '30 days', group_by => '{type}') AS base \gset
SELECT orchestry.add_retention_policy('child', '90 days', time_column => 'at') AS child \gset
SELECT DISTINCT blocked_by FROM planned(:child);

SELECT count(orchestry.remove_policy(job_id)) FROM orchestry.jobs WHERE target_schema = 'claims';
RESET orchestry.now;
SET search_path = public;
DROP SCHEMA claims CASCADE;
