# Locks, leases and waiting where servers crash, sessions are ended and many clients come at once.
#
# HOTSWAP_STRESS=1: the contest at the end lasts a minute and has 200 clients.
use strict;
use warnings;

use HotswapTest;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = hotswap_cluster(
	'locks',
	max_connections => 250,
	# Nothing is flushed by itself: what has to survive a crash must be flushed by whoever says so.
	synchronous_commit => 'off',
	wal_writer_delay => '10s',
	deadlock_timeout => '100ms');

sub sql { return $node->safe_psql('postgres', $_[0]); }

# A session that stays; ask() waits for the answer, start() does not.
sub session
{
	my ($name) = @_;
	my $psql = $node->background_psql('postgres', on_error_stop => 0);
	my $self = { psql => $psql, n => 0, name => $name };
	ask($self, "SET application_name = '$name'; SET client_min_messages = warning");
	return $self;
}

sub start
{
	my ($self, $sql) = @_;
	$self->{n}++;
	# what comes with the first line is kept: it may be all
	$self->{seen} = $self->{psql}->query_until(qr/started $self->{n}/,
		"\\echo started $self->{n}\n$sql\n;\n\\echo done $self->{n}\n");
	return;
}

sub finish
{
	my ($self) = @_;
	my $out = $self->{seen};
	$out .= $self->{psql}->query_until(qr/done $self->{n}/, '') if $out !~ /done $self->{n}/;
	$out =~ s/^(started|done) \d+\n?//mg;
	chomp $out;
	return $out;
}

sub ask { start(@_); return finish($_[0]); }

sub wait_for_waiting
{
	my ($name, $event) = @_;
	return wait_for($node, 'postgres', sprintf(q(SELECT count(*) = 1 FROM pg_stat_activity
		WHERE application_name = '%s' AND wait_event_type = '%s'), $name, $event // 'Lock'));
}

my $one = session('a');
my $two = session('b');

# ---- time limits ----

ok(ask($one, q(SELECT hotswap.acquire_lock('x'))) > 0, 'a free lock at once');
my @times;
for (1 .. 5)
{
	push @times, ask($two, q(DO $$ DECLARE t timestamptz := clock_timestamp();
		r bigint := hotswap.acquire_lock('x', '500 ms');
		BEGIN PERFORM set_config('my.ms',
			CASE WHEN r IS NULL THEN extract(epoch FROM clock_timestamp() - t) * 1000 END::text,
			false); END $$;
		SELECT current_setting('my.ms')));
}
my ($best) = sort { $a <=> $b } map { $_ || 0 } @times;
cmp_ok($best, '>=', 450, 'a limit of 500 ms is not over early') or diag("@times");
cmp_ok($best, '<=', 600, 'nor late') or diag("@times");

# Whatever ends the waiting leaves nothing behind.
for my $end (
	[ 'statement_timeout', q(SET statement_timeout = '50ms'), '57014' ],
	[ 'the lock_timeout of the session', q(SET lock_timeout = '50ms'), '55P03' ],
	[ 'cancel', '', '57014', 'pg_cancel_backend' ])
{
	my ($name, $set, $state, $function) = @$end;
	for my $limit ('NULL', q('1 hour'))
	{
		ask($two, $set) if $set;
		start($two, "SELECT hotswap.acquire_lock('x', $limit)");
		if ($function)
		{
			wait_for_waiting('b');
			sql("SELECT $function(pid) FROM pg_stat_activity WHERE application_name = 'b'");
		}
		finish($two);
		is(ask($two, q(\echo :LAST_ERROR_SQLSTATE)), $state,
			"$name ends the waiting (limit $limit)");
		ask($two, 'RESET statement_timeout; RESET lock_timeout');
		is(ask($two, q(SELECT hotswap.acquire_lock('free', '1 s') IS NOT NULL,
			hotswap.release_all_locks(), current_setting('lock_timeout'))),
			't|1|0', 'and the session goes on');
		is(sql(q(SELECT count(*) FROM hotswap.locks)), '1', 'nothing of it is to be seen');
	}
}
is(ask($two, q(BEGIN; SAVEPOINT s; SELECT hotswap.acquire_lock('x', '20 ms') IS NULL,
	current_setting('lock_timeout'); ROLLBACK TO s;
		SELECT current_setting('lock_timeout'); COMMIT)), "t|0\n0",
	'nor after a limit inside a transaction block');
ask($two, q(SELECT hotswap.acquire_lock('d'), hotswap.acquire_lock('d')));
is(ask($two,
	q(DISCARD ALL; SELECT hotswap.release_lock('d'), hotswap.acquire_lock('d') IS NOT NULL,
		hotswap.release_lock('d'), hotswap.release_lock('d'))),
	'f|t|t|f', 'DISCARD ALL starts from nothing');
ask($two, q(SET application_name = 'b'; SET client_min_messages = warning));

# ---- who has it ends ----

start($two, q(SELECT hotswap.acquire_lock('x') > 0));
wait_for_waiting('b');
is(sql(q(SELECT string_agg(application_name || ' ' || state || ' ' || cardinality(blocked_by), ', '
	ORDER BY state) FROM hotswap.locks WHERE resource = 'x')),
	'a held 0, b waiting 1', 'one has it, one waits');
sql(q(SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'a'));
is(finish($two), 't', 'when the session that has it is terminated, the waiter gets it');
$one = session('a');
start($one, q(SELECT hotswap.acquire_lock('x')));
wait_for_waiting('a');
sql(q(SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'a'));
wait_for($node, 'postgres', q(SELECT count(*) = 1 FROM hotswap.locks));
is(sql(q(SELECT application_name || ' ' || state FROM hotswap.locks)), 'b held',
	'a waiter that is terminated is gone');
$one = session('a');
is(ask($one, q(SELECT count(hotswap.acquire_lock('n' || i, '0')) FROM generate_series(1, 100) i)),
	'100', 'a hundred other locks at once');
ask($one, q(SELECT hotswap.release_all_locks()));

# ---- tokens after a crash ----

# Given in a transaction that never commits, of a batch that nobody has used before: the sequence's
# record is the last in WAL.
my $last = 0;
for my $what ('acquire_lock', 'acquire_xact_lock')
{
	my $seen = 0;
	ask($one, 'BEGIN');
	# into a batch whose value of the sequence is logged anew
	for (1 .. 40)
	{
		$seen = ask($one, "SELECT max(hotswap.$what('t' || i)) FROM generate_series(1, 1024) i");
		ask($one, 'SELECT hotswap.release_all_locks()');
		ask($one, 'COMMIT; BEGIN');
	}
	$seen = ask($one, "SELECT hotswap.$what('t')");
	cmp_ok($seen, '>', $last, 'tokens grow');
	$node->stop('immediate');
	$node->start;
	$last = sql(q(SELECT hotswap.acquire_lock('t')));
	cmp_ok($last, '>', $seen, "also beyond one that $what() gave before a crash");
	like(refusal($node, "SELECT hotswap.check_token('t', $seen)"), qr/YH002/,
		'whose lock is lost: it is stale');
	$one = session('a');
}
$two = session('b');

# Each commit of a prepared batch, of many sessions: no number comes twice.
sql('CREATE UNLOGGED TABLE token (n serial, token bigint)');
my $script = PostgreSQL::Test::Utils::tempdir . '/tokens';
append_to_file($script, q(SELECT hotswap.acquire_lock('t:client_id') AS t \gset
SELECT hotswap.release_lock('t:client_id');
INSERT INTO token (token) VALUES (:t);
));
$node->pgbench('-n -c 8 -j 2 -t 500 -f ' . $script, 0, [qr/processed: 4000/], [qr/^$/],
	'eight sessions take tokens');
is(sql('SELECT count(DISTINCT token) FROM token'), '4000', 'no token comes twice');

# ---- leases ----

my $token = ask($one, q(SELECT hotswap.lease_lock('l', '1 hour')));
is(ask($two, q(SELECT hotswap.lease_lock('l', '1 hour', '0') IS NULL,
	hotswap.lease_lock('l', '1 hour', '30 ms') IS NULL)), 't|t', 'a lease is exclusive');
start($two, q(SELECT hotswap.lease_lock('l', '1 hour')));
wait_for_waiting('b', 'Extension');
is(sql(q(SELECT string_agg(concat_ws(' ', kind, resource, state, application_name,
	blocked_by::text), ', ' ORDER BY state) FROM hotswap.locks)),
	'lease l held a {}, lease l waiting b {'
		. sql(q(SELECT pid FROM pg_stat_activity WHERE application_name = 'a')) . '}',
		'who has it and who waits');
my $released = time;
is(ask($one, "SELECT hotswap.release_lease('l', $token)"), 't', 'released');
my $second = finish($two);
# Sooner or later something else would make it look again; a wake-up takes a millisecond.
cmp_ok(time - $released, '<', 5, 'the release wakes who waits');
cmp_ok($second, '>', $token, 'who waits is woken, and has a larger token');
is(ask($one, "SELECT hotswap.release_lease('l', $token)"), 'f',
	'it is not the first one\'s any more');
like(refusal($node, "SELECT hotswap.renew_lease('l', $token, '1 s')"), qr/YH002/,
	'nor can it be renewed');
like(refusal($node, "SELECT hotswap.check_token('l', $token)"), qr/YH002/,
	'and the token is stale');

# Whoever has checked the token is not overtaken before the end of the transaction.
ask($one, "BEGIN; SELECT hotswap.check_token('l', $second)");
is(ask($two, "SELECT hotswap.renew_lease('l', $second, '1 hour') > now(),
	hotswap.release_lease('l', $second)"), 't|t', 'renewed and released meanwhile');
start($two, q(SELECT hotswap.lease_lock('l', '1 hour')));
wait_for_waiting('b');
is(ask($one, 'COMMIT; SELECT 1'), '1', 'the transaction that has checked it ends');
my $third = finish($two);
cmp_ok($third, '>', $second, 'only then somebody else gets the lease');

# A restart, by crash: the lease is still there, and can be kept.
$node->stop('immediate');
$node->start;
$one = session('a');
$two = session('b');
is(ask($two, "SELECT hotswap.check_token('l', $third),
	hotswap.renew_lease('l', $third, '500 ms') > now()"), 't|t', 'a lease survives a crash');
is(ask($one, q(SELECT hotswap.lease_lock('l', '1 s') > ) . $third), 't', 'and ends by its time');
wait_for($node, 'postgres', 'SELECT count(*) = 0 FROM hotswap.lease');
is(sql('SELECT count(*) FROM hotswap.lease'), '0', 'with nobody waiting the dispatcher removes it');
sql(q(SELECT hotswap.lease_lock('long', '1 hour')));
sql(q(SELECT hotswap.lease_lock('short', '100 ms')));
wait_for($node, 'postgres', 'SELECT count(*) = 1 FROM hotswap.lease');
is(sql(q(SELECT resource FROM hotswap.lease)), 'long',
	'one that ends earlier than all others is noticed');
sql(q(DELETE FROM hotswap.lease));

# Waiting is ended like any other.
$token = ask($one, q(SELECT hotswap.lease_lock('l', '1 hour')));
start($two, q(SET statement_timeout = '50ms'; SELECT hotswap.lease_lock('l', '1 hour')));
finish($two);
is(ask($two, q(\echo :LAST_ERROR_SQLSTATE)), '57014', 'statement_timeout');
is(ask($two,
	q(RESET statement_timeout; SELECT count(*) FROM hotswap.locks WHERE state = 'waiting')), '0',
	'nobody waits any more');
is(ask($one, q(BEGIN; SELECT hotswap.lease_lock('own', '1 hour') > 0; SAVEPOINT s)), 't',
	'a lease of the own transaction');
ask($one, q(SELECT hotswap.lease_lock('own', '1 hour')));
is(ask($one, q(\echo :LAST_ERROR_SQLSTATE)), '55000', 'cannot be waited for');
ask($one, 'ROLLBACK');
is(sql(q(SELECT count(*) FROM hotswap.lease WHERE resource = 'own')), '0',
	'nor is it there after a rollback');
ask($one, "SELECT hotswap.release_lease('l', $token)");

# ---- waiting without a snapshot ----

sql(q(SELECT hotswap.publish_version('m', '1', 'SELECT 1')));
my $deployment = sql(q(SELECT hotswap.deploy('m', '1', 'qa', run_at => '2100-01-01')));
sub horizon { return sql(q(SELECT backend_xmin IS NULL, backend_xid IS NULL FROM pg_stat_activity
	WHERE application_name = 'a')); }
start($one, "SELECT hotswap.wait('$deployment', '1 hour')");
wait_for_waiting('a', 'Extension');
is(horizon(), 'f|t', 'wait() holds the snapshot of its statement');
sql(q(SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'a'));
finish($one);
start($one, "CALL hotswap.await('$deployment', '1 hour')");
wait_for_waiting('a', 'Extension');
is(horizon(), 't|t', 'await() holds none');
sql(q(CREATE TABLE dead (n int); INSERT INTO dead VALUES (1); DELETE FROM dead));
sql('VACUUM dead');
is(sql(q(SELECT pg_relation_size('dead'))), '0', 'and holds back no vacuum');
sql("SELECT hotswap.cancel('$deployment', 'enough')");
is(finish($one), 'cancelled', 'it is woken, and returns the status');
is(ask($one, "CALL hotswap.await('$deployment')"), 'cancelled', 'of what has ended, at once');
like(refusal($node, "BEGIN; CALL hotswap.await('$deployment')"), qr/2D000/,
	'not inside a transaction block');
like(refusal($node, "CALL hotswap.await('00000000-0000-7000-8000-00000000dead')"), qr/P0002/,
	'nor for what is not there');

# ---- a copy ----

$last = sql(q(SELECT hotswap.acquire_lock('t')));
$node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE template0');
my $dump = PostgreSQL::Test::Utils::tempdir . '/dump';
$node->command_ok([ 'pg_dump', '-d', $node->connstr('postgres'), '-f', $dump ], 'a dump');
$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('copy'), '-f',
	$dump ], 'a copy of it');
cmp_ok($node->safe_psql('copy', q(SELECT hotswap.acquire_lock('t'))), '>', $last,
	'tokens go on where they were');
$node->safe_psql('postgres', 'DROP DATABASE copy WITH (FORCE)');

# ---- behind a pooler ----

SKIP:
{
	skip 'pgbouncer is not installed', 1 unless pgbouncer();
	subtest 'pgbouncer in transaction mode' => sub { behind_pooler(); };
}

sub behind_pooler
{
	my ($pooler, $dir, $port) = start_pooler($node);
	my $pooled = sub {
		my ($out, $err) = ('', '');
		IPC::Run::run([ 'psql', '-XAtq', '-h', $dir, '-p', $port, '-U', 'postgres', 'postgres' ],
			'<', \$_[0], '>', \$out, '2>', \$err);
		chomp $out;
		return $out . $err;
	};

	my $lease = $pooled->(q(SELECT hotswap.lease_lock('pooled', '1 hour')));
	like($lease, qr/^\d+$/, 'a lease');
	is($pooled->("SELECT hotswap.lease_lock('pooled', '1 hour', '0') IS NULL"), 't',
		'another client does not get it');
	is($pooled->("SELECT hotswap.check_token('pooled', $lease),
		hotswap.renew_lease('pooled', $lease, '1 hour') > now()"), 't|t',
	'its token keeps it, on whatever connection');
	is($pooled->("SELECT hotswap.release_lease('pooled', $lease)"), 't', 'and gives it back');

	my $sum = PostgreSQL::Test::Utils::tempdir . '/sum';
	append_to_file($sum, q(BEGIN;
SELECT hotswap.acquire_xact_lock('sum') > 0;
SELECT n FROM sum \gset
UPDATE sum SET n = :n + 1;
COMMIT;
));
	sql('CREATE TABLE sum (n int); INSERT INTO sum VALUES (0)');
	my ($out, $err) = ('', '');
	ok(IPC::Run::run([ 'pgbench', '-n', '-c', '8', '-t', '25', '-f', $sum, '-h', $dir, '-p', $port,
		'-U', 'postgres', 'postgres' ], '<', \undef, '>', \$out, '2>', \$err),
		'eight clients on three connections') or diag($err);
	is(sql('SELECT n FROM sum'), '200',
		'the lock of the transaction excludes them from each other');
	is(sql(q(SELECT count(*) FROM hotswap.locks WHERE resource = 'sum')), '0',
		'and none is left on a connection');
	$pooler->signal('INT');
	$pooler->finish;
	return;
}

# ---- many clients on few names ----

my ($clients, $seconds) = $ENV{HOTSWAP_STRESS} ? (200, 60) : (40, 4);
sql(q(CREATE UNLOGGED TABLE holder (name int PRIMARY KEY);
	CREATE UNLOGGED TABLE history (n bigserial, name int, token bigint);
	CREATE FUNCTION enter(name int, token bigint) RETURNS void BEGIN ATOMIC
	INSERT INTO holder VALUES (name); INSERT INTO history (name, token) VALUES (name, token); END));
my $contest = PostgreSQL::Test::Utils::tempdir . '/contest';
append_to_file($contest, q(\set n random(1, 20)
SELECT hotswap.acquire_lock('name :n') AS t \gset
SELECT enter(:n, :t);
DELETE FROM holder WHERE name = :n;
SELECT hotswap.release_lock('name :n');
));
$node->pgbench("-n -c $clients -j 2 -T $seconds -f $contest", 0, [qr/failed transactions: 0 /],
	[qr/^$/],
	"$clients clients on 20 names: never two have one");
is(sql(q(SELECT count(*) FROM (SELECT token <= lag(token) OVER (PARTITION BY name ORDER BY n) AS bad
	FROM history) h WHERE bad)),
	'0', 'the tokens of each name grow');
cmp_ok(sql('SELECT count(*) FROM history'), '>', $clients, 'all get their turn');
is(sql(q(SELECT count(*) FROM hotswap.locks WHERE resource LIKE 'name %')), '0',
	'no waiter is left');

# ---- a small server: no room, and no preload ----

# CREATE EXTENSION takes some 500 locks, one for each object.
my $small = hotswap_cluster('small', max_connections => 10, max_locks_per_transaction => 32,
	max_worker_processes => 10, max_prepared_transactions => 0);
like(refusal($small, q(SELECT count(hotswap.acquire_lock('flood ' || i))
	FROM generate_series(1, 100000) i;
	SELECT hotswap.release_all_locks() > 500 AS released, hotswap.acquire_lock('another', '0') > 0),
	on_error_stop => 0),
	qr/53200.*HINT: .*max_locks_per_transaction/s,
	'when there is no room the server says so as ever');
my $stale = $small->safe_psql('postgres', q(SELECT hotswap.acquire_lock('s')));
$small->safe_psql('postgres', qq(SELECT count(hotswap.acquire_lock('other ' || i)),
	count(hotswap.release_lock('other ' || i)) FROM generate_series(1, 5000) i));
like(refusal($small, "SELECT hotswap.check_token('s', $stale)"), qr/YH002/,
	'of locks that nobody has, the tokens are forgotten when the room is needed');

$small->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$small->restart;
my $without = $small->safe_psql('postgres', q(SELECT hotswap.acquire_lock('s')));
cmp_ok($without, '>', $stale, 'without the preload tokens go on');
is($small->safe_psql('postgres', q(SELECT hotswap.acquire_lock('s') < hotswap.acquire_lock('s',
	'1 s'), hotswap.release_lock('s'), hotswap.release_all_locks(),
	hotswap.acquire_xact_lock('s') > 0)),
	't|t|1|t', 'and locks work');
is($small->safe_psql('postgres', q(SELECT hotswap.acquire_lock('s') > 0; SELECT resource IS NULL,
	key = hotswap.lock_key('s'), state FROM hotswap.locks)),
	"t\nt|t|held", 'the view has no names');
like(refusal($small, "SELECT hotswap.check_token('s', $without)"),
	qr/55000.*HINT: .*restart the server, or use a lease/s, 'a token cannot be checked');
is($small->safe_psql('postgres', q(SELECT hotswap.lease_lock('l', '1 hour') AS t \gset
SELECT hotswap.check_token('l', :t), hotswap.renew_lease('l', :t, '1 hour') > now(),
	hotswap.lease_lock('l', '1 hour', '0') IS NULL)), 't|t|t', 'leases work');
like(refusal($small, q(SELECT hotswap.lease_lock('l', '1 hour'))),
	qr/55000.*shared_preload_libraries/s, 'but cannot be waited for');
is($small->safe_psql('postgres', q(UPDATE hotswap.lease SET expires_at = now(); CALL hotswap.work();
	SELECT count(*) FROM hotswap.lease)), '0', 'work() removes what is over');

done_testing();
