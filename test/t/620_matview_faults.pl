# R07 for materialized views: a failure at every single point at which a run can fail, one after the other, until a run passes none.
# After each of them the views are whole, what has changed is still known, nobody holds anything, and the next run does what is
# left to do. The library is the one with fault points, as in 100_faults.pl.
use strict;
use warnings;
use Orchestry;
use PostgreSQL::Test::Utils;
use Test::More;

my $modules = $ENV{ORCHESTRY_MODULES};
plan skip_all => 'needs test/modules/build.sh; test/run.sh calls it' unless $modules;

my $database = 'postgres';
my $node = new_server('matview_faults', preload => 0, conf => <<"CONF");
autovacuum = off
orchestry.databases = ''
CONF
$node->safe_psql($database, "CREATE EXTENSION orchestry_ext; UPDATE pg_proc SET probin = 'orchestry_ext' WHERE probin = '\$libdir/orchestry_ext'");
$node->append_conf('postgresql.conf', <<"CONF");
dynamic_library_path = '$modules/faults:\$libdir'
shared_preload_libraries = 'orchestry_ext'
CONF
$node->restart;
$node->safe_psql($database, <<'SQL');
CREATE TABLE t (v int);
INSERT INTO t VALUES (0);
CREATE MATERIALIZED VIEW a AS SELECT count(*) AS n FROM t;
CREATE MATERIALIZED VIEW b AS SELECT n + 1 AS n FROM a;
CREATE UNIQUE INDEX ON b (n);
SELECT orchestry.add_refresh_policy('a'), orchestry.add_refresh_policy('b');
CALL orchestry.refresh('b');
SQL

my $control = control_session($node, $database);
sub ask { $control->set_query_timer_restart; return $control->query_safe($_[0]) }

my %points;
for my $level ('error', 'fatal')
{
	my ($at, @damages) = (0);
	while (++$at <= 500)
	{
		my $n = ask('WITH more AS (INSERT INTO t VALUES (1) RETURNING 1) SELECT count(*) + 1 FROM t');
		my $offset = -s $node->logfile;
		$node->psql($database, "SET client_min_messages = error; SET orchestry.fault_level = $level; SET orchestry.fault_at = $at; CALL orchestry.refresh('b');");
		my @where = slurp_file($node->logfile, $offset) =~ /fault point \d+ is "(.*?)"/g;
		$points{$_}++ for @where;
		my ($a, $b, $changed) = split /\|/, ask(q(SELECT (TABLE a), (TABLE b), (SELECT string_agg(matview::text, ' ') FROM orchestry.matviews WHERE changed)));
		push @damages, "at $at (@where): a is $a, b $b of $n, changed: $changed"
		  unless ($a == $n || $changed =~ /a/) && ($b == $n + 1 || $changed =~ /./);
		my $locks = ask("SELECT string_agg(concat_ws(' ', pid, mode, relation::regclass), '; ') FROM pg_locks l JOIN pg_stat_activity x USING (pid)
			WHERE x.pid <> pg_backend_pid() AND x.state = 'idle' AND l.locktype <> 'virtualxid'");
		push @damages, "at $at (@where): locks: $locks" if $locks ne '';
		$node->safe_psql($database, "SET client_min_messages = error; CALL orchestry.refresh('b');");
		my $after = ask('SELECT (TABLE a), (TABLE b)');
		push @damages, "at $at (@where): $after after the next run" if $after ne $n . '|' . ($n + 1);
		last unless @where;
	}
	is(join("\n", @damages), '', "$level: " . ($at - 1) . ' points, nothing is lost or forgotten at any');
	cmp_ok($at, '>', 10, 'and then it passes');
}
diag('R07: ' . join(', ', map { "$_ $points{$_}" } sort keys %points));
ok($points{$_}, "a failure at \"$_\" was tried")
  for 'between marks and rows', 'view refreshed', 'step applied', 'step recorded', 'commit';
is(ask(q(SELECT count(*) FROM orchestry.runs WHERE state IN ('queued', 'waiting', 'running'))), 0, 'every run has ended');
is(count_log($node, 'PANIC|TRAP|terminated by signal|WARNING:.*(leak|refcount|not closed)'), 0, 'the log is clean');
$control->quit;
$node->stop;
done_testing();
