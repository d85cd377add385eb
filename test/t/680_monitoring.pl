# What doc/monitoring offers fits orchestry.metrics. The exporters' files ask for all of its metrics and get what they say;
# rules and dashboard use no other names; and Debian's tools, where they are installed, bring the metrics out of a server and
# into Prometheus, and call when they should.
use strict;
use warnings;
use Cwd ();
use HTTP::Tiny;
use IPC::Run ();
use JSON::PP;
use Orchestry;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = 'doc/monitoring';
my $node = new_server('monitoring', init => { allows_streaming => 1 }, conf => "orchestry.databases = ''\nautovacuum = off\nwal_level = logical\n");
$node->safe_psql('postgres', <<'SQL', extra_params => [ '-v', 'zone=' . morning_zone() ]);
CREATE EXTENSION orchestry_ext;
CREATE ROLE exporter LOGIN IN ROLE pg_monitor;
CREATE TABLE events (id bigserial, at timestamptz NOT NULL) PARTITION BY RANGE (at);
SELECT orchestry.add_partition_policy('events', '1 day', ahead => '3 days', time_zone => :'zone');
CREATE TABLE events_rest PARTITION OF events DEFAULT;
CREATE TABLE "odd ""name" (at timestamptz NOT NULL, v float8);
-- Of days: what a run has stored of yesterday stays so, and today is not over before the test is.
SELECT orchestry.create_rollup('r', '"odd ""name"', 'at', 'v', '1 day', time_zone => :'zone');
INSERT INTO "odd ""name" VALUES (now() - interval '5 hours', 1);
SELECT pg_create_logical_replication_slot('slot', 'pgoutput');
SQL
$node->safe_psql('postgres', 'CALL orchestry.run()');

my $temporary = PostgreSQL::Test::Utils::tempdir();

sub start_tool
{
	my ($log, @command) = @_;
	return IPC::Run::start(\@command, '<', \undef, '>', "$temporary/$log", '2>&1');
}

sub as_exporter { return $node->safe_psql('postgres', $_[0], extra_params => [ '-U', 'exporter' ]) }

# The view itself.
my %help = map { split /\|/, $_, 2 } split /\n/, as_exporter('SELECT DISTINCT name, help FROM orchestry.metrics');
cmp_ok(scalar(keys %help), '>', 30, scalar(keys %help) . ' metrics');
is(as_exporter(q(SELECT count(*) FROM orchestry.metrics WHERE name !~ '^orchestry_[a-z_]+[a-z]$' OR type <> 'gauge' OR value IS NULL OR help !~ '^[A-Z][^"]*[^.]$'
	OR jsonb_path_exists(labels, '$.* ? (@.type() != "string")'))), '0', 'all are well-formed');
# Two standbys of the same name are not two series.
my @receivers = map { mkdir "$temporary/wal_$_"; start_tool("wal_$_.log", 'pg_receivewal', '-D', "$temporary/wal_$_", '-d', $node->connstr . ' application_name=twin') } 1, 2;
wait_until($node, 'postgres', "SELECT count(*) = 2 FROM pg_stat_replication WHERE application_name = 'twin' AND state = 'streaming'");
is(as_exporter('SELECT count(*) FROM (SELECT FROM orchestry.metrics GROUP BY name, labels HAVING count(*) > 1) d'), '0', 'a name and its labels come once');
is(as_exporter(q(SELECT labels ->> 'kind', value FROM orchestry.metrics WHERE name = 'orchestry_replication_active' AND labels ->> 'name' = 'twin')), 'standby|1', 'neither do those of two standbys of one name');
$_->kill_kill for @receivers;
wait_until($node, 'postgres', 'SELECT count(*) = 0 FROM pg_stat_replication');
is(as_exporter('SELECT count(*) FROM (SELECT family FROM orchestry.metrics GROUP BY 1) f'), '7', 'in seven families');
is(as_exporter('SELECT string_agg(name || labels || value, E\'\n\' ORDER BY name, labels) FROM orchestry.metrics WHERE name !~ \'seconds|connections|age$|_bytes\''),
	$node->safe_psql('postgres', 'SELECT string_agg(name || labels || value, E\'\n\' ORDER BY name, labels) FROM orchestry.metrics WHERE name !~ \'seconds|connections|age$|_bytes\''),
	'pg_monitor sees what a superuser sees');
is($node->safe_psql('postgres', q(CREATE ROLE stranger LOGIN; SET ROLE stranger; SELECT string_agg(DISTINCT family, ', ' ORDER BY family) FROM orchestry.metrics)),
	'database, replication, wraparound', 'others see what the server tells everybody');
is(as_exporter(q(SELECT labels ->> 'target', value FROM orchestry.metrics WHERE name = 'orchestry_set_partitions')), 'public.events|4', 'a figure that is known');
is(as_exporter(q(SELECT value > 0 FROM orchestry.metrics WHERE name = 'orchestry_rollup_dirty_seconds')), 'f', 'what a run has stored is not dirty');

# Files of a line "key: value" or "- item" each, blocks of SQL apart: all of YAML that they use.
sub unquote { my ($text) = @_; return $text =~ /^"(.*)"$/ ? $1 : $text }

sub read_postgres_exporter
{
	my (%query, %column, $name, $column);
	for (split /\n/, slurp_file("$dir/postgres_exporter.yml"))
	{
		next if /^#|^$/;
		if (/^(\w+):$/) { $name = $1; $query{$name} = '' }
		elsif (/^    - (\w+):$/) { $column = $1 }
		elsif (/^        usage: "(LABEL|GAUGE)"$/) { $column{$name}{$column}{usage} = $1 }
		elsif (/^        description: (".*")$/) { $column{$name}{$column}{help} = unquote($1) }
		elsif (/^    (.*)/) { $query{$name} .= "$1\n" }
		elsif (!/^  (query: \||metrics:)$/) { fail("postgres_exporter.yml: $_") }
	}
	return (\%query, \%column);
}

sub read_sql_exporter
{
	my (%query, @metrics, $name);
	for (split /\n/, slurp_file("$dir/sql_exporter.collector.yml"))
	{
		next if /^#|^(collector_name|min_interval|metrics|queries):|^    query: \|$/;
		if (/^  - metric_name: (\w+)$/) { push @metrics, { name => $1, key_labels => '' } }
		elsif (/^    (type|help|key_labels|values|query_ref): \[?(.*?)\]?$/) { $metrics[-1]{$1} = unquote($2) }
		elsif (/^  - query_name: (\w+)$/) { $name = $1; $query{$name} = '' }
		elsif (/^      (.*)/) { $query{$name} .= "$1\n" }
		else { fail("sql_exporter.collector.yml: $_") }
	}
	return (\%query, \@metrics);
}

my ($query, $column) = read_postgres_exporter();
my %exported;
for my $name (sort keys %$query)
{
	my ($out, $err) = ('', '');
	$node->psql('postgres', $query->{$name}, stdout => \$out, stderr => \$err, extra_params => [ '-U', 'exporter', '-P', 'tuples_only=off', '-P', 'footer=off' ]);
	my ($header, @rows) = split /\n/, $out;
	is($err, '', "$name: the query works");
	is(join('|', sort split /\|/, $header), join('|', sort keys %{ $column->{$name} }), "$name: the columns that the file describes");
	cmp_ok(scalar(@rows), '>', 0, "$name: has rows");
	$exported{"${name}_$_"} = $column->{$name}{$_}{help} for grep { $column->{$name}{$_}{usage} eq 'GAUGE' } keys %{ $column->{$name} };
}
is_deeply(\%exported, \%help, 'postgres_exporter.yml has all metrics and their help');

my ($collected, $metrics) = read_sql_exporter();
is_deeply($collected, $query, 'sql_exporter.collector.yml asks the same queries');
is_deeply({ map { $_->{name} => $_->{help} } @$metrics }, \%help, 'and has all metrics');
is_deeply([ grep { my $c = $column->{ $_->{query_ref} }; $_->{name} ne "$_->{query_ref}_$_->{values}" || $_->{type} ne 'gauge'
		|| join(', ', grep { $c->{$_}{usage} eq 'LABEL' } sort keys %$c) ne join(', ', sort split /, /, $_->{key_labels}) } @$metrics ], [], 'with the values and labels of these queries');

# Rules and dashboard.
my $alerts = slurp_file("$dir/alerts.yml");
my @expressions = $alerts =~ /^        expr: (.*)$/mg;
cmp_ok(scalar(@expressions), '>', 10, scalar(@expressions) . ' rules');
is(scalar(() = $alerts =~ /^          summary: ".+"$/mg), scalar(@expressions), 'each has a summary');
is(scalar(() = $alerts =~ /^          severity: (?:warning|critical)$/mg), scalar(@expressions), 'and a severity');
my $dashboard = decode_json(slurp_file("$dir/grafana.json"));
cmp_ok(scalar(@{ $dashboard->{panels} }), '<=', 12, scalar(@{ $dashboard->{panels} }) . ' panels');
push @expressions, map { $_->{expr} } map { @{ $_->{targets} } } @{ $dashboard->{panels} };
is_deeply([ grep { !exists $help{$_} } map { /\b(orchestry_\w+)/g } @expressions ], [], 'they use the names that there are');

# The tools of Debian, where they are installed.
sub is_installed
{
	my ($tool) = @_;
	return grep { -x "$_/$tool" } split(/:/, $ENV{PATH}), '/usr/bin';
}

# A page of a tool that runs, once $is_ready says of it that it has what is waited for; '' when the tool ends before.
sub page_of
{
	my ($process, $url, $is_ready) = @_;
	for (1 .. 600)
	{
		my $response = HTTP::Tiny->new(timeout => 60)->get($url);
		return $response->{content} if $response->{success} && $is_ready->($response->{content});
		last unless $process->pumpable;
		Time::HiRes::usleep(100_000);
	}
	return '';
}

# A file of ours with other words in the place of those that depend on where things are.
sub adapted
{
	my ($name, %change) = @_;
	my $text = slurp_file("$dir/$name");
	for my $old (sort keys %change) { $text =~ s/\Q$old\E/$change{$old}/ or die "no $old in $name" }
	open my $file, '>', "$temporary/$name" or die $!;
	print $file $text;
	close $file or die $!;
	return "$temporary/$name";
}

SKIP:
{
	skip 'promtool is not installed', 4 unless is_installed('promtool');
	command_ok([ 'promtool', 'check', 'rules', "$dir/alerts.yml" ], 'promtool understands the rules');
	command_ok([ 'promtool', 'check', 'config', "$dir/prometheus.yml" ], 'and the configuration');
	command_ok([ 'promtool', 'test', 'rules', 'test/monitoring/alerts.yml' ], 'they call when they should, and only then');
	my %called = map { $_ => 1 } slurp_file('test/monitoring/alerts.yml') =~ /^      - alertname: (\w+)\n        eval_time: \w+\n        exp_alerts:/mg;
	is_deeply([ sort keys %called ], [ sort $alerts =~ /^      - alert: (\w+)$/mg ], 'each of them');
}

SKIP:
{
	my $exporter = 'prometheus-postgres-exporter';
	skip "$exporter is not installed", 5 unless is_installed($exporter);
	my $port = PostgreSQL::Test::Cluster::get_free_port();
	local $ENV{DATA_SOURCE_NAME} = sprintf "host=%s port=%s user=exporter dbname=postgres sslmode=disable", $node->host, $node->port;
	my $process = start_tool('postgres_exporter.log', $exporter, "--web.listen-address=127.0.0.1:$port", "--extend.query-path=$dir/postgres_exporter.yml", '--disable-default-metrics');
	my $page = page_of($process, "http://127.0.0.1:$port/metrics", sub { 1 }); # it answers as soon as it listens
	$process->kill_kill;
	my %seen = map { $_ => 1 } $page =~ /^(orchestry_\w+)\{/mg;
	is_deeply([ sort keys %seen ], [ sort keys %help ], 'postgres_exporter brings all metrics') or diag slurp_file("$temporary/postgres_exporter.log");
	like($page, qr/^orchestry_set_partitions\{[^}]*target="public\.events"[^}]*\} 4$/m, 'with their values');
	like($page, qr/^orchestry_job_failures\{(?=[^}]*job_id="1")(?=[^}]*kind="partition")(?=[^}]*target="public\.events")[^}]*\} 0$/m, 'and labels');
	like($page, qr/^# HELP orchestry_set_runway_seconds How far ahead of now partitions exist without a gap; below 0 when none takes rows of now$/m, 'and help');
	unlike($page, qr/^pg_exporter_user_queries_load_error\{[^}]*\} 1$/m, 'its file was read without an error');
}

SKIP:
{
	my $exporter = 'prometheus-sql-exporter';
	skip "$exporter is not installed", 6 unless is_installed($exporter);
	my $port = PostgreSQL::Test::Cluster::get_free_port();
	local $ENV{PGHOST} = $node->host;
	local $ENV{PGPORT} = $node->port;
	my $process = start_tool('sql_exporter.log', $exporter, '-web.listen-address', "127.0.0.1:$port", '-config.file', adapted('prometheus-sql-exporter.yml', '@/app?' => '@/postgres?'));
	my $page = page_of($process, "http://127.0.0.1:$port/metrics", sub { $_[0] =~ /^sql_orchestry\{/m && $_[0] =~ /^sql_orchestry_sequence\{/m });
	my %seen = map { $_ => 1 } $page =~ /^sql_orchestry(?:_sequence)?\{[^}]*metric="(\w+)"[^}]*\}/mg;
	is_deeply([ sort keys %seen ], [ sort keys %help ], 'prometheus-sql-exporter brings all metrics') or diag slurp_file("$temporary/sql_exporter.log");
	like($page, qr/^sql_orchestry\{(?=[^}]*metric="orchestry_set_partitions")(?=[^}]*target="public\.events")[^}]*\} 4$/m, 'with their values');
	like($page, qr/^sql_orchestry\{(?=[^}]*metric="orchestry_rollup_dirty_seconds")(?=[^}]*rollup="public\.r")(?=[^}]*target="")[^}]*\} 0$/m, 'and labels');
	like($page, qr/^sql_orchestry_sequence\{(?=[^}]*metric="orchestry_sequence_used_ratio")(?=[^}]*sequence="public\.events_id_seq")[^}]*\} 0$/m, 'those of sequences by themselves');

	if (!is_installed('prometheus')) { $process->kill_kill; skip 'prometheus is not installed', 2 }
	my $web = PostgreSQL::Test::Cluster::get_free_port();
	my $server = start_tool('prometheus.log', 'prometheus', "--web.listen-address=127.0.0.1:$web", "--storage.tsdb.path=$temporary/prometheus", '--config.file',
		adapted('prometheus.yml', 'scrape_configs:' => "global:\n  scrape_interval: 1s\nscrape_configs:", 'localhost:9237' => "127.0.0.1:$port",
			'  - alerts.yml' => '  - ' . Cwd::abs_path("$dir/alerts.yml")));
	my $found = page_of($server, "http://127.0.0.1:$web/api/v1/query?query=%7B__name__%3D~%22orchestry_.%2B%22%7D", sub { @{ decode_json($_[0])->{data}{result} } > 0 });
	$_->kill_kill for $server, $process;
	my @series = $found ? map { $_->{metric} } @{ decode_json($found)->{data}{result} } : ();
	my %stored = map { $_->{__name__} => 1 } @series;
	is_deeply([ sort keys %stored ], [ sort keys %help ], 'Prometheus has them by their names') or diag slurp_file("$temporary/prometheus.log");
	my ($job) = grep { $_->{__name__} eq 'orchestry_job_failures' && $_->{job_id} eq '1' } @series;
	is_deeply([ map { "$_=$job->{$_}" } grep { exists $job->{$_} } qw(kind target metric col rollup sequence) ], [ 'kind=partition', 'target=public.events' ], 'with their labels and no others');
}
$node->stop;
done_testing();
