# The dispatcher leaves at once when it is told to, whatever its executors are about to do
# (src/worker/dispatcher.c, src/dispatch/pool.c).
use strict;
use warnings;

use HotswapTest;
use Test::More;
use Time::HiRes qw(time);

my $node = hotswap_cluster('dispatcher');

sub sql { return $node->safe_psql('postgres', $_[0]); }

sql(q(CREATE ROLE app LOGIN; CREATE SCHEMA app AUTHORIZATION app;
	SELECT hotswap.register_node('development', 'n', run_as => 'app', schema => 'app'),
		hotswap.publish_version('m', '1', 'SELECT 1')));
my $session = $node->background_psql('postgres');
my $dispatcher = dispatcher_pid($node, 'postgres');
my ($postmaster) = $node->{_pid};

# ask(QUERY): until it is true, in the session that is there already.
sub ask
{
	my ($query) = @_;
	my $end = time + 30;

	while (time < $end)
	{
		return 1 if $session->query_safe("SELECT pg_stat_clear_snapshot(); $query") =~ /^t$/m;
		select undef, undef, undef, 0.02;
	}
	return 0;
}

# A postmaster that starts nobody: so it is during a shutdown.
kill 'STOP', $postmaster or die "no process $postmaster";
my $id = $session->query_safe(q(SELECT hotswap.deploy('m', '1', 'development')));
ok(ask(q(SELECT count(*) = 1 FROM hotswap.workers
	WHERE kind = 'executor' AND state = 'starting')),
	'an executor is asked for, and does not come');
my $start = time;
kill 'TERM', $dispatcher or die "no process $dispatcher";
ok(ask("SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $dispatcher"),
	'the dispatcher leaves');
cmp_ok(time - $start, '<', 4, '... at once');
kill 'CONT', $postmaster;
$session->quit;
is(sql("SELECT hotswap.wait('$id', '60 s')"), 'succeeded', 'its successor goes on');
is(sql("SELECT max(attempt) FROM hotswap.task WHERE deployment_id = '$id'"), '1',
	'and no attempt is lost');
check_invariants($node, 'postgres');

done_testing();
