-- explain() and timeline() of tables that have retention policies, and perhaps no partition policy.
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';
SET orchestry.now = '2026-06-15 12:00:00+00';
SET client_min_messages = warning;
CREATE SCHEMA told;
SET search_path = told;
SELECT setval('orchestry.job_job_id_seq', 7801, false), setval('orchestry.hold_hold_id_seq', 6801, false);
CREATE FUNCTION explained(target regclass) RETURNS TABLE (job_id bigint, kind text, object text, state text, reason text, next_action text, next_at timestamptz)
LANGUAGE sql BEGIN ATOMIC
    SELECT e.job_id, e.kind, regexp_replace(e.object, 'quarantine_\d+', 'quarantine_N'), e.state, e.reason,
        regexp_replace(e.next_action, 'quarantine_\d+', 'quarantine_N'), e.next_at FROM orchestry.explain(target) e;
END;
CREATE PROCEDURE make_months(parent regclass) LANGUAGE plpgsql AS $$
BEGIN
    FOR m IN 1..6 LOOP
        EXECUTE format('CREATE TABLE %I PARTITION OF %s FOR VALUES FROM (%L) TO (%L)', parent::text || '_' || m, parent,
                       make_date(2026, m, 1), make_date(2026, m + 1, 1));
    END LOOP;
END $$;

-- whole partitions: due, blocked, held, kept, the newest, the default
CREATE TABLE ev (at timestamptz NOT NULL, v int) PARTITION BY RANGE (at);
CALL make_months('ev');
CREATE ROLE told_owner;
GRANT USAGE, CREATE ON SCHEMA told TO told_owner;
ALTER TABLE ev OWNER TO told_owner;
SELECT format('ALTER TABLE ev_%s OWNER TO told_owner', m) FROM generate_series(1, 6) m \gexec
SELECT orchestry.add_retention_policy('ev', '2 months', grace => '10 days', time_zone => 'Europe/Paris') AS ev \gset
SELECT orchestry.hold('ev_2', 'case 9') AS held \gset
SELECT * FROM explained('ev');
SELECT * FROM orchestry.timeline('ev');
CREATE ROLE told_other;
ALTER TABLE ev_1 OWNER TO told_other;
SELECT object, state, reason, next_action, next_at FROM explained('ev') WHERE object = 'told.ev_1';
ALTER TABLE ev_1 OWNER TO told_owner;
DROP ROLE told_other;
CALL orchestry.run('ev');
CREATE TABLE ev_rest PARTITION OF ev DEFAULT;
SELECT * FROM explained('ev');
SET orchestry.now = '2026-06-25 12:00:00+00';
SELECT object, state, reason, next_action, next_at FROM explained('ev') WHERE state IN ('due', 'quarantine');
SELECT orchestry.pause_job(:ev, 'not in June');
SELECT object, state, reason, next_action, next_at FROM explained('ev') LIMIT 1;
SELECT orchestry.resume_job(:ev);
SELECT orchestry.release_hold(:held, 'over');
SET orchestry.now = '2026-06-15 12:00:00+00';

-- together with a partition policy: both are explained
SELECT orchestry.add_partition_policy('ev', '1 month', ahead => '1 month', name_pattern => '{table}_{YYYY}{MM}');
SELECT kind, state, count(*) FROM explained('ev') GROUP BY 1, 2 ORDER BY 1, 2;
SELECT * FROM orchestry.timeline('ev');

-- integer keys, ids and times, and a last partition without end
CREATE TABLE ids (id bigint GENERATED ALWAYS AS IDENTITY, v int) PARTITION BY RANGE (id);
CREATE TABLE ids_0 PARTITION OF ids FOR VALUES FROM (0) TO (1000);
CREATE TABLE ids_1 PARTITION OF ids FOR VALUES FROM (1000) TO (2000);
CREATE TABLE ids_2 PARTITION OF ids FOR VALUES FROM (2000) TO (MAXVALUE);
SELECT orchestry.add_retention_policy('ids', 1000) AS ids \gset
SELECT * FROM orchestry.timeline('ids');
SELECT setval(pg_get_serial_sequence('ids', 'id'), 2100);
SELECT * FROM explained('ids');
SELECT * FROM orchestry.timeline('ids');
CREATE TABLE epochs (at_ms bigint NOT NULL, noted timestamptz) PARTITION BY RANGE (at_ms);
CREATE TABLE epochs_1 PARTITION OF epochs FOR VALUES FROM (1767225600000) TO (1769904000000);
CREATE TABLE epochs_2 PARTITION OF epochs FOR VALUES FROM (1769904000000) TO (1772323200000);
SELECT orchestry.add_retention_policy('epochs', '6 months', key_unit => 'ms') AS epochs \gset
SELECT * FROM explained('epochs');
SELECT * FROM orchestry.timeline('epochs');

-- single rows: of a partitioned table by another column, of a plain table
SELECT orchestry.remove_policy(:epochs);
SELECT orchestry.add_retention_policy('epochs', '1 month', time_column => 'noted') AS rows \gset
INSERT INTO epochs VALUES (1767225600001, '2026-01-01');
SELECT * FROM explained('epochs');
SELECT * FROM orchestry.timeline('epochs');
CALL orchestry.run('epochs');
SELECT * FROM explained('epochs');
CREATE TABLE plain (at timestamptz NOT NULL, v int);
INSERT INTO plain VALUES ('2026-01-01', 1);
SELECT orchestry.add_retention_policy('plain', interval '1 month', time_column => 'at') AS plain \gset
SELECT orchestry.hold('plain', 'case 10') AS held \gset
SELECT * FROM explained('plain');
SELECT * FROM orchestry.timeline('plain');

-- not the owner
CREATE ROLE told_stranger;
GRANT USAGE ON SCHEMA told TO told_stranger;
SET ROLE told_stranger;
SELECT * FROM orchestry.explain('ev');
SELECT * FROM orchestry.timeline('ids');
RESET ROLE;
GRANT pg_monitor TO told_stranger;
SET ROLE told_stranger;
SELECT count(*) FROM orchestry.timeline('ids');
RESET ROLE;
SELECT orchestry.release_hold(:held, 'over');

RESET orchestry.now;
SELECT count(orchestry.remove_policy(job_id)) FROM orchestry.jobs WHERE target_schema = 'told';
SET search_path = public;
DROP SCHEMA told CASCADE;
DROP ROLE told_stranger, told_owner;
