# As many databases as max_worker_processes has room for: each has a dispatcher, except for the last
# worker slot, which executors share.
use strict;
use warnings;

use HotswapTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# Two launchers (ours and that of logical replication), a dispatcher each, and one executor.
my $slots = 40;
my $databases = $slots - 3;
my $node = hotswap_cluster('launcher', max_worker_processes => $slots);

sub wait_for_dispatchers
{
	my ($count, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return ok(wait_for($node, 'postgres', "SELECT count(*) FROM hotswap.workers
		WHERE kind = 'dispatcher'", $count), $name);
}

# Given more databases with the extension than there are worker slots.
$node->safe_psql('postgres', 'CREATE DATABASE mould IS_TEMPLATE true');
$node->safe_psql('mould', 'CREATE EXTENSION hotswap');
$node->safe_psql('postgres', join ";\n",
	map { "CREATE DATABASE d$_ TEMPLATE mould" } 2 .. $databases);
wait_for_dispatchers($databases, 'every worker slot but one has a dispatcher');
$node->safe_psql('postgres', 'CREATE DATABASE surplus TEMPLATE mould');
$node->wait_for_log(qr/no worker slot is free for a hotswap dispatcher/);

# Then the one that has none says so,
is($node->safe_psql('surplus', q(SELECT status || ': ' || detail FROM hotswap.health()
	WHERE component = 'dispatcher')),
	'critical: not running in this database: no worker slot is free for it: '
	. 'increase max_worker_processes',
	'health() of a database without a dispatcher says what is missing');

# the others work,
for my $db ('postgres', "d$databases")
{
	$node->safe_psql($db, "SELECT hotswap.publish_version('m', '1', 'SELECT 1'),
		hotswap.register_node('development', 'n')");
	my $id = $node->safe_psql($db, "SELECT hotswap.deploy('m', '1', 'development')");
	is($node->safe_psql($db, "SELECT hotswap.wait('$id', '60 s')"), 'succeeded',
		"database $db deploys");
}

# and a slot that is freed is used.
$node->safe_psql('postgres', 'DROP DATABASE d2');
wait_for($node, 'surplus', "SELECT status FROM hotswap.health() WHERE component = 'dispatcher'",
	'ok');
wait_for_dispatchers($databases, 'when a database is dropped, another one gets its dispatcher');
$node->restart;
wait_for_dispatchers($databases, 'after a restart they all have one again');
$node->safe_psql('postgres', "SELECT hotswap.publish_version('m', '2', 'SELECT 2')");
my $id = $node->safe_psql('postgres', "SELECT hotswap.deploy('m', '2', 'development')");
is($node->safe_psql('postgres', "SELECT hotswap.wait('$id', '60 s')"), 'succeeded',
	'and executors have theirs');

done_testing();
