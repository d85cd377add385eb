# R36: what the owner of a table can hide in it and its surroundings, to be run by somebody with more rights. Whatever
# of it is run sees its owner as the current user, and wins nothing.
use strict;
use warnings;
use Orchestry;
use PostgreSQL::Test::Utils;
use Test::More;

my $database = 'postgres';
my $trophy = PostgreSQL::Test::Utils::tempdir() . '/trophy';
# Who owns the database may set the search_path of everybody who connects to it, workers included.
my $hostile_path = 'evil, public, pg_catalog';
my $node = new_server('trojans', conf => "autovacuum = off\norchestry.databases = ''\n");
my $bootstrap = $node->safe_psql($database, 'SELECT current_user');

$node->safe_psql($database, <<"SQL");
CREATE EXTENSION orchestry_ext;
CREATE ROLE mallory LOGIN;
CREATE ROLE ghost LOGIN;
CREATE SCHEMA evil;
GRANT ALL ON SCHEMA evil, public TO mallory, ghost;

CREATE TABLE evil.delayed (id int);
GRANT INSERT ON evil.delayed TO mallory, ghost;
CREATE FUNCTION evil.delayed() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS
\$\$ BEGIN RAISE LOG 'trojan "delayed trigger" user=% session=%', quote_ident(current_user), quote_ident(session_user); RETURN NULL; END \$\$;
CREATE CONSTRAINT TRIGGER delayed AFTER INSERT ON evil.delayed DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION evil.delayed();

-- Tries to win, and tells the log who it was. The same for both owners.
CREATE FUNCTION evil.attack(fixture text) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS \$body\$
DECLARE
    attempt text;
BEGIN
    RAISE LOG 'trojan "%" user=% session=%', fixture, quote_ident(current_user), quote_ident(session_user);
    FOREACH attempt IN ARRAY ARRAY[
        'SET ROLE $bootstrap', 'RESET ROLE', 'SET SESSION AUTHORIZATION $bootstrap', 'RESET SESSION AUTHORIZATION',
        'ALTER ROLE mallory SUPERUSER', 'ALTER ROLE ghost SUPERUSER', 'GRANT $bootstrap TO mallory', 'GRANT pg_execute_server_program TO ghost',
        \$x\$COPY (SELECT 1) TO PROGRAM 'touch $trophy'\$x\$, 'CREATE TABLE orchestry.trophy ()',
        'UPDATE orchestry.job SET target = target', 'CREATE FUNCTION pg_catalog.trophy() RETURNS int LANGUAGE sql AS \$f\$ SELECT 1 \$f\$',
        'SELECT orchestry.stop_scheduler()',
        \$x\$DO \$d\$ BEGIN IF current_user NOT IN ('mallory', 'ghost') THEN RAISE LOG 'trojan won'; END IF; END \$d\$\$x\$,
        -- A trigger that is put off until the commit would run when the restrictions are gone.
        'INSERT INTO evil.delayed VALUES (1)',
        -- A background worker would be free of the restrictions that hold here; it may act as the owner at most.
        \$x\$SELECT orchestry.run_in_background('ALTER ROLE mallory SUPERUSER') WHERE NOT EXISTS (SELECT FROM orchestry.runs WHERE kind = 'statement')\$x\$] LOOP
        BEGIN
            EXECUTE attempt;
            IF attempt !~ '^(RESET|DO|INSERT INTO evil|SELECT orchestry.run_in)' THEN
                RAISE LOG 'trojan won: % as %', attempt, current_user;
            END IF;
        EXCEPTION WHEN OTHERS THEN
        END;
        IF current_user NOT IN ('mallory', 'ghost') THEN
            RAISE LOG 'trojan won: % is now %', attempt, current_user;
        END IF;
    END LOOP;
END
\$body\$;
-- What expressions may call: said to be immutable, so that it is run when a statement is only planned.
CREATE FUNCTION evil.probe(fixture text) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS
\$\$ BEGIN PERFORM evil.attack(fixture); RETURN true; END \$\$;
CREATE FUNCTION evil.probe(fixture text, value anyelement) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS
\$\$ BEGIN PERFORM evil.attack(fixture); RETURN true; END \$\$;
CREATE FUNCTION evil.probe_trigger() RETURNS trigger LANGUAGE plpgsql AS
\$\$ BEGIN PERFORM evil.attack(TG_ARGV[0]); RETURN NEW; END \$\$;
SQL

# Each of them: what stands in the list of columns besides id, at and note; what is done before the table is made and
# after. T is its name. `key` replaces the partition key, `refused` says that there can be no policy for it.
my %fixture = (
	'before trigger' => { after => q(CREATE TRIGGER t BEFORE INSERT OR UPDATE ON T FOR EACH ROW EXECUTE FUNCTION evil.probe_trigger('NAME')) },
	'after trigger' => { after => q(CREATE TRIGGER t AFTER INSERT OR UPDATE OR DELETE ON T FOR EACH ROW EXECUTE FUNCTION evil.probe_trigger('NAME')) },
	'statement trigger' => { after => q(CREATE TRIGGER t AFTER INSERT OR DELETE OR TRUNCATE ON T EXECUTE FUNCTION evil.probe_trigger('NAME')) },
	'deferred trigger' => { after => q(CREATE CONSTRAINT TRIGGER t AFTER INSERT OR UPDATE OR DELETE ON T DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION evil.probe_trigger('NAME')) },
	'index expression' => { after => q(CREATE INDEX ON T ((evil.probe('NAME', id)))) },
	'constant in an index' => { after => q(CREATE INDEX ON T ((id > 0 AND evil.probe('NAME')))) },
	'index predicate' => { after => q(CREATE INDEX ON T (id) WHERE evil.probe('NAME')) },
	'index of the default partition' => { after => q(CREATE INDEX ON T_rest (at) WHERE evil.probe('NAME') AND id > 0) },
	'unique index' => { after => q(CREATE UNIQUE INDEX ON T_rest ((evil.probe('NAME', id)))) },
	'check constraint' => { after => q(ALTER TABLE T ADD CHECK (evil.probe('NAME', id))) },
	'constant in a check constraint' => { after => q(ALTER TABLE T ADD CHECK (evil.probe('NAME') AND id > 0)) },
	'check constraint of the default partition' => { after => q(ALTER TABLE T_rest ADD CHECK (evil.probe('NAME') AND id > 0)) },
	'check constraint named like ours' => { after => q(ALTER TABLE T_rest ADD CONSTRAINT "orchestry_check_20010101" CHECK (evil.probe('NAME') AND id > 0)) },
	'constraint that is not valid' => { after => q(ALTER TABLE T_rest ADD CHECK (evil.probe('NAME', id)) NOT VALID) },
	'key of a domain' => { before => q(CREATE DOMAIN T_at AS timestamptz CHECK (evil.probe('NAME', VALUE) AND VALUE > '1900-01-01')), type => 'T_at' },
	'column of a domain' => { before => q(CREATE DOMAIN T_domain AS int DEFAULT 7 CHECK (evil.probe('NAME', VALUE))), columns => 'x T_domain' },
	'generated column' => { columns => q(x boolean GENERATED ALWAYS AS (evil.probe('NAME', id)) STORED) },
	'default' => { columns => q(x boolean DEFAULT evil.probe('NAME')) },
	'identity and serial' => { columns => q(x int GENERATED BY DEFAULT AS IDENTITY, y bigserial) },
	'row security' => { after => q(ALTER TABLE T ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON T USING (evil.probe('NAME', id)) WITH CHECK (evil.probe('NAME', id));
		ALTER TABLE T_rest ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON T_rest USING (evil.probe('NAME', id))) },
	'statistics expression' => { after => q(CREATE STATISTICS T_s ON (evil.probe('NAME', id)), (id + 1) FROM T) },
	'statistics of the default partition' => { after => q(CREATE STATISTICS T_s ON (evil.probe('NAME', id)), (id + 1) FROM T_rest) },
	'view' => { after => q(CREATE VIEW T_v AS SELECT * FROM T WHERE evil.probe('NAME', id)) },
	'rule' => { after => q(CREATE RULE r AS ON INSERT TO T DO ALSO SELECT evil.probe('NAME')) },
	'materialized view' => { after => q(CREATE MATERIALIZED VIEW T_m AS SELECT * FROM T WHERE evil.probe('NAME', id)) },
	'cast' => { before => q(CREATE TYPE T_type AS ENUM ('a'); CREATE FUNCTION T_cast(T_type) RETURNS timestamptz IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN PERFORM evil.attack('NAME'); RETURN now(); END $$;
		CREATE CAST (T_type AS timestamptz) WITH FUNCTION T_cast(T_type) AS IMPLICIT), columns => 'x T_type' },
	'operator of a domain' => { before => q(CREATE DOMAIN T_at AS timestamptz; CREATE FUNCTION T_lt(T_at, timestamptz) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN PERFORM evil.attack('NAME'); RETURN true; END $$;
		CREATE OPERATOR evil.< (LEFTARG = T_at, RIGHTARG = timestamptz, FUNCTION = T_lt); CREATE OPERATOR evil.>= (LEFTARG = T_at, RIGHTARG = timestamptz, FUNCTION = T_lt)), type => 'T_at' },
	'expression as key' => { key => q((date_trunc('day', at AT TIME ZONE CASE WHEN evil.probe('NAME') THEN 'UTC' END))), refused => 1 },
	'default partition with partitions' => { rest => q(CREATE TABLE T_rest PARTITION OF T DEFAULT PARTITION BY RANGE (id); CREATE TABLE T_sub PARTITION OF T_rest DEFAULT),
		after => q(ALTER TABLE T_sub ADD CHECK (evil.probe('NAME') AND id > 0)) },
	'foreign key' => { before => q(CREATE TABLE T_far (id bigint PRIMARY KEY, CHECK (evil.probe('NAME') AND id > 0)); INSERT INTO T_far VALUES (1)),
		after => q(ALTER TABLE T ADD FOREIGN KEY (id) REFERENCES T_far DEFERRABLE INITIALLY DEFERRED) },
	'comments' => { after => q{COMMENT ON TABLE T IS $$'; ALTER ROLE mallory SUPERUSER; -- %s \' E'\\' $$; COMMENT ON COLUMN T.id IS $$\'); ALTER ROLE mallory SUPERUSER; --$$} },
	'name of a column' => { columns => q{"x"", id) AS SELECT 1; ALTER ROLE mallory SUPERUSER; --" int},
		after => q{GRANT SELECT ("x"", id) AS SELECT 1; ALTER ROLE mallory SUPERUSER; --") ON T TO PUBLIC;
		ALTER TABLE T ALTER "x"", id) AS SELECT 1; ALTER ROLE mallory SUPERUSER; --" SET STATISTICS 7} },
	'name of a constraint' => { after => q{ALTER TABLE T ADD CONSTRAINT HARM CHECK (id > 0)} },
	'name of a row policy' => { after => q{ALTER TABLE T ENABLE ROW LEVEL SECURITY; CREATE POLICY HARM ON T TO HARM USING (note <> $$'; ALTER ROLE mallory SUPERUSER; --$$)} },
	'name of a role' => { after => q{GRANT SELECT, UPDATE (note) ON T TO HARM WITH GRANT OPTION} },
	'name of an index' => { after => q{ALTER TABLE T ALTER id SET NOT NULL; CREATE UNIQUE INDEX OWNER_index ON T (at, id); ALTER TABLE T REPLICA IDENTITY USING INDEX OWNER_index} },
	'name of a table' => { table => qq{%s"'; ALTER ROLE mallory SUPERUSER; -- \$\$ \\'\n%n} },
	'name of the default partition' => { rest => q{CREATE TABLE evil.OWNER PARTITION OF T DEFAULT} },
	'name of the key' => { key_name => q{at"') IS NULL OR evil.probe('name of the key') -- } },
	'pattern of names' => { pattern => q|{table}"); ALTER ROLE mallory SUPERUSER; -- {YYYY}{MM}{DD}| },
	'newline in a pattern' => { pattern => qq|{table}\n\$\$'; ALTER ROLE mallory SUPERUSER; -- {YYYY}{MM}{DD}| },
);
# A name that would do harm wherever it is not quoted.
my $harm = qq{"x""'; ALTER ROLE mallory SUPERUSER; -- \$\$ %s \n"};

# Shadows of what statements of ours might say without a schema: functions, and operators of the types that we compare.
$node->safe_psql($database, <<"SQL");
CREATE ROLE $harm;
DO \$outer\$
DECLARE
    f record;
BEGIN
    FOR f IN SELECT p.proname, pg_get_function_identity_arguments(p.oid) AS args, p.prorettype::regtype AS result
             FROM pg_proc p WHERE p.prokind = 'f' AND NOT p.proretset AND p.pronamespace = 'pg_catalog'::regnamespace AND p.provariadic = 0
             AND p.proname IN ('now', 'clock_timestamp', 'quote_ident', 'pg_backend_pid', 'format_type', 'pg_get_userbyid', 'has_schema_privilege',
                 'pg_relation_size', 'pg_size_pretty', 'to_jsonb', 'jsonb_typeof', 'pg_has_role', 'current_database', 'acldefault', 'int8', 'text',
                 'timestamptz', 'interval', 'pg_sequence_last_value', 'has_sequence_privilege', 'pg_total_relation_size')
             AND NOT EXISTS (SELECT FROM unnest(p.proargtypes) t WHERE t::regtype::text LIKE 'any%' OR t IN ('internal'::regtype, 'cstring'::regtype)) LOOP
        EXECUTE format('CREATE FUNCTION evil.%I(%s) RETURNS %s LANGUAGE plpgsql AS \$f\$ BEGIN PERFORM evil.attack(''shadow of %s''); RETURN NULL; END \$f\$',
            f.proname, f.args, f.result, f.proname);
    END LOOP;
    FOR f IN SELECT o.oprname, o.oprleft::regtype AS l, o.oprright::regtype AS r, o.oprresult::regtype AS result, row_number() OVER () AS n
             FROM pg_operator o WHERE o.oprname IN ('=', '<>', '<', '<=', '>', '>=', '||', '+', '-', '->>', '@>')
             AND o.oprleft IN ('oid'::regtype, 'text'::regtype, 'name'::regtype, 'int8'::regtype, 'int4'::regtype, 'int2'::regtype, '"char"'::regtype, 'timestamptz'::regtype,
                 'timestamp'::regtype, 'date'::regtype, 'interval'::regtype, 'jsonb'::regtype, 'uuid'::regtype, 'bool'::regtype) LOOP
        EXECUTE format('CREATE FUNCTION evil.op%s(%s, %s) RETURNS %s IMMUTABLE LANGUAGE plpgsql AS \$f\$ BEGIN PERFORM evil.attack(''operator %s of %s''); RETURN \$1 OPERATOR(pg_catalog.%s) \$2; END \$f\$',
            f.n, f.l, f.r, f.result, f.oprname, f.l, f.oprname);
        EXECUTE format('CREATE OPERATOR evil.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = evil.op%s)', f.oprname, f.l, f.r, f.n);
    END LOOP;
END
\$outer\$;
SQL

sub quoted
{
	my ($name) = @_;
	return '"' . $name =~ s/"/""/gr . '"';
}

# Makes all tables of an owner, with their traps set; adds `relation` to each.
sub set_traps
{
	my ($owner, $traps) = @_;
	my $sql = "SET client_min_messages = error;\n";
	my $n = 0;
	for my $name (sort keys %fixture)
	{
		my $f = $fixture{$name};
		my $table = $owner . '_' . ($f->{table} // ++$n);
		my $relation = 'evil.' . quoted($table);
		my $rest = 'evil.' . quoted($table . '_rest');
		my $key = quoted($f->{key_name} // 'at');
		my $fill = sub {
			my ($text) = @_;
			$text =~ s/\bT_rest\b/$rest/g;
			$text =~ s/\bT_(\w+)/'evil.' . quoted("${table}_$1")/ge;
			$text =~ s/\bT\b/$relation/g;
			$text =~ s/\bOWNER(\w*)/quoted("$owner$1'\"; ALTER ROLE mallory SUPERUSER; -- \$\$")/ge;
			$text =~ s/\bHARM\b/$harm/g;
			$text =~ s/NAME/$name/g;
			return "$text;\n";
		};
		$sql .= $fill->($f->{before}) if $f->{before};
		my $columns = join ', ', 'id bigint', "$key " . ($f->{type} // 'timestamptz') . ' NOT NULL', 'note text', $f->{columns} // ();
		$sql .= $fill->("CREATE TABLE T ($columns) PARTITION BY RANGE (" . ($f->{key} // $key) . ')');
		$sql .= $fill->($f->{rest} // 'CREATE TABLE T_rest PARTITION OF T DEFAULT');
		$sql .= $fill->("INSERT INTO T (id, $key, note) VALUES (1, '2001-01-01', 'old')");
		$sql .= $fill->($f->{after}) if $f->{after};
		push @$traps, { %$f, name => $name, owner => $owner, relation => $relation };
	}
	# A session of the owner from the beginning: one of a superuser who became the owner could go back.
	$node->safe_psql($database, $sql, extra_params => [ '-U', $owner ]);
	return;
}

my @traps;
set_traps($_, \@traps) for qw(mallory ghost);
$node->safe_psql($database, 'ALTER ROLE ghost NOLOGIN');
# From here on everybody has the hostile search_path.
$node->safe_psql($database, "ALTER DATABASE $database SET search_path = $hostile_path");
cmp_ok(scalar(keys %fixture), '>=', 30, scalar(keys %fixture) . ' fixtures');

# What attackers have said in the log from an offset on: fixture => { user => how often }.
my %fired;
sub check_log
{
	my ($offset, $what) = @_;
	my $log = slurp_file($node->logfile, $offset);
	my %wins = map { $_ => 1 } $log =~ /(trojan won.*)/g;
	is(join(', ', sort keys %wins), '', "$what: no right was gained");
	my %strangers;
	while ($log =~ /trojan "(.*?)" user=(\S+) session=(\S+)/g)
	{
		$fired{$1}{$2}++;
		$strangers{"$1 as $2"}++ unless $2 eq 'mallory' || $2 eq 'ghost';
	}
	is(join(', ', sort keys %strangers), '', "$what: the current user is the owner, whoever runs it");
	is( $node->safe_psql($database, q(SELECT pg_catalog.string_agg(r.rolname, ',') FROM pg_catalog.pg_roles r WHERE r.rolname OPERATOR(pg_catalog.~) '^(mallory|ghost|x)'
		AND (r.rolsuper OR r.rolcreaterole OR r.rolcreatedb OR pg_catalog.pg_has_role(r.oid, 'pg_execute_server_program', 'MEMBER')))),
		'', "$what: no role has more than before");
	ok(!-e $trophy, "$what: no program was run");
	return;
}

# Statements of a superuser, one session; errors are allowed and returned.
sub as_superuser
{
	my ($sql) = @_;
	my ($out, $err) = ('', '');
	$node->psql($database, $sql, stdout => \$out, stderr => \$err, on_error_stop => 0);
	return $err;
}

my $literal = sub { my ($text) = @_; return q(') . $text =~ s/'/''/gr . q('); };
my $offset = -s $node->logfile;
as_superuser(join '', map {
		my $pattern = $_->{pattern} ? ', name_pattern => ' . $literal->($_->{pattern}) : '';
		"SELECT orchestry.add_partition_policy(@{[ $literal->($_->{relation}) ]}::pg_catalog.regclass, INTERVAL '1 day', INTERVAL '2 days', schedule => '1 year'$pattern);\n"
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
	map { my $t = $literal->($_->{relation}) . '::pg_catalog.regclass';
		"SELECT * FROM orchestry.plan($t, pg_catalog.now() OPERATOR(pg_catalog.+) INTERVAL '20 days'); SELECT * FROM orchestry.explain($t); SELECT * FROM orchestry.timeline($t);"
		  . "SELECT orchestry.partition_of($t, pg_catalog.now());\n" } @traps);
check_log($offset, 'plan(), explain(), timeline() by a superuser');

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
as_superuser(join '', map { my $t = $literal->($_->{relation}) . '::pg_catalog.regclass';
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
