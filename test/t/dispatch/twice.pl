# A deployment that is visited twice in one batch: it is looked at since something has happened to
# it, then it is its turn, and it ends at once.
use strict;
use warnings;

use HotswapTest;
use Test::More;

my $node = hotswap_cluster('twice');
my $gate = $node->background_psql('postgres');

sub sql { return $node->safe_psql('postgres', $_[0]); }

sql(q(CREATE ROLE boss LOGIN; CREATE SCHEMA a;
	SELECT hotswap.register_node('production', 'a', schema => 'a'),
		hotswap.set_approval_policy('production', 0), hotswap.grant_access('boss', 'approver'),
		hotswap.publish_version('m', '1', 'SELECT pg_advisory_xact_lock(1)')));
$gate->query_safe('SELECT pg_advisory_lock(1)');
my $first = sql(q(SELECT hotswap.deploy('m', '1', 'production')));
wait_at_gate($node, 1, 1);
my $second = sql(q(SELECT hotswap.deploy('m', '1', 'production',
	require_approval => '{production}')));
wait_for_idle_dispatcher($node);

# While the dispatcher does nothing, the first one is done and the second one gets its approval.
my $dispatcher = dispatcher_pid($node, 'postgres');
kill 'STOP', $dispatcher or die "cannot stop $dispatcher: $!";
$gate->query_safe('SELECT pg_advisory_unlock(1)');
wait_for($node, 'postgres', q(SELECT bool_and(state = 'idle') FROM hotswap.workers
	WHERE kind = 'executor'));
is(sql(qq(SET SESSION AUTHORIZATION boss; SELECT hotswap.approve('$second'))), 'approved',
	'it is approved');
kill 'CONT', $dispatcher or die "cannot go on with $dispatcher: $!";

is(sql(qq(SELECT hotswap.wait('$first', '60 s'))), 'succeeded', 'the first one ends');
is(sql(qq(SELECT hotswap.wait('$second', '60 s'))), 'succeeded', 'and the second one, at once');
is(dispatcher_pid($node, 'postgres'), $dispatcher, 'the dispatcher lives');
$gate->quit;
$node->stop;

done_testing();
