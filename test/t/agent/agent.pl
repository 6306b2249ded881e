# Real agents: processes of examples/agent, half of them in sh and half in Python, of which some are
# killed or told to end, and a server that restarts in the middle of a lease.
use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use HotswapAgents;
use HotswapTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $agents = 20;
my $node = hotswap_cluster('agent', max_connections => 200, 'hotswap.retry_base' => '10ms',
	'hotswap.cancel_grace' => '1min');
my %id;

sub sql { return $node->safe_psql('postgres', $_[0]) }

sub deploy
{
	my ($version) = @_;

	return sql("SELECT hotswap.deploy('shop', '$version', 'development')");
}

sub wait_end { return sql("SELECT hotswap.wait('$_[0]', '150 s')") }

begin_agents($node);
$id{$_} = make_agent($_, 'development', qq(echo '{"cpu": $_, "requests": 5, "errors": 0}'))
  for 1 .. $agents;
# a machine that is busy makes them late to say that they are well: no wave waits for that
sql("SELECT hotswap.configure_environment('development', strategy => 'direct')");
sql("SELECT hotswap.configure_agents('development', lease => '5 s')");
# one of a few pieces, two small ones, and one that the service cannot run
sql(q(SELECT hotswap.publish_artifact('shop', v, convert_to(v || repeat('x', n), 'UTF8'))
	FROM (VALUES ('version 1', 3000000), ('version 2', 10), ('version 3', 10)) v (v, n)));
sql(q(SELECT hotswap.publish_artifact('shop', 'broken', 'broken')));

# ---- good and bad ----

start_agent($_) for 1 .. $agents;
is(wait_end(deploy('version 1')), 'succeeded', 'twenty agents install a version');
is(artifacts(), "$agents version 1", 'and run it');
is(wait_end(deploy('version 2')), 'succeeded', 'the next one');
is(artifacts(), "$agents version 2", 'runs');

my $broken = deploy('broken');
is(wait_end($broken), 'rolled_back', 'one that is not well goes back');
is(artifacts(), "$agents version 2", 'to the one before');
is(sql("SELECT DISTINCT message FROM hotswap.tasks WHERE deployment_id = '$broken'
	AND status = 'reverted'"), 'the service is not well', 'as the agents have said');

# ---- idle: no query ----

wait_for($node, 'postgres', "SELECT count(*) = $agents FROM pg_stat_activity
	WHERE query LIKE 'CALL hotswap.await_task%' AND state = 'active'");
is(sql(q(SELECT count(*) FROM pg_stat_activity WHERE backend_xmin IS NOT NULL
	AND query LIKE 'CALL hotswap.await_task%')), '0', 'those who wait have no snapshot');

# ---- heartbeats ----

wait_for($node, 'postgres', "SELECT count(DISTINCT node) = $agents FROM hotswap.node_metrics
	WHERE substr(node, 4) = cpu::text AND requests = 5 AND errors = 0");
wait_for($node, 'postgres', "SELECT count(DISTINCT m.node) = $agents FROM hotswap.node_metrics m
	JOIN hotswap.versions v ON v.artifact_digest = m.digest WHERE v.version = 'version 2'");

# ---- told to end ----

# one in sh and one in Python; each has nothing to do
is(end_agent($_), 0, "agent $_ ends when it is told to") for 1, 2;

# the service of each takes a while, longer than the lease, which is kept
set_reload($_, 'sleep 8') for 1, 2;
start_agent($_) for 1, 2;
my $slow = deploy('version 3');
my $switching = "SELECT count(*) = 2 FROM hotswap.nodes WHERE name IN ('web1', 'web2')
	AND progress = 'switching'";
wait_for($node, 'postgres', $switching);
is(end_agent($_), 0, "agent $_ ends in the middle of a task") for 1, 2;
is(sql("SELECT string_agg(status || ' ' || attempt, ', ') FROM hotswap.tasks
	WHERE deployment_id = '$slow' AND kind = 'swap' AND node IN ('web1', 'web2')"),
	'succeeded 1, succeeded 1', 'it has done that before');

# ---- kill -9 ----

# the service of two hangs while it is switched: the agents are killed there
set_reload($_, 'true') for 1, 2;
start_agent($_) for 1, 2;
is(wait_end($slow), 'succeeded', 'others carry on');
set_reload($_, 'sleep 60') for 1, 2;
my $killed = deploy('version 1');
wait_for($node, 'postgres', $switching);
kill_agent($_) for 1, 2;
set_reload($_, 'true') for 1, 2;
start_agent($_) for 1, 2;
is(wait_end($killed), 'succeeded', 'agents that were killed in the middle are started again');
is(artifacts(), "$agents version 1", 'and all run the version');
is(sql("SELECT string_agg(attempt::text, ', ') FROM hotswap.tasks
	WHERE deployment_id = '$killed' AND kind = 'swap' AND node IN ('web1', 'web2')"), '2, 2',
	'their first attempts were lost');

# ---- cancelled ----

# they are in the middle of it when the next time would be short, and nobody loses a task before
sql("SELECT hotswap.configure_agents('development', lease => '10 s')");
set_reload($_, "touch " . agent_file($_, 'reloading') . "; sleep 60") for 1, 2;
my $cancelled = deploy('version 3');
wait_for($node, 'postgres', $switching);
my $until = time + 60;
select(undef, undef, undef, 0.1)
  while time < $until && grep { !-e agent_file($_, 'reloading') } 1, 2;
set_reload($_, 'true') for 1, 2;
sql("SELECT hotswap.cancel('$cancelled', 'not now')");
is(wait_end($cancelled), 'cancelled', 'agents break off what is cancelled');
is(sql("SELECT DISTINCT status || ': ' || message FROM hotswap.tasks
	WHERE deployment_id = '$cancelled' AND kind = 'swap' AND node IN ('web1', 'web2')"),
	'reverted: the service could not be reloaded', 'and say so');
is(artifacts(), "$agents version 1", 'all run what ran before');

# ---- the server restarts ----

$node->restart('fast');
is(wait_end(deploy('version 2')), 'succeeded', 'agents find the server again');
is(artifacts(), "$agents version 2", 'and do what they are told');

# ---- a restart of the server in the middle of a lease ----

kill_agents();
sql("SELECT hotswap.configure_agents('development', lease => '20 s')");
my $restarted = deploy('version 3');
my $ready = "SELECT count(*) = $agents FROM hotswap.tasks
	WHERE deployment_id = '$restarted' AND status = 'running'";
wait_for($node, 'postgres', $ready);
my ($task, $token) = split /\|/,
  sql("SELECT task, token FROM hotswap.claim_tasks('$id{1}')");
my ($lost, $stale) = split /\|/,
  sql("SELECT task, token FROM hotswap.claim_tasks('$id{2}')");
sql("SELECT hotswap.configure_agents('development', lease => '1 s')");
sql("SELECT hotswap.extend_task('$lost', '$stale')");
$node->stop('immediate');
$node->start;
my $digest = sha256_hex('version 3' . 'x' x 10);
is(sql("SELECT hotswap.complete_task('$task', '$token', true, '$digest')"), 'succeeded',
	'a lease outlives a crash of the server');
wait_for($node, 'postgres', "SELECT attempt = 2 AND status = 'running' FROM hotswap.tasks
	WHERE deployment_id = '$restarted' AND node = 'web2'");
like(refusal($node, "SELECT hotswap.complete_task('$lost', '$stale', true, '$digest')"), qr/YH002/,
	'one that has run out meanwhile does not');
# the first agent did install it
unlink agent_file(1, 'current/artifact');
append_to_file(agent_file(1, 'current/artifact'), 'version 3' . 'x' x 10);
sql("SELECT hotswap.configure_agents('development', lease => '30 s')");
start_agent($_) for 1 .. $agents;
is(wait_end($restarted), 'succeeded', 'the others go on');

kill_agents();
check_invariants($node, 'postgres');
done_testing();
