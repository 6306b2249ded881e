# A schema for each customer, 60 of them: two have rows that a version does not like, which does not
# take the others back; they are mended and retried alone, the next version comes to all, and a new
# customer gets what they have, in the transaction that signs him up.
use strict;
use warnings;

use HotswapTest;
use Test::More;

my $customers = 60;
my $node = hotswap_cluster('schemas');

sub sql { return $node->safe_psql('postgres', $_[0]); }

# How a deployment has ended, and how many nodes stayed behind.
sub ended
{
	my ($id) = @_;

	return sql("SELECT hotswap.wait('$id', '120 s')") . ' '
	  . sql("SELECT nodes_behind FROM hotswap.deployments WHERE id = '$id'");
}

# How many nodes run what: "1: 2, 59: 3".
sub running
{
	return sql(q(SELECT string_agg(format('%s: %s', n, version), ', ' ORDER BY version) FROM
		(SELECT version, count(*) AS n FROM hotswap.nodes WHERE environment = 'production'
			GROUP BY version) v));
}

# The customers, each a role's schema of its own, and the versions of their tables.
sql(<<'SQL');
SELECT hotswap.set_approval_policy('production', 1, allow_self_approval => true);
SELECT hotswap.configure_environment('production', max_failed => '5%');
CREATE FUNCTION sign_up(name text) RETURNS uuid LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE SCHEMA %I', name);
	RETURN hotswap.register_node('production', name, schema => name);
END $$;
SELECT hotswap.publish_version('crm', '1', 'CREATE TABLE person (name text)', NULL,
	'DROP TABLE person', parents => '{}');
SELECT hotswap.publish_version('crm', '2', 'ALTER TABLE person ADD mail text', NULL,
	'ALTER TABLE person DROP mail', parents => '{1}');
SELECT hotswap.publish_version('crm', '3', 'ALTER TABLE person ADD UNIQUE (mail)',
	'SELECT count(*) = 1 FROM pg_index WHERE indrelid = ''person''::regclass', NULL,
	parents => '{2}');
SELECT hotswap.publish_version('crm', '4', 'ALTER TABLE person ADD born date', NULL,
	'ALTER TABLE person DROP born', parents => '{3}');
SQL
sql("SELECT count(sign_up(format('customer_%s', i))) FROM generate_series(1, $customers) i");

# Deploys a version, with the approval that it needs.
sub approved
{
	my ($version) = @_;
	my $id = sql("SELECT hotswap.deploy('crm', '$version', 'production')");

	sql("SELECT hotswap.approve('$id')");
	return ($id, ended($id));
}

is((approved('2'))[1], 'succeeded 0', 'every customer gets version 2');
is(running(), "$customers: 2", 'and has it');

# Two bad rows.
sql(qq(INSERT INTO customer_$_.person VALUES ('a', 'x\@y'), ('b', 'x\@y'))) for 21, 42;
my ($third, $how) = approved('3');
is($how, 'succeeded 2', 'two bad rows do not take the others back');
is(running(), '2: 2, ' . ($customers - 2) . ': 3', 'two stay behind');
is(sql("SELECT string_agg(node || ': ' || sqlstate, ', ' ORDER BY node) FROM hotswap.tasks
	WHERE deployment_id = '$third' AND status = 'failed'"),
	'customer_21: 23505, customer_42: 23505', 'the deployment says which, and why');
is(sql("SELECT status FROM hotswap.health() WHERE component = 'nodes'"), 'warning',
	'health() warns');

# One is mended, and both are retried; an approval is used once.
sql(q(DELETE FROM customer_21.person WHERE name = 'b'));
sql("SELECT hotswap.retry('$third')");
wait_for($node, 'postgres', "SELECT status = 'pending_approval' FROM hotswap.deployments
	WHERE id = '$third'");
sql("SELECT hotswap.approve('$third')");
is(ended($third), 'succeeded 1', 'one comes on');
is(running(), '1: 2, ' . ($customers - 1) . ': 3', 'and the other stays');
is(sql("SELECT count(*) FROM hotswap.tasks WHERE deployment_id = '$third' AND kind = 'swap'"), 2,
	'the others were left alone');

# Too many bad ones: back they all go.
sql(qq(ALTER TABLE customer_$_.person ADD born date)) for 1 .. 4;
is((approved('4'))[1], 'rolled_back 0', 'four of 60 are more than 5 %');
is(running(), '1: 2, ' . ($customers - 1) . ': 3', 'they run what they ran');

# The next deployment brings on who is behind.
sql(q(DELETE FROM customer_42.person WHERE name = 'b'));
sql(qq(ALTER TABLE customer_$_.person DROP born)) for 1 .. 4;
is((approved('4'))[1], 'succeeded 0', 'all is mended');
is(running(), "$customers: 4", 'all have version 4');
is(sql("SELECT string_agg(step, ' ' ORDER BY swap) FROM hotswap.node_history
	WHERE node = 'customer_42' AND direction = 'up'"), '1 2 3 4', 'by the whole path');

# A new customer, in one transaction, without anybody who approves.
my $id = sql(q(SELECT (hotswap.bring_up(sign_up('new_customer'), 'signed up'))[1]));
is(ended($id), 'succeeded 0', 'a new customer');
is(running(), ($customers + 1) . ': 4', 'has what the others have');
is(sql("SELECT count(*) FROM hotswap.approvals WHERE deployment_id = '$id'"), 0,
	'nobody was asked');
check_invariants($node, 'postgres');
done_testing();
