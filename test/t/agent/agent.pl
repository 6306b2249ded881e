# Real agents: processes of examples/agent, half of them in sh and half in Python, of which some are
# killed or told to end, and a server that restarts in the middle of a lease.
use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use File::Path qw(make_path);
use HotswapTest;
use IPC::Run;
use POSIX ();
use PostgreSQL::Test::Utils;
use Test::More;

my $agents = 20;
my $node = hotswap_cluster('agent', max_connections => 200, 'hotswap.retry_base' => '10ms');
my $folder = PostgreSQL::Test::Utils::tempdir();
my @programs = map { "$ENV{TESTDIR}/examples/agent/$_" } 'hotswap-agent', 'hotswap-agent.py';
my (%running, %id);

sub sql { return $node->safe_psql('postgres', $_[0]) }

# ---- the agents ----

# Each is a process of its own group, so that what it has started can be killed with it.
sub start_agent
{
	my ($n) = @_;

	$running{$n} = fork() // die "cannot fork: $!";
	return if $running{$n} > 0;
	setpgrp 0, 0;
	open STDOUT, '>>', "$folder/log";
	open STDERR, '>&', \*STDOUT;
	exec $programs[ $n % 2 ], "$folder/web$n.conf" or POSIX::_exit(1);
}

sub kill_agent
{
	my ($n) = @_;

	kill KILL => -$running{$n};
	waitpid delete $running{$n}, 0;
	return;
}

# None outlives the test, however that ends.
END
{
	my $status = $?;
	kill_agent($_) for keys %running;
	$? = $status;
}

# Tells it to end, which it does.
sub end_agent
{
	my ($n) = @_;

	kill TERM => $running{$n};
	waitpid delete $running{$n}, 0;
	return $?;
}

# A node, its role and its configuration: the service is well if its artifact says so.
sub make_agent
{
	my ($n) = @_;
	my ($host, $port) = ($node->host, $node->port);

	sql("CREATE ROLE web$n LOGIN");
	$id{$n} = sql("SELECT hotswap.register_node('development', 'web$n', 'agent', 'web$n')");
	make_path("$folder/web$n");
	set_reload($n, 'true');
	append_to_file("$folder/web$n.conf", <<"CONF");
export PGHOST='$host' PGPORT='$port' PGUSER=web$n PGDATABASE=postgres
HOTSWAP_NODE=$id{$n}
HOTSWAP_ROOT='$folder/web$n'
HOTSWAP_RELOAD='. $folder/web$n/reload'
HOTSWAP_HEALTH='! grep -q broken $folder/web$n/current/artifact'
HOTSWAP_HEALTH_TRIES=1
HOTSWAP_METRICS='echo "{\\"cpu\\": $n, \\"requests\\": 5, \\"errors\\": 0}"'
HOTSWAP_EVERY=2
HOTSWAP_TIMEOUT=30
CONF
	return;
}

# What its service does when it is to run another artifact.
sub set_reload
{
	my ($n, $command) = @_;

	unlink "$folder/web$n/reload";
	append_to_file("$folder/web$n/reload", "$command\n");
	return;
}

# What runs on each node, as its folder says.
sub artifacts
{
	my %count;

	for my $n (1 .. $agents)
	{
		my $file = "$folder/web$n/current/artifact";
		$count{ -e $file ? substr(slurp_file($file), 0, 9) : 'nothing' }++;
	}
	return join ', ', map { "$count{$_} $_" } sort keys %count;
}

sub deploy
{
	my ($version) = @_;

	return sql("SELECT hotswap.deploy('shop', '$version', 'development')");
}

sub wait_end { return sql("SELECT hotswap.wait('$_[0]', '150 s')") }

make_agent($_) for 1 .. $agents;
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

# they are in the middle of it when the next time would be short
set_reload($_, "touch $folder/web$_/reloading; sleep 60") for 1, 2;
my $cancelled = deploy('version 3');
wait_for($node, 'postgres', $switching);
my $until = time + 60;
select(undef, undef, undef, 0.1)
  while time < $until && grep { !-e "$folder/web$_/reloading" } 1, 2;
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

kill_agent($_) for 1 .. $agents;
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
unlink "$folder/web1/current/artifact";
append_to_file("$folder/web1/current/artifact", 'version 3' . 'x' x 10);
sql("SELECT hotswap.configure_agents('development', lease => '30 s')");
start_agent($_) for 1 .. $agents;
is(wait_end($restarted), 'succeeded', 'the others go on');

kill_agent($_) for keys %running;
check_invariants($node, 'postgres');
done_testing();
