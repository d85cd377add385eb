# R36 for retention of rows: what the owner of a table can hide in it, in the condition of a policy, in its archive and in what
# a delete cascades to, is run by nobody with more rights than that owner, whoever sets up, looks at or runs the policy, and in
# whichever process.
use strict;
use warnings;
use Orchestry;
use Trojans;
use PostgreSQL::Test::Utils;
use Test::More;

my $database = 'postgres';
my $node = new_server('retention_rows_trojans', conf => "autovacuum = off\norchestry.databases = ''\n");
lay_ground($node, $database);

# Besides the traps around any table those in what only policies for rows run. `where` is the policy's.
my %more = (
	'where' => { where => q{evil.probe('where', id)} },
	'constant in where' => { where => q{evil.probe('constant in where') AND id > 0} },
	'domain in where' => { before => q(CREATE DOMAIN T_domain AS int CHECK (evil.probe('NAME', VALUE))), columns => 'x T_domain[]', where => q(x = '{7}' OR id > 0) },
	'trigger that keeps rows' => { after => q(CREATE TRIGGER t BEFORE DELETE ON T FOR EACH ROW EXECUTE FUNCTION evil.probe_trigger('NAME')), stays => 1 },
	'cascade' => { after => q{ALTER TABLE T ADD PRIMARY KEY (at, id); CREATE TABLE T_near (id bigint, at timestamptz, FOREIGN KEY (at, id) REFERENCES T (at, id) ON DELETE CASCADE);
		INSERT INTO T_near VALUES (1, '2001-01-01'); CREATE TRIGGER t AFTER DELETE ON T_near FOR EACH ROW EXECUTE FUNCTION evil.probe_trigger('NAME')} },
	'rule of delete' => { after => q{CREATE RULE r AS ON DELETE TO T_rest DO ALSO SELECT evil.probe('NAME')}, stays => 1 },
	'policy of delete' => { after => q{ALTER TABLE T_rest ENABLE ROW LEVEL SECURITY; ALTER TABLE T_rest FORCE ROW LEVEL SECURITY; CREATE POLICY p ON T_rest USING (evil.probe('NAME', id))}, hidden => 1 },
	'group of a domain' => { before => q(CREATE DOMAIN T_domain AS int CHECK (evil.probe('NAME', VALUE))), columns => 'x T_domain', keep_last_by => 'x' },
);
my %fixture = (fixtures(), %more);
my @traps;
set_traps($_, \%fixture, \@traps) for qw(mallory ghost);
$node->safe_psql($database, <<'SQL');
CREATE ROLE clerk LOGIN;
GRANT mallory, ghost TO clerk;
SQL
hostile_from_now();

sub table { my ($trap) = @_; return literal($trap->{relation}) . '::pg_catalog.regclass' }

# Every other statement by the superuser, and the others by the clerk; or the other way round. Returns what went wrong.
sub by_both
{
	my ($turn, @statements) = @_;
	my @of_user = ([], []);
	push @{ $of_user[ $turn++ % 2 ] }, "$_;\n" for @statements;
	return as_superuser(join '', @{ $of_user[0] }) . as_user('clerk', join '', @{ $of_user[1] });
}

# Half of the policies have an archive, which is made with the owner's rights; none where a delete goes on into other tables,
# whose rows it would not get.
my $n = 0;
my @setups;
for my $trap (@traps)
{
	my @arguments = (table($trap), "INTERVAL '15 years'", '"where" => ' . literal($trap->{where} // 'id > 0'), "schedule => '1 year'");
	push @arguments, 'time_column => ' . literal($trap->{key_name} // 'at');
	push @arguments, "keep_last => 1, keep_last_by => '{$trap->{keep_last_by}}'" if $trap->{keep_last_by};
	push @arguments, "archive_to => 'evil.archive_$n'" if ++$n % 2 && ($trap->{after} // '') !~ /ON DELETE CASCADE/;
	push @setups, "SELECT orchestry.add_retention_policy(@{[ join ', ', @arguments ]})";
}
my $offset = -s $node->logfile;
my $refusals = by_both(0, 'SET client_min_messages = warning', 'SET client_min_messages = warning', @setups);
my @managed = grep { !$_->{hidden} } @traps;
is(scalar(() = $refusals =~ /ERROR:  query would be affected by row-level security/g), @traps - @managed, 'what hides rows from its owner is refused');
is(scalar(() = $refusals =~ /ERROR/g), @traps - @managed, 'and nothing else');
check_log($offset, 'add_retention_policy()');
is($node->safe_psql($database, 'SELECT pg_catalog.count(*) FROM orchestry.job'), scalar(@managed), 'the others have a policy');

$offset = -s $node->logfile;
by_both(1, map { "SELECT * FROM orchestry.plan(@{[ table($_) ]})" } @managed);
check_log($offset, 'plan()');

$offset = -s $node->logfile;
by_both(0, map { "SELECT orchestry.hold(@{[ table($_) ]}, 'none such', \"where\" => 'id > 1000')" } @managed);
# Half of the tables in sessions, by either of the two; the others in workers.
by_both(1, map { "CALL orchestry.run(@{[ table($managed[$_]) ]})" } grep { $_ % 2 } 0 .. $#managed);
check_log($offset, 'run()');

$offset = -s $node->logfile;
$node->safe_psql($database, q(UPDATE orchestry.job_state SET next_run_at = pg_catalog.now() WHERE last_run_id IS NULL));
$node->safe_psql($database, q(ALTER SYSTEM SET orchestry.databases = '*'));
$node->safe_psql($database, 'SELECT pg_catalog.pg_reload_conf(), orchestry.start_scheduler()');
wait_until($node, $database, q(SELECT pg_catalog.count(*) OPERATOR(pg_catalog.=) 0 FROM orchestry.job_state s
	WHERE s.failures OPERATOR(pg_catalog.=) 0 AND s.next_run_at OPERATOR(pg_catalog.<=) pg_catalog.now() OR EXISTS (SELECT FROM orchestry.run r WHERE r.job_id OPERATOR(pg_catalog.=) s.job_id AND r.finished_at IS NULL)));
$node->safe_psql($database, 'SELECT orchestry.stop_scheduler()');
check_log($offset, 'workers');
# A partition of a superuser's table belongs to mallory, who has set a hold on it: nobody looks into it for a plan, be it for
# the newest rows of each group.
my $as_mallory = sub { $node->safe_psql($database, "SET search_path = public; SET client_min_messages = error; $_[0]", extra_params => [ '-U', 'mallory' ]) };
$node->safe_psql($database, <<'SQL');
SET search_path = public;
SET client_min_messages = error;
CREATE TABLE evil.lent (id bigint, at timestamptz NOT NULL) PARTITION BY RANGE (at);
CREATE TABLE evil.lent_a PARTITION OF evil.lent FOR VALUES FROM ('2001-01-01') TO ('2001-02-01');
CREATE TABLE evil.lent_b PARTITION OF evil.lent FOR VALUES FROM ('2001-02-01') TO ('2001-03-01');
CREATE INDEX ON evil.lent (id, at);
INSERT INTO evil.lent VALUES (1, '2001-01-01'), (2, '2001-01-02'), (1, '2001-02-01'), (2, '2001-02-02'), (2, '2001-02-03');
ALTER TABLE evil.lent_a OWNER TO mallory;
SQL
$as_mallory->(q{SELECT orchestry.hold('evil.lent_a', 'hers', "where" => $$evil.probe('hold of a stranger') AND id > 1$$)});
my $steps = q(SELECT pg_catalog.string_agg(p.object OPERATOR(pg_catalog.||) ' ' OPERATOR(pg_catalog.||) COALESCE(pg_catalog.substring(p.blocked_by, '^hold|.* belongs to role mallory'), 'is free'), ', ' ORDER BY p.object)
	FROM orchestry.plan('evil.lent'::pg_catalog.regclass) p WHERE p.action OPERATOR(pg_catalog.<>) 'announce');
my $rows = q(SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' ', l.id, l.at::pg_catalog.date), ', ' ORDER BY l.at) FROM evil.lent l);
$offset = -s $node->logfile;
as_superuser(q{SELECT orchestry.add_retention_policy('evil.lent'::pg_catalog.regclass, INTERVAL '15 years', "where" => 'id OPERATOR(pg_catalog.=) 1', schedule => '1 year')});
is($node->safe_psql($database, $steps), 'evil.lent_a hold, evil.lent_b is free', "a stranger's hold with a predicate keeps all of the partition");
$as_mallory->(q{SELECT pg_catalog.count(orchestry.release_hold(h.hold_id, 'no more')) FROM orchestry.holds h WHERE h.reason OPERATOR(pg_catalog.=) 'hers'});
$as_mallory->(q{CREATE INDEX ON evil.lent_a (id) WHERE evil.probe('index of a stranger')});
is($node->safe_psql($database, $steps), 'evil.lent_a it belongs to role mallory, evil.lent_b is free', 'and what is hers stays');
as_superuser(q{CALL orchestry.run('evil.lent'::pg_catalog.regclass)});
check_log($offset, 'a leaf of a stranger');
# From psql, since looking at them here is planned as well.
$as_mallory->(q{DROP INDEX evil.lent_a_id_idx});
is($node->safe_psql($database, $rows), '1 2001-01-01, 2 2001-01-02, 2 2001-02-02, 2 2001-02-03', 'what is not is taken');
$as_mallory->(q{CREATE INDEX ON evil.lent_a (id) WHERE evil.probe('index of a stranger')});
$offset = -s $node->logfile;
as_superuser(q{SELECT orchestry.remove_policy(j.job_id) FROM orchestry.job j WHERE j.target OPERATOR(pg_catalog.=) 'evil.lent'::pg_catalog.regclass;
	SELECT orchestry.add_retention_policy('evil.lent'::pg_catalog.regclass, INTERVAL '15 years', keep_last => 1, keep_last_by => '{id}', schedule => '1 year')});
is( $node->safe_psql($database, $steps),
	'evil.lent_a it belongs to role mallory, evil.lent_b the newest rows of each group would be looked for in evil.lent_a, which belongs to role mallory',
	'the newest rows of a group are not looked for there');
as_superuser(q{CALL orchestry.run('evil.lent'::pg_catalog.regclass)});
check_log($offset, 'a leaf of a stranger beside others');
is(count_log($node, 'trojan "index of a stranger" user=(?!mallory)'), 0, 'it has not gone off');

my $left = 0;
$left += $node->safe_psql($database, "SELECT pg_catalog.count(*) FROM $_->{relation} WHERE id OPERATOR(pg_catalog.<) 1000") for grep { !$_->{stays} && !$_->{keep_last_by} } @managed;
note("$left rows of what was to go are there still: a trap of theirs ended the step");

my %fired = fired();
for my $name ('where', 'constant in where', 'trigger that keeps rows', 'cascade', 'after trigger')
{
	ok($fired{$name}, "the trap \"$name\" went off");
}
is(count_log($node, 'PANIC|TRAP|terminated by signal'), 0, 'the log is clean');
$node->stop;
done_testing();
