# Real metrics: window_stats() is what PostgreSQL's own aggregates say, in every window of every series; a summary is within
# what it states, and merging summaries of minutes up to all time gives the bytes of summarizing all time.
use strict;
use warnings;
use Orchestry;
use PostgreSQL::Test::Utils;
use Test::More;

my $input = ($ENV{ORCHESTRY_DATA} // '') . '/metrics.csv.gz';
plan skip_all => 'no metrics.csv.gz in ORCHESTRY_DATA' unless -r $input;

my $node = new_server('metrics_real', preload => 0, conf => "max_wal_size = '4GB'\nwork_mem = '64MB'\nmax_parallel_workers_per_gather = 0\n");
my $copy = 'COPY input FROM STDIN (FORMAT csv, HEADER)';
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION orchestry_ext;
CREATE TABLE input (source text, app text, metric_type text, unit text, ts timestamptz, value float8);
SQL
is(system(sprintf q{gzip -dc '%s' | psql -X -q -d '%s' -c '%s'}, $input, $node->connstr('postgres'), $copy), 0, 'the file is read');
my $rows = $node->safe_psql('postgres', <<'SQL');
CREATE TABLE m AS SELECT dense_rank() OVER (ORDER BY source, app, metric_type)::int AS series, ts, value FROM input;
DROP TABLE input;
ANALYZE m;
SELECT count(*) FROM m;
SQL
cmp_ok($rows, '>', 900_000, "$rows rows");

for my $width ('1 minute', '5 minutes', '1 hour', '1 day', '1000 years')
{
	my $result = $node->safe_psql('postgres', <<"SQL");
SELECT count(*), count(*) FILTER (WHERE (w).data_points IS DISTINCT FROM nullif(n, 0)),
       count(*) FILTER (WHERE ((w).min_value, (w).max_value) IS DISTINCT FROM (lo, hi)),
       count(*) FILTER (WHERE ARRAY[(w).p50_value, (w).p95_value, (w).p99_value] IS DISTINCT FROM coalesce(p, '{NULL,NULL,NULL}')),
       count(*) FILTER (WHERE abs((w).avg_value - a) > 1e-12 * greatest(abs(a), abs(lo), abs(hi))),
       count(*) FILTER (WHERE ((w).stddev_value IS NULL) <> (d IS NULL) OR abs((w).stddev_value - d) > 1e-9 * d + 1e-12 * greatest(abs(lo), abs(hi)))
FROM (SELECT orchestry.window_stats(value) AS w, count(value) AS n, min(value) AS lo, max(value) AS hi, avg(value) AS a, stddev(value) AS d,
             percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY value) AS p
      FROM m GROUP BY series, orchestry.time_bucket('$width', ts)) g
SQL
	my ($groups, @wrong) = split /\|/, $result;
	is("@wrong", '0 0 0 0 0', "$groups windows of $width: count, extremes, percentiles, average, deviation");
}

# Hours from minutes, days from hours, all from days: nothing is lost on the way.
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE minutes AS SELECT series, orchestry.time_bucket('1 minute', ts) AS bucket, orchestry.summarize(value) AS s FROM m GROUP BY 1, 2;
CREATE TABLE hours AS SELECT series, orchestry.time_bucket('1 hour', bucket) AS bucket, orchestry.merge(s) AS s FROM minutes GROUP BY 1, 2;
CREATE TABLE days AS SELECT series, orchestry.time_bucket('1 day', bucket) AS bucket, orchestry.merge(s) AS s FROM hours GROUP BY 1, 2;
CREATE TABLE merged AS SELECT series, orchestry.merge(s) AS s FROM days GROUP BY 1;
CREATE TABLE direct AS SELECT series, orchestry.summarize(value) AS s FROM m GROUP BY 1;
SQL
is($node->safe_psql('postgres', 'SELECT count(*) FROM direct d FULL JOIN merged m USING (series) WHERE d.s::text IS DISTINCT FROM m.s::text'),
	0, 'minutes merged to hours, days and all time are the summary of all');

for my $of ('minutes:1 minute', 'hours:1 hour', 'days:1 day', 'direct:1000 years')
{
	my ($table, $width) = split /:/, $of;
	my $join = $table eq 'direct' ? 'series' : 'series, bucket';
	my $worst = $node->safe_psql('postgres', <<"SQL");
WITH exact AS (
    SELECT series, orchestry.time_bucket('$width', ts) AS bucket,
           orchestry.quantiles(value, ARRAY[0, 0.05, 0.5, 0.95, 0.99, 1]) AS q, count(value) AS n FROM m GROUP BY 1, 2
), both_sides AS (
    SELECT orchestry.quantiles(s, ARRAY[0, 0.05, 0.5, 0.95, 0.99, 1]) AS estimate, q, orchestry.relative_error(s) AS stated, orchestry.count(s) = n AS counted
    FROM exact JOIN $table USING ($join)
), each AS (
    SELECT f, abs(estimate[f] - q[f]) / nullif(abs(q[f]), 0) AS error, stated, counted FROM both_sides, generate_series(1, 6) f
)
SELECT bool_and(counted), count(*) FILTER (WHERE error > stated + 1e-12),
       string_agg(DISTINCT f || '=' || worst, ' ') FROM (SELECT *, round((100 * max(error) OVER (PARTITION BY f))::numeric, 4) AS worst FROM each) e
SQL
	my ($counted, $outside, $errors) = split /\|/, $worst;
	is("$counted $outside", 't 0', "summaries of $width: exact counts, no quantile further off than stated");
	note("worst error in % of quantile 0, 0.05, 0.5, 0.95, 0.99, 1 (as 1 to 6), $width: $errors");
}
note('bytes of a summary, average and greatest: '
	  . $node->safe_psql('postgres', 'SELECT (SELECT round(avg(octet_length(s::text) / 2)) || \' \' || max(octet_length(s::text) / 2) FROM hours) || \' (hours), \' || round(avg(octet_length(s::text) / 2)) || \' \' || max(octet_length(s::text) / 2) || \' (all)\' FROM direct'));

# A chain of rollups says what the values themselves do, read through its views and stored; so do windows of it. By default
# with every eighth series or so.
my $chained = long_count('series % 8 = 0', 'true');
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'orchestry_ext'\norchestry.databases = ''\norchestry.now = '2026-01-01 00:00:00+00'\n");
$node->restart;
$node->safe_psql('postgres', <<"SQL");
CREATE TABLE chained AS SELECT * FROM m WHERE $chained;
CREATE INDEX ON chained (ts);
SELECT orchestry.create_rollup('r_minutes', 'chained', 'ts', 'value', '1 minute', '{series}');
SELECT orchestry.create_rollup('r_hours', 'chained', 'ts', 'value', '1 hour', '{series}', parent => 'r_minutes');
SELECT orchestry.create_rollup('r_days', 'chained', 'ts', 'value', '1 day', '{series}', parent => 'r_hours');
SQL
for my $state ('computed by the readers', 'stored')
{
	for my $of ('hours:1 hour', 'days:1 day')
	{
		my ($name, $width) = split /:/, $of;
		my $different = $node->safe_psql('postgres', <<"SQL");
WITH direct AS (SELECT series, orchestry.time_bucket('$width', ts) AS bucket, orchestry.window_stats(value) AS w, orchestry.summarize(value) AS s FROM chained WHERE value IS NOT NULL GROUP BY 1, 2)
SELECT count(*) FILTER (WHERE d.series IS NULL OR r.series IS NULL), count(*) FILTER (WHERE s::text IS DISTINCT FROM r.summary::text),
    count(*) FILTER (WHERE ((w).data_points, (w).avg_value, (w).min_value, (w).max_value, (w).stddev_value) IS DISTINCT FROM (r.data_points, r.avg_value, r.min_value, r.max_value, r.stddev_value)),
    count(*) FILTER (WHERE abs((w).p50_value - p50_value) > orchestry.relative_error(summary) * abs((w).p50_value) * (1 + 1e-12)
        OR abs((w).p95_value - p95_value) > orchestry.relative_error(summary) * abs((w).p95_value) * (1 + 1e-12)
        OR abs((w).p99_value - p99_value) > orchestry.relative_error(summary) * abs((w).p99_value) * (1 + 1e-12))
FROM direct d FULL JOIN r_$name r USING (series, bucket)
SQL
		is($different, '0|0|0|0', "$name of minutes, $state: exact, and percentiles within what is stated");
	}
	$node->safe_psql('postgres', q(CALL orchestry.run('chained')));
}
is($node->safe_psql('postgres', q(SELECT count(*) FROM (SELECT * FROM orchestry.verify_rollup('r_minutes') UNION ALL SELECT * FROM orchestry.verify_rollup('r_hours') UNION ALL SELECT * FROM orchestry.verify_rollup('r_days')) v)),
	0, 'verify_rollup() finds nothing');
is($node->safe_psql('postgres', <<"SQL"), '0|t', 'four years of each series, of hours and of values: exact');
SELECT count(*) FILTER (WHERE (x.data_points, x.avg_value, x.min_value, x.max_value, x.stddev_value) IS DISTINCT FROM (h.data_points, h.avg_value, h.min_value, h.max_value, h.stddev_value)), count(*) > @{[ long_count(5, 50) ]}
FROM orchestry.window_aggregate('chained', 'ts', 'value', '{series}', '2014-01-01Z', '2018-03-01 05:00Z') x
FULL JOIN orchestry.window_aggregate('r_hours', 'ts', 'value', '{series}', '2014-01-01Z', '2018-03-01 05:00Z') h USING (labels)
SQL

# Both forms of a summary survive a journey.
my $dir = PostgreSQL::Test::Utils::tempdir();
for my $format ('text', 'binary')
{
	is($node->safe_psql('postgres', <<"SQL"), 0, "summaries copied as $format are the same");
CREATE TABLE back_$format (LIKE direct);
COPY direct TO '$dir/$format' (FORMAT $format);
COPY back_$format FROM '$dir/$format' (FORMAT $format);
SELECT count(*) FROM direct d FULL JOIN back_$format b USING (series) WHERE d.s::text IS DISTINCT FROM b.s::text;
SQL
}
# Damaged in transit: one byte of a summary.
my $damaged = slurp_file("$dir/binary");
substr($damaged, 19 + 2 + 8 + 4, 1) = "\x07"; # the version of the first
open my $file, '>:raw', "$dir/damaged" or die $!;
print $file $damaged;
close $file;
chmod 0644, "$dir/damaged";
my ($status, $out, $err) = $node->psql('postgres', "COPY back_binary FROM '$dir/damaged' (FORMAT binary)");
like($err, qr/invalid summary.*another version/s, 'a damaged one is refused');

# Little memory, files instead: the same to the last bit.
is($node->safe_psql('postgres', <<'SQL'), 0, 'with 1 MB of memory the results are the same');
CREATE TABLE roomy AS SELECT series, orchestry.window_stats(value) AS w, orchestry.quantiles(value, '{0.01,0.5,0.999}') AS q FROM m GROUP BY series;
SET orchestry.aggregate_mem = '1MB';
SELECT count(*) FROM roomy r FULL JOIN (SELECT series, orchestry.window_stats(value) AS w, orchestry.quantiles(value, '{0.01,0.5,0.999}') AS q FROM m GROUP BY series) s
USING (series) WHERE (r.w, r.q) IS DISTINCT FROM (s.w, s.q);
SQL

$node->stop;
done_testing();
