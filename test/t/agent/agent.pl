# Real agents: processes of examples/agent/hotswap-agent, of which some are killed, and a server
# that restarts in the middle of a lease.
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
my $program = "$ENV{TESTDIR}/examples/agent/hotswap-agent";
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
	exec 'sh', $program, "$folder/web$n.conf" or POSIX::_exit(1);
}

sub kill_agent
{
	my ($n) = @_;

	kill KILL => -$running{$n};
	waitpid delete $running{$n}, 0;
	return;
}

# A node, its role and its configuration: the service is well if its artifact says so.
sub make_agent
{
	my ($n) = @_;
	my ($host, $port) = ($node->host, $node->port);

	sql("CREATE ROLE web$n LOGIN");
	$id{$n} = sql("SELECT hotswap.register_node('development', 'web$n', 'agent', 'web$n')");
	make_path("$folder/web$n");
	append_to_file("$folder/web$n.conf", <<"CONF");
export PGHOST='$host' PGPORT='$port' PGUSER=web$n PGDATABASE=postgres
HOTSWAP_NODE=$id{$n}
HOTSWAP_ROOT='$folder/web$n'
HOTSWAP_RELOAD='echo reloaded >> $folder/web$n/reloads'
HOTSWAP_HEALTH='! grep -q broken $folder/web$n/current/artifact'
HOTSWAP_HEALTH_TRIES=1
CONF
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
sql("SELECT hotswap.configure_agents('development', lease => '2 s')");
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

# ---- kill -9 ----

# the service of one hangs while it is switched: the agent is killed there
append_to_file("$folder/web1.conf", "HOTSWAP_RELOAD='sleep 1000'\n");
kill_agent(1);
start_agent(1);
my $killed = deploy('version 3');
wait_for($node, 'postgres',
	"SELECT progress = 'switching' FROM hotswap.nodes WHERE name = 'web1'");
kill_agent(1);
append_to_file("$folder/web1.conf", "HOTSWAP_RELOAD=true\n");
start_agent(1);
is(wait_end($killed), 'succeeded', 'an agent that was killed in the middle is started again');
is(artifacts(), "$agents version 3", 'and all run the version');
is(sql("SELECT attempt FROM hotswap.tasks WHERE deployment_id = '$killed' AND kind = 'swap'
	AND node = 'web1'"), '2', 'its first attempt was lost');

# ---- a restart of the server in the middle of a lease ----

kill_agent($_) for 1 .. $agents;
sql("SELECT hotswap.configure_agents('development', lease => '20 s')");
my $restarted = deploy('version 2');
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
my $digest = sha256_hex('version 2' . 'x' x 10);
is(sql("SELECT hotswap.complete_task('$task', '$token', true, '$digest')"), 'succeeded',
	'a lease outlives a crash of the server');
wait_for($node, 'postgres', "SELECT attempt = 2 AND status = 'running' FROM hotswap.tasks
	WHERE deployment_id = '$restarted' AND node = 'web2'");
like(refusal($node, "SELECT hotswap.complete_task('$lost', '$stale', true, '$digest')"), qr/YH002/,
	'one that has run out meanwhile does not');
# the first agent did install it
unlink "$folder/web1/current/artifact";
append_to_file("$folder/web1/current/artifact", 'version 2' . 'x' x 10);
sql("SELECT hotswap.configure_agents('development', lease => '30 s')");
start_agent($_) for 1 .. $agents;
is(wait_end($restarted), 'succeeded', 'the others go on');

kill_agent($_) for keys %running;
check_invariants($node, 'postgres');
done_testing();
