-- Archives that are partitioned as the table is: what is past its time as a whole moves there as a whole.
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';
SET orchestry.now = '2026-06-15 12:00:00+00';
SET client_min_messages = error; -- what is said of wal_level has another text on each server
CREATE ROLE move_reader;
CREATE ROLE move_friend;
CREATE ROLE move_owner;
CREATE SCHEMA "Live one" AUTHORIZATION move_owner;
CREATE SCHEMA attic AUTHORIZATION move_owner;
SET search_path = "Live one";
SELECT setval('orchestry.job_job_id_seq', 8101, false), setval('orchestry.hold_hold_id_seq', 8101, false);
SET ROLE move_owner;
CREATE FUNCTION history(job bigint) RETURNS TABLE (action text, object text, state text, rows bigint, message text)
LANGUAGE sql BEGIN ATOMIC
    SELECT s.action, s.object, s.state, s.rows, s.message FROM orchestry.run_steps s
    WHERE s.run_id = (SELECT j.last_run_id FROM orchestry.jobs j WHERE j.job_id = job) ORDER BY s.seq;
END;

-- other orders of columns, other names of indexes, dropped and identity columns, generated ones and checks that are the same
CREATE TABLE "Ev" (gone int, id bigint GENERATED ALWAYS AS IDENTITY, "At" timestamptz NOT NULL, v int CHECK (v > 0), twice int GENERATED ALWAYS AS (v * 2) STORED,
    PRIMARY KEY (id, "At")) PARTITION BY RANGE ("At");
CREATE INDEX ON "Ev" ("At");
CREATE INDEX ON "Ev" (v) WHERE v > 1;
ALTER TABLE "Ev" DROP COLUMN gone;
SELECT format('CREATE TABLE "Ev_%s" PARTITION OF "Ev" FOR VALUES FROM (%L) TO (%L)', m, make_date(2026, m, 1), make_date(2026, m + 1, 1)) FROM generate_series(2, 6) m \gexec
CREATE TABLE "Ev_first" PARTITION OF "Ev" FOR VALUES FROM (MINVALUE) TO ('2026-02-01');
CREATE TABLE "Ev_rest" PARTITION OF "Ev" DEFAULT;
INSERT INTO "Ev" ("At", v) SELECT at, extract(day FROM at) FROM generate_series(timestamptz '2026-01-15', '2026-06-14', '1 day') at;
INSERT INTO "Ev" ("At", v) VALUES ('-infinity', 7), ('2027-01-01', 7);
GRANT USAGE ON SCHEMA "Live one" TO move_friend;
GRANT SELECT, INSERT ON "Ev", "Ev_2" TO move_reader;
GRANT SELECT ON "Ev_2" TO move_friend WITH GRANT OPTION;
GRANT UPDATE (v) ON "Ev_2" TO PUBLIC;
SET ROLE move_friend;
GRANT SELECT ON "Ev_2" TO move_reader;
SET ROLE move_owner;
CREATE TABLE attic.ev (twice int GENERATED ALWAYS AS (v * 2) STORED, v int CONSTRAINT "Ev_v_check" CHECK (v > 0), "At" timestamptz NOT NULL, id bigint NOT NULL,
    CONSTRAINT archived PRIMARY KEY (id, "At")) PARTITION BY RANGE ("At");
CREATE INDEX by_time ON attic.ev ("At");
CREATE TABLE attic.before PARTITION OF attic.ev FOR VALUES FROM (MINVALUE) TO ('2026-02-01');
CREATE TABLE everything AS SELECT * FROM "Ev";
SELECT orchestry.add_retention_policy('"Ev"', '60 days', archive_to => 'attic.ev') AS ev \gset

-- what is in the way is named, and then rows move
CREATE FUNCTION because(ddl text, what text DEFAULT '"Live one"."Ev_2"') RETURNS text LANGUAGE plpgsql AS $$
DECLARE why text;
BEGIN
    EXECUTE ddl;
    SELECT COALESCE(substring(reason from 'as a whole.*'), action || ': ' || blocked_by, 'row by row') INTO STRICT why FROM orchestry.plan('"Ev"') WHERE object = what AND action <> 'announce';
    RAISE EXCEPTION USING ERRCODE = 'UX001', MESSAGE = why;
EXCEPTION WHEN SQLSTATE 'UX001' THEN
    RETURN SQLERRM;
END $$;
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
RESET ROLE;
SELECT ddl, because(ddl) FROM unnest(ARRAY[
    'SELECT',
    'DROP TABLE attic.ev',
    'DROP TABLE attic.ev; CREATE TABLE attic.ev (LIKE "Ev")',
    'DROP TABLE attic.ev; CREATE TABLE attic.ev (LIKE "Ev") PARTITION BY LIST ("At")',
    'DROP TABLE attic.ev; CREATE TABLE attic.ev (LIKE "Ev") PARTITION BY RANGE (id)',
    'DROP TABLE attic.ev; CREATE TABLE attic.ev ("At" timestamp NOT NULL) PARTITION BY RANGE ("At")',
    'ALTER TABLE attic.ev OWNER TO move_reader',
    'CREATE TABLE attic.top (LIKE attic.ev INCLUDING ALL) PARTITION BY RANGE ("At"); ALTER TABLE attic.top ATTACH PARTITION attic.ev DEFAULT',
    'CREATE TABLE attic.rest PARTITION OF attic.ev DEFAULT',
    'CREATE TABLE attic.there PARTITION OF attic.ev FOR VALUES FROM (''2026-02-27'') TO (''2027-01-01'')',
    'CREATE TABLE other AS SELECT id FROM generate_series(1, 31) id; ALTER TABLE other ADD PRIMARY KEY (id); ALTER TABLE "Ev" ADD CONSTRAINT out FOREIGN KEY (v) REFERENCES other',
    'CREATE TABLE other AS SELECT id FROM generate_series(1, 31) id; ALTER TABLE other ADD PRIMARY KEY (id); ALTER TABLE "Ev_2" ADD CONSTRAINT own FOREIGN KEY (v) REFERENCES other',
    'CREATE TABLE other (id bigint, at timestamptz, CONSTRAINT "in" FOREIGN KEY (id, at) REFERENCES "Ev")',
    'CREATE TABLE other (id bigint, at timestamptz, CONSTRAINT old FOREIGN KEY (id, at) REFERENCES attic.ev)',
    'CREATE TRIGGER gone AFTER DELETE ON "Ev" FOR EACH ROW EXECUTE FUNCTION nothing()',
    'CREATE TRIGGER new AFTER INSERT ON "Ev" FOR EACH ROW EXECUTE FUNCTION nothing()',
    'CREATE TRIGGER come AFTER INSERT ON attic.ev FOR EACH STATEMENT EXECUTE FUNCTION nothing()',
    'CREATE RULE elsewhere AS ON INSERT TO attic.ev DO INSTEAD NOTHING',
    'CREATE RULE stay AS ON DELETE TO "Ev_2" DO INSTEAD NOTHING',
    'ALTER TABLE "Ev_2" SET UNLOGGED',
    'CREATE PUBLICATION all_of_it FOR TABLE "Ev"',
    'CREATE PUBLICATION of_schema FOR TABLES IN SCHEMA attic',
    'ALTER TABLE attic.ev ADD extra int',
    'ALTER TABLE "Ev" ADD extra int',
    'ALTER TABLE attic.ev ALTER id TYPE numeric',
    'ALTER TABLE attic.ev ALTER v SET NOT NULL',
    'ALTER TABLE attic.ev DROP twice; ALTER TABLE attic.ev ADD twice int GENERATED ALWAYS AS (v * 3) STORED',
    'ALTER TABLE attic.ev ALTER twice DROP EXPRESSION',
    'ALTER TABLE attic.ev ADD CONSTRAINT low CHECK (v < 100)',
    'CREATE INDEX sums ON attic.ev ((v + 1))',
    'DROP INDEX "Ev_At_idx"',
    'ALTER TABLE attic.ev DROP CONSTRAINT archived; CREATE UNIQUE INDEX just_unique ON attic.ev (id, "At")',
    'SELECT orchestry.hold(''"Ev"'', ''case'', "from" => ''2026-02-10'', "to" => ''2026-02-12'')',
    'SELECT orchestry.hold(''"Ev_2"'', ''all of it'')',
    'SELECT orchestry.add_retention_policy(''"Ev_2"'', ''1 day'', time_column => ''At'', "where" => ''v = 1'')']) AS ddl;
SELECT because('SELECT', '"Live one"."Ev_first"') AS first, because('SELECT', '"Live one"."Ev_4"') AS partly;

-- it moves: constrained, validated, then detached and attached in one transaction; by the owner, who is nobody else
SET ROLE move_owner;
SELECT action, object, reason, regexp_replace(sql, '\n', ' ', 'g') AS sql, locks, destructive FROM orchestry.plan('"Ev"') WHERE object ~ 'Ev_2';
CALL orchestry.run('"Ev"');
SELECT action, object, state, rows > 0 AS counted, message FROM history(:ev); -- how many move as a whole is estimated
CREATE VIEW places AS SELECT c.oid::regclass AS partition, i.inhparent::regclass AS parent, pg_get_expr(c.relpartbound, c.oid) AS bounds
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent IN ('"Ev"'::regclass, 'attic.ev'::regclass);
SELECT * FROM places ORDER BY parent::text, bounds;
SELECT tableoid::regclass, count(*) FROM attic.ev GROUP BY 1 ORDER BY 1;
SELECT count(*) AS changed FROM ((SELECT id, "At", v, twice FROM "Ev" UNION ALL SELECT id, "At", v, twice FROM attic.ev) EXCEPT ALL SELECT id, "At", v, twice FROM everything) x;
SELECT count(*) = (SELECT count(*) FROM everything) AS all_there FROM (SELECT id FROM "Ev" UNION ALL SELECT id FROM attic.ev) x;
-- nothing is left of how it moved; its indexes are the archive's, and nobody may go round the archive
SELECT conname FROM pg_constraint WHERE starts_with(conname::text, 'orchestry_range');
SELECT i.indexrelid::regclass, h.inhparent::regclass FROM pg_index i LEFT JOIN pg_inherits h ON h.inhrelid = i.indexrelid WHERE i.indrelid = '"Ev_2"'::regclass ORDER BY 1;
SELECT DISTINCT a.grantee::regrole FROM pg_class c, aclexplode(c.relacl) a WHERE c.oid = '"Ev_2"'::regclass;
SELECT count(*) FROM pg_attribute WHERE attrelid = '"Ev_2"'::regclass AND attacl IS NOT NULL;
-- what comes late has the default partition here, and goes row by row, where the archive has a place for it
INSERT INTO "Ev" ("At", v) VALUES ('2026-02-03', 3);
CALL orchestry.run('"Ev"');
SELECT action, object, state, rows FROM history(:ev);
SELECT count(*) FROM attic.ev WHERE "At" = '2026-02-03';
-- the partition policy does not make again what has moved, however far back it goes
SELECT orchestry.add_partition_policy('"Ev"', interval '1 month', past => interval '1 year') AS parts \gset
SELECT partition, bounds FROM places WHERE parent = '"Ev"'::regclass AND bounds ~ '2025|2026-0[1-4]-01.*TO' ORDER BY bounds;
SELECT orchestry.remove_policy(:parts);
-- a hold keeps what it covers, and what it does not goes row by row
RESET ROLE;
SET orchestry.now = '2026-07-05 12:00:00+00';
SET ROLE move_owner;
SELECT orchestry.hold('"Ev"', 'case', "from" => '2026-04-10', "to" => '2026-04-12') AS held \gset
CREATE TABLE attic.ev_4 PARTITION OF attic.ev FOR VALUES FROM ('2026-04-01') TO ('2026-05-01'); -- or they would have no place
CALL orchestry.run('"Ev"');
SELECT action, object, state, rows, message FROM history(:ev);
SELECT "At" FROM "Ev" WHERE "At" < '2026-05-01' AND "At" > '-infinity' ORDER BY 1;
SELECT orchestry.release_hold(:held, 'over');

-- what the catalogs do not foretell fails, and leaves everything as it was
RESET ROLE;
CREATE FUNCTION not_today() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no schema changes today'; END $$;
CREATE EVENT TRIGGER not_today ON ddl_command_start WHEN TAG IN ('REVOKE') EXECUTE FUNCTION not_today();
SET orchestry.now = '2026-08-01 12:00:00+00';
SET ROLE move_owner;
GRANT SELECT ON "Ev_5" TO move_reader;
CALL orchestry.run('"Ev"');
SELECT object, state, message FROM history(:ev) WHERE object ~ 'Ev_5';
SELECT * FROM places WHERE partition = '"Ev_5"'::regclass;
RESET ROLE;
DROP EVENT TRIGGER not_today;
SET ROLE move_owner;
CALL orchestry.run('"Ev"');
SELECT object, state, message FROM history(:ev) WHERE object ~ 'Ev_5';
SELECT * FROM places WHERE partition = '"Ev_5"'::regclass;

-- the keys of the other kinds
CREATE TABLE kinds (kind text, key text, a text, b text, c text);
INSERT INTO kinds VALUES ('days', 'date', '2026-01-01', '2026-02-01', '2026-03-01'), ('clock', 'timestamp', '2026-01-01', '2026-02-01', '2026-03-01'),
    ('epoch', 'bigint', '1767225600000', '1769904000000', '1772323200000');
SELECT format('CREATE TABLE %1$I (at %2$s) PARTITION BY RANGE (at); CREATE TABLE %1$s_1 PARTITION OF %1$s FOR VALUES FROM (%3$L) TO (%4$L);
    CREATE TABLE %1$s_2 PARTITION OF %1$s FOR VALUES FROM (%4$L) TO (%5$L); INSERT INTO %1$s VALUES (%3$L), (%4$L);
    CREATE TABLE attic.%1$s (at %2$s) PARTITION BY RANGE (at);
    SELECT count(orchestry.add_retention_policy(%1$L, interval ''60 days'', archive_to => ''attic.%1$s'', key_unit => %6$L))', kind, key, a, b, c,
    CASE kind WHEN 'epoch' THEN 'ms' END) FROM kinds \gexec
SELECT format('CALL orchestry.run(%L)', kind) FROM kinds \gexec
SELECT i.inhparent::regclass AS parent, i.inhrelid::regclass AS partition FROM pg_inherits i JOIN kinds k ON i.inhrelid = to_regclass(k.kind || '_1') OR i.inhrelid = to_regclass(k.kind || '_2') ORDER BY 2;

-- a default that takes its values from the table's sequence stays behind
CREATE TABLE serial (id bigserial, at timestamptz NOT NULL) PARTITION BY RANGE (at);
CREATE TABLE serial_1 PARTITION OF serial FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE serial_2 PARTITION OF serial FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
INSERT INTO serial (at) VALUES ('2026-01-05');
CREATE TABLE attic.serial (id bigint NOT NULL, at timestamptz NOT NULL) PARTITION BY RANGE (at);
SELECT orchestry.add_retention_policy('serial', '60 days', archive_to => 'attic.serial') AS serial \gset
CALL orchestry.run('serial');
SELECT orchestry.remove_policy(:serial);
DROP TABLE serial;
SELECT tableoid::regclass, id FROM attic.serial;

RESET ROLE;
RESET orchestry.now;
SELECT count(orchestry.remove_policy(job_id)) FROM orchestry.jobs WHERE target_schema = 'Live one';
SET search_path = public;
DROP SCHEMA "Live one", attic CASCADE;
DROP ROLE move_reader, move_friend, move_owner;
