# R37: traps laid before CREATE EXTENSION, and what DROP EXTENSION leaves behind.
use strict;
use warnings;
use Orchestry;
use PostgreSQL::Test::Utils;
use Test::More;

my $database = 'postgres';
my $node = new_server('install', conf => "autovacuum = off\n");
my $installer = $node->safe_psql($database, 'SELECT current_user');
$node->safe_psql($database, 'CREATE ROLE mallory LOGIN; CREATE ROLE installer LOGIN SUPERUSER; GRANT ALL ON SCHEMA public TO mallory');

# What a statement says when it fails; '' when it does not.
sub failure_of
{
	my ($sql, @as) = @_;
	my ($out, $err) = ('', '');
	$node->psql($database, $sql, stdout => \$out, stderr => \$err, extra_params => [ '-v', 'VERBOSITY=verbose', map { ('-U', $_) } @as ]);
	return $err;
}

# Everything in the database that is not the server's own: what there is of objects, of dependencies and of grants.
sub inventory
{
	return $node->safe_psql($database, <<'SQL');
SELECT string_agg(x, E'\n' ORDER BY x) FROM (
    SELECT format('%s %s', c.relkind, c.oid::regclass) FROM pg_class c WHERE c.oid >= 16384 AND c.relnamespace <> 'pg_toast'::regnamespace
    UNION ALL SELECT 'function ' || oid::regprocedure FROM pg_proc WHERE oid >= 16384
    UNION ALL SELECT 'type ' || oid::regtype FROM pg_type WHERE oid >= 16384 AND typrelid = 0 AND typcategory <> 'A'
    UNION ALL SELECT 'operator ' || oid::regoperator FROM pg_operator WHERE oid >= 16384
    UNION ALL SELECT 'schema ' || nspname FROM pg_namespace WHERE oid >= 16384 AND nspname !~ '^pg_'
    UNION ALL SELECT 'extension ' || extname FROM pg_extension
    UNION ALL SELECT 'comment ' || count(*) FROM pg_description WHERE objoid >= 16384
    UNION ALL SELECT 'dependency ' || count(*) FROM pg_depend WHERE (objid >= 16384 OR refobjid >= 16384)
    UNION ALL SELECT 'initial privileges ' || count(*) FROM pg_init_privs WHERE objoid >= 16384
    UNION ALL SELECT 'rewrite ' || count(*) FROM pg_rewrite WHERE oid >= 16384
    UNION ALL SELECT 'default privileges ' || count(*) FROM pg_default_acl) o(x)
SQL
}

my $empty = inventory();

# Who may install it.
like(failure_of('CREATE EXTENSION orchestry_ext', 'mallory'), qr/42501: permission denied to create extension/, 'the owner of nothing cannot install it');
$node->safe_psql($database, "ALTER DATABASE $database OWNER TO mallory");
like(failure_of('CREATE EXTENSION orchestry_ext', 'mallory'), qr/42501: permission denied to create extension/, 'nor can the owner of the database');
$node->safe_psql($database, "ALTER DATABASE $database OWNER TO $installer; GRANT CREATE ON DATABASE $database TO mallory");
is(inventory(), $empty, 'and nothing is there');

# How its text is read.
like(failure_of('SET standard_conforming_strings = off; SET escape_string_warning = off; CREATE EXTENSION orchestry_ext'),
	qr/55000: the extension cannot be created while standard_conforming_strings is off.*SET standard_conforming_strings = on;/s, 'backslashes have to mean backslashes');
is(inventory(), $empty, 'and nothing is there');

# The schema is ours, or there is no extension.
for my $trap ('CREATE SCHEMA orchestry', 'CREATE SCHEMA orchestry CREATE TABLE job (job_id bigint, kind text)',
	q(CREATE SCHEMA orchestry; CREATE FUNCTION orchestry._announce() RETURNS void LANGUAGE sql AS 'SELECT'))
{
	$node->safe_psql($database, $trap, extra_params => [ '-U', 'mallory' ]);
	my $before = inventory();
	for my $command ('CREATE EXTENSION orchestry_ext', 'CREATE EXTENSION IF NOT EXISTS orchestry_ext', 'CREATE EXTENSION orchestry_ext CASCADE')
	{
		like(failure_of($command), qr/42P06: schema "orchestry" already exists/, "$command fails where there is a schema: $trap");
	}
	is(inventory(), $before, 'and leaves nothing');
	is( $node->safe_psql($database, q(SELECT relowner::regrole FROM pg_class WHERE relnamespace = 'orchestry'::regnamespace AND relkind = 'r'
		UNION ALL SELECT nspowner::regrole FROM pg_namespace WHERE nspname = 'orchestry' LIMIT 1)), 'mallory', 'nor takes anything');
	$node->safe_psql($database, 'DROP SCHEMA orchestry CASCADE');
}
for my $command ('CREATE EXTENSION orchestry_ext SCHEMA public', 'CREATE EXTENSION orchestry_ext SCHEMA pg_temp', 'CREATE SCHEMA other; CREATE EXTENSION orchestry_ext SCHEMA other')
{
	like(failure_of("BEGIN; $command; COMMIT"), qr/0A000: .*must be installed in schema|3F000: schema "pg_temp" does not exist/, "it goes nowhere else: $command");
}
is(inventory(), $empty, 'and nothing is there');

# Shadows of whatever the script may say without a schema: functions, operators, types and tables in a schema that comes
# first. Each of them tells.
my $shadows = <<'SQL';
CREATE FUNCTION public.tell(who text) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS
$$ BEGIN RAISE LOG 'shadow "%" seen by %', who, current_user; END $$;
DO $outer$
DECLARE
    f record;
BEGIN
    FOR f IN SELECT DISTINCT ON (p.proname, p.proargtypes) p.proname, pg_get_function_identity_arguments(p.oid) AS args, p.prorettype::regtype AS result
             FROM pg_proc p WHERE p.prokind = 'f' AND NOT p.proretset AND p.pronamespace = 'pg_catalog'::regnamespace AND p.provariadic = 0
             AND p.proname IN ('now', 'clock_timestamp', 'pg_has_role', 'pg_total_relation_size', 'current_database', 'round', 'to_jsonb',
                 'pg_extension_config_dump', 'pg_stat_get_last_analyze_time', 'pg_stat_get_last_autoanalyze_time', 'current_setting', 'quote_ident', 'btrim',
                 'jsonb_strip_nulls', 'int8', 'text', 'string_to_array', 'nextval', 'pg_get_userbyid', 'set_config')
             AND NOT EXISTS (SELECT FROM unnest(p.proargtypes) t WHERE t::regtype::text LIKE 'any%' OR t IN ('internal'::regtype, 'cstring'::regtype)) LOOP
        EXECUTE format('CREATE FUNCTION public.%I(%s) RETURNS %s LANGUAGE plpgsql AS $f$ BEGIN PERFORM public.tell(%L); %s END $f$',
            f.proname, f.args, f.result, f.proname, CASE WHEN f.result <> 'void'::regtype THEN 'RETURN NULL;' END);
    END LOOP;
    FOR f IN SELECT o.oprname, o.oprleft::regtype AS l, o.oprright::regtype AS r, o.oprresult::regtype AS result, row_number() OVER () AS n
             FROM pg_operator o WHERE o.oprname IN ('=', '<>', '<', '<=', '>', '>=', '||', '+', '-', '*', '/')
             AND o.oprleft IN (SELECT unnest('{oid,text,name,int8,int4,int2,"\"char\"",timestamptz,interval,jsonb,bool,float8,numeric}'::regtype[])) LOOP
        EXECUTE format('CREATE FUNCTION public.op%s(%s, %s) RETURNS %s IMMUTABLE LANGUAGE plpgsql AS $f$ BEGIN PERFORM public.tell(%L); RETURN $1 OPERATOR(pg_catalog.%s) $2; END $f$',
            f.n, f.l, f.r, f.result, f.oprname, f.oprname);
        EXECUTE format('CREATE OPERATOR public.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = public.op%s)', f.oprname, f.l, f.r, f.n);
    END LOOP;
END
$outer$;
CREATE DOMAIN public.text AS pg_catalog.text CHECK (public.tell('type') IS NOT NULL);
CREATE DOMAIN public.bigint AS pg_catalog.int8;
CREATE DOMAIN public.int8 AS pg_catalog.int8;
CREATE DOMAIN public.timestamptz AS pg_catalog.timestamptz;
CREATE DOMAIN public.interval AS pg_catalog.interval;
CREATE DOMAIN public.regclass AS pg_catalog.regclass;
CREATE VIEW public.pg_class AS SELECT * FROM pg_catalog.pg_class WHERE public.tell('pg_class') IS NULL;
CREATE VIEW public.pg_roles AS SELECT * FROM pg_catalog.pg_roles WHERE public.tell('pg_roles') IS NULL;
CREATE VIEW public.pg_database AS SELECT * FROM pg_catalog.pg_database WHERE public.tell('pg_database') IS NULL;
CREATE VIEW public.pg_extension AS SELECT * FROM pg_catalog.pg_extension;
SQL
# What names of ours refer to, with all that is theirs in the way or not: how views and functions were understood.
my $understood = <<'SQL';
SELECT string_agg(x, E'\n' ORDER BY x) FROM (
    SELECT format('%s: %s', d.objid::regclass, pg_get_viewdef(d.objid)) FROM pg_depend d JOIN pg_class c ON c.oid = d.objid AND c.relkind = 'v' AND d.classid = 'pg_class'::regclass
    WHERE d.deptype = 'e' AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'orchestry_ext')
    UNION ALL SELECT format('%s.%s: %s default %s', a.attrelid::regclass, a.attname, format_type(a.atttypid, a.atttypmod), pg_get_expr(f.adbin, f.adrelid))
    FROM pg_attribute a LEFT JOIN pg_attrdef f ON f.adrelid = a.attrelid AND f.adnum = a.attnum WHERE a.attrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'orchestry'::regnamespace)
    UNION ALL SELECT format('%s: %s %s', p.oid::regprocedure, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid)) FROM pg_proc p WHERE p.pronamespace = 'orchestry'::regnamespace
    UNION ALL SELECT format('%s: %s', conname, pg_get_constraintdef(oid)) FROM pg_constraint WHERE connamespace = 'orchestry'::regnamespace
    UNION ALL SELECT format('foreign object %s of %s', d.refobjid, d.classid::regclass) FROM pg_depend d WHERE d.refobjid >= 16384 AND d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass, 'pg_type'::regclass)
    AND d.objid IN (SELECT objid FROM pg_depend WHERE deptype = 'e' AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'orchestry_ext'))
    AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.deptype = 'e' AND e.objid = d.refobjid)) o(x)
SQL
$node->safe_psql($database, 'CREATE EXTENSION orchestry_ext', extra_params => [ '-U', 'installer' ]);
my $clean = $node->safe_psql($database, $understood);
cmp_ok(length $clean, '>', 5000, 'what the extension is like in a clean database: ' . length($clean) . ' characters');

# Its objects.
my $extension = q((SELECT oid FROM pg_extension WHERE extname = 'orchestry_ext'));
my $members = "pg_depend d WHERE d.deptype = 'e' AND d.refclassid = 'pg_extension'::regclass AND d.refobjid = $extension";
is( $node->safe_psql($database, <<'SQL'), '', 'all belong to the installer');
SELECT string_agg(x, ', ') FROM (
    SELECT oid::regclass::text, relowner FROM pg_class WHERE relnamespace = 'orchestry'::regnamespace
    UNION ALL SELECT oid::regprocedure::text, proowner FROM pg_proc WHERE pronamespace = 'orchestry'::regnamespace
    UNION ALL SELECT oid::regtype::text, typowner FROM pg_type WHERE typnamespace = 'orchestry'::regnamespace
    UNION ALL SELECT nspname, nspowner FROM pg_namespace WHERE nspname = 'orchestry'
    UNION ALL SELECT extname, extowner FROM pg_extension WHERE extname = 'orchestry_ext') o(x, owner) WHERE owner <> 'installer'::regrole
SQL
is( $node->safe_psql($database, <<"SQL"), '', 'all are members of the extension, or belong to a member');
SELECT string_agg(x, ', ') FROM (
    SELECT 'pg_class'::regclass, oid, oid::regclass::text FROM pg_class WHERE relnamespace = 'orchestry'::regnamespace AND relkind NOT IN ('i', 't', 'c')
    UNION ALL SELECT 'pg_proc'::regclass, oid, oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'orchestry'::regnamespace
    UNION ALL SELECT 'pg_type'::regclass, oid, oid::regtype::text FROM pg_type WHERE typnamespace = 'orchestry'::regnamespace
        AND (typrelid = 0 OR typrelid IN (SELECT oid FROM pg_class WHERE relkind = 'c')) AND typcategory <> 'A'
    UNION ALL SELECT 'pg_namespace'::regclass, oid, nspname FROM pg_namespace WHERE nspname = 'orchestry') o(class, oid, x)
WHERE NOT EXISTS (SELECT FROM $members AND d.classid = o.class AND d.objid = o.oid)
SQL
is( $node->safe_psql($database, "SELECT string_agg(pg_describe_object(d.classid, d.objid, 0), ', ') FROM $members
	AND d.objid NOT IN (SELECT oid FROM pg_class WHERE relnamespace = 'orchestry'::regnamespace UNION ALL SELECT oid FROM pg_proc WHERE pronamespace = 'orchestry'::regnamespace
	UNION ALL SELECT oid FROM pg_type WHERE typnamespace = 'orchestry'::regnamespace UNION ALL SELECT oid FROM pg_namespace WHERE nspname = 'orchestry')"),
	'', 'and nothing outside of its schema is');
is( $node->safe_psql($database, <<"SQL"), '', 'all have a comment');
SELECT string_agg(pg_describe_object(d.classid, d.objid, 0), ', ') FROM $members
AND NOT (d.classid = 'pg_type'::regclass AND EXISTS (SELECT FROM pg_type t WHERE t.oid = d.objid AND (t.typrelid <> 0 OR t.typcategory = 'A')))
AND NOT EXISTS (SELECT FROM pg_depend i WHERE i.classid = d.classid AND i.objid = d.objid AND i.deptype = 'i' AND i.refobjsubid > 0) -- the sequence of an identity column
AND COALESCE(obj_description(d.objid, d.classid::regclass::name), '') = ''
SQL
is( $node->safe_psql($database, q(SELECT string_agg(oid::regprocedure::text, ', ') FROM pg_proc WHERE pronamespace = 'orchestry'::regnamespace AND proacl IS NULL)),
	'', 'no function has the privileges that functions have by default');
is( $node->safe_psql($database, q(SELECT string_agg(oid::regclass::text, ', ') FROM pg_class WHERE relnamespace = 'orchestry'::regnamespace AND relkind <> 'i'
	AND EXISTS (SELECT FROM aclexplode(relacl) a WHERE a.grantee = 0 AND (relkind <> 'v' OR a.privilege_type <> 'SELECT')))),
	'', 'everybody has SELECT on views at most');
my @granted = slurp_file($ENV{ORCHESTRY_SQL} // 'sql/install/90_grants.sql') =~ /^\s+orchestry\.(\w+)\(/mg;
cmp_ok(scalar(@granted), '>', 10, 'the script grants ' . scalar(@granted) . ' functions');
is( $node->safe_psql($database, q(SELECT string_agg(p.proname, ',' ORDER BY p.proname) FROM pg_proc p, aclexplode(p.proacl) a WHERE p.pronamespace = 'orchestry'::regnamespace AND a.grantee = 0)),
	join(',', sort @granted), 'and those are what everybody may call');
is( $node->safe_psql($database, q(SELECT string_agg(p.oid::regprocedure::text, ', ') FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
	WHERE p.pronamespace = 'orchestry'::regnamespace AND (p.prosecdef OR (l.lanname <> 'c' AND p.prokind <> 'a' AND COALESCE(array_to_string(p.proconfig, ','), '') !~ '^search_path=pg_catalog, pg_temp')))),
	'', 'no function runs with the rights or in the search_path of somebody else');

# What takes internal values is for the server to call. NULL is the only one that can be written in SQL.
is( $node->safe_psql($database, q(SELECT string_agg(p.oid::regprocedure::text, ', ') FROM pg_proc p, aclexplode(p.proacl) a
	WHERE p.pronamespace = 'orchestry'::regnamespace AND 'internal'::regtype = ANY (p.proargtypes) AND a.grantee <> p.proowner)),
	'', 'what takes internal values is for nobody to call');
my @calls = split /\n/, $node->safe_psql($database, q(
	SELECT format('SELECT %s(%s)', p.oid::regproc, (SELECT string_agg(CASE WHEN t = 'internal'::regtype THEN 'NULL' ELSE 'NULL::' || t::regtype END, ', ' ORDER BY n)
		FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY u(t, n)))
	FROM pg_proc p WHERE p.pronamespace = 'orchestry'::regnamespace AND 'internal'::regtype = ANY (p.proargtypes) ORDER BY 1));
for my $call (@calls)
{
	my ($status, $out, $err) = $node->psql($database, $call);
	ok(($status == 0 && $out eq '') || $err =~ /^psql:<stdin>:1: ERROR: /, "$call: NULL or an error")
	  or diag "$status $out $err";
}
is( $node->safe_psql($database, q(SELECT string_agg(oid::regclass::text, ', ') FROM pg_class WHERE relnamespace = 'orchestry'::regnamespace AND relkind = 'v'
	AND has_table_privilege('mallory', oid, 'SELECT') AND NOT COALESCE('security_barrier=true' = ANY (reloptions) OR relname = 'partitions', false))),
	'', 'views that everybody reads are barriers');

# DROP EXTENSION.
wait_for_scheduler($node, $database);
make_policy($node, $database, 'kept', owner => 'mallory');
my @processes = (processes($node, 'scheduler'), processes($node, 'worker'));
like(failure_of('DROP EXTENSION orchestry_ext', 'mallory'), qr/42501/, 'only the owner drops it');
like(failure_of('DROP SCHEMA orchestry CASCADE'), qr/2BP01: cannot drop schema orchestry because extension/, 'it cannot be dropped in part');
$node->safe_psql($database, 'DROP EXTENSION orchestry_ext');
wait_for_exit(@processes);
is(scalar(grep { is_alive($_) } @processes), 0, 'its processes end with it');
is($node->safe_psql($database, q(SELECT count(*) FROM pg_inherits WHERE inhparent = 's.kept'::regclass)), '4', 'partitions stay');
$node->safe_psql($database, 'DROP SCHEMA s CASCADE');
is(inventory(), $empty, 'nothing else does');
is($node->safe_psql($database, q(SELECT count(*) FROM pg_stat_activity WHERE backend_type IN ('orchestry scheduler', 'orchestry worker'))), '0', 'no process either');
is($node->safe_psql($database, q(SELECT count(*) FROM pg_locks WHERE locktype IN ('object', 'userlock') AND classid <> 'pg_database'::regclass)), '0', 'no lock either');

# Again, in a hostile place.
$node->safe_psql($database, $shadows, extra_params => [ '-U', 'mallory' ]);
my $hostile = inventory();
my $offset = -s $node->logfile;
$node->safe_psql($database, 'SET search_path = public, pg_catalog; CREATE EXTENSION orchestry_ext', extra_params => [ '-U', 'installer' ]);
is(count_log($node, qr/shadow "/, $offset), 0, 'CREATE EXTENSION calls nothing of what is in the way');
is($node->safe_psql($database, "SET search_path = pg_catalog; $understood"), $clean, 'and all names mean what they mean elsewhere');
$offset = -s $node->logfile;
$node->safe_psql($database, "SET search_path = public, pg_catalog; SELECT * FROM orchestry.jobs; SELECT * FROM orchestry.runs; SELECT * FROM orchestry.run_steps;
	SELECT * FROM orchestry.progress; SELECT * FROM orchestry.partitions; SELECT * FROM orchestry.capabilities(); SELECT orchestry.scheduler_pid();
	SELECT * FROM orchestry.health(); SELECT * FROM orchestry.metrics; SELECT * FROM orchestry.unused_indexes; SELECT * FROM orchestry.duplicate_indexes; SELECT * FROM orchestry.cache_hit");
is(count_log($node, qr/shadow "/, $offset), 0, 'nor do its views and functions');
wait_for_scheduler($node, $database);
like(failure_of('ALTER SCHEMA orchestry RENAME TO mine', 'mallory'), qr/42501/, 'its schema is not to be renamed by others');
like(failure_of('ALTER EXTENSION orchestry_ext SET SCHEMA public'), qr/0A000|55000/, 'and it is not to be moved');
$node->safe_psql($database, 'DROP EXTENSION orchestry_ext');
is(inventory(), $hostile, 'it goes without a trace once more');

# Over and over, with the scheduler at work.
$node->safe_psql($database, 'DROP OWNED BY mallory');
for (1 .. long_count(5, 200))
{
	$node->safe_psql($database, 'CREATE EXTENSION orchestry_ext');
	$node->safe_psql($database, 'SELECT orchestry.start_scheduler(); DROP EXTENSION orchestry_ext');
}
is(inventory(), $empty, 'created and dropped over and over');
$node->safe_psql($database, 'CREATE EXTENSION orchestry_ext');
wait_for_scheduler($node, $database);
pass('it works again');
is(count_log($node, qr/PANIC|TRAP|terminated by signal/), 0, 'nobody died');
$node->stop;
done_testing();
