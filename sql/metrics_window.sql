-- time_bucket() and window_aggregate().
SET TimeZone = 'Asia/Kathmandu'; -- nothing depends on it
SET DateStyle = 'ISO, MDY';
SET IntervalStyle = 'postgres';
\set SHOW_CONTEXT never
CREATE SCHEMA windows;
SET search_path = windows;
CREATE FUNCTION at(ts timestamptz, zone text DEFAULT 'UTC') RETURNS text LANGUAGE sql AS $$ SELECT to_char(ts AT TIME ZONE zone, 'YYYY-MM-DD HH24:MI:SS.US') $$;

-- hours and less are real time, days and months the zone's
SELECT width, zone, at(orchestry.time_bucket(width, '2026-03-29 12:34:56.789Z', zone), zone) AS local
FROM (VALUES (interval '1 second'), ('5 minutes'), ('1 hour'), ('6 hours'), ('1 day'), ('7 days'), ('1 month'), ('3 months'), ('1 year')) w (width),
     (VALUES ('UTC'), ('Europe/Berlin'), ('America/New_York'), ('Asia/Kathmandu')) z (zone) ORDER BY width, zone;
-- the default zone is UTC
SELECT at(orchestry.time_bucket('1 day', '2026-03-29 23:30:00-05')) AS utc;
-- the day on which the clocks change has 23 or 25 hours, and no instant is lost or counted twice
SELECT at(orchestry.time_bucket('1 day', ts, 'Europe/Berlin'), 'Europe/Berlin') AS day, count(*) AS minutes
FROM generate_series('2026-03-28 00:00Z'::timestamptz, '2026-03-30 23:59Z', '1 minute') ts GROUP BY 1 ORDER BY 1;
SELECT at(orchestry.time_bucket('1 day', ts, 'America/New_York'), 'America/New_York') AS day, count(*) AS minutes
FROM generate_series('2026-10-31 04:00Z'::timestamptz, '2026-11-03 04:59Z', '1 minute') ts GROUP BY 1 ORDER BY 1;
-- before the epoch, and the infinities
SELECT at(orchestry.time_bucket('1 month', '1969-07-20 20:17:40Z')), at(orchestry.time_bucket('15 minutes', '1969-07-20 20:17:40Z')),
       orchestry.time_bucket('1 day', 'infinity'), orchestry.time_bucket('1 day', '-infinity');
SELECT orchestry.time_bucket('1 day', NULL) IS NULL AS null_time, orchestry.time_bucket(NULL, now()) IS NULL AS null_width;
-- the same whatever the order of the rows: what is remembered from row to row does not show
CREATE TABLE instants AS SELECT '2025-01-01Z'::timestamptz + (i * 7919 % 10007) * interval '61 minutes' AS ts FROM generate_series(1, 10007) i;
SELECT count(*) AS wrong FROM instants
WHERE orchestry.time_bucket('1 day', ts, 'Europe/Berlin') <> date_trunc('day', ts AT TIME ZONE 'Europe/Berlin') AT TIME ZONE 'Europe/Berlin'
   OR orchestry.time_bucket('1 month', ts, 'America/New_York') <> date_trunc('month', ts AT TIME ZONE 'America/New_York') AT TIME ZONE 'America/New_York'
   OR orchestry.time_bucket('1 hour', ts) <> date_trunc('hour', ts AT TIME ZONE 'UTC') AT TIME ZONE 'UTC';
SELECT count(*) AS wrong FROM instants, (VALUES (interval '1 day', 'UTC'), ('1 day', 'Asia/Tokyo'), ('1 month', 'Asia/Tokyo')) w (width, zone)
WHERE orchestry.time_bucket(width, ts, zone) <> date_trunc(CASE width WHEN '1 day' THEN 'day' ELSE 'month' END, ts AT TIME ZONE zone) AT TIME ZONE zone;
CREATE INDEX ON instants (orchestry.time_bucket('1 day', ts, 'UTC')); -- it is IMMUTABLE
SELECT orchestry.time_bucket('0', now());
SELECT orchestry.time_bucket('-1 day', now());
SELECT orchestry.time_bucket('1 month 1 day', now());
SELECT orchestry.time_bucket('1 day', now(), 'Mars/Olympus');
SELECT orchestry.time_bucket('1 year', '294276-12-31Z');

-- window_aggregate(): groups, half-open windows, whatever the columns are called
CREATE TABLE "Odd ""table" (at timestamptz, "app'; DROP TABLE instants; --" text, kind int, "the value" numeric(10, 2));
INSERT INTO "Odd ""table"
SELECT '2026-01-01Z'::timestamptz + i * interval '1 minute', CASE i % 3 WHEN 0 THEN 'a' WHEN 1 THEN 'b"''\' END, i % 2, i FROM generate_series(0, 599) i;
INSERT INTO "Odd ""table" VALUES ('2026-01-01 00:30Z', 'without values', 0, NULL);
SELECT * FROM orchestry.window_aggregate('"Odd ""table"', 'at', 'the value', '{"app''; DROP TABLE instants; --"}', '2026-01-01 01:00Z', '2026-01-01 02:00Z') ORDER BY labels::text;
SELECT labels, data_points, min_value, max_value FROM orchestry.window_aggregate('"Odd ""table"', 'at', 'the value', '{kind}', "to" => '2026-01-01 00:10Z') ORDER BY labels::text;
SELECT labels, data_points, p50_value FROM orchestry.window_aggregate('"Odd ""table"', 'at', 'the value', "from" => '2026-01-01 09:00Z');
SELECT labels, data_points FROM orchestry.window_aggregate('"Odd ""table"', 'at', 'the value', NULL);
-- no data is no row
SELECT * FROM orchestry.window_aggregate('"Odd ""table"', 'at', 'the value', '{kind}', '2027-01-01Z', '2027-02-01Z');
SELECT * FROM orchestry.window_aggregate('"Odd ""table"', 'at', 'the value', "from" => '2027-01-01Z');
SELECT * FROM orchestry.window_aggregate('"Odd ""table"', 'at', 'the value', '{kind}', '2026-01-01Z', '2026-01-01Z');
-- times without a zone are UTC; partitions and views are sources too
CREATE TABLE plain_times (at timestamp, day date, v real) PARTITION BY RANGE (at);
CREATE TABLE plain_times_1 PARTITION OF plain_times DEFAULT;
INSERT INTO plain_times SELECT ts, ts::date, 1 FROM generate_series('2026-01-01'::timestamp, '2026-01-03', '1 hour') ts;
CREATE VIEW seen AS SELECT * FROM plain_times WHERE at < '2026-01-02';
SELECT (SELECT data_points FROM orchestry.window_aggregate('plain_times', 'at', 'v', '{}', '2026-01-01 12:00Z', '2026-01-02 12:00Z')) AS by_timestamp,
       (SELECT data_points FROM orchestry.window_aggregate('plain_times', 'day', 'v', '{}', '2026-01-02Z', '2026-01-03Z')) AS by_date,
       (SELECT data_points FROM orchestry.window_aggregate('seen', 'at', 'v')) AS of_a_view;
SELECT * FROM orchestry.window_aggregate('plain_times', 'nothing', 'v');
SELECT * FROM orchestry.window_aggregate('plain_times', 'at', 'tableoid');
SELECT * FROM orchestry.window_aggregate('plain_times', 'v', 'v');
SELECT * FROM orchestry.window_aggregate('plain_times', 'at', 'day');
SELECT * FROM orchestry.window_aggregate('plain_times', 'at', 'v', '{day,day}');
SELECT * FROM orchestry.window_aggregate('plain_times', 'at', 'v', '{day,NULL}');
SELECT * FROM orchestry.window_aggregate('plain_times', 'at', 'v', '{}', '2026-01-02Z', '2026-01-01Z');
SELECT * FROM orchestry.window_aggregate(NULL, 'at', 'v');
SELECT * FROM orchestry.window_aggregate(0, 'at', 'v');
-- the caller's rights, and the caller's row security
CREATE ROLE metrics_reader;
GRANT USAGE ON SCHEMA windows TO metrics_reader;
SET ROLE metrics_reader;
SELECT * FROM orchestry.window_aggregate('plain_times', 'at', 'v');
RESET ROLE;
GRANT SELECT ON plain_times TO metrics_reader;
ALTER TABLE plain_times ENABLE ROW LEVEL SECURITY;
CREATE POLICY first_day ON plain_times TO metrics_reader USING (at < '2026-01-02');
SET ROLE metrics_reader;
SELECT data_points FROM orchestry.window_aggregate('plain_times', 'at', 'v');
SELECT orchestry.summarize(1.5), (orchestry.window_stats(1.5)).data_points, at(orchestry.time_bucket('1 day', '2026-01-01 12:00Z'));
RESET ROLE;
-- nothing of a search_path is believed
CREATE FUNCTION float8(numeric) RETURNS float8 LANGUAGE sql AS $$ SELECT 0::pg_catalog.float8 $$;
CREATE FUNCTION ge(timestamptz, timestamptz) RETURNS boolean LANGUAGE sql AS $$ SELECT false $$;
CREATE OPERATOR >= (LEFTARG = timestamptz, RIGHTARG = timestamptz, FUNCTION = ge);
SET search_path = windows, pg_catalog;
SELECT data_points, max_value FROM orchestry.window_aggregate('"Odd ""table"', 'at', 'the value', '{}', '2026-01-01 01:00Z');
RESET search_path;
SET client_min_messages = warning;
DROP SCHEMA windows CASCADE;
DROP ROLE metrics_reader;
