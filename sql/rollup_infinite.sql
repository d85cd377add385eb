-- Rollups of tables with partitions for infinite times, and for those beyond all buckets.
\set VERBOSITY terse
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';
CREATE SCHEMA rollup_infinite;
SET search_path = rollup_infinite;
SELECT setval('orchestry.job_job_id_seq', 31101, false);
SET orchestry.now = '2026-03-10 12:30Z';

CREATE TABLE m (ts timestamptz, v float8) PARTITION BY RANGE (ts);
CREATE TABLE m_never PARTITION OF m FOR VALUES FROM (MINVALUE) TO ('-infinity');
CREATE TABLE m_past PARTITION OF m FOR VALUES FROM ('-infinity') TO ('2026-03-08');
CREATE TABLE m_08 PARTITION OF m FOR VALUES FROM ('2026-03-08') TO ('2026-03-09');
CREATE TABLE m_future PARTITION OF m FOR VALUES FROM ('2026-03-09') TO ('20000-01-01');
CREATE TABLE m_far PARTITION OF m FOR VALUES FROM ('294276-12-31') TO ('infinity');
CREATE TABLE m_ever PARTITION OF m FOR VALUES FROM ('infinity') TO (MAXVALUE);
CREATE VIEW rows AS SELECT * FROM (VALUES ('2026-03-07 05:00Z'::timestamptz, 1), ('2026-03-08 05:00Z', 2), ('2026-03-09 05:00Z', 3),
    ('294276-12-31 05:00Z', 4), ('infinity', 5)) r (ts, v);
INSERT INTO m TABLE rows;
SELECT orchestry.create_rollup('months', 'm', 'ts', 'v', '1 month');
SELECT orchestry.create_rollup('hours', 'm', 'ts', 'v', '1 hour');
SET orchestry.refresh_mem = '64kB'; -- the rows of all partitions are looked at
CALL orchestry.run('m');
SELECT bucket, data_points FROM hours_buckets ORDER BY 1;
INSERT INTO m TABLE rows;
CALL orchestry.run('m');
SELECT * FROM orchestry.verify_rollup('hours');

-- They are emptied, and leave and come, as any others do; no bucket is of their times.
TRUNCATE m_ever, m_far;
SELECT bucket, data_points FROM hours ORDER BY 1;
TRUNCATE m;
SELECT bucket, data_points FROM hours ORDER BY 1;
INSERT INTO m TABLE rows;
CALL orchestry.run('m');
ALTER TABLE m DETACH PARTITION m_ever;
ALTER TABLE m DETACH PARTITION m_far;
ALTER TABLE m DETACH PARTITION m_never;
ALTER TABLE m ATTACH PARTITION m_ever FOR VALUES FROM ('infinity') TO (MAXVALUE);
ALTER TABLE m ATTACH PARTITION m_far FOR VALUES FROM ('294276-12-31') TO ('infinity');
DROP TABLE m_ever, m_far;
SELECT rollup, frozen FROM orchestry.rollups WHERE job_id BETWEEN 31101 AND 31102 ORDER BY job_id;
SELECT bucket, data_points FROM hours ORDER BY 1;
SELECT orchestry.drop_rollup(name) FROM unnest('{hours,months}'::text[]) name;
DROP SCHEMA rollup_infinite CASCADE;
