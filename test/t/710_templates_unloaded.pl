# A server that does not preload the library: templates are installed all the same, but for the rollup, with a warning that says how
# to make it later. What it says works.
use strict;
use warnings;
use Orchestry;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('unloaded', preload => 0);
$node->safe_psql('postgres', 'CREATE EXTENSION orchestry_ext');
for my $template (qw(workflow_events temporal temporal_visibility preferences))
{
	my ($status, $out, $err) = $node->psql('postgres', "SELECT orchestry.install_template('$template')");
	is("$status $out", "0 $template", $template);
	unlike($err, qr/WARNING/, 'without a warning');
}
my ($status, $out, $err) = $node->psql('postgres', "SELECT orchestry.install_template('control_plane', 'with space')");
is("$status $out", '0 with space', 'control_plane');
like($err, qr/WARNING:  the rollup metrics_hourly is not there: /, 'says what is not there');
my ($command) = $err =~ /HINT:  After a restart with shared_preload_libraries = 'orchestry_ext', run (SELECT .*;)/;
ok($command, 'and the command that makes it');
is($node->safe_psql('postgres', 'SELECT count(*), count(*) FILTER (WHERE kind = \'rollup\') FROM orchestry.jobs'), '17|0', 'all policies but that are there');
$node->safe_psql('postgres', q(INSERT INTO "with space".applications (name, spec) VALUES ('a', '{}'); INSERT INTO "with space".metrics (app_name, metric_type, value) VALUES ('a', 'rps', 7)));
is($node->safe_psql('postgres', q(SELECT metric_type, avg_value FROM "with space".get_app_metrics_window('a'))), 'rps|7', 'what is installed works');
$node->stop;
$node->adjust_conf('postgresql.conf', 'shared_preload_libraries', q('orchestry_ext'));
$node->append_conf('postgresql.conf', "orchestry.databases = ''");
$node->start;
$node->safe_psql('postgres', $command);
is($node->safe_psql('postgres', q(SELECT app_name, metric_type, aggregation_level, data_points, max_value FROM "with space".metrics_hourly)), 'a|rps|instance|1|7', 'the command works');
like(($node->psql('postgres', q(SELECT orchestry.install_template('control_plane', 'with space'))))[2], qr/NOTICE:  template control_plane is in schema "with space" already/, 'and the template is known');
is(count_log($node, qr/PANIC|TRAP|terminated by signal/), 0, 'the log is clean');
$node->stop;
done_testing();
