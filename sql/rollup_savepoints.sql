-- What a savepoint takes back is taken back for rollups too: a partition that did not leave is not frozen, and one that did
-- not come back is.
\set VERBOSITY terse
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';
SET orchestry.now = '2026-03-30 12:30Z';
SET client_min_messages = warning;
CREATE SCHEMA rollup_savepoints;
SET search_path = rollup_savepoints;
SELECT setval('orchestry.job_job_id_seq', 9601, false);

CREATE TABLE m (ts timestamptz PRIMARY KEY, v int) PARTITION BY RANGE (ts);
CREATE TABLE m1 PARTITION OF m FOR VALUES FROM ('2026-03-01') TO ('2026-03-02');
CREATE TABLE m2 PARTITION OF m FOR VALUES FROM ('2026-03-02') TO ('2026-03-03');
INSERT INTO m SELECT '2026-03-01Z'::timestamptz + i * interval '10 min', i FROM generate_series(0, 287) i;
CREATE TABLE referencing (ts timestamptz REFERENCES m);
INSERT INTO referencing VALUES ('2026-03-01Z');
SELECT orchestry.create_rollup('r', 'm', 'ts', 'v', '1 hour');
CALL orchestry.refresh_rollup('r');

-- nothing of this has happened
BEGIN;
SAVEPOINT s;
ALTER TABLE referencing DROP CONSTRAINT referencing_ts_fkey;
ALTER TABLE m DETACH PARTITION m1;
ROLLBACK TO s;
COMMIT;
DO $$
BEGIN
    BEGIN
        ALTER TABLE m DETACH PARTITION m1; -- a key refers to its rows
    EXCEPTION WHEN OTHERS THEN
        RAISE INFO '%', SQLSTATE;
    END;
    BEGIN
        BEGIN
            DROP TABLE m2 CASCADE;
        EXCEPTION WHEN division_by_zero THEN
            NULL;
        END;
        PERFORM 1 / 0;
    EXCEPTION WHEN division_by_zero THEN
        RAISE INFO '%', SQLSTATE;
    END;
END $$;
SELECT count(*) AS frozen FROM orchestry.frozen_span WHERE job_id = 9601;
INSERT INTO m VALUES ('2026-03-01 00:01Z', 1000), ('2026-03-02 00:01Z', 2000);
CALL orchestry.refresh_rollup('r');
SELECT bucket, max_value FROM r WHERE max_value >= 1000 ORDER BY 1;

-- what has left and is back is not frozen, what came back in vain is
ALTER TABLE referencing DROP CONSTRAINT referencing_ts_fkey;
BEGIN;
ALTER TABLE m DETACH PARTITION m1;
SAVEPOINT s;
ALTER TABLE m ATTACH PARTITION m1 FOR VALUES FROM ('2026-03-01') TO ('2026-03-02');
RELEASE s;
COMMIT;
SELECT count(*) AS frozen FROM orchestry.frozen_span WHERE job_id = 9601;
CALL orchestry.refresh_rollup('r');
BEGIN;
SAVEPOINT outer_one;
SAVEPOINT inner_one;
ALTER TABLE m DETACH PARTITION m1;
RELEASE inner_one;
SAVEPOINT s;
ALTER TABLE m ATTACH PARTITION m1 FOR VALUES FROM ('2026-03-01') TO ('2026-03-02');
ROLLBACK TO s;
RELEASE outer_one;
COMMIT;
SELECT from_at, to_at, relid = 'm1'::regclass AS of_it FROM orchestry.frozen_span WHERE job_id = 9601;
CALL orchestry.refresh_rollup('r');
SELECT count(*) AS stored FROM r_buckets WHERE bucket < '2026-03-02';
-- and is right when it is really back
ALTER TABLE m ATTACH PARTITION m1 FOR VALUES FROM ('2026-03-01') TO ('2026-03-02');
INSERT INTO m VALUES ('2026-03-01 00:02Z', 3000);
CALL orchestry.refresh_rollup('r');
SELECT count(*) AS frozen FROM orchestry.frozen_span WHERE job_id = 9601;
SELECT max_value FROM r WHERE bucket = '2026-03-01';
SELECT count(*) AS wrong FROM orchestry.verify_rollup('r');

SELECT orchestry.drop_rollup('r');
RESET orchestry.now;
SET search_path = public;
DROP SCHEMA rollup_savepoints CASCADE;
