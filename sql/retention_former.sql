-- What was a partition of another table before: holds on that keep its rows wherever it went, by the times that they were
-- held for, from every policy.
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';
SET client_min_messages = warning;
SET orchestry.now = '2026-06-15 12:00:00+00';
CREATE SCHEMA former;
SET search_path = former;
-- takes what came into quarantine out of it
CREATE PROCEDURE take_out() LANGUAGE plpgsql AS $$
DECLARE q record;
BEGIN
    FOR q IN SELECT partition, former_name FROM orchestry.quarantine WHERE former_name LIKE 'former.t\_%' LOOP
        EXECUTE format('ALTER TABLE %s RENAME TO %I', q.partition, replace(q.former_name, 'former.t_', 'kept_'));
    END LOOP;
END $$;
SELECT setval('orchestry.job_job_id_seq', 27001, false), setval('orchestry.hold_hold_id_seq', 6601, false);

CREATE TABLE t (at timestamptz NOT NULL, received timestamptz NOT NULL, note text) PARTITION BY RANGE (at);
CREATE TABLE t_1 PARTITION OF t FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE t_2 PARTITION OF t FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
CREATE TABLE t_3 PARTITION OF t FOR VALUES FROM ('2026-03-01') TO ('2026-04-01');
CREATE TABLE t_6 PARTITION OF t FOR VALUES FROM ('2026-06-01') TO ('2026-07-01');
INSERT INTO t SELECT d, d, n FROM (VALUES ('2026-01-10'::timestamptz), ('2026-02-10'), ('2026-03-10')) v(d), unnest('{held,free}'::text[]) n;
SELECT orchestry.add_retention_policy('t', '2 months', action => 'detach') AS t \gset
CALL orchestry.run_job(:t);
CALL take_out();

-- By a condition: events of what stands alone now, of a partition of another table, of one of its parts.
SELECT orchestry.hold('t', 'case', "where" => 'note = ''held''') AS hold \gset
SELECT orchestry.add_event_compression_policy('kept_1', '30 days', time_column => 'at') AS kept_1 \gset
CALL orchestry.run_job(:kept_1);
SELECT note FROM kept_1;
SELECT sum(event_count) FROM kept_1_compressed;
CREATE TABLE other (at timestamptz NOT NULL, received timestamptz NOT NULL, note text) PARTITION BY RANGE (at);
CREATE TABLE other_6 PARTITION OF other FOR VALUES FROM ('2026-04-01') TO ('2026-07-01');
ALTER TABLE other ATTACH PARTITION kept_2 FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
INSERT INTO other VALUES ('2026-04-10', '2026-04-10', 'held');
SELECT orchestry._must_stay('other', '2026-02-01', '2026-03-01') AS other, orchestry._must_stay('kept_2', '2026-02-01', '2026-03-01') AS part,
       orchestry._must_stay('other_6', '2026-02-01', '2026-03-01') AS another_part;
SELECT orchestry.add_event_compression_policy('other', '30 days') AS other \gset
CALL orchestry.run_job(:other);
SELECT at, note FROM other;
SELECT sum(event_count) FROM other_compressed;
CREATE TABLE above (at timestamptz NOT NULL, received timestamptz NOT NULL, note text);
ALTER TABLE kept_3 INHERIT above;
INSERT INTO above VALUES ('2026-03-10', '2026-03-10', 'held');
SELECT orchestry.add_event_compression_policy('above', '30 days', time_column => 'at') AS above \gset
CALL orchestry.run_job(:above);
SELECT tableoid::regclass, note FROM above;
SELECT orchestry.release_hold(:hold, 'over');
SELECT orchestry._must_stay('other', '2026-02-01', '2026-03-01') AS other;
CALL orchestry.run_job(:other);
SELECT count(*) FROM other;

-- By a span of time: it is the former table's key that says when, also where the table that has it now goes by another column.
SELECT count(orchestry.remove_policy(job_id)) > 0 AS removed FROM orchestry.jobs WHERE job_id BETWEEN 27001 AND 27100;
DROP TABLE t, kept_1, other, above CASCADE;
CREATE TABLE t (at timestamptz NOT NULL, received timestamptz NOT NULL, note text) PARTITION BY RANGE (at);
CREATE TABLE t_1 PARTITION OF t FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE t_2 PARTITION OF t FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
CREATE TABLE t_6 PARTITION OF t FOR VALUES FROM ('2026-06-01') TO ('2026-07-01');
INSERT INTO t VALUES ('2026-01-10', '2026-03-05', 'first'), ('2026-01-20', '2026-03-05', 'second'), ('2026-02-10', '2026-04-05', 'third');
SELECT orchestry.add_retention_policy('t', '2 months', action => 'detach') AS t \gset
CALL orchestry.run_job(:t);
CALL take_out();
SELECT orchestry.hold('t', 'case', '2026-01-01', '2026-01-15') AS first, orchestry.hold('t', 'case', '2026-02-01', '2026-03-01') AS second \gset
CREATE TABLE other (at timestamptz NOT NULL, received timestamptz NOT NULL, note text) PARTITION BY RANGE (received);
ALTER TABLE other ATTACH PARTITION kept_1 FOR VALUES FROM ('2026-03-01') TO ('2026-04-01');
ALTER TABLE other ATTACH PARTITION kept_2 FOR VALUES FROM ('2026-04-01') TO ('2026-05-01');
SELECT orchestry.add_retention_policy('other', '30 days', time_column => 'received', "where" => 'note <> ''''') AS other \gset
CALL orchestry.run_job(:other);
SELECT note FROM other ORDER BY 1;
-- likewise when the key of the former table has another name by now
ALTER TABLE t RENAME at TO occurred;
CALL orchestry.run_job(:other);
SELECT note FROM other ORDER BY 1;
SELECT orchestry.remove_policy(:other);
SELECT orchestry.add_event_compression_policy('other', '30 days') AS other \gset
CALL orchestry.run_job(:other);
SELECT note FROM other ORDER BY 1;
SELECT orchestry.release_hold(:first, 'over');
CALL orchestry.run_job(:other);
SELECT note FROM other ORDER BY 1;

SELECT count(orchestry.release_hold(hold_id, 'over')) FROM orchestry.holds WHERE hold_id BETWEEN 6601 AND 6699 AND released_at IS NULL;
SELECT count(orchestry.remove_policy(job_id)) > 0 AS removed FROM orchestry.jobs WHERE job_id BETWEEN 27001 AND 27100;
DROP SCHEMA former CASCADE;
