-- A hold is in the way of everybody, and says why only to those who may see it.
\set SHOW_CONTEXT never
SELECT setval('orchestry.hold_hold_id_seq', 33001, false);
CREATE ROLE regress_patient LOGIN;
CREATE ROLE regress_stranger LOGIN;
CREATE SCHEMA hooks;
GRANT ALL ON SCHEMA hooks TO PUBLIC;
SET SESSION AUTHORIZATION regress_patient;
CREATE TABLE hooks.records (id int, diagnosis text, at timestamptz) PARTITION BY RANGE (at);
CREATE TABLE hooks.records_1 PARTITION OF hooks.records FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
INSERT INTO hooks.records VALUES (1, 'cold', '2026-01-02');
GRANT TRUNCATE ON hooks.records_1 TO regress_stranger;
SELECT orchestry.hold('hooks.records', 'case 12: Smith', "where" => $$diagnosis = 'flu'$$);

SET SESSION AUTHORIZATION regress_stranger;
SELECT * FROM orchestry.holds;
ALTER TABLE hooks.records RENAME COLUMN diagnosis TO d;
TRUNCATE hooks.records;
TRUNCATE hooks.records_1;
ALTER TABLE hooks.records DETACH PARTITION hooks.records_1 CONCURRENTLY;
SET SESSION AUTHORIZATION regress_patient;
ALTER TABLE hooks.records RENAME COLUMN diagnosis TO d;
TRUNCATE hooks.records;
ALTER TABLE hooks.records DETACH PARTITION hooks.records_1 CONCURRENTLY;
RESET SESSION AUTHORIZATION;
SELECT orchestry.release_hold(33001, 'the test is over');
DELETE FROM orchestry.hold WHERE hold_id = 33001;
DROP SCHEMA hooks CASCADE;

DROP ROLE regress_patient, regress_stranger;
