# Attempts and cancelling: which errors are tried again, when and how often, and scripts that do not
# want to end.
use strict;
use warnings;

use HotswapTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $node = hotswap_cluster(
	'retry',
	'hotswap.retry_base' => '20ms',
	'hotswap.retry_limit' => 3);
my $version = 0;

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub set
{
	my %settings = @_;
	sql("ALTER SYSTEM SET hotswap.$_ = '$settings{$_}'") for keys %settings;
	$node->reload;
	# The workers are told before a new session begins with it.
	wait_for($node, 'postgres', "SELECT current_setting('hotswap.$_') = '$settings{$_}'")
		for keys %settings;
	return;
}

# A module of its own for each script.
sub deploy
{
	my ($script) = @_;
	$version++;
	return sql(qq(SELECT hotswap.publish_version('m$version',
		'1', \$script\$$script\$script\$) \\g /dev/null
		SELECT hotswap.deploy('m$version', '1', 'development')));
}

sub run
{
	my ($id) = @_;
	return sql("SELECT hotswap.wait('$id', '60 s')");
}

sub task
{
	my ($id, $columns) = @_;
	return sql("SELECT $columns FROM hotswap.tasks WHERE deployment_id = '$id' AND kind = 'swap'");
}

# Until the task has failed so many times.
sub wait_for_attempt
{
	my ($id, $attempt) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return wait_for($node, 'postgres', qq(SELECT count(*) = 1 FROM hotswap.tasks
		WHERE deployment_id = '$id' AND kind = 'swap' AND status = 'retry_wait'
			AND attempt = $attempt));
}

sub wait_for_script
{
	my ($text) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return wait_for($node, 'postgres', qq(SELECT count(*) = 1 FROM pg_stat_activity
		WHERE backend_type = 'hotswap executor' AND state = 'active' AND query ~ '$text'));
}

sub pids
{
	return sql(q(SELECT string_agg(pid::text, ' ' ORDER BY kind) FROM hotswap.workers
		WHERE kind IN ('launcher', 'dispatcher')));
}

sql(q(CREATE ROLE app LOGIN; CREATE SCHEMA app AUTHORIZATION app;
	CREATE TABLE app.log (what text); GRANT ALL ON app.log TO app;
	SELECT hotswap.register_node('development', 'n', run_as => 'app', schema => 'app')));
sql(q(CREATE TABLE retries (deployment_id uuid, attempt int, due_at timestamptz, delay interval);
	CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO public.retries VALUES (NEW.deployment_id, NEW.attempt, NEW.due_at,
			NEW.due_at - NEW.finished_at);
		RETURN NULL;
	END $$;
	CREATE TRIGGER note AFTER UPDATE ON hotswap.task FOR EACH ROW
	WHEN (OLD.status = 'running' AND NEW.status = 'retry_wait') EXECUTE FUNCTION note()));
is(run(deploy('SELECT 1')), 'succeeded', 'all is well');
my $pids = pids();

# ---- which errors, and how often ----

my %attempts = (
	'55P03' => 3, '40001' => 3, '40P01' => 3, '08000' => 3, '08006' => 3, '57P01' => 3,
	'40002' => 1, '57014' => 1, '57P02' => 1, '53200' => 1, '55006' => 1, '22012' => 1,
	'P0001' => 1, 'XX000' => 1);
my %ids = map { $_ => deploy("INSERT INTO log VALUES ('x');
	DO \$\$BEGIN RAISE 'as told' USING ERRCODE = '$_'; END\$\$") } sort keys %attempts;
for my $code (sort keys %attempts)
{
	is(run($ids{$code}), 'failed', "$code fails the deployment");
	is(task($ids{$code}, 'status, attempt, sqlstate, message'),
		"failed|$attempts{$code}|$code|as told", "after $attempts{$code} attempt(s)");
}
is(sql('SELECT count(*) FROM app.log'), '0', 'no attempt leaves anything behind');
is( sql(qq(SELECT string_agg(event, ' ' ORDER BY seq) FROM hotswap.audit_log
	WHERE subject_id = '$ids{40001}' AND event LIKE 'task.%')),
	'task.start task.retry_later task.start task.retry_later task.start task.fail',
	'each attempt is in the audit log');
my $failed = $ids{22012};
like(
	slurp_file($node->logfile),
	qr/WARNING:\ +deployment\ "$failed"\ of\ version\ "1"\ of\ module\ "m\d+"
		\ to\ environment\ "development":\ failed\n
		\N*DETAIL:\ +The\ swap\ on\ n\ failed:\ 22012:\ as\ told
		\ \(deploy\ script,\ line\ 2\)/x,
	'the server log has what failed, where and why');
set(retry_sqlstates => 'XX000, 22');
$attempts{$_} = 3 for qw(XX000 22012);
for my $code (qw(XX000 22012 55006))
{
	my $id = deploy("DO \$\$BEGIN RAISE 'as told' USING ERRCODE = '$code'; END\$\$");
	is(run($id), 'failed', "$code fails the deployment");
	is(task($id, 'attempt'), $attempts{$code}, 'hotswap.retry_sqlstates adds codes and classes');
}
set(retry_sqlstates => '');
like(refusal($node, "ALTER SYSTEM SET hotswap.retry_sqlstates = '$_'"), qr/ERROR:  22023:/,
	"hotswap.retry_sqlstates = '$_' is refused")
	for 'XX0', 'XX00!', 'XX000;22';

# An attempt does not begin before its time, which is later by twice as much each time, within
# 20 %.
is( sql(q(SELECT string_agg(DISTINCT attempt::text, ' ') FROM retries WHERE round(extract(epoch FROM
		delay) * 1000) BETWEEN floor(16 * 2 ^ (attempt - 1)) AND 24 * 2 ^ (attempt - 1))),
	'1 2', 'after a delay that doubles');
is( sql(q(SELECT count(*) FROM retries WHERE round(extract(epoch FROM delay) * 1000)
		NOT BETWEEN floor(16 * 2 ^ (attempt - 1)) AND 24 * 2 ^ (attempt - 1))), '0', 'each time');
is( sql(q(SELECT count(*) FROM retries r JOIN (SELECT subject_id, at, row_number() OVER
			(PARTITION BY subject_id ORDER BY seq) AS attempt FROM hotswap.audit_log
			WHERE event = 'task.start') a ON a.subject_id = r.deployment_id
		AND a.attempt = r.attempt + 1 WHERE a.at < r.due_at)),
	'0', 'and not before');

# ---- when: the delays, as they are written down ----

set(retry_base => '1h', retry_max_delay => '3h', retry_limit => 4);
my @ids = map { deploy("DO \$\$BEGIN RAISE 'as told' USING ERRCODE = '40001'; END\$\$") } 1 .. 8;
for my $attempt (1 .. 3)
{
	wait_for_attempt($_, $attempt) for @ids;
	my ($least, $most, $spread) = split /\|/,
	sql(q(SELECT min(delay), max(delay), count(DISTINCT round(delay)) FROM (
		SELECT extract(epoch FROM due_at - finished_at) AS delay FROM hotswap.task
		WHERE status = 'retry_wait') d));
	my $expected = 3600 * 2**($attempt - 1);
	if ($attempt < 3)
	{
		cmp_ok($least, '>=', $expected * 0.8 - 60, "attempt $attempt: 20 % less at most");
		cmp_ok($most, '<=', $expected * 1.2, 'and 20 % more');
		cmp_ok($spread, '>', 1, 'not the same for all');
	}
	else
	{
		cmp_ok($least, '>=', 3 * 3600 - 60, 'the longest delay is no longer');
		cmp_ok($most, '<=', 3 * 3600, 'than the setting says');
	}
	# As if the time had come; the dispatcher learns it when it loads everything anew.
	sql(q(UPDATE hotswap.task SET due_at = clock_timestamp() WHERE status = 'retry_wait';
		SELECT hotswap.stop_dispatching('the clock is put on')));
	sql('SELECT hotswap.start_dispatching()');
}
is(run($_), 'failed', 'and then the limit is reached') for @ids;
is(sql(qq(SELECT count(*) FROM hotswap.tasks WHERE attempt = 4 AND status = 'failed')), scalar @ids,
	'at attempt 4');
my $id = deploy("DO \$\$BEGIN RAISE 'as told' USING ERRCODE = '40001'; END\$\$");
wait_for_attempt($id, 1);
like(sql("SELECT reason || ': ' || detail FROM hotswap.explain('$id')"),
	qr/^a task waits for its next attempt: The swap on n failed at attempt 1: as told$/,
	'explain() says what it waits for');
is(sql("SELECT hotswap.cancel('$id', 'enough')"), 'running', 'cancelled between two attempts');
is(run($id), 'cancelled', 'it ends at once');
is(task($id, 'status, attempt'), 'cancelled|1', 'without another one');
set(retry_base => '20ms', retry_max_delay => '200ms', retry_limit => 3);

# ---- a lock that is held for ever, and one that is not ----

set(lock_timeout => '100ms');
my $holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN; LOCK TABLE app.log');
$id = deploy("CREATE TABLE made (); INSERT INTO log VALUES ('locked')");
is(run($id), 'failed', 'a lock of a session that never ends');
is(task($id, 'attempt, sqlstate, message'), '3|55P03|canceling statement due to lock timeout',
	'costs every attempt');
is(sql(q(SELECT to_regclass('app.made') IS NULL)), 't', 'and leaves nothing');
is(run(deploy('SELECT 1')), 'succeeded', 'other deployments are not held up');
set(retry_limit => 1000);
$id = deploy("INSERT INTO log VALUES ('patient')");
wait_for($node, 'postgres', "SELECT attempt >= 2 FROM hotswap.tasks WHERE deployment_id = '$id'");
$holder->query_safe('ROLLBACK');
$holder->quit;
is(run($id), 'succeeded', 'when it is free, the next attempt succeeds');
is(sql('SELECT string_agg(what, $$ $$) FROM app.log'), 'patient', 'once');
cmp_ok(task($id, 'attempt'), '>=', 2, 'the attempts are counted');
is(task($id, 'sqlstate IS NULL AND message IS NULL'), 't', 'and the errors forgotten');
set(retry_limit => 3, lock_timeout => '1min');

# ---- a script that does not want to be cancelled ----

my $stubborn = q{CREATE TABLE stubborn ();
	DO $$BEGIN LOOP BEGIN PERFORM pg_sleep(60) /* stubborn */;
		EXCEPTION WHEN query_canceled THEN END; END LOOP; END$$};
set(cancel_grace => '300ms');
$id = deploy($stubborn);
wait_for_script('stubborn');
my $executor = sql(q(SELECT pid FROM hotswap.workers WHERE kind = 'executor' AND state = 'busy'));
is(sql("SELECT hotswap.cancel('$id', 'no time for this')"), 'running',
	'a script that ignores its cancel');
is(run($id), 'cancelled', 'is ended after the grace period');
is(sql("SELECT message, sqlstate FROM hotswap.deployments WHERE id = '$id'"), 'no time for this|',
	'for the reason given');
is(task($id, 'status'), 'cancelled', 'its task is cancelled');
is(sql(q(SELECT to_regclass('app.stubborn') IS NULL)), 't', 'and what it did is undone');
is(sql("SELECT count(*) FROM pg_stat_activity WHERE pid = $executor"), '0', 'its executor is gone');
is(run(deploy('SELECT 1')), 'succeeded', 'another one takes its place');

# Within the grace period a script may clean up, but not succeed.
set(cancel_grace => '1h');
$id = deploy(q{DO $$BEGIN PERFORM pg_sleep(60) /* tidy */; EXCEPTION WHEN query_canceled THEN
	INSERT INTO log VALUES ('tidy'); END$$});
wait_for_script('tidy');
$executor = sql(q(SELECT pid FROM hotswap.workers WHERE kind = 'executor' AND state = 'busy'));
sql("SELECT hotswap.cancel('$id', 'no time for this')");
is(run($id), 'cancelled', 'a script that ends by itself after its cancel is cancelled');
is(sql(q(SELECT count(*) FROM app.log WHERE what = 'tidy')), '0', 'what it did is undone');
is(sql("SELECT count(*) FROM pg_stat_activity WHERE pid = $executor"), '1', 'its executor stays');

# The executor is still starting: the postmaster is stopped, so that it cannot come.
sql(q(CREATE ROLE cold LOGIN; CREATE SCHEMA cold AUTHORIZATION cold;
	SELECT hotswap.register_node('qa', 'cold', run_as => 'cold', schema => 'cold');
	SELECT hotswap.publish_version('cold', '1', 'SELECT pg_sleep(600)')));
my $session = $node->background_psql('postgres');
$session->query_safe("SELECT hotswap.publish_version('cold', '2', 'SELECT 1')");
sql(q(SELECT hotswap.remove_node(id) FROM hotswap.node WHERE name = 'n'));
kill('STOP', $node->{_pid}) == 1 or die 'there is no postmaster';
my $reached = eval {
	my $idle = q(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'hotswap dispatcher'
		AND state = 'idle' AND wait_event_type = 'Extension');
	my $starting = q(SELECT count(*) FROM hotswap.workers
		WHERE state = 'starting' AND deployment_id IS NOT NULL);
	my $until = sub {
		for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
		{
			return 1 if $session->query_safe($_[0]) eq '1';
			usleep(100_000);
		}
		return 0;
	};

	$id = $session->query_safe(q(SELECT hotswap.deploy('cold', '1', 'qa')));
	die 'no executor starts' unless $until->($starting);
	$session->query_safe("SELECT hotswap.cancel('$id', 'before it has begun')");
	# all that was to be done has been done
	die 'the dispatcher does not rest' unless $until->($idle);
	1;
};
my $error = $@;
kill('CONT', $node->{_pid});
die $error unless $reached;
$session->quit;
is(run($id), 'cancelled', 'a task whose executor is starting is cancelled before it begins');
is(task($id, 'status'), 'cancelled', 'as it should');

# ---- a visit of which not even the failure can be recorded: the log says whose it is ----

sql(q(SELECT hotswap.stop_dispatching('while a row is spoilt')));
$id = sql(q(SELECT hotswap.deploy('cold', '2', 'qa')));
my $head = sql("SELECT audit_hash FROM hotswap.deployment WHERE id = '$id'");
sql(qq(UPDATE hotswap.deployment SET audit_hash = '\\x00' WHERE id = '$id'));
sql('SELECT hotswap.start_dispatching()');
ok( $node->wait_for_log(
		qr/LOG:  hotswap could not dispatch: [^\n]*\n[^\n]*CONTEXT:  visit of deployment "$id"/),
	'a visit that fails says of which deployment');
sql("UPDATE hotswap.deployment SET audit_hash = '$head' WHERE id = '$id'");
is(run($id), 'succeeded', 'repaired, it is deployed');

is(pids(), $pids, 'launcher and dispatcher have lived through all of it');
check_invariants($node, 'postgres');
is( sql(q(SELECT count(*) FROM hotswap.deployment d WHERE status = 'succeeded' AND NOT EXISTS (
		SELECT FROM hotswap.node_module m WHERE m.deployment_id = d.id))),
	'0', 'what succeeded is recorded on the node');

done_testing();
