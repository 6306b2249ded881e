# The queue: it survives a restart, finds what prepared transactions have committed, keeps its times
# with nobody connected, and serves many clients at once.
use strict;
use warnings;

use HotswapTest;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my $node = hotswap_cluster(
	'queue',
	max_connections => 200,
	# A line in the server log for each end, so that a test can wait without a session.
	'hotswap.log_level' => 'log');

sub sql { return $node->safe_psql('postgres', $_[0]); }

# Waits for a deployment's line in the log: nobody is connected meanwhile.
sub wait_for_end_in_log
{
	my ($id, $status) = @_;

	return $node->wait_for_log(qr/deployment "$id" of .*: $status$/m);
}

# Waits until the clock has passed a time of the database.
sub sleep_until
{
	my ($epoch) = @_;

	while ((my $left = $epoch - time) > 0)
	{
		usleep(1_000_000 * $left);
	}
	return;
}

sub pgbench_script
{
	my ($name, $script) = @_;
	my $file = PostgreSQL::Test::Utils::tempdir . "/$name";

	PostgreSQL::Test::Utils::append_to_file($file, $script);
	return $file;
}

sql(q(CREATE ROLE role_a LOGIN;
	CREATE SCHEMA a AUTHORIZATION role_a CREATE TABLE swapped (module text, version text);
	SELECT hotswap.configure_environment('production', 1),
	hotswap.set_approval_policy('production', 0);
	SELECT hotswap.register_node('production', 'a', run_as => 'role_a', schema => 'a');
	SELECT hotswap.publish_version('m' || m, v::text,
		format('INSERT INTO swapped VALUES (%L, %L)', 'm' || m, v))
	FROM generate_series(1, 200) m, generate_series(1, 12) v));

# ---- a restart with 200 queued ----

sql(q(SELECT hotswap.stop_dispatching('the annual fair')));
sql(q(SELECT hotswap.deploy('m' || m, '1', 'production') FROM generate_series(1, 200) m));
my $one = sql(q(SELECT id FROM hotswap.deployments ORDER BY random() LIMIT 1));
for my $how ('fast', 'immediate')
{
	$node->stop($how);
	$node->start;
	wait_for_idle_dispatcher($node);
	is(sql(q(SELECT status, count(*) FROM hotswap.deployments GROUP BY 1)),
		'queued|200', "all are queued after a restart ($how)");
	is(sql(q(SELECT count(*) FROM hotswap.queue)), '200', 'and in the queue');
	like(sql(q(SELECT status || ': ' || detail FROM hotswap.health()
		WHERE component = 'dispatching')),
		qr/^warning: stopped by postgres at .*: the annual fair$/,
		'health() says that the line is stopped');
	like(sql(q(SELECT detail FROM hotswap.health() WHERE component = 'queue')),
		qr/^200 waiting or scheduled, 0 running, the oldest queued since /, 'and how much waits');
	like(sql("SELECT reason || ' ' || detail, unblocked_by FROM hotswap.explain('$one')"),
		qr/^dispatching\ is\ stopped\ by\ postgres\ at\ .*:\ the\ annual\ fair
			\|hotswap\.start_dispatching\(\)$/x,
		'explain() says why');
}
sql('SELECT hotswap.start_dispatching()');
wait_for($node, 'postgres', 'SELECT count(*) = 0 FROM hotswap.work_item');
is(sql(q(SELECT status, count(*) FROM hotswap.deployments GROUP BY 1)), 'succeeded|200',
	'then all succeed');
is(sql(q(SELECT count(*), count(DISTINCT module) FROM a.swapped)), '200|200', 'once each');
is(sql(q(SELECT count(*), count(DISTINCT module) FROM hotswap.node_module)), '200|200',
	'and say so');
check_invariants($node, 'postgres');

# ---- prepared transactions ----

sub prepare
{
	my ($name, $version) = @_;

	return (split /\n/, sql(qq(BEGIN;
		SELECT hotswap.deploy('m1', '$version', 'production', '$name');
		PREPARE TRANSACTION '$name')))[0];
}

my $id = prepare('p1', 2);
wait_for_idle_dispatcher($node);
is(status_of($node, $id), '', 'a prepared request is not there yet');
sql(q(COMMIT PREPARED 'p1'));
wait_for($node, 'postgres', "SELECT status = 'succeeded' FROM hotswap.deployments
	WHERE id = '$id'");
is(status_of($node, $id), 'succeeded', 'one that another session has committed is found');

$id = prepare('p2', 3);
$node->restart;
wait_for_idle_dispatcher($node);
sql(q(COMMIT PREPARED 'p2'));
wait_for($node, 'postgres', "SELECT status = 'succeeded' FROM hotswap.deployments
	WHERE id = '$id'");
is(status_of($node, $id), 'succeeded', 'also when it was prepared before a restart');

# Whoever comes with its key waits for it.
$id = prepare('p3', 4);
my $other = $node->background_psql('postgres');
$other->query_until(qr/asking/,
	"\\echo asking\nSELECT hotswap.deploy('m1', '4', 'production', 'p3');\n\\echo answered\n");
wait_for($node, 'postgres', q(SELECT count(*) = 1 FROM pg_stat_activity
	WHERE query ~ '^SELECT hotswap.deploy' AND wait_event_type = 'Lock'));
sql(q(COMMIT PREPARED 'p3'));
like($other->query_until(qr/answered/, ''), qr/$id/,
	'a request with the key of a prepared one gets its id');
wait_for($node, 'postgres', "SELECT status = 'succeeded' FROM hotswap.deployments
	WHERE id = '$id'");
$id = prepare('p4', 5);
$other->query_until(qr/asking/,
	"\\echo asking\nSELECT hotswap.deploy('m1', '5', 'production', 'p4');\n\\echo answered\n");
wait_for($node, 'postgres', q(SELECT count(*) = 1 FROM pg_stat_activity
	WHERE query ~ '^SELECT hotswap.deploy' AND wait_event_type = 'Lock'));
sql(q(ROLLBACK PREPARED 'p4'));
unlike($other->query_until(qr/answered/, ''), qr/$id/,
	'unless that is rolled back: then it is the first');
$other->quit;
wait_for($node, 'postgres', 'SELECT count(*) = 0 FROM hotswap.work_item');
is(status_of($node, $id), '', 'what was rolled back is not there');
is( sql(q(SELECT string_agg(version, ' ' ORDER BY swap) FROM hotswap.node_module
	WHERE module = 'm1')),
	'1 2 3 4 5', 'each was swapped in once');
check_invariants($node, 'postgres');

# ---- times, with nobody connected ----

# As id, second since 1970, and the status right afterwards.
sub deploy_at
{
	my ($module, $argument, $seconds) = @_;

	return split /\|/, sql(qq(SELECT hotswap.deploy('$module', '2', 'production',
		$argument => t) AS id,
		extract(epoch FROM t) AS at
		FROM (SELECT clock_timestamp() + interval '$seconds s' AS t) t \\gset
		SELECT id, :'at', status FROM hotswap.deployments WHERE id = :'id'));
}

# It ended, as asked, before this first session after the start of the waiting.
sub check_time
{
	my ($deployment, $expected, $epoch, $name) = @_;
	my $connected = sql('SELECT clock_timestamp()');

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	wait_for($node, 'postgres', "SELECT finished_at IS NOT NULL FROM hotswap.deployments
		WHERE id = '$deployment'");
	is( sql(qq(SELECT status, coalesce(started_at, finished_at) >= to_timestamp($epoch),
		finished_at < '$connected'
			FROM hotswap.deployments WHERE id = '$deployment')),
		"$expected|t|t", $name);
	return;
}

my ($scheduled, $scheduled_at, $status) = deploy_at('m2', 'run_at', 2);
is($status, 'scheduled', 'a time in the future');
wait_for_end_in_log($scheduled, 'succeeded');
check_time($scheduled, 'succeeded', $scheduled_at, 'it starts by timer');

($scheduled, $scheduled_at) = deploy_at('m3', 'run_at', 1);
my ($later, $later_at) = deploy_at('m4', 'run_at', 4);
$node->stop;
sleep_until($scheduled_at);
$node->start;
wait_for_end_in_log($scheduled, 'succeeded');
wait_for_end_in_log($later, 'succeeded');
check_time($scheduled, 'succeeded', $scheduled_at,
	'a restart that slept through its time starts it');
check_time($later, 'succeeded', $later_at, 'and the timer of another one goes on');

sql(q(SELECT hotswap.stop_dispatching('stock-taking')));
(my ($expires, $expires_at), $status) = deploy_at('m5', 'start_by', 2);
is($status, 'queued', 'a deadline in the future');
wait_for_end_in_log($expires, 'expired');
check_time($expires, 'expired', $expires_at,
	'what was not started in time expires, with the line stopped, by timer');

($expires, $expires_at) = deploy_at('m6', 'start_by', 1);
($scheduled, $scheduled_at) = deploy_at('m7', 'run_at', 1);
$node->stop;
sleep_until($expires_at);
sleep_until($scheduled_at);
$node->start;
wait_for_end_in_log($expires, 'expired');
check_time($expires, 'expired', $expires_at,
	'so it does after a restart that slept through the deadline');
like(sql("SELECT message FROM hotswap.deployments WHERE id = '$expires'"), qr/^not started by /,
	'and says so');
wait_for_idle_dispatcher($node);
is(status_of($node, $scheduled), 'queued', 'what has become due meanwhile waits for the line');
sql('SELECT hotswap.start_dispatching()');
wait_for($node, 'postgres', "SELECT status = 'succeeded' FROM hotswap.deployments
	WHERE id = '$scheduled'");
is(status_of($node, $scheduled), 'succeeded', 'and goes with it');
is(sql(q(SELECT count(*) FROM a.swapped WHERE module IN ('m5', 'm6') AND version = '2')), '0',
	'what expired was never swapped in');
check_invariants($node, 'postgres');

# ---- a thousand waits in a hundred sessions ----

my $waiting = q{SELECT count(*) FROM pg_stat_activity
	WHERE query LIKE 'SELECT hotswap.wait(%' AND wait_event_type = 'Extension'};
my $waits = pgbench_script('waits', <<'SCRIPT');
\set n :n + 1
\set m :client_id + 101
SELECT hotswap.deploy('m:m', ':n', 'production') AS id
\gset
SELECT hotswap.wait(':id');
SCRIPT
# Into files: nobody empties a pipe meanwhile.
my ($out, $err) = map { pgbench_script("waits.$_", '') } 'out', 'err';

# From version 2 on: what runs already would only be skipped.
sql(q(SELECT hotswap.stop_dispatching('until all wait')));
$ENV{PGOPTIONS} = '-c client_min_messages=debug1';
my $pgbench = IPC::Run::start(
	[
		'pgbench', '-n', '-c', '100', '-j', '2', '-t', '10', '-D', 'n=1',
		'-f', $waits, '-h', $node->host, '-p', $node->port, 'postgres'
	],
	'>', $out, '2>', $err);
delete $ENV{PGOPTIONS};
wait_for($node, 'postgres', $waiting, '100');

# One after the other is cancelled: only who waits for it is woken, and stands again at its next
# one.
my @cancelled = split /\n/, sql(q(SELECT deployment_id FROM hotswap.queue ORDER BY module
	LIMIT 50));
sql(join ';', map { "SELECT hotswap.cancel('$_', 'one by one')" } @cancelled);
wait_for($node, 'postgres', q(SELECT count(*) = 150 FROM hotswap.deployments
	WHERE module ~ '^m' AND version IN ('2', '3')
	AND substr(module, 2)::int > 100));
wait_for($node, 'postgres', $waiting, '100');
sql('SELECT hotswap.start_dispatching()');
ok($pgbench->finish, 'a hundred sessions request and wait, ten times each');
$err = slurp_file($err);
# Only of those that had to wait: a deployment may have ended before.
my @woken = $err =~ /woken (\d+) times while waiting/g;
like(slurp_file($out), qr{actually processed: 1000/1000}, 'a thousand waits');
is(scalar(grep { $_ > 2 } @woken), 0, 'nobody is woken for the deployment of somebody else')
  or diag("wake-ups: @woken");
cmp_ok(scalar(grep { $_ > 0 } @woken), '>=', 150, 'who has to wait is woken');
is( sql(q(SELECT status, count(*) FROM hotswap.deployments
		WHERE substr(module, 2)::int > 100 AND version <> '1' GROUP BY 1 ORDER BY 1)),
	"succeeded|950\ncancelled|50", 'all have ended as they should');
is( sql(q(SELECT count(*), count(DISTINCT (module, version)) FROM a.swapped
		WHERE substr(module, 2)::int > 100 AND version <> '1')),
	'950|950', 'and were swapped in once');
check_invariants($node, 'postgres');

# ---- more in one transaction than it can announce one by one ----

sql(q(SELECT hotswap.stop_dispatching('many at once')));
my $last = sql(q(SELECT id FROM (SELECT hotswap.deploy('m9', '1', 'production') AS id
	FROM generate_series(1, 2100)) d
	ORDER BY id DESC LIMIT 1));
$other = $node->background_psql('postgres');
$other->query_until(qr/waiting/, "\\echo waiting\nSELECT hotswap.wait('$last');\n\\echo woken\n");
wait_for($node, 'postgres', $waiting, '1');
is(sql(q(SELECT count(hotswap.cancel(deployment_id, 'all at once')) FROM hotswap.queue)), '2100',
	'they are cancelled at once');
like($other->query_until(qr/woken/, ''), qr/^cancelled$/m, 'who waits for the last one is woken');
$other->quit;
sql('SELECT hotswap.start_dispatching()');
sql(q(SELECT count(hotswap.deploy('m9', '1', 'production', metadata => '{"many": 1}'))
	FROM generate_series(1, 2100)));
wait_for($node, 'postgres', 'SELECT count(*) = 0 FROM hotswap.work_item');
is(sql(q(SELECT status, count(*) FROM hotswap.deployment WHERE metadata ? 'many' GROUP BY 1)),
	'succeeded|2100',
	'requested at once, all are found');
check_invariants($node, 'postgres');

# ---- sixteen clients with one key ----

# Each client comes with the keys 1, 2, 3 ... while the others do, too, and every third rolls back.
sql(q(CREATE TABLE answer (key text, id uuid)));
my $deploy = q(SELECT hotswap.deploy('m8', '3', 'production', 'key :n'));
my $keep = pgbench_script('keep',
	"\\set n :n + 1\nINSERT INTO answer SELECT 'key :n', ($deploy);\n");
my $undo = pgbench_script('undo', "\\set n :n + 1\nBEGIN;\n$deploy;\nROLLBACK;\n");
$node->pgbench('-n -c 16 -j 2 -t 50 -D n=0 -f ' . "$keep\@2 -f $undo\@1",
	0, [qr/actually processed: 800/], [qr/^$/], 'sixteen clients use the same keys');
wait_for($node, 'postgres', 'SELECT count(*) = 0 FROM hotswap.work_item');
is(sql(q(SELECT count(DISTINCT key), count(DISTINCT id), count(DISTINCT (key, id)) FROM answer)),
	'50|50|50', 'one id for each key');
is( sql(q(SELECT count(*), count(DISTINCT d.id) FROM hotswap.deployments d
		JOIN answer USING (id) WHERE d.idempotency_key = answer.key)),
	sql(q(SELECT count(*), 50 FROM answer)), 'it is the id of the deployment with that key');
is(sql(q(SELECT count(*) FROM hotswap.deployments WHERE idempotency_key ~ '^key')),
	'50', 'one deployment for each key');
is(sql(q(SELECT count(*) FROM a.swapped WHERE module = 'm8' AND version = '3')), '1',
	'the version was swapped in once');

# The same key for something else is refused, and nothing comes of it.
my ($code, $stdout, $stderr) =
  $node->psql('postgres', q(\set VERBOSITY verbose
SELECT hotswap.deploy('m8', '4', 'production', 'key 1')));
like($stderr, qr/YH001/, 'another request with a key is refused');
check_invariants($node, 'postgres');

# ---- names of all lengths ----

# Two modules whose names differ in the last of their characters have lanes of their own.
my ($slow, $fast) = map { 'n' x 127 . $_ } 'a', 'b';
my $version = 'tables/events@v1.0';
my $holder = $node->background_psql('postgres');
$holder->query_safe('SELECT pg_advisory_lock(77)');
sql("SELECT hotswap.publish_version('$slow', '$version', 'SELECT pg_advisory_xact_lock(77)'),
	hotswap.publish_version('$fast', repeat('€', 255), 'SELECT 1')");
$one = sql("SELECT hotswap.deploy('$slow', '$version', 'production')");
wait_for($node, 'postgres', "SELECT count(*) = 1 FROM pg_stat_activity
	WHERE backend_type LIKE 'hotswap %' AND wait_event = 'advisory'");
my $quick = sql("SELECT hotswap.deploy('$fast', repeat('€', 255), 'production')");
is(sql("SELECT hotswap.wait('$quick', '60 s')"), 'succeeded',
	'a module whose name differs in the last character does not wait');
$holder->quit;
is(sql("SELECT hotswap.wait('$one', '60 s')"), 'succeeded', 'the other one after it');

# ---- nobody looks for work ----

# Each turn of a worker's loop would show.
ok(wait_for($node, 'postgres', q(SELECT count(*) >= 3
	AND bool_and(state_change < clock_timestamp() - interval '2 s')
	FROM pg_stat_activity WHERE backend_type LIKE 'hotswap %')), 'idle workers do nothing at all');

done_testing();
