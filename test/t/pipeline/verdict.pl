# Nodes that report for real: a good version goes on, a bad one goes back, and what was decided is
# not lost when the server is killed (src/pipeline/verdict.c).
use strict;
use warnings;

use HotswapTest;
use Test::More;
use Time::HiRes qw(sleep);

my $node = hotswap_cluster('verdict', wal_writer_delay => '10s');

sub sql { return $node->safe_psql('postgres', $_[0]); }

# Every node reports; those that run the version have so many errors of 1000 requests.
sub report
{
	my ($version, $errors) = @_;

	sql("SELECT hotswap.heartbeat(id, requests => 1000, errors =>
		CASE version WHEN '$version' THEN $errors ELSE 9 + (labels ->> 'n')::int % 3 END)
		FROM hotswap.nodes n WHERE NOT EXISTS (SELECT FROM hotswap.node_metric m
			WHERE m.node_id = n.id AND m.at > clock_timestamp() - interval '1 s')");
	sleep 0.5;
	return;
}

# Reports until a condition holds.
sub report_until
{
	my ($version, $errors, $condition) = @_;

	for (1 .. 240)
	{
		return 1 if sql("SELECT $condition") eq 't';
		report($version, $errors);
	}
	return;
}

sub deploy
{
	my ($version) = @_;

	sql("SELECT hotswap.publish_version('m', '$version', 'SELECT ''$version''',
		revert_sql => 'SELECT 1')");
	return sql("SELECT hotswap.deploy('m', '$version', 'development')");
}

sql("CREATE SCHEMA n$_; SELECT hotswap.register_node('development', 'n$_', schema => 'n$_',
	labels => '{\"n\": $_}')") for 1 .. 12;
sql("SELECT hotswap.configure_environment('development', strategy => 'canary'),
	hotswap.configure_rollout('development', first_wave => '3', wave_step => '9', bake => '10 s'),
	hotswap.set_analysis_policy('development', more_cpu => NULL, more_memory => NULL)");
report('none', 0) for 1 .. 6;

my $good = deploy('good');
ok(report_until('good', 10, "EXISTS (SELECT FROM hotswap.rollouts WHERE wave = 2)"),
	'a good version goes on');
is(sql("SELECT gate || ' ' || method FROM hotswap.analyses WHERE deployment_id = '$good'
	AND metric = 'errors' ORDER BY at DESC LIMIT 1"), 'pass test', 'since it has passed');
sql("SELECT hotswap.promote('$good', 'x', full => true)");
is(sql("SELECT hotswap.wait('$good', '60 s')"), 'succeeded', 'to its end');

my $bad = deploy('bad');
ok(report_until('bad', 45, "EXISTS (SELECT FROM hotswap.analyses WHERE deployment_id = '$bad'
	AND gate = 'fail')"), 'a bad one is seen');
$node->stop('immediate');
$node->start;
is(sql("SELECT hotswap.wait('$bad', '60 s')"), 'rolled_back',
	'and goes back, though the server has crashed');
like(sql("SELECT message FROM hotswap.deployments WHERE id = '$bad'"),
	qr/^wave 1 of 2 is worse: errors \+\d+ %/, 'by the verdict of before');
is(sql("SELECT count(*) FROM hotswap.analyses WHERE deployment_id = '$bad' AND gate = 'fail'
	AND metric = 'health'"), '1', 'which was made once');
is(sql("SELECT count(*) FROM hotswap.nodes WHERE version = 'good'"), '12',
	'all nodes run what was good');

check_invariants($node, 'postgres');
done_testing();
