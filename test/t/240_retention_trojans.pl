# R36 for retention and holds: what the owner of a table can hide in it, in its partitions, in the predicate of a hold, in a
# table that references it, is run by nobody with more rights than that owner, whoever calls plan(), run(), hold(), reattach()
# or add_retention_policy(), and in whichever process.
use strict;
use warnings;
use Orchestry;
use Trojans;
use PostgreSQL::Test::Utils;
use Test::More;

my $database = 'postgres';
my $node = new_server('retention_trojans', conf => "autovacuum = off\norchestry.databases = ''\n");
lay_ground($node, $database);

# Besides the traps around any table those around its old partitions, T_a and T_b, and around holds. `stays` says which of
# these do not leave, `hold` is the predicate of a hold that somebody else sets.
my %more = (
	'predicate of a hold' => { after => q{SELECT orchestry.hold('T'::regclass, 'why', "where" => $$evil.probe('NAME', id) IS NULL$$)} },
	'constant in the predicate of a hold' => { after => q{SELECT orchestry.hold('T'::regclass, 'why', "where" => $$evil.probe('NAME') AND id > 1000$$)} },
	'domain in the predicate of a hold' => { before => q(CREATE DOMAIN T_domain AS int CHECK (evil.probe('NAME', VALUE))), columns => 'x T_domain[]', hold => q(x = '{7}') },
	'reason of a hold' => { after => q{SELECT orchestry.hold('T_b'::regclass, $$'); ALTER ROLE mallory SUPERUSER; --$$)}, stays => 'b' },
	'referencing table' => { after => q{ALTER TABLE T ADD PRIMARY KEY (at, id); CREATE TABLE T_near (id bigint, at timestamptz, FOREIGN KEY (at, id) REFERENCES T (at, id));
		CREATE INDEX ON T_near (id) WHERE evil.probe('NAME')} },
	'rows that reference' => { after => q{ALTER TABLE T ADD PRIMARY KEY (at, id); CREATE TABLE T_near (id bigint, at timestamptz, CONSTRAINT HARM FOREIGN KEY (at, id) REFERENCES T (at, id));
		INSERT INTO T_near VALUES (1, '2001-01-01'); CREATE INDEX ON T_near (id) WHERE evil.probe('NAME'); CREATE INDEX ON T_a (id) WHERE evil.probe('NAME')}, stays => 'a' },
	'row security of the old partition' => { after => q{ALTER TABLE T_a ENABLE ROW LEVEL SECURITY; ALTER TABLE T_a FORCE ROW LEVEL SECURITY; CREATE POLICY p ON T_a USING (evil.probe('NAME', id))}, stays => 'a' },
	'index of the old partition' => { after => q{CREATE INDEX ON T_a (id) WHERE evil.probe('NAME'); CREATE INDEX ON T_a ((evil.probe('NAME', id)))} },
	'check constraint of the old partition' => { after => q{ALTER TABLE T_a ADD CHECK (evil.probe('NAME', id))} },
	'view of the old partition' => { after => q{CREATE VIEW T_v AS SELECT * FROM T_a WHERE evil.probe('NAME', id); CREATE RULE r AS ON DELETE TO T_a DO INSTEAD SELECT evil.probe('NAME')}, depends => 'a' },
	'name of the old partition' => { after => q{ALTER TABLE T_a RENAME TO OWNER_a} },
	'old partition with partitions' => { after => q{ALTER TABLE T DETACH PARTITION T_a; DROP TABLE T_a; CREATE TABLE T_a PARTITION OF T FOR VALUES FROM ('2001-01-01') TO ('2001-02-01') PARTITION BY LIST (id);
		CREATE TABLE T_part PARTITION OF T_a DEFAULT; CREATE INDEX ON T_part (id) WHERE evil.probe('NAME'); ALTER TABLE T_part ADD CHECK (evil.probe('NAME') AND id > 0)} },
);
my %fixture = (fixtures(), %more);
my @traps;
set_traps($_, \%fixture, \@traps, <<'SQL') for qw(mallory ghost);
CREATE TABLE T_a PARTITION OF T FOR VALUES FROM ('2001-01-01') TO ('2001-02-01');
CREATE TABLE T_b PARTITION OF T FOR VALUES FROM ('2001-02-01') TO ('2001-03-01');
CREATE TABLE T_c PARTITION OF T FOR VALUES FROM ('2020-01-01') TO ('2030-01-01')
SQL

# Whoever may act for both owners without being one of them. The event triggers are the DBA's own: they show as whom our DDL
# on the owners' tables is done.
$node->safe_psql($database, <<'SQL');
CREATE ROLE clerk LOGIN;
GRANT mallory, ghost TO clerk;
CREATE FUNCTION evil.on_ddl() RETURNS event_trigger LANGUAGE plpgsql SET search_path = pg_catalog AS
$$ BEGIN RAISE LOG 'trojan "%" user=% session=%', 'event trigger of ' || TG_TAG, quote_ident(current_user), quote_ident(session_user); END $$;
CREATE EVENT TRIGGER ddl_start ON ddl_command_start EXECUTE FUNCTION evil.on_ddl();
CREATE EVENT TRIGGER ddl_end ON ddl_command_end EXECUTE FUNCTION evil.on_ddl();
CREATE EVENT TRIGGER ddl_drop ON sql_drop EXECUTE FUNCTION evil.on_ddl();
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

my $offset = -s $node->logfile;
by_both(0, map { "SELECT orchestry.add_retention_policy(@{[ table($_) ]}, INTERVAL '15 years', schedule => '1 year')" } @traps);
check_log($offset, 'add_retention_policy()');
my @managed = grep { !$_->{refused} } @traps;
is($node->safe_psql($database, 'SELECT pg_catalog.count(*) FROM orchestry.job'), scalar(@managed), 'all have a policy, but for those that cannot');

# Operators without a schema are found in the caller's hostile search_path, and constants are read by the owner's domains.
$offset = -s $node->logfile;
is(by_both(1, map { "SELECT orchestry.hold(@{[ table($_) ]}, 'none such', \"where\" => @{[ literal($_->{hold} // 'id > 1000') ]})" } @managed), '', 'all get a hold');
check_log($offset, 'hold()');

# `where`: of the partitions' former names. `what`: count or list.
sub quarantined { my ($where) = @_; return $node->safe_psql($database, "SELECT pg_catalog.count(*) FROM orchestry.quarantine q WHERE $where") }
my $expected = sub {
	my ($letter) = @_;
	return scalar grep { !$_->{stays} || $_->{stays} ne $letter } @managed;
};
my $look = sub {
	return by_both(shift, 'SELECT * FROM orchestry.plan()', 'SELECT * FROM orchestry.plan()', 'SELECT * FROM orchestry.quarantine', 'SELECT * FROM orchestry.holds',
		map { "SELECT * FROM orchestry.plan(@{[ table($_) ]}, pg_catalog.now() OPERATOR(pg_catalog.+) INTERVAL '1 year')" } @managed);
};
$offset = -s $node->logfile;
is($look->(0), '', 'there is much to see');
check_log($offset, 'plan() and the views');

# Runs in a session: each table is done by one of the two.
$offset = -s $node->logfile;
by_both(0, map { "CALL orchestry.run(@{[ table($_) ]})" } @managed);
is(quarantined(q(q.former_name OPERATOR(pg_catalog.~) '_b"?$')), $expected->('b'), 'the old partitions leave');
is(quarantined('true'), $expected->('a') + $expected->('b'), 'but for what stays');
check_log($offset, 'run()');

$offset = -s $node->logfile;
is($look->(1), '', 'there is a quarantine to be seen');
check_log($offset, 'plan() with a quarantine');

# Back, by either of them.
$offset = -s $node->logfile;
my @partitions = split /\0/, $node->safe_psql($database, q(SELECT pg_catalog.string_agg(q.partition::pg_catalog.text, E'\x01') FROM orchestry.quarantine q)) =~ s/\x01/\0/gr;
is(by_both(0, map { "SELECT orchestry.release_hold(orchestry.reattach(@{[ literal($_) ]}::pg_catalog.regclass), 'seen')" } @partitions), '', 'reattach() and release_hold()');
is(quarantined('true'), 0, 'the quarantine is empty');
check_log($offset, 'reattach() and release_hold()');

# Without grace everything goes at once: half of it in sessions, half of it in workers.
$offset = -s $node->logfile;
is(by_both(0, map { "SELECT orchestry.alter_policy(j.job_id, '{\"grace\": \"0 days\"}') FROM orchestry.jobs j WHERE j.target OPERATOR(pg_catalog.=) @{[ table($_) ]}" } @managed), '', 'alter_policy()');
$node->safe_psql($database, q(UPDATE orchestry.job_state SET next_run_at = pg_catalog.now() OPERATOR(pg_catalog.+) CASE WHEN job_id OPERATOR(pg_catalog.%) 2 OPERATOR(pg_catalog.=) 0 THEN INTERVAL '0' ELSE INTERVAL '1 year' END));
as_superuser('CALL orchestry.run_due()');
check_log($offset, 'run_due() by a superuser, as pg_cron does');

$offset = -s $node->logfile;
$node->safe_psql($database, q(UPDATE orchestry.job_state SET next_run_at = pg_catalog.now() WHERE job_id OPERATOR(pg_catalog.%) 2 OPERATOR(pg_catalog.=) 1));
$node->safe_psql($database, q(ALTER SYSTEM SET orchestry.databases = '*'));
$node->safe_psql($database, 'SELECT pg_catalog.pg_reload_conf(), orchestry.start_scheduler()');
wait_until($node, $database, q(SELECT pg_catalog.count(*) OPERATOR(pg_catalog.=) 0 FROM orchestry.job_state s
	WHERE s.failures OPERATOR(pg_catalog.=) 0 AND s.next_run_at OPERATOR(pg_catalog.<=) pg_catalog.now() OR EXISTS (SELECT FROM orchestry.run r WHERE r.job_id OPERATOR(pg_catalog.=) s.job_id AND r.finished_at IS NULL)));
$node->safe_psql($database, 'SELECT orchestry.stop_scheduler()');
check_log($offset, 'background workers');
# What cannot be dropped has ended its run before the steps behind it: the next one goes around it.
as_superuser('CALL orchestry.run()');
my $kept = grep { $_->{depends} } @managed;
is(quarantined('true'), $kept, 'what is needed elsewhere stays in quarantine');
is($node->safe_psql($database, q(SELECT pg_catalog.count(*) FROM pg_catalog.pg_inherits i JOIN orchestry.job j ON j.target OPERATOR(pg_catalog.=) i.inhparent JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) i.inhrelid
	WHERE pg_catalog.pg_get_expr(c.relpartbound, c.oid) OPERATOR(pg_catalog.~) '2001-')), 2 * @managed - $expected->('a') - $expected->('b'), 'all else is dropped');
is($node->safe_psql($database, q(SELECT pg_catalog.string_agg(DISTINCT s.message, '; ') FROM orchestry.run_step s WHERE s.state OPERATOR(pg_catalog.=) 'failed' AND s.message OPERATOR(pg_catalog.!~) 'other objects depend on it')), '', 'and no other step failed');

# A partition that was given to a stranger: nobody reads it for the set's owner, who must not run the stranger's code either.
$node->safe_psql($database, <<'SQL');
SET search_path = public;
CREATE ROLE thief LOGIN;
GRANT ALL ON SCHEMA evil TO thief;
SET ROLE mallory;
CREATE TABLE evil.lent (id bigint, at timestamptz) PARTITION BY RANGE (at);
CREATE TABLE evil.lent_a PARTITION OF evil.lent FOR VALUES FROM ('2001-01-01') TO ('2001-02-01');
CREATE TABLE evil.lent_c PARTITION OF evil.lent FOR VALUES FROM ('2020-01-01') TO ('2030-01-01');
INSERT INTO evil.lent VALUES (1, '2001-01-01');
ALTER TABLE evil.lent ADD PRIMARY KEY (at, id);
CREATE TABLE evil.lent_near (id bigint, at timestamptz, FOREIGN KEY (at, id) REFERENCES evil.lent (at, id));
SELECT orchestry.add_retention_policy('evil.lent', interval '15 years');
SELECT orchestry.hold('evil.lent', 'some rows', "where" => 'id > 1000');
RESET ROLE;
ALTER TABLE evil.lent_a OWNER TO thief;
GRANT SELECT ON evil.lent_a TO mallory;
SQL
$node->safe_psql($database, "SET search_path = public; CREATE INDEX ON evil.lent_a (id) WHERE evil.probe('index of a stranger')", extra_params => [ '-U', 'thief' ]);
$offset = -s $node->logfile;
as_superuser("SELECT * FROM orchestry.plan('evil.lent'::pg_catalog.regclass); CALL orchestry.run('evil.lent'::pg_catalog.regclass)");
$node->safe_psql($database, "SELECT orchestry.release_hold(h.hold_id, 'no more') FROM orchestry.holds h WHERE h.relation OPERATOR(pg_catalog.=) 'evil.lent'::pg_catalog.regclass");
as_superuser("SELECT * FROM orchestry.plan('evil.lent'::pg_catalog.regclass); CALL orchestry.run('evil.lent'::pg_catalog.regclass)");
check_log($offset, 'a partition of a stranger');
is(count_log($node, 'trojan "index of a stranger"', $offset), 0, 'it is not looked into at all');
like($node->safe_psql($database, "SELECT p.blocked_by FROM orchestry.plan('evil.lent'::pg_catalog.regclass) p WHERE p.object OPERATOR(pg_catalog.=) 'evil.lent_a'"),
	qr/belongs to role thief: ALTER TABLE evil.lent_a OWNER TO mallory;/, 'and stays where it is');

# Above and below a superuser's set there is mallory, with holds, conditions of policies and indexes of her own.
my $as_mallory = sub { $node->safe_psql($database, "SET search_path = public; SET client_min_messages = error; $_[0]", extra_params => [ '-U', 'mallory' ]) };
my $blocked = sub { return $node->safe_psql($database, "SELECT p.blocked_by FROM orchestry.plan('evil.$_[0]'::pg_catalog.regclass) p WHERE p.object OPERATOR(pg_catalog.=) 'evil.$_[0]_a'") };
my $look_and_run = sub {
	my ($table) = @_;
	$offset = -s $node->logfile;
	as_superuser("SELECT * FROM orchestry.plan('evil.$table'::pg_catalog.regclass); CALL orchestry.run('evil.$table'::pg_catalog.regclass)");
	return $blocked->($table);
};
$node->safe_psql($database, <<'SQL');
SET search_path = public;
SET client_min_messages = error;
CREATE TABLE evil.above (id bigint, at timestamptz) PARTITION BY LIST (id);
CREATE TABLE evil.mid PARTITION OF evil.above FOR VALUES IN (1) PARTITION BY RANGE (at);
CREATE TABLE evil.mid_a PARTITION OF evil.mid FOR VALUES FROM ('2001-01-01') TO ('2001-02-01');
CREATE TABLE evil.mid_c PARTITION OF evil.mid FOR VALUES FROM ('2020-01-01') TO ('2030-01-01');
CREATE TABLE evil.top (id bigint, at timestamptz) PARTITION BY RANGE (at);
CREATE TABLE evil.top_a PARTITION OF evil.top FOR VALUES FROM ('2001-01-01') TO ('2001-02-01') PARTITION BY LIST (id);
CREATE TABLE evil.below PARTITION OF evil.top_a DEFAULT;
CREATE TABLE evil.top_c PARTITION OF evil.top FOR VALUES FROM ('2020-01-01') TO ('2030-01-01');
INSERT INTO evil.above VALUES (1, '2001-01-01');
INSERT INTO evil.top VALUES (1, '2001-01-01');
ALTER TABLE evil.above OWNER TO mallory;
ALTER TABLE evil.below OWNER TO mallory;
SQL
$as_mallory->(q{SELECT orchestry.hold('evil.above', 'hers', "where" => $$evil.probe('hold above', id) IS NULL$$)});
$as_mallory->(q{SELECT orchestry.hold('evil.below', 'hers', "where" => $$evil.probe('hold below', id) IS NULL$$)});
$offset = -s $node->logfile;
as_superuser("SELECT orchestry.add_retention_policy('evil.$_'::pg_catalog.regclass, INTERVAL '15 years', schedule => '1 year')") for qw(mid top);
check_log($offset, 'add_retention_policy() under the hold of a stranger');
like($look_and_run->($_), qr/^hold \d+ \(hers\); to end it/, "a stranger's hold with a predicate keeps all of $_") for qw(mid top);
check_log($offset, "a stranger's holds");
$as_mallory->('SELECT pg_catalog.count(orchestry.release_hold(h.hold_id, $$no more$$)) FROM orchestry.holds h WHERE h.reason OPERATOR(pg_catalog.=) $$hers$$ AND h.released_at IS NULL');
$as_mallory->(qq{SELECT orchestry.add_retention_policy('evil.$_', INTERVAL '15 years', time_column => 'at', "where" => \$\$evil.probe('where of $_', id)\$\$, archive_to => 'evil.her_$_', schedule => '1 year')}) for qw(above below);
like($look_and_run->('mid'), qr/^rows of it have yet to be archived by job \d+/, 'a condition of a stranger is not run to see what it leaves');
check_log($offset, 'the condition of a stranger');
$as_mallory->(q{CREATE INDEX ON evil.below (id) WHERE evil.probe('index below')});
like($look_and_run->('top'), qr/^its part evil\.below belongs to role mallory: ALTER TABLE evil\.below OWNER TO "?\w+"?;$/, 'what has a part of a stranger stays, and is not looked into');
check_log($offset, 'a part of a stranger');

# The traps are real.
my %fired = fired();
diag('went off: ' . join(', ', map { "$_ (" . join('/', %{ $fired{$_} }) . ')' } sort keys %fired));
for my $name ('predicate of a hold', 'constant in the predicate of a hold', 'domain in the predicate of a hold', 'referencing table',
	'index of the old partition', 'event trigger of ALTER TABLE', 'event trigger of DROP TABLE')
{
	ok($fired{$name}, "\"$name\" went off");
}
is(count_log($node, qr/PANIC|TRAP|terminated by signal/), 0, 'nobody died');
$node->stop;
done_testing();
