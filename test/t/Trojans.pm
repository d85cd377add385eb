# What the tests of R36 share: owners of tables who hide code in everything that a statement of ours might run, a way to set
# such traps around a table, and a look at the log for what went off and as whom.
package Trojans;

use strict;
use warnings;

use Exporter 'import';
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(lay_ground fixtures set_traps hostile_from_now check_log as_user as_superuser literal fired);

my ($node, $database, $trophy);

# Makes the attackers mallory and ghost, the schema evil, and what is run when a trap goes off.
sub lay_ground
{
	($node, $database) = @_;
	$trophy = PostgreSQL::Test::Utils::tempdir() . '/trophy';
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
-- What expressions may call: said to be immutable, so that it is run when a statement is only planned. A setting that is
-- left behind in the session could be its search_path just as well.
CREATE FUNCTION evil.probe(fixture text) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS
\$\$ BEGIN PERFORM evil.attack(fixture); PERFORM pg_catalog.set_config('evil.mark', fixture, false); RETURN true; END \$\$;
CREATE FUNCTION evil.probe(fixture text, value anyelement) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS
\$\$ BEGIN PERFORM evil.attack(fixture); PERFORM pg_catalog.set_config('evil.mark', fixture, false); RETURN true; END \$\$;
CREATE FUNCTION evil.probe_trigger() RETURNS trigger LANGUAGE plpgsql AS
\$\$ BEGIN PERFORM evil.attack(TG_ARGV[0]); RETURN NEW; END \$\$;
SQL
	cast_shadows();
	return;
}

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

sub fixtures { return %fixture }

# A name that would do harm wherever it is not quoted.
my $harm = qq{"x""'; ALTER ROLE mallory SUPERUSER; -- \$\$ %s \n"};

# Shadows of what statements of ours might say without a schema: functions, and operators of the types that we compare.
sub cast_shadows
{
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
	return;
}

sub quoted
{
	my ($name) = @_;
	return '"' . $name =~ s/"/""/gr . '"';
}
# Makes the tables of an owner, one for each fixture, with their traps set; adds `relation` to each. `more` is SQL that is
# run for each of them once it is there, before its first row and the trap.
sub set_traps
{
	my ($owner, $fixtures, $traps, $more) = @_;
	my $sql = "SET client_min_messages = error;\n";
	my $n = 0;
	for my $name (sort keys %$fixtures)
	{
		my $f = $fixtures->{$name};
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
			$text =~ s/\bNAME\b/$name/g;
			return "$text;\n";
		};
		$sql .= $fill->($f->{before}) if $f->{before};
		my $columns = join ', ', 'id bigint', "$key " . ($f->{type} // 'timestamptz') . ' NOT NULL', 'note text', $f->{columns} // ();
		$sql .= $fill->("CREATE TABLE T ($columns) PARTITION BY RANGE (" . ($f->{key} // $key) . ')');
		$sql .= $fill->($f->{rest} // 'CREATE TABLE T_rest PARTITION OF T DEFAULT');
		$sql .= $fill->($more) if $more;
		$sql .= $fill->("INSERT INTO T (id, $key, note) VALUES (1, '2001-01-01', 'old')");
		$sql .= $fill->($f->{after}) if $f->{after};
		push @$traps, { %$f, name => $name, owner => $owner, relation => $relation };
	}
	# A session of the owner from the beginning: one of a superuser who became the owner could go back.
	$node->safe_psql($database, $sql, extra_params => [ '-U', $owner ]);
	return;
}

# From here on everybody has the hostile search_path: who owns the database may set that of all who connect to it, workers
# included. On 15 and 16 ghost cannot be connected as.
sub hostile_from_now
{
	$node->safe_psql($database, "ALTER ROLE ghost NOLOGIN; ALTER DATABASE $database SET search_path = evil, public, pg_catalog");
	return;
}

# What attackers have said in the log: fixture => { user => how often }; and what they left behind in a session.
my (%fired, %left);
sub fired { return %fired }

# Looks at the log from an offset on.
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
	is(join(', ', sort keys %left), '', "$what: no setting is left behind");
	%left = ();
	is( $node->safe_psql($database, q(SELECT pg_catalog.string_agg(r.rolname, ',') FROM pg_catalog.pg_roles r WHERE r.rolname OPERATOR(pg_catalog.~) '^(mallory|ghost|x)'
		AND (r.rolsuper OR r.rolcreaterole OR r.rolcreatedb OR pg_catalog.pg_has_role(r.oid, 'pg_execute_server_program', 'MEMBER')))),
		'', "$what: no role has more than before");
	ok(!-e $trophy, "$what: no program was run");
	return;
}

# Statements of a user, one session; errors are allowed and returned.
sub as_user
{
	my ($user, $sql) = @_;
	my ($out, $err) = ('', '');
	$node->psql($database, "$sql;\nSELECT 'left: ' OPERATOR(pg_catalog.||) pg_catalog.current_setting('evil.mark', true);",
		stdout => \$out, stderr => \$err, on_error_stop => 0, extra_params => [ $user ? ('-U', $user) : () ]);
	$left{$1}++ if $out =~ /^left: (.+)$/m;
	return $err;
}

sub as_superuser { return as_user(undef, @_) }

sub literal { my ($text) = @_; return q(') . $text =~ s/'/''/gr . q('); }

1;
