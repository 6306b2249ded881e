# Faults in the middle of a task: killed and terminated workers, immediate and fast shutdown.
#
# Each case stops a deployment in the middle of its scripts, on both nodes, with another one waiting
# in its lane, and then lets something happen.  Afterwards both must have been swapped in exactly
# once, and what hotswap says of the nodes must be what is in the database.
use strict;
use warnings;

use HotswapTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = hotswap_cluster(
	'crash',
	'hotswap.lock_timeout' => '170s',
	'hotswap.retry_base' => '50ms',
	'hotswap.retry_limit' => 10,
	# What was committed asynchronously is lost by a crash, as far as it can be.
	wal_writer_delay => '10s');
my $holder;
my $version = 0;

sub sql { return $node->safe_psql('postgres', $_[0]); }

# A version that does something before and after the place where it can be held up.
sub publish
{
	my ($module, $number) = @_;
	sql(qq(SELECT hotswap.publish_version('$module', '$number', \$deploy\$
		INSERT INTO swapped (module, version) VALUES ('$module', '$number');
		SELECT pg_advisory_xact_lock_shared(4711);
		CREATE OR REPLACE FUNCTION running() RETURNS text
		LANGUAGE sql AS 'SELECT \$v\$$number\$v\$';
		\$deploy\$, \$verify\$SELECT running() = '$number'\$verify\$)));
	return;
}

sub deploy { return sql("SELECT hotswap.deploy('$_[0]', '$_[1]', 'production')"); }

# Who does the work: the process ids of a kind of worker.
sub workers
{
	my ($kind, $role) = @_;
	my $where = defined $role ? "AND role = '$role'" : '';
	return split /\n/, sql("SELECT pid FROM hotswap.workers
		WHERE kind = '$kind' AND pid IS NOT NULL $where
		ORDER BY deployment_id IS NULL, pid");
}

# A deployment in the middle of its scripts on both nodes, and one that waits for its lane.
sub deploy_and_hold
{
	my @ids;

	$holder = $node->background_psql('postgres');
	$holder->query_safe('SELECT pg_advisory_lock(4711)');
	for (1 .. 2)
	{
		$version++;
		publish('m', $version);
		push @ids, deploy('m', $version);
	}
	wait_at_gate($node, 4711, 2);
	# A transaction that is flushed takes with it what the dispatcher has committed so far.
	sql(q(SELECT pg_logical_emit_message(true, 'test', 'flush')));
	return @ids;
}

sub release_holder
{
	$holder->quit;
	undef $holder;
	return;
}

sub tasks
{
	return sql(qq(SELECT string_agg(node || ' ' || kind || ' ' || status || ' ' || attempt, ', '
		ORDER BY node, ordinal) FROM hotswap.tasks
	WHERE deployment_id = '$_[0]' AND stage_kind = 'deploy'));
}

# What the nodes really contain, against what hotswap says of them.
sub check_nodes
{
	my ($name) = @_;
	my $real = sql(q(SELECT node, module, string_agg(version, ' ' ORDER BY n) FROM in_database
		GROUP BY 1, 2 ORDER BY 1, 2));
	my $said = sql(q(SELECT n.name, m.module, string_agg(m.version, ' ' ORDER BY m.swap)
		FROM hotswap.node_module m JOIN hotswap.node n ON n.id = m.node_id GROUP BY 1, 2 ORDER BY 1,
		2));

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($said, $real, "$name: node_module is what happened in the database");
	is( sql(q(SELECT name, version FROM hotswap.nodes WHERE module = 'm' ORDER BY name)),
		sql(q(SELECT 'a', a.running() UNION ALL SELECT 'b', b.running())),
		"$name: the functions of the latest version run");
	return;
}

# Both deployments succeed, once; the tasks of the first have had so many attempts.
sub check_end
{
	my ($name, $ids, $attempts_a, $attempts_b) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	subtest $name => sub {
		for my $id (@$ids)
		{
			wait_for($node, 'postgres',
				"SELECT finished_at IS NOT NULL FROM hotswap.deployments WHERE id = '$id'");
			is(sql("SELECT concat_ws(': ', status, message) FROM hotswap.deployments
				WHERE id = '$id'"),
				'succeeded', 'it succeeds');
			is( sql(qq(SELECT count(*) FILTER (WHERE event = 'start'),
				count(*) FILTER (WHERE event = 'succeed')
					FROM hotswap.audit_log WHERE subject_id = '$id' AND subject = 'deployment')),
				'1|1', 'it has started once and ended once');
			is( sql(qq(SELECT string_agg(n.name, ' ' ORDER BY n.name) FROM hotswap.node_module m
					JOIN hotswap.node n ON n.id = m.node_id WHERE m.deployment_id = '$id')),
				'a b', 'it was swapped in once on each node');
		}
		is( tasks($ids->[0]),
			"a swap succeeded $attempts_a, b swap succeeded $attempts_b",
			'the attempts of the deployment that was disturbed');
		is(tasks($ids->[1]), 'a swap succeeded 1, b swap succeeded 1', 'and of the one behind it');
		check_nodes($name);
		check_invariants($node, 'postgres');
	};
	return;
}

# Kills a process of the server, the first of these that is still there, and waits until the
# postmaster has begun anew.
sub kill_hard
{
	my @pids = @_;
	my ($launcher) = workers('launcher');
	my $killed = 0;

	$killed = kill(9, shift @pids) while @pids && !$killed;
	$killed or die "there is no process @_";
	return wait_for($node, 'postgres', qq(SELECT count(*) = 1 FROM hotswap.workers
		WHERE kind = 'launcher' AND pid <> $launcher));
}

for my $name ('a', 'b')
{
	sql(qq(CREATE ROLE role_$name LOGIN; CREATE SCHEMA $name AUTHORIZATION role_$name
		CREATE TABLE swapped (n bigserial, module text, version text)));
}
sql(q(CREATE VIEW in_database AS
	SELECT 'a' AS node, * FROM a.swapped UNION ALL SELECT 'b', * FROM b.swapped;
	SELECT hotswap.configure_environment('production', 1),
	hotswap.set_approval_policy('production', 0);
	SELECT hotswap.register_node('production', 'a', run_as => 'role_a', schema => 'a');
	SELECT hotswap.register_node('production', 'b', run_as => 'role_b', schema => 'b')));

my @ids;

# A crash of one worker is a crash of all: both attempts were broken off.
@ids = deploy_and_hold();
kill_hard(workers('executor', 'role_a'));
release_holder();
check_end('kill -9 of an executor', \@ids, 2, 2);

@ids = deploy_and_hold();
kill_hard(workers('dispatcher'));
release_holder();
check_end('kill -9 of the dispatcher', \@ids, 2, 2);

@ids = deploy_and_hold();
kill_hard(workers('launcher'));
release_holder();
check_end('kill -9 of the launcher', \@ids, 2, 2);

# One executor ends: the other one, the cluster and who waits for the deployment go on.
@ids = deploy_and_hold();
my $waiter = $node->background_psql('postgres');
$waiter->query_until(qr/waiting/,
	"\\echo waiting\nSELECT hotswap.wait('$ids[0]'), 'end of wait';\n");
my ($launcher) = workers('launcher');
my ($dispatcher) = workers('dispatcher');
my ($executor_a) = workers('executor', 'role_a');
my ($executor_b) = workers('executor', 'role_b');
sql("SELECT pg_terminate_backend($executor_a)");
wait_for($node, 'postgres', "SELECT count(*) = 0 FROM hotswap.workers WHERE pid = $executor_a");
wait_at_gate($node, 4711, 2);
is(tasks($ids[0]), 'a swap running 2, b swap running 1',
	'only the task of the terminated executor is tried again');
is(sql("SELECT count(*) FROM hotswap.workers WHERE pid IN ($launcher, $dispatcher, $executor_b)"),
	'3', 'nobody else has ended');

# The same deployment goes on, with another dispatcher; that it was sent away is not counted.
sql("SELECT pg_terminate_backend($dispatcher)");
wait_for($node, 'postgres', "SELECT count(*) = 1 FROM hotswap.workers
	WHERE kind = 'dispatcher' AND pid <> $dispatcher");
wait_at_gate($node, 4711, 2);
is(tasks($ids[0]), 'a swap running 2, b swap running 1',
	'the attempts that the dispatcher broke off do not count');
is(join(' ', workers('launcher')), $launcher, 'the launcher has not ended');
release_holder();
like($waiter->query_until(qr/end of wait/, ''), qr/succeeded\|end of wait/,
	'a session in wait() sees the end');
$waiter->quit;
check_end('terminated executor and dispatcher', \@ids, 2, 1);

# Without its launcher the dispatcher goes on, and a new launcher leaves it alone.
@ids = deploy_and_hold();
($launcher) = workers('launcher');
($dispatcher) = workers('dispatcher');
sql("SELECT pg_terminate_backend($launcher)");
wait_for($node, 'postgres', "SELECT count(*) = 1 FROM hotswap.workers
	WHERE kind = 'launcher' AND pid <> $launcher");
release_holder();
check_end('terminated launcher', \@ids, 1, 1);
is(join(' ', workers('dispatcher')), $dispatcher, 'the dispatcher is still the same');

# The whole server.
@ids = deploy_and_hold();
$node->stop('immediate');
release_holder();
$node->start;
check_end('immediate shutdown', \@ids, 2, 2);

@ids = deploy_and_hold();
$node->restart;
release_holder();
check_end('fast restart', \@ids, 1, 1);

# What somebody has been told by wait() is not taken back by a crash.
@ids = deploy_and_hold();
$waiter = $node->background_psql('postgres');
$waiter->query_until(qr/waiting/,
	"\\echo waiting\nSELECT hotswap.wait('$ids[1]'), 'end of wait';\n");
wait_for($node, 'postgres', q(SELECT count(*) = 1 FROM pg_stat_activity
	WHERE query ~ 'end of wait' AND wait_event_type = 'Extension'));
release_holder();
$waiter->query_until(qr/end of wait/, '');
$node->stop('immediate');
$waiter->quit;
$node->start;
check_end('immediate shutdown after wait()', \@ids, 1, 1);
is(sql(qq(SELECT count(*) FROM hotswap.audit_log WHERE subject_id = '$ids[1]' AND event = 'succeed'
	AND at > pg_postmaster_start_time())), '0', 'the end that wait() has reported was on disk');

# In its last stage a deployment still keeps the next one out, whatever the dispatcher has to learn
# anew.
sql(q(CREATE FUNCTION public.hold(deployment uuid) RETURNS void LANGUAGE sql
	AS 'SELECT pg_advisory_xact_lock_shared(4712)';
	SELECT hotswap.register_hook('validate', 'public.hold(uuid)', 'm')));
$holder = $node->background_psql('postgres');
$holder->query_safe('SELECT pg_advisory_lock(4712)');
@ids = ();
for (1 .. 2)
{
	$version++;
	publish('m', $version);
	push @ids, deploy('m', $version);
}
my $in_hook = q(SELECT count(*) > 0 FROM pg_locks
	WHERE locktype = 'advisory' AND objid = 4712 AND NOT granted);
wait_for($node, 'postgres', $in_hook);
($dispatcher) = workers('dispatcher');
sql("SELECT pg_terminate_backend($dispatcher)");
wait_for($node, 'postgres', "SELECT count(*) = 1 FROM hotswap.workers
	WHERE kind = 'dispatcher' AND pid <> $dispatcher");
wait_for($node, 'postgres', $in_hook);
wait_for($node, 'postgres', q(SELECT count(*) = 1 FROM pg_stat_activity
	WHERE backend_type = 'hotswap dispatcher' AND state = 'idle'
		AND wait_event_type = 'Extension'));
is(sql("SELECT status FROM hotswap.deployments WHERE id = '$ids[1]'"), 'queued',
	'a deployment that is being validated keeps its lane when the dispatcher begins anew');
release_holder();
check_end('terminated dispatcher in the last stage', \@ids, 1, 1);
sql(q(SELECT hotswap.remove_hook('validate', 'public.hold(uuid)', 'm')));

# Executors that die without end use the attempts up, and what was swapped goes back.
sql('ALTER SYSTEM SET hotswap.retry_limit = 2');
$node->reload;
@ids = deploy_and_hold();
for my $attempt (1 .. 2)
{
	my ($pid) = workers('executor', 'role_a');
	wait_for($node, 'postgres', qq(SELECT count(*) = 1 FROM hotswap.tasks
		WHERE deployment_id = '$ids[0]' AND node = 'a' AND attempt = $attempt));
	wait_at_gate($node, 4711, 2);
	sql("SELECT pg_terminate_backend($pid)");
	wait_for($node, 'postgres', "SELECT count(*) = 0 FROM hotswap.workers WHERE pid = $pid");
	wait_at_gate($node, 4711, 2) if $attempt == 1;
}
wait_for($node, 'postgres', qq(SELECT count(*) = 1 FROM hotswap.tasks
	WHERE deployment_id = '$ids[0]' AND node = 'a' AND status = 'failed'));
release_holder();
wait_for($node, 'postgres', "SELECT status = 'succeeded' FROM hotswap.deployments
	WHERE id = '$ids[1]'");
is( sql("SELECT status, sqlstate, message FROM hotswap.deployments WHERE id = '$ids[0]'"),
	'rolled_back|57P01|the executor ended during the last attempt',
	'a task whose executors die fails at the limit');
is( tasks($ids[0]), 'a swap failed 2, b swap reverted 1, b revert succeeded 1',
	'and the node that had been swapped is reverted');
check_nodes('attempts used up');
check_invariants($node, 'postgres');
sql('ALTER SYSTEM RESET hotswap.retry_limit');
$node->reload;

# Many deployments while one fault follows another: none is lost, none is swapped in twice.  The
# last version of each module waits for the last fault, so that each fault meets work.
sql(q(CREATE TABLE gate AS SELECT WHERE false;
	GRANT SELECT ON gate TO PUBLIC;
	SELECT hotswap.stop_dispatching('the storm is prepared');
	SELECT hotswap.publish_version('s' || m, v::text,
		format('INSERT INTO swapped (module, version) VALUES (%L, %L); SELECT pg_sleep(0.02)',
			's' || m, v))
	FROM generate_series(1, 40) m, generate_series(1, 4) v;
	SELECT hotswap.publish_version('s' || m, '5',
		format('INSERT INTO swapped (module, version) VALUES (%L, ''5'');
			DO $$BEGIN WHILE NOT EXISTS (SELECT FROM public.gate) LOOP PERFORM pg_sleep(0.01);
				END LOOP; END$$', 's' || m))
	FROM generate_series(1, 40) m;
	SELECT hotswap.deploy('s' || m, v::text, 'production') FROM generate_series(1, 5) v,
	generate_series(1, 40) m;
	SELECT hotswap.start_dispatching()));
my @faults = (
	sub { kill_hard(workers('executor'), workers('dispatcher')) },
	sub { sql(q(SELECT pg_terminate_backend(pid) FROM hotswap.workers WHERE kind = 'executor')) },
	sub { kill_hard(workers('dispatcher')) },
	sub { sql(q(SELECT pg_terminate_backend(pid) FROM hotswap.workers WHERE kind = 'dispatcher')) },
	sub { $node->stop('immediate'); $node->start },
	sub { $node->restart });
for my $i (1 .. @faults)
{
	wait_for($node, 'postgres', q(SELECT count(*) = 1 FROM hotswap.workers
		WHERE kind = 'dispatcher'));
	wait_for($node, 'postgres', qq(SELECT count(*) >= $i * 20 FROM hotswap.deployment
		WHERE module ~ '^s' AND status = 'succeeded'));
	$faults[ $i - 1 ]->();
}
sql('INSERT INTO gate DEFAULT VALUES');
wait_for($node, 'postgres', 'SELECT count(*) = 0 FROM hotswap.work_item');
is( sql(q(SELECT status, count(*) FROM hotswap.deployment WHERE module ~ '^s' GROUP BY 1)),
	'succeeded|200', 'all have succeeded');
is( sql(q(SELECT min(count), max(count), count(*) FROM (SELECT count(*) FROM in_database
		WHERE module ~ '^s' GROUP BY node, module, version) c)),
	'1|1|400', 'each was swapped in once on each node');
check_nodes('many faults');
check_invariants($node, 'postgres');

done_testing();
