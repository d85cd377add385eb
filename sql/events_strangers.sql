-- Event compression: nothing of a stranger's is read or run; rules on DELETE, which the server refuses where what is deleted
-- is read, are named before.
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';
SET client_min_messages = warning;
SET orchestry.now = '2026-06-15 12:00:00+00';
CREATE SCHEMA evo;
CREATE ROLE evo_owner;
CREATE ROLE evo_stranger;
GRANT ALL ON SCHEMA evo TO evo_owner, evo_stranger;
SET search_path = evo;
SELECT setval('orchestry.job_job_id_seq', 27101, false);

CREATE TABLE loot (as_whom name, at_what text);
GRANT ALL ON loot TO PUBLIC;
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO evo.loot VALUES (current_user, TG_OP); RETURN COALESCE(NEW, OLD); END$$;
SET ROLE evo_owner;
CREATE TABLE e (at timestamptz NOT NULL, note text) PARTITION BY RANGE (at);
CREATE TABLE e_1 PARTITION OF e FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE e_2 PARTITION OF e FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
INSERT INTO e SELECT d, n FROM (VALUES ('2026-01-05'::timestamptz), ('2026-02-05')) v(d), generate_series(1, 5) n;
SELECT orchestry.add_event_compression_policy('e', '30 days') AS e \gset
RESET ROLE;
ALTER TABLE e_1 OWNER TO evo_stranger;
SET ROLE evo_stranger;
CREATE TRIGGER note BEFORE DELETE ON e_1 FOR EACH ROW EXECUTE FUNCTION note();
RESET ROLE;
SELECT action, object, reason, blocked_by FROM orchestry.plan('e');
CALL orchestry.run_job(:e);
SELECT count(*), (SELECT count(*) FROM loot) AS loot FROM e;
-- one for whom the owner may act is none
GRANT evo_stranger TO evo_owner;
SELECT action, blocked_by FROM orchestry.plan('e') WHERE action <> 'leave';
REVOKE evo_stranger FROM evo_owner;
-- everybody is one to a superuser
ALTER TABLE e OWNER TO CURRENT_USER;
ALTER TABLE e_1 OWNER TO CURRENT_USER;
ALTER TABLE e_2 OWNER TO CURRENT_USER;
CREATE TRIGGER note BEFORE INSERT OR UPDATE ON e_compressed FOR EACH ROW EXECUTE FUNCTION note();
ALTER TABLE e_compressed OWNER TO evo_stranger;
CALL orchestry.run_job(:e);
SELECT count(*), (SELECT count(*) FROM loot) AS loot FROM e;
ALTER TABLE e_compressed OWNER TO CURRENT_USER;
ALTER TABLE e_compressed_default OWNER TO evo_stranger;
CALL orchestry.run_job(:e);
SELECT count(*), (SELECT count(*) FROM loot) AS loot FROM e;
DO $$DECLARE p regclass;
BEGIN
    FOR p IN SELECT relid FROM pg_partition_tree('evo.e_compressed') LOOP EXECUTE format('ALTER TABLE %s OWNER TO CURRENT_USER', p); END LOOP;
END$$;

-- Rules
CREATE RULE "Guard" AS ON DELETE TO e DO ALSO INSERT INTO loot VALUES (current_user, OLD.note);
SELECT DISTINCT action, blocked_by FROM orchestry.plan('e') WHERE action <> 'leave';
CALL orchestry.run_job(:e);
SELECT count(*), (SELECT count(*) FROM loot) AS loot FROM e;
ALTER TABLE e DISABLE RULE "Guard";
DROP TRIGGER note ON e_compressed;
CALL orchestry.run_job(:e);
SELECT count(*), (SELECT sum(event_count) FROM e_compressed) AS compressed FROM e;
CREATE TABLE r (at timestamptz, note text);
INSERT INTO r VALUES ('2026-01-01', 'old');
SELECT orchestry.add_retention_policy('r', '30 days', time_column => 'at', archive_to => 'r_archive') AS r \gset
CREATE RULE "Guard" AS ON DELETE TO r DO INSTEAD NOTHING;
SELECT action, blocked_by FROM orchestry.plan('r') WHERE action <> 'announce';
CALL orchestry.run_job(:r);
DROP RULE "Guard" ON r;
CALL orchestry.run_job(:r);
SELECT (SELECT count(*) FROM r) AS rows, (SELECT count(*) FROM r_archive) AS archived;

SELECT count(orchestry.remove_policy(job_id)) > 0 AS removed FROM orchestry.jobs WHERE job_id BETWEEN 27101 AND 27200;
DROP SCHEMA evo CASCADE;
DROP ROLE evo_owner, evo_stranger;
