# Rollouts and crashes: whatever happens in the middle of a wait, it goes on where it was, and a
# bake that ended meanwhile has ended (src/pipeline/waves.c).
use strict;
use warnings;

use HotswapTest;
use Test::More;

my $node = hotswap_cluster('rollout', 'hotswap.retry_base' => '50ms', wal_writer_delay => '10s');
my $version = 0;

sub sql { return $node->safe_psql('postgres', $_[0]); }

# A rollout over four nodes, two at a time, that bakes after its first wave.
sub roll_out
{
	my (%setting) = @_;
	my $bake = $setting{bake} // '1 h';

	$version++;
	sql("SELECT hotswap.configure_rollout('development', bake => '$bake');
		SELECT hotswap.publish_version('m', '$version',
		'INSERT INTO public.log VALUES (current_schema, $version)',
		revert_sql => 'INSERT INTO public.log VALUES (current_schema, -$version)')");
	my $id = sql("SELECT hotswap.deploy('m', '$version', 'development')");
	wait_for($node, 'postgres', "SELECT bake_until IS NOT NULL FROM hotswap.rollouts
		WHERE deployment_id = '$id'");
	return $id;
}

sub log_of_nodes
{
	return sql("SELECT string_agg(node || ' ' || version, ', ' ORDER BY node, version DESC)
		FROM public.log WHERE abs(version) = $version");
}

sub wave { return sql("SELECT wave FROM hotswap.rollouts WHERE deployment_id = '$_[0]'"); }

# The server ends its processes and begins anew, because one of them was killed.
sub crash
{
	my $pid = dispatcher_pid($node, 'postgres');

	kill 'KILL', $pid;
	wait_for($node, 'postgres', "SELECT count(*) = 1 AND bool_and(pid <> $pid)
		FROM pg_stat_activity WHERE backend_type = 'hotswap dispatcher'");
	wait_for_idle_dispatcher($node);
	return;
}

my $all = sub { my $v = shift; join ', ', map { "n$_ $v" } 1 .. 4 };

my $environment = "SELECT hotswap.register_node('development', 'n' || i, schema => 'n' || i)
	FROM generate_series(1, 4) i;
	SELECT hotswap.configure_environment('development', strategy => 'rolling');";

sql(qq(
	CREATE TABLE public.log (node text, version integer);
	CREATE SCHEMA n1; CREATE SCHEMA n2; CREATE SCHEMA n3; CREATE SCHEMA n4;
	$environment));

subtest 'the server is away when a bake ends' => sub {
	my $id = roll_out(bake => '3 s');
	my $end = sql("SELECT bake_until FROM hotswap.rollouts WHERE deployment_id = '$id'");

	$node->stop('immediate');
	# longer than the bake takes
	sleep 4;
	$node->start;
	wait_for($node, 'postgres', "SELECT status = 'succeeded' FROM hotswap.deployments
		WHERE id = '$id'");
	is(log_of_nodes(), $all->($version), 'each node is swapped once');
	is(sql("SELECT detail ->> 'until' = '$end' FROM hotswap.audit_log WHERE subject_id = '$id'
		AND event = 'rollout.bake'"), 't', 'the bake was that of before');
	is(sql("SELECT min(t.started_at) - l.started < '2 s' FROM hotswap.tasks t,
		(SELECT pg_postmaster_start_time() AS started) l
		WHERE t.deployment_id = '$id' AND t.wave = 2 GROUP BY l.started"),
		't', 'it was not waited for again');
};

subtest 'the server crashes in a bake' => sub {
	my $id = roll_out();
	my $query = "SELECT bake_until FROM hotswap.rollouts WHERE deployment_id = '$id'";
	my $end = sql($query);

	crash();
	is(sql($query), $end, 'it ends when it would have ended');
	is(wave($id), 1, 'no wave has begun');
	sql("SELECT hotswap.promote('$id', 'x')");
	is(sql("SELECT hotswap.wait('$id', '60 s')"), 'succeeded', 'and goes on');
	is(log_of_nodes(), $all->($version), 'each node is swapped once');
};

subtest 'the server is stopped while it is paused' => sub {
	my $id = roll_out(bake => '10 s');

	sql("SELECT hotswap.pause('$id', 'lunch')");
	wait_for($node, 'postgres', "SELECT status = 'paused' FROM hotswap.deployments
		WHERE id = '$id'");
	my $left = sql("SELECT bake_left FROM hotswap.rollouts WHERE deployment_id = '$id'");
	$node->stop('immediate');
	$node->start;
	wait_for_idle_dispatcher($node);
	is(status_of($node, $id), 'paused', 'it is paused');
	is(sql("SELECT bake_left FROM hotswap.rollouts WHERE deployment_id = '$id'"), $left,
		'and the time does not count');
	sql("SELECT hotswap.resume('$id', 'back')");
	is(sql("SELECT hotswap.wait('$id', '60 s')"), 'succeeded', 'it goes on');
	is(log_of_nodes(), $all->($version), 'each node is swapped once');
};

subtest 'the dispatcher is killed in a bake' => sub {
	my $id = roll_out(bake => '2 s');

	kill 'TERM', dispatcher_pid($node, 'postgres');
	is(sql("SELECT hotswap.wait('$id', '60 s')"), 'succeeded', 'another one goes on');
	is(log_of_nodes(), $all->($version), 'each node is swapped once');
};

subtest 'a cancel in a bake' => sub {
	my $id = roll_out();

	sql("SELECT hotswap.cancel('$id', 'no')");
	crash();
	wait_for($node, 'postgres', "SELECT status = 'cancelled' FROM hotswap.deployments
		WHERE id = '$id'");
	is(log_of_nodes(), "n1 $version, n1 -$version, n2 $version, n2 -$version",
		'the first wave goes back, once');
};

subtest 'a tenant is suspended in a bake' => sub {
	my $id = roll_out();
	my $tenant = sql('SELECT tenant_id FROM hotswap.deployments LIMIT 1');

	sql("SELECT hotswap.suspend_tenant('$tenant', 'unpaid')");
	wait_for($node, 'postgres', "SELECT status = 'paused' FROM hotswap.deployments
		WHERE id = '$id'");
	is(sql("SELECT bake_left > '59 min' FROM hotswap.rollouts WHERE deployment_id = '$id'"), 't',
		'the bake stands still');
	is(sql("SELECT message FROM hotswap.deployments WHERE id = '$id'"), 'the tenant is suspended',
		'and it says why');
	sql("SELECT hotswap.resume_tenant('$tenant')");
	wait_for($node, 'postgres', "SELECT bake_until IS NOT NULL FROM hotswap.rollouts
		WHERE deployment_id = '$id'");
	sql("SELECT hotswap.promote('$id', 'x')");
	is(sql("SELECT hotswap.wait('$id', '60 s')"), 'succeeded', 'it goes on');
};

check_invariants($node, 'postgres');

subtest 'the extension is dropped and created in a bake' => sub {
	roll_out();
	sql("BEGIN; DROP EXTENSION hotswap; CREATE EXTENSION hotswap; COMMIT; $environment");
	my $id = roll_out();
	sql("SELECT hotswap.promote('$id', 'x')");
	is(sql("SELECT hotswap.wait('$id', '60 s')"), 'succeeded', 'nothing is known of what was');
};

check_invariants($node, 'postgres');
done_testing();
