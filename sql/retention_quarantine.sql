-- Quarantine: what is in it is out of everybody's way, can come back, and goes only when nothing needs it. Foreign keys,
-- other people's tables, roles without rights.
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';
SET IntervalStyle = 'postgres';
SET client_min_messages = warning;
SET orchestry.now = '2026-06-15 12:00:00+00';
SELECT setval('orchestry.job_job_id_seq', 7101, false), setval('orchestry.hold_hold_id_seq', 7101, false);
CREATE ROLE ret_owner;
CREATE ROLE ret_app;
CREATE ROLE ret_other;
-- the owner may not create anything in the schema
CREATE SCHEMA retq;
GRANT USAGE ON SCHEMA retq TO ret_owner, ret_app;
SET search_path = retq;
CREATE FUNCTION mask(text) RETURNS text LANGUAGE sql RETURN regexp_replace($1, 'quarantine_\d+', 'quarantine_N', 'g');
CREATE FUNCTION planned(target regclass, as_of timestamptz DEFAULT now()) RETURNS TABLE (action text, object text, blocked_by text)
LANGUAGE sql BEGIN ATOMIC
    SELECT p.action, mask(p.object), mask(p.blocked_by) FROM orchestry.plan(target, as_of) p WHERE p.action <> 'announce' ORDER BY p.seq;
END;
CREATE FUNCTION history(target regclass) RETURNS TABLE (seq int, action text, object text, state text, message text)
LANGUAGE sql BEGIN ATOMIC
    SELECT s.seq, s.action, mask(s.object), s.state, mask(s.message) FROM orchestry.run_steps s
    WHERE s.run_id = (SELECT j.last_run_id FROM orchestry.jobs j WHERE j.target = history.target AND j.kind = 'retention')
      AND s.action <> 'announce' ORDER BY s.seq;
END;
-- the partition in quarantine that had this name, as SQL
CREATE FUNCTION in_quarantine(name text) RETURNS text LANGUAGE sql BEGIN ATOMIC
    SELECT q.partition::text FROM orchestry.quarantine q WHERE q.former_name = 'retq.' || name;
END;
CREATE PROCEDURE make_months(parent regclass) LANGUAGE plpgsql AS $$
BEGIN
    FOR m IN 1..6 LOOP
        EXECUTE format('CREATE TABLE %I PARTITION OF %s FOR VALUES FROM (%L) TO (%L)', parent::text || '_' || m, parent,
                       to_char(make_date(2026, m, 1), 'YYYY-MM-DD'), to_char(make_date(2026, m + 1, 1), 'YYYY-MM-DD'));
        EXECUTE format('ALTER TABLE %I OWNER TO ret_owner', parent::text || '_' || m);
        EXECUTE format('GRANT SELECT, INSERT ON %I TO ret_app', parent::text || '_' || m);
    END LOOP;
    EXECUTE format('ALTER TABLE %s OWNER TO ret_owner', parent);
END $$;

CREATE TABLE ev (id int, at timestamptz NOT NULL, PRIMARY KEY (at, id)) PARTITION BY RANGE (at);
CALL make_months('ev');
INSERT INTO ev SELECT n, timestamptz '2026-01-10' + n * interval '10 days' FROM generate_series(0, 15) n;
CREATE TABLE before AS TABLE ev;
SELECT orchestry.add_retention_policy('ev', '2 months') AS job \gset
CALL orchestry.run('ev');
SELECT * FROM history('ev');

-- same schema, same owner, same privileges; but what knows only the old name does not find it
SELECT mask(c.relname), pg_get_userbyid(c.relowner) AS owner, c.relacl = (SELECT relacl FROM pg_class WHERE oid = 'ev_4'::regclass) AS same_privileges, c.relispartition
FROM pg_class c WHERE c.oid IN (SELECT partition FROM orchestry.quarantine) ORDER BY 1;
SET ROLE ret_app;
INSERT INTO retq.ev_1 VALUES (1, '2026-01-15');
RESET ROLE;
SELECT count(*) FROM ev;

-- back again: name, place, rows, indexes
SELECT in_quarantine('ev_2') AS ev_2 \gset
SET ROLE ret_app;
SELECT orchestry.reattach(:'ev_2') AS hold;
RESET ROLE;
SELECT orchestry.reattach('ev_4');
SELECT orchestry.reattach(NULL);
SELECT orchestry.reattach(:'ev_2') AS hold \gset
SELECT relation, reason, created_by = session_user AS by_me FROM orchestry.holds WHERE hold_id = :hold;
SELECT inhrelid::regclass, pg_get_expr(relpartbound, oid) FROM pg_inherits JOIN pg_class ON oid = inhrelid WHERE inhparent = 'ev'::regclass ORDER BY 1;
SELECT count(*) AS again FROM ev WHERE at >= '2026-02-01' AND at < '2026-03-01';
SELECT indexrelid::regclass, (SELECT inhparent::regclass FROM pg_inherits WHERE inhrelid = indexrelid) FROM pg_index WHERE indrelid = 'ev_2'::regclass;
-- and it is not taken again before its hold is released
CALL orchestry.run('ev');
SELECT * FROM planned('ev');
SELECT orchestry.release_hold(:hold, 'looked at');
SELECT * FROM planned('ev');
CALL orchestry.run('ev');
SELECT count(*) FROM orchestry.quarantine;

-- where its name or its range is taken, it does not come back, and nothing is changed
SELECT in_quarantine('ev_1') AS ev_1, in_quarantine('ev_2') AS ev_2, in_quarantine('ev_3') AS ev_3 \gset
CREATE TABLE ev_2 ();
SELECT orchestry.reattach(:'ev_2');
DROP TABLE ev_2;
-- nor where it lacks a column that the table has got since
BEGIN;
ALTER TABLE ev ADD n int DEFAULT 7 NOT NULL, ADD "So what" text;
DO $$
DECLARE hint text;
BEGIN
    PERFORM orchestry.reattach(partition) FROM orchestry.quarantine WHERE former_name = 'retq.ev_2';
EXCEPTION WHEN object_not_in_prerequisite_state THEN
    GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
    RAISE WARNING '%', regexp_replace(SQLERRM || ' ' || hint, 'quarantine_\d+', 'quarantine_N', 'g');
    EXECUTE substring(hint from 'ALTER.*');
END $$;
SELECT orchestry.reattach(:'ev_2') > 0 AS is_back;
ROLLBACK;
CREATE TABLE another PARTITION OF ev FOR VALUES FROM ('2026-02-10') TO ('2026-02-11');
\set VERBOSITY sqlstate
SELECT orchestry.reattach(:'ev_2');
\set VERBOSITY default
DROP TABLE another;
SELECT count(*) FROM orchestry.quarantine;

-- renamed by hand it is out for good; dropped by hand it is gone
ALTER TABLE :ev_1 RENAME TO ev_1_kept;
DROP TABLE :ev_3;
SELECT former_name FROM orchestry.quarantine;
SELECT orchestry.reattach('ev_1_kept');
SELECT * FROM planned('ev', '2027-01-01') WHERE action = 'drop';
-- what depends on it keeps it, and does not keep the others
CREATE VIEW needs_ev_2 AS SELECT * FROM :ev_2;
SELECT action, object, regexp_replace(blocked_by, 'rule _RETURN on ', '') AS blocked_by FROM planned('ev', '2026-07-01');
DROP VIEW needs_ev_2;
SET orchestry.now = '2026-07-01 12:00:00+00';
CALL orchestry.run('ev');
SELECT * FROM history('ev');
SELECT count(*) FROM orchestry.quarantine;
SELECT count(*) = (SELECT count(*) FROM before WHERE at < '2026-02-01') AS kept_by_hand FROM ev_1_kept;
DROP TABLE ev, ev_1_kept, before;

-- a partition of somebody else blocks itself and nothing else
SET orchestry.now = '2026-06-15 12:00:00+00';
CREATE TABLE mixed (at timestamptz) PARTITION BY RANGE (at);
CALL make_months('mixed');
ALTER TABLE mixed_2 OWNER TO ret_other;
SELECT orchestry.add_retention_policy('mixed', '2 months') AS job \gset
CALL orchestry.run('mixed');
SELECT * FROM history('mixed');
-- a member of the owner and nobody else may plan, run and change
SET ROLE ret_app;
SELECT count(*) FROM orchestry.plan('mixed');
CALL orchestry.run('mixed');
SELECT orchestry.alter_policy(:job, '{"keep": "3 months"}');
SELECT count(*) FROM orchestry.quarantine;
SELECT orchestry.hold('mixed', 'mine now');
RESET ROLE;
GRANT ret_owner TO ret_app;
SET ROLE ret_app;
SELECT action, object FROM orchestry.plan('mixed');
SELECT count(*) FROM orchestry.quarantine;
RESET ROLE;
REVOKE ret_owner FROM ret_app;
DROP TABLE mixed;

-- foreign keys to others: the plan says which tables are locked
CREATE TABLE acct (id int PRIMARY KEY);
ALTER TABLE acct OWNER TO ret_owner;
INSERT INTO acct VALUES (1);
CREATE TABLE entry (acct int REFERENCES acct, at timestamptz) PARTITION BY RANGE (at);
CALL make_months('entry');
INSERT INTO entry SELECT 1, timestamptz '2026-01-10' + n * interval '10 days' FROM generate_series(0, 15) n;
SELECT orchestry.add_retention_policy('entry', '2 months') AS job \gset
SELECT action, mask(object) AS object, mask(locks) AS locks FROM orchestry.plan('entry') WHERE object ~ 'entry_1';
SELECT reason ~ 'not concurrently, because foreign keys' AS says_why FROM orchestry.plan('entry') WHERE object ~ 'entry_1';
CALL orchestry.run('entry');
SET orchestry.now = '2026-06-22 12:00:00+00';
SELECT action, mask(object) AS object, mask(locks) AS locks FROM orchestry.plan('entry') WHERE object ~ 'entry_1';
CALL orchestry.run('entry');
SELECT * FROM history('entry');
-- the set's own foreign key is as it was
INSERT INTO entry VALUES (2, '2026-04-20');

-- foreign keys from others: refused by name as long as there are rows, then children go first in one round
SET orchestry.now = '2026-06-15 12:00:00+00';
CREATE TABLE post (id int, at timestamptz, PRIMARY KEY (at, id)) PARTITION BY RANGE (at);
CALL make_months('post');
CREATE TABLE note (post int, at timestamptz, CONSTRAINT note_has_post FOREIGN KEY (at, post) REFERENCES post (at, id)) PARTITION BY RANGE (at);
CALL make_months('note');
INSERT INTO post SELECT n, timestamptz '2026-01-10' + n * interval '10 days' FROM generate_series(0, 15) n;
INSERT INTO note SELECT id, at FROM post WHERE at < '2026-02-01' OR at > '2026-04-10';
SELECT orchestry.add_retention_policy('post', '2 months') AS job \gset
SELECT * FROM planned('post');
CALL orchestry.run('post');
SELECT * FROM history('post');
SELECT orchestry.add_retention_policy('note', '2 months') IS NOT NULL AS added;
CALL orchestry.run();
SELECT * FROM planned('post');
SELECT j.target, r.state FROM orchestry.runs r JOIN orchestry.jobs j USING (job_id) WHERE j.target IN ('post'::regclass, 'note'::regclass) ORDER BY r.run_id;
SELECT * FROM history('post');
-- what waits in quarantine may come back with its rows: only when it is gone do the others go
SET orchestry.now = '2026-06-22 12:00:00+00';
CALL orchestry.run();
SELECT * FROM history('note');
SELECT * FROM history('post');
-- where the owner may not look, it is said what is missing
CREATE TABLE late (post int, at timestamptz);
ALTER TABLE late OWNER TO ret_other;
ALTER TABLE late ADD CONSTRAINT late_has_post FOREIGN KEY (at, post) REFERENCES post (at, id);
INSERT INTO late SELECT id, at FROM post WHERE at > '2026-04-15' LIMIT 1;
DELETE FROM note WHERE at < '2026-05-01';
SET orchestry.now = '2026-07-05 12:00:00+00';
CALL orchestry.run('post');
SELECT action, object, state FROM history('post');
SELECT count(*) FROM late;

SET client_min_messages = warning;
SELECT count(orchestry.remove_policy(job_id)) FROM orchestry.jobs WHERE target_schema = 'retq';
DROP SCHEMA retq CASCADE;
DROP ROLE ret_owner, ret_app, ret_other;
