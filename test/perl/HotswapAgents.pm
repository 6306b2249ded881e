# Real agents: processes of examples/agent, half of them in sh and half in Python, each with a
# folder and a role of its own. None outlives the test, however that ends.
package HotswapAgents;

use strict;
use warnings;

use File::Path qw(make_path);
use POSIX ();
use PostgreSQL::Test::Utils;

use Exporter 'import';
our @EXPORT = qw(begin_agents make_agent set_reload start_agent kill_agent kill_agents end_agent
  artifacts agent_file);

my @programs = map { "$ENV{TESTDIR}/examples/agent/$_" } 'hotswap-agent', 'hotswap-agent.py';
my ($node, $folder);
my @agents;			# their numbers
my %running;		# number => process

# begin_agents(NODE): the server that they work for.
sub begin_agents
{
	($node) = @_;
	$folder = PostgreSQL::Test::Utils::tempdir();
	return;
}

# A file of an agent's folder.
sub agent_file { return "$folder/web$_[0]/$_[1]"; }

# make_agent(N, ENVIRONMENT, METRICS): node webN, its role and its configuration: the service is
# well if its artifact says so. METRICS is a command, run in the folder, that prints what to report.
# Returns the node's id.
sub make_agent
{
	my ($n, $environment, $metrics) = @_;
	my ($host, $port) = ($node->host, $node->port);
	my $id = $node->safe_psql('postgres', "CREATE ROLE web$n LOGIN;
		SELECT hotswap.register_node('$environment', 'web$n', 'agent', 'web$n')");

	make_path("$folder/web$n");
	set_reload($n, 'true');
	append_to_file(agent_file($n, 'metrics'), "cd $folder/web$n; $metrics\n");
	append_to_file("$folder/web$n.conf", <<"CONF");
export PGHOST='$host' PGPORT='$port' PGUSER=web$n PGDATABASE=postgres
HOTSWAP_NODE=$id
HOTSWAP_ROOT='$folder/web$n'
HOTSWAP_RELOAD='. $folder/web$n/reload'
HOTSWAP_HEALTH='! grep -q broken $folder/web$n/current/artifact'
HOTSWAP_HEALTH_TRIES=1
HOTSWAP_METRICS='. $folder/web$n/metrics'
HOTSWAP_EVERY=2
HOTSWAP_TIMEOUT=30
CONF
	push @agents, $n;
	return $id;
}

# What its service does when it is to run another artifact.
sub set_reload
{
	my ($n, $command) = @_;

	unlink agent_file($n, 'reload');
	append_to_file(agent_file($n, 'reload'), "$command\n");
	return;
}

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

sub kill_agents
{
	kill_agent($_) for keys %running;
	return;
}

END
{
	my $status = $?;
	kill_agents();
	$? = $status;
}

# Tells it to end, which it does; returns how.
sub end_agent
{
	my ($n) = @_;

	kill TERM => $running{$n};
	waitpid delete $running{$n}, 0;
	return $?;
}

# What runs on the nodes, as their folders say.
sub artifacts
{
	my %count;

	for my $n (@agents)
	{
		my $file = agent_file($n, 'current/artifact');
		$count{ -e $file ? substr(slurp_file($file), 0, 9) : 'nothing' }++;
	}
	return join ', ', map { "$count{$_} $_" } sort keys %count;
}

1;
