# Executors among tenants: one with many tasks that are ready does not keep out another one
# (src/dispatch/starvation.c); with a limit it never has all executors
# (src/dispatch/tenant_limit.c).
use strict;
use warnings;

use HotswapTest;
use Test::More;

my $gate = 4711;
my $node = hotswap_cluster(
	'executors',
	'hotswap.max_executors' => 2,
	'hotswap.lock_timeout' => '170s');

sub sql { return $node->safe_psql('postgres', $_[0]); }

# Makes a tenant with so many nodes; returns its id.
sub make_tenant
{
	my ($name, $nodes) = @_;
	my $id = sql(
		"SELECT hotswap.create_tenant('$name', '$name-x', '$name\@example.com', 'custom')");

	sql(qq(SELECT hotswap.activate_tenant('$id'); CREATE ROLE $name LOGIN));
	sql(qq(CREATE SCHEMA ${name}_$_ AUTHORIZATION $name;
		SELECT hotswap.register_node('development', 'n$_', run_as => '$name',
			schema => '${name}_$_', tenant => '$id'))) for 1 .. $nodes;
	sql(qq(SELECT hotswap.publish_version('m', '1',
		'SELECT pg_advisory_xact_lock_shared($gate); SELECT pg_sleep(0.3)',
		tenant => '$id')));
	return $id;
}

sub deploy { return sql("SELECT hotswap.deploy('m', '1', 'development', tenant => '$_[0]')"); }

my $many = make_tenant('many', 10);
my $single = make_tenant('single', 1);
my $holder = $node->background_psql('postgres');
$holder->query_safe("SELECT pg_advisory_lock($gate)");
deploy($many);
wait_at_gate($node, $gate, 2);
my $id = deploy($single);
wait_for_idle_dispatcher($node);
is(status_of($node, $id), 'queued', 'one tenant has all executors');
$holder->quit;
wait_for($node, 'postgres', 'SELECT count(*) = 0 FROM hotswap.work_item');
cmp_ok(sql(qq(SELECT rank FROM (SELECT tenant_id, rank() OVER (ORDER BY started_at) AS rank
	FROM hotswap.task WHERE kind = 'swap') t WHERE tenant_id = '$single')), '<=', 6,
	'what becomes free goes to the other, before the rest of its own');
is(sql(q(SELECT count(*) FROM hotswap.task WHERE status = 'succeeded' AND kind = 'swap')), '11',
	'all are done');

# ---- a limit of one tenant ----

sub set
{
	my ($name, $value) = @_;
	sql("ALTER SYSTEM SET hotswap.$name = $value");
	$node->reload;
	return wait_for($node, 'postgres', "SHOW hotswap.$name", $value);
}

sub publish
{
	my ($tenant, $module, $script) = @_;
	return sql(qq(SELECT hotswap.publish_version('$module', '1', \$script\$$script\$script\$,
		revert_sql => 'SELECT pg_sleep(0.1)', tenant => '$tenant')));
}

sub request
{
	my ($tenant, $module) = @_;
	return sql("SELECT hotswap.deploy('$module', '1', 'development', tenant => '$tenant')");
}

# As the tenant.
sub own { return sql("SET hotswap.tenant = '$_[0]'; $_[1]"); }

sub run { return own($_[0], "SELECT hotswap.wait('$_[1]', '60 s')"); }

sub cancel { return own($_[0], "SELECT hotswap.cancel('$_[1]', 'test')"); }

sub reasons
{
	return own($_[0], qq(SELECT string_agg(DISTINCT reason, '; ' ORDER BY reason)
		FROM hotswap.explain('$_[1]')));
}

# The most tasks of the tenant at a time.
sub most_at_a_time
{
	return sql(qq(SELECT max((SELECT count(*) FROM hotswap.task o WHERE o.tenant_id = t.tenant_id
			AND o.started_at <= t.started_at AND o.finished_at > t.started_at))
		FROM hotswap.task t WHERE tenant_id = '$_[0]'));
}

set(max_executors => 4);
set(max_tenant_executors => 2);
my $six = make_tenant('six', 6);
my $other = make_tenant('other', 2);
publish($other, 'quick', 'SELECT 1');
publish($six, 'quick', 'SELECT 1');
publish($six, 'broken', q(DO $$ BEGIN PERFORM pg_sleep(0.1);
	IF current_schema = 'six_6' THEN RAISE 'broken'; END IF; END $$));
$holder = $node->background_psql('postgres');
$holder->query_safe("SELECT pg_advisory_lock($gate)");
my $long = deploy($six);
wait_at_gate($node, $gate, 2);
my $queued = request($six, 'quick');
my $cancelled = request($six, 'broken');
is(run($other, request($other, 'quick')), 'succeeded', 'the other tenant has the other executors');
wait_for_idle_dispatcher($node);
is( sql(qq(SELECT string_agg(status || ' ' || n, ', ' ORDER BY status)
	FROM (SELECT status, count(*) AS n FROM hotswap.task
		WHERE deployment_id = '$long' AND kind = 'swap' GROUP BY 1) t)),
	'ready 4, running 2', 'no more start than the tenant may have');
is(reasons($six, $long), 'a task waits for a lock; the tenant has 2 of 2 executors',
	'explain() says so of what is ready');
is(status_of($node, $queued), 'queued', 'what has not started holds no lanes');
is(reasons($six, $queued), 'the tenant has 2 of 2 executors', 'and explain() says why');
cancel($six, $cancelled);
is(run($six, $cancelled), 'cancelled', 'it can be cancelled');
$holder->quit;
is(run($six, $_), 'succeeded', 'they go on as tasks end') for $long, $queued;
is(run($six, request($six, 'broken')), 'rolled_back', 'one that fails');
is(sql(q(SELECT count(*) FROM hotswap.task WHERE kind = 'revert' AND status = 'succeeded')),
	'5', 'takes back what it has swapped');
is(most_at_a_time($six), '2', 'never more at a time, reverts among them');

# A cancelled one gives back what it had, and nothing of it starts.
$holder = $node->background_psql('postgres');
$holder->query_safe("SELECT pg_advisory_lock($gate)");
sql(qq(SELECT hotswap.publish_version('m', '2',
	'SELECT pg_advisory_xact_lock_shared($gate)', tenant => '$six')));
$long = sql("SELECT hotswap.deploy('m', '2', 'development', tenant => '$six')");
wait_at_gate($node, $gate, 2);
cancel($six, $long);
is(run($six, $long), 'cancelled', 'one that has started can be cancelled');
$long = sql("SELECT hotswap.deploy('m', '2', 'development', tenant => '$six')");
wait_at_gate($node, $gate, 2);
set(max_tenant_executors => 0);
wait_at_gate($node, $gate, 4);
pass('without the limit it has all executors, at once');
$holder->quit;
is(run($six, $long), 'succeeded', 'and ends');
check_invariants($node, 'postgres');

done_testing();
