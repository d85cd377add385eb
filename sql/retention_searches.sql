-- Who waits while a partition's rows are searched before it goes: nobody for longer than for a lock, and nobody at all while
-- what is in quarantine is searched. The functions in the conditions see which locks their search has.
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';
SET client_min_messages = warning;
SET orchestry.now = '2026-06-15 12:00:00+00';
CREATE SCHEMA search;
SET search_path = search;
CREATE FUNCTION steps(target regclass) RETURNS TABLE (action text, object text, state text, message text) LANGUAGE sql BEGIN ATOMIC
    SELECT s.action, regexp_replace(s.object, 'quarantine_\d+', 'quarantine_N'), s.state, regexp_replace(s.message, '(job|hold) \d+', '\1 N', 'g')
    FROM orchestry.run_steps s JOIN orchestry.jobs j ON j.last_run_id = s.run_id
    WHERE j.target = $1 AND s.action NOT IN ('announce', 'leave') ORDER BY s.run_id, s.seq;
END;

-- What is searched for rows that another policy has yet to archive is locked against its writers: here that would take an hour.
CREATE FUNCTION is_info(level text) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM pg_locks l WHERE l.pid = pg_backend_pid() AND l.relation = 'search.ev_1'::regclass AND l.mode = 'ShareLock') THEN
        PERFORM pg_sleep(3600);
    END IF;
    RETURN level = 'info';
END $$;
CREATE TABLE ev (level text, at timestamptz) PARTITION BY RANGE (at);
CREATE TABLE ev_1 PARTITION OF ev FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE ev_6 PARTITION OF ev FOR VALUES FROM ('2026-06-01') TO ('2026-07-01');
INSERT INTO ev SELECT CASE n % 100 WHEN 0 THEN 'info' ELSE 'error' END, '2026-01-10' FROM generate_series(1, 10000) n;
SELECT orchestry.add_retention_policy('ev', '1 month', "where" => 'is_info(level)', archive_to => 'ev_archive') IS NOT NULL AS rows,
    orchestry.add_retention_policy('ev', '2 months') IS NOT NULL AS partitions;
CALL orchestry.run('ev');
CALL orchestry.run('ev');
SELECT * FROM steps('ev') WHERE action = 'detach';
-- the command in the message makes it quick
CREATE INDEX CONCURRENTLY ON search.ev_1 (at) WHERE is_info(level);
ANALYZE ev_1;
SET orchestry.lock_timeout = '1 min'; -- however busy the machine is
CALL orchestry.run('ev');
SELECT * FROM steps('ev') WHERE action = 'detach';

-- What is in quarantine is searched for held rows before the tables at the other ends of its foreign keys are locked, and
-- before nobody can set a hold any more.
CREATE FUNCTION tell() RETURNS text LANGUAGE sql AS $$
    SELECT COALESCE(string_agg(l.mode || ' on ' || CASE WHEN c.relname ~ '^orchestry_quarantine' THEN 'the partition' ELSE c.relname END, ', ' ORDER BY c.relname, l.mode), 'no lock')
    FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_class c ON c.oid = l.relation
    WHERE l.pid = pg_backend_pid() AND l.mode NOT IN ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock') AND (c.relname IN ('customer', 'note', 'hold') OR c.relname ~ '^orchestry_quarantine')
$$;
CREATE FUNCTION is_held(id int) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
    RAISE WARNING 'searched under %', search.tell();
    RETURN id > 1;
END $$;
CREATE TABLE customer (id int PRIMARY KEY);
INSERT INTO customer VALUES (1), (2);
CREATE TABLE orders (customer int REFERENCES customer, at timestamptz, PRIMARY KEY (customer, at)) PARTITION BY RANGE (at);
CREATE TABLE orders_1 PARTITION OF orders FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE orders_6 PARTITION OF orders FOR VALUES FROM ('2026-06-01') TO ('2026-07-01');
CREATE TABLE note (customer int, at timestamptz, FOREIGN KEY (customer, at) REFERENCES orders);
INSERT INTO orders VALUES (1, '2026-01-10');
SELECT orchestry.hold('orders', 'case 1', "where" => 'is_held(customer)') AS hold \gset
SELECT orchestry.add_retention_policy('orders', '2 months') IS NOT NULL AS added;
CALL orchestry.run('orders');
SELECT * FROM steps('orders');
SET orchestry.now = '2026-06-30 12:00:00+00';
CALL orchestry.run('orders');
SELECT * FROM steps('orders');

-- The server's own look for rows that reference a partition, before it lets that go, keeps all of them waiting: not for longer
-- than a lock may be waited for, here for a millisecond.
CREATE TABLE post (id int, at timestamptz, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE post_1 PARTITION OF post FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE post_6 PARTITION OF post FOR VALUES FROM ('2026-06-01') TO ('2026-07-01');
INSERT INTO post SELECT n, '2026-01-10' FROM generate_series(1, 100000) n;
INSERT INTO post VALUES (1, '2026-06-10');
CREATE TABLE answer (post int, at timestamptz);
INSERT INTO answer SELECT 1, '2026-06-10' FROM generate_series(1, 100000) n;
ALTER TABLE answer ADD CONSTRAINT answer_has_post FOREIGN KEY (post, at) REFERENCES post;
SELECT orchestry.add_retention_policy('post', '2 months') AS post \gset
SET orchestry.lock_timeout = '1 ms';
CALL orchestry.run_job(:post);
SELECT action, object, state, regexp_replace(message, 'job\(\d+\)', 'job(N)') AS message FROM steps('post');
SET orchestry.lock_timeout = '1 min';
CALL orchestry.run_job(:post);
SELECT * FROM steps('post');

SELECT orchestry.release_hold(:hold, 'over');
SELECT count(orchestry.remove_policy(job_id)) FROM orchestry.jobs WHERE target_schema = 'search';
DROP SCHEMA search CASCADE;
