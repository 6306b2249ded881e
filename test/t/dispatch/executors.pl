# Executors among tenants: one with many tasks that are ready does not keep out another one
# (src/dispatch/starvation.c).
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
check_invariants($node, 'postgres');

done_testing();
