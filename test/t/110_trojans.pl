# R36: what the owner of a table can hide in it and its surroundings, to be run by somebody with more rights. Whatever
# of it is run sees its owner as the current user, and wins nothing.
use strict;
use warnings;
use Orchestry;
use Trojans;
use PostgreSQL::Test::Utils;
use Test::More;

my $database = 'postgres';
my $node = new_server('trojans', conf => "autovacuum = off\norchestry.databases = ''\n");
lay_ground($node, $database);
my %fixture = fixtures();
my @traps;
set_traps($_, \%fixture, \@traps) for qw(mallory ghost);
hostile_from_now();
cmp_ok(scalar(keys %fixture), '>=', 30, scalar(keys %fixture) . ' fixtures');

my $offset = -s $node->logfile;
as_superuser(join '', map {
		my $pattern = $_->{pattern} ? ', name_pattern => ' . literal($_->{pattern}) : '';
		"SELECT orchestry.add_partition_policy(@{[ literal($_->{relation}) ]}::pg_catalog.regclass, INTERVAL '1 day', INTERVAL '2 days', schedule => '1 year'$pattern);\n"
	} @traps);
check_log($offset, 'add_partition_policy() by a superuser');
my @managed = grep { !$_->{refused} } @traps;
is( $node->safe_psql($database, 'SELECT pg_catalog.count(*) FROM orchestry.job'), scalar(@managed), 'all have a policy, but for those that cannot');

my $more = sub {
	my ($days) = @_;
	return "SELECT orchestry.alter_policy(j.job_id, '{\"ahead\": \"$days days\"}') FROM orchestry.job j";
};
my $states = sub {
	return $node->safe_psql($database, <<"SQL");
SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' ', s.state, s.n), ', ' ORDER BY s.state) FROM
    (SELECT j.last_state AS state, pg_catalog.count(*) AS n FROM orchestry.job_state j GROUP BY 1) s
SQL
};
# What only looks, with something to do for every job.
is(as_superuser($more->(4)), '', 'there is something to do');
$offset = -s $node->logfile;
as_superuser(join '', 'SELECT * FROM orchestry.plan(); SELECT * FROM orchestry.partitions; SELECT * FROM orchestry.jobs; SELECT * FROM orchestry.runs;',
	map { my $t = literal($_->{relation}) . '::pg_catalog.regclass';
		"SELECT * FROM orchestry.plan($t, pg_catalog.now() OPERATOR(pg_catalog.+) INTERVAL '20 days'); SELECT * FROM orchestry.explain($t); SELECT * FROM orchestry.timeline($t);"
		  . "SELECT orchestry.partition_of($t, pg_catalog.now());\n" } @traps);
check_log($offset, 'plan(), explain(), timeline() by a superuser');
$offset = -s $node->logfile;
as_superuser(join '', 'SELECT * FROM orchestry.health(); SELECT * FROM orchestry.metrics;', map { 'SELECT * FROM orchestry.verify(' . literal($_->{relation}) . "::pg_catalog.regclass);\n" } @managed);
check_log($offset, 'health(), verify() by a superuser');

# What acts, in the superuser's session.
$offset = -s $node->logfile;
as_superuser('CALL orchestry.run()');
is($states->(), 'ok ' . @managed, 'run() by a superuser does every job');
check_log($offset, 'run() by a superuser');

$offset = -s $node->logfile;
is(as_superuser($more->(6)), '', 'and more');
as_superuser('CALL orchestry.run_due()');
is($states->(), 'ok ' . @managed, 'run_due() by a superuser, as pg_cron does, does every job');
check_log($offset, 'run_due() by a superuser');

$offset = -s $node->logfile;
as_superuser(join '', map { my $t = literal($_->{relation}) . '::pg_catalog.regclass';
		"SELECT orchestry.create_partition($t, pg_catalog.now() OPERATOR(pg_catalog.+) INTERVAL '30 days');\n"
		  . "CALL orchestry.promote_default($t);\n" } @managed);
is( $node->safe_psql($database, q(SELECT pg_catalog.count(*) FROM pg_catalog.pg_class c WHERE c.relkind OPERATOR(pg_catalog.=) 'p' AND c.relname OPERATOR(pg_catalog.~) '^(mallory|ghost)_'
	AND NOT c.relispartition AND (SELECT pg_catalog.count(*) FROM pg_catalog.pg_inherits i WHERE i.inhparent OPERATOR(pg_catalog.=) c.oid) OPERATOR(pg_catalog.>=) 8)),
	scalar(@managed), 'create_partition() made a partition for each');
check_log($offset, 'create_partition() and promote_default() by a superuser');

# What acts in background workers: connected as the owner, or, on 15 and 16, for an owner without LOGIN.
$offset = -s $node->logfile;
is(as_superuser($more->(9)), '', 'and more');
$node->safe_psql($database, q(ALTER SYSTEM SET orchestry.databases = '*'));
$node->safe_psql($database, 'SELECT pg_catalog.pg_reload_conf(), orchestry.start_scheduler()');
wait_until($node, $database, q(SELECT pg_catalog.count(*) OPERATOR(pg_catalog.=) 0 FROM orchestry.job_state s
	WHERE s.next_run_at OPERATOR(pg_catalog.<=) pg_catalog.now() OR EXISTS (SELECT FROM orchestry.run r WHERE r.job_id OPERATOR(pg_catalog.=) s.job_id AND r.finished_at IS NULL)));
is($states->(), 'ok ' . @managed, 'workers do every job');
check_log($offset, 'background workers');
$node->safe_psql($database, 'SELECT orchestry.stop_scheduler()');

# The traps are real: they go off in their owners' hands, and some have gone off above.
my %fired = fired();
my @went_off = grep { exists $fired{$_} } sort keys %fixture;
diag('went off: ' . join(', ', map { "$_ (" . join('/', %{ $fired{$_} }) . ')' } sort keys %fired));
cmp_ok(scalar(@went_off), '>=', 10, scalar(@went_off) . ' of the traps went off');
is( $node->safe_psql($database, q(SELECT pg_catalog.count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
	WHERE n.nspname OPERATOR(pg_catalog.=) 'evil' AND c.relkind OPERATOR(pg_catalog.=) 'r' AND NOT c.relispartition AND c.relname OPERATOR(pg_catalog.!~) '_far$|^delayed$')),
	'0', 'and nothing is half made');
is( $node->safe_psql($database, q(SELECT pg_catalog.count(*) FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) i.inhrelid JOIN pg_catalog.pg_class p ON p.oid OPERATOR(pg_catalog.=) i.inhparent
	WHERE c.relowner OPERATOR(pg_catalog.<>) p.relowner)),
	'0', 'every partition belongs to the owner of its table');
is(count_log($node, qr/PANIC|TRAP|terminated by signal/), 0, 'nobody died');
$node->stop;
done_testing();
