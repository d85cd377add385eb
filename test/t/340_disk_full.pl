# R26: a tablespace, the directory of an archive and then the WAL are full while retention and event compression are at work.
# Each fails with a clean error, or the server goes down and comes back when there is space again; no row is lost or doubled;
# what frees space works without any; and with space again the jobs go on by themselves. The disks are small ones in memory,
# mounted in a namespace of this test's own.
use strict;
use warnings;
use Orchestry;
use PostgreSQL::Test::Utils;
use Test::More;
use IPC::Run ();
use Time::HiRes qw(usleep);

my $mounts = PostgreSQL::Test::Utils::tempdir();
mkdir "$mounts/$_" or die "mkdir $_: $!" for 'space', 'wal';
my ($in, $out) = ('', '');
# The namespace lives as long as this process does.
my $holder = IPC::Run::start([ 'unshare', '--user', '--map-current-user', '--keep-caps', '--mount', 'sh', '-c',
		"mount -t tmpfs -o size=40m tmpfs $mounts/space && mount -t tmpfs -o size=128m tmpfs $mounts/wal && echo \$\$ && exec cat" ], \$in, \$out, '2>', '/dev/null');
eval { IPC::Run::pump($holder) until $out =~ /\n/ };
my ($holder_pid) = $out =~ /^(\d+)\n/;
unless ($holder_pid)
{
	eval { $holder->kill_kill };
	plan skip_all => 'cannot mount a disk in a namespace of its own';
}
sub inside { return system('nsenter', '--target', $holder_pid, '--user', '--mount', '--preserve-credentials', 'sh', '-c', $_[0]) }
sub inside_or_die { inside($_[0]) == 0 or die "failed: $_[0]"; return }
# Leaves some kilobytes on a disk, or nothing at all.
sub fill
{
	my ($disk, $left_kb) = @_;
	my $count = $left_kb ? "count=\$(( \$(df --output=avail -k . | tail -n 1) - $left_kb ))" : '';
	my $failed = inside("cd $mounts/$disk && dd if=/dev/zero of=fill bs=1k $count status=none 2>/dev/null");
	die "cannot fill $disk" if $failed && $left_kb;
	return;
}
sub free_space { inside_or_die("rm $mounts/$_[0]/fill"); return }

my $database = 'postgres';
my $node = new_server('disk_full', start => 0, init => { extra => [ '--data-checksums', '--wal-segsize=1' ] }, conf => <<'CONF');
orchestry.databases = ''
orchestry.now = '2026-06-15 12:34:00+00'
autovacuum = off
min_wal_size = '2 MB'
max_wal_size = '1 GB' # checkpoints come when this test says so
checkpoint_timeout = '1 d'
wal_keep_size = 0
max_wal_senders = 0
wal_level = minimal
wal_recycle = off
CONF
my $data = $node->data_dir;
inside_or_die("mv $data/pg_wal $mounts/wal/pg_wal && ln -s $mounts/wal/pg_wal $data/pg_wal");
sub start_inside
{
	my $pg_ctl = $node->config_data('--bindir') . '/pg_ctl';
	my $status = inside("$pg_ctl --wait --timeout=180 -D $data -l " . $node->logfile . ' start >/dev/null');
	$node->_update_pid($status == 0 ? 1 : 0);
	return $status == 0;
}
ok(start_inside(), 'the server starts on small disks');
inside_or_die("mkdir $mounts/space/tablespace $mounts/space/files");
$node->safe_psql($database, "CREATE TABLESPACE small LOCATION '$mounts/space/tablespace'");
$node->safe_psql($database, <<"SQL" . <<'SQL');
CREATE EXTENSION orchestry_ext;
CREATE FUNCTION public.directory() RETURNS text LANGUAGE sql RETURN '$mounts/space/files';
SQL
SET client_min_messages = error;
CREATE SCHEMA s;
CREATE TABLE s.run (id bigint, at timestamptz NOT NULL, v text);
CREATE INDEX ON s.run (at);
CREATE TABLE s.run_archive (LIKE s.run) TABLESPACE small;
CREATE TABLE s.filed (LIKE s.run);
CREATE INDEX ON s.filed (at);
CREATE TABLE s.event (at timestamptz NOT NULL, app text, message text);
CREATE TABLE s.event_compressed (bucket timestamptz, app text, event_count bigint, sample_messages text[], first_at timestamptz, last_at timestamptz,
    UNIQUE NULLS NOT DISTINCT (bucket, app) USING INDEX TABLESPACE small) TABLESPACE small;
CREATE TABLE s.part (at timestamptz NOT NULL, v text) PARTITION BY RANGE (at);
CREATE TABLE s.part_1 PARTITION OF s.part FOR VALUES FROM ('2026-01-01') TO ('2026-02-01') TABLESPACE small;
CREATE TABLE s.part_6 PARTITION OF s.part FOR VALUES FROM ('2026-06-01') TO ('2026-07-01') TABLESPACE small;
INSERT INTO s.part SELECT '2026-01-05', repeat('x', 1000) FROM generate_series(1, 3000);
INSERT INTO s.run SELECT i, timestamptz '2026-01-01' + i * interval '5 min', repeat('x', 1000) FROM generate_series(1, 6000) i;
INSERT INTO s.filed TABLE s.run;
INSERT INTO s.event SELECT timestamptz '2026-01-01' + i % 24 * interval '1 hour', 'app ' || i % 200, repeat('m', 500 + i % 3) FROM generate_series(1, 20000) i;
CREATE TABLE public.job (t text, id bigint);
INSERT INTO public.job VALUES
    ('run', orchestry.add_retention_policy('s.run', interval '10 days', time_column => 'at', archive_to => 's.run_archive')),
    ('filed', orchestry.add_retention_policy('s.filed', interval '10 days', time_column => 'at', archive_to => 'file:' || public.directory(), batch_rows => 3000)),
    ('event', orchestry.add_event_compression_policy('s.event', '10 days', group_by => '{app}', sample_of => 'message')),
    ('part', orchestry.add_retention_policy('s.part', interval '2 months', grace => '0'));
CREATE FUNCTION public.in_files() RETURNS bigint LANGUAGE sql RETURN (SELECT COALESCE(sum(rows), 0) FROM orchestry.archive_files);
-- How many rows there are in all of each kind, wherever they are.
CREATE VIEW public.total AS SELECT
    (SELECT count(*) FROM (SELECT id FROM s.run UNION SELECT id FROM s.run_archive) x) || ' of ' || (SELECT count(*) FROM s.run) + (SELECT count(*) FROM s.run_archive) AS run,
    (SELECT count(*) FROM s.filed) + public.in_files() AS filed,
    (SELECT count(*) FROM s.event) + (SELECT COALESCE(sum(event_count), 0) FROM s.event_compressed) AS event;
SQL
my $total = '6000 of 6000|6000|20000';
is($node->safe_psql($database, 'TABLE public.total'), $total, 'all rows are there');
sub job { return $node->safe_psql($database, "SELECT id FROM public.job WHERE t = '$_[0]'") }
sub run_fails
{
	my ($t, $what) = @_;
	my $job = job($t);
	my ($status, $stdout, $stderr) = $node->psql($database, "CALL orchestry.run_job($job)");
	isnt($status, 0, "$what: the run fails");
	is($node->safe_psql($database, "SELECT sqlstate FROM orchestry.runs WHERE job_id = $job ORDER BY run_id DESC LIMIT 1"), '53100', 'because the disk is full') or diag($stderr);
	is($node->safe_psql($database, 'TABLE public.total'), $total, 'and nothing is lost or doubled');
	return;
}

# --- a tablespace, and the directory of an archive --------------------------------------------------
fill('space', 16);
run_fails('run', 'rows into an archive');
run_fails('filed', 'rows into files');
run_fails('event', 'events into their target');
$node->safe_psql($database, 'CALL orchestry.run_job(' . job('part') . ')');
is($node->safe_psql($database, "SELECT to_regclass('s.part_1') IS NULL"), 't', 'retention frees space where there is none');
free_space('space');
$node->safe_psql($database, "CALL orchestry.run_job(" . job($_) . ')') for 'run', 'filed', 'event';
is($node->safe_psql($database, "SELECT count(*) FROM s.run UNION ALL SELECT count(*) FROM s.filed UNION ALL SELECT count(*) FROM s.event"), "0\n0\n0",
	'with space again the next runs do what is left to do');
is($node->safe_psql($database, 'TABLE public.total'), $total, 'and everything is there');
is($node->safe_psql($database, "SELECT count(*) FROM orchestry.archive_files WHERE published_at IS NULL"), 0, 'every file has its name');

# --- the WAL --------------------------------------------------------------------------------------
for my $t ('run', 'event')
{
	my $refill = $t eq 'run'
	  ? "INSERT INTO s.run SELECT i, timestamptz '2026-02-01' + i * interval '5 min', repeat('x', 1000) FROM generate_series(6001, 16000) i"
	  : "INSERT INTO s.event SELECT timestamptz '2026-02-01' + i % 24 * interval '1 hour', 'app ' || i % 200, repeat('m', 500 + i % 3) FROM generate_series(1, 20000) i";
	$node->safe_psql($database, $refill);
	$node->safe_psql($database, 'CHECKPOINT'); # removes the WAL that is not needed any more
	my $before = $node->safe_psql($database, 'TABLE public.total');
	my $job = job($t); # from here on the server may stop at any moment
	my $offset = -s $node->logfile;
	fill('wal', 0);
	my ($status) = $node->psql($database, "CALL orchestry.run_job($job)");
	isnt($status, 0, "$t: the run ends when the WAL is full");
	wait_for_log($node, qr/No space left on device/, $offset);
	free_space('wal');
	# The server comes back by itself, unless it was told at a moment at which it could not even begin to.
	my $is_up = 0;
	for (1 .. 300)
	{
		$is_up = $node->psql($database, 'SELECT 1') == 0;
		last if $is_up || !-e "$data/postmaster.pid";
		usleep(100_000);
	}
	ok($is_up || start_inside(), 'it comes back when there is space again');
	is($node->safe_psql($database, 'TABLE public.total'), $before, 'nothing is lost or doubled');
	$node->safe_psql($database, "CALL orchestry.run_job($job)");
	is($node->safe_psql($database, "SELECT count(*) FROM s.$t"), 0, 'and the next run does what is left to do');
	is($node->safe_psql($database, 'TABLE public.total'), $before, 'all is there');
}
is(count_log($node, 'TRAP|terminated by signal 11|WARNING:.*(leak|refcount|not closed)'), 0, 'the log has nothing that is not about space');

$node->stop;
$in = '';
$holder->kill_kill;
done_testing();
