# What every TAP script of hotswap needs: a server with the extension, waiting, and the checks that
# must hold after any fault.
package HotswapTest;

use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Exporter 'import';
our @EXPORT = qw(hotswap_cluster wait_for wait_for_idle_dispatcher wait_at_gate status_of
  dispatcher_pid refusal check_invariants pgbouncer start_pooler);

# The same superuser whoever runs the tests.
$ENV{PGUSER} = 'postgres';

my @nodes;

# hotswap_cluster(NAME, setting => value ...): a running server with hotswap preloaded, and the
# extension in database "postgres". Of the settings, one is ours: streaming => 1 prepares a primary
# for standbys. Every other goes to postgresql.conf.
sub hotswap_cluster
{
	my ($name, %conf) = @_;
	my $streaming = delete $conf{streaming};
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init(
		allows_streaming => $streaming,
		extra => [ '-U', 'postgres', '--locale=C.UTF-8', '--encoding=UTF8' ]);
	%conf = (
		shared_preload_libraries => 'hotswap',
		max_worker_processes => 64,
		max_prepared_transactions => 10,
		max_connections => 100,
		shared_buffers => '32MB',
		# As in production, where a killed worker restarts the others; tests of it need that.
		restart_after_crash => 'on',
		log_statement => 'none',
		log_line_prefix => '%m [%p] %b %q%u@%d %a ',
		%conf);
	$node->append_conf('postgresql.conf', "$_ = '$conf{$_}'\n") for sort keys %conf;
	$node->start;
	push @nodes, $node;
	$node->safe_psql('postgres', 'CREATE EXTENSION hotswap');
	return $node;
}

# wait_for(NODE, DATABASE, QUERY [, EXPECTED]): until the query returns EXPECTED (default "t"), with
# a deadline (PG_TEST_TIMEOUT_DEFAULT seconds, 180 by default).
sub wait_for
{
	my ($node, $db, $query, $expected) = @_;
	my $reached;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	# A psql that the server turns away may be gone before the query has been written to it.
	until (defined($reached = eval { $node->poll_query_until($db, $query, $expected) }))
	{
		die $@ if $@ !~ /Broken pipe/;
	}
	return 1 if $reached;
	fail("waited in vain for: $query");
	diag($node->safe_psql($db, 'SELECT * FROM hotswap.deployments ORDER BY requested_at DESC
		LIMIT 20'));
	return 0;
}

# wait_for_idle_dispatcher(NODE): all that can be done in database "postgres" has been done; its
# dispatcher runs and sleeps.
sub wait_for_idle_dispatcher
{
	my ($node) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return wait_for($node, 'postgres', q(SELECT count(*) = 1 FROM pg_stat_activity a
		JOIN hotswap.workers w USING (pid)
		WHERE w.kind = 'dispatcher' AND a.state = 'idle' AND a.wait_event_type = 'Extension'));
}

# wait_at_gate(NODE, GATE, COUNT): until that many executors wait for an advisory lock.
sub wait_at_gate
{
	my ($node, $gate, $count) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return wait_for($node, 'postgres',
		qq(SELECT count(*) = $count FROM pg_locks JOIN pg_stat_activity USING (pid)
		WHERE locktype = 'advisory' AND objid = $gate AND NOT granted
			AND backend_type = 'hotswap executor'));
}

# status_of(NODE, DEPLOYMENT [, DATABASE])
sub status_of
{
	my ($node, $id, $db) = @_;

	return $node->safe_psql($db // 'postgres',
		"SELECT status FROM hotswap.deployment WHERE id = '$id'");
}

# dispatcher_pid(NODE, DATABASE)
sub dispatcher_pid
{
	my ($node, $db) = @_;

	return $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity
		WHERE backend_type = 'hotswap dispatcher' AND datname = '$db'");
}

# refusal(NODE, SQL [, db => ..., on_error_stop => ..., options => [...]]): what psql has to say of
# SQL that is to be refused; the SQLSTATE is in it.
sub refusal
{
	my ($node, $sql, %param) = @_;
	my ($rc, $out, $err) = $node->psql($param{db} // 'postgres', $sql,
		on_error_stop => $param{on_error_stop} // 1,
		extra_params => [ '-v', 'VERBOSITY=verbose', @{ $param{options} // [] } ]);

	return $err;
}

# check_invariants(NODE, DATABASE): once the work is done, whatever happened on the way, every
# deployment and each of its tasks has ended, nothing is left in the queue, and the audit chain is
# whole.
sub check_invariants
{
	my ($node, $db) = @_;
	my $open = 'SELECT count(*) FROM hotswap.deployment WHERE finished_at IS NULL';

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	subtest 'invariants' => sub {
		plan tests => 4;
		$node->poll_query_until($db, $open, '0');
		is($node->safe_psql($db, $open), '0', 'every deployment has ended');
		is($node->safe_psql($db, q(SELECT deployment_id, status, count(*) FROM hotswap.task
			WHERE status IN ('pending', 'ready', 'running', 'retry_wait', 'reverting')
			GROUP BY 1, 2)), '', 'no task is on its way');
		is($node->safe_psql($db, 'SELECT count(*) FROM hotswap.work_item'), '0',
			'the queue is empty');
		is($node->safe_psql($db, 'SELECT count(*) FROM hotswap.verify_audit()'),
			'0', 'the audit chain is whole');
	};
	return;
}

# The program, or undef where it is not installed.
sub pgbouncer
{
	my ($program) = grep { -x $_ } map { "$_/pgbouncer" } split(/:/, $ENV{PATH}), '/usr/sbin';
	return $program;
}

# start_pooler(NODE): pgbouncer in transaction mode with three connections to the node's database
# "postgres". Returns the run, and where it listens: the folder of the socket, and the port.
sub start_pooler
{
	my ($node) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir_short();
	my $port = PostgreSQL::Test::Cluster::get_free_port();
	append_to_file("$dir/users", qq("postgres" ""\n));
	append_to_file("$dir/ini", sprintf(
		"[databases]\npostgres = host=%s port=%s dbname=postgres\n"
		  . "[pgbouncer]\nlisten_addr =\nlisten_port = %s\nunix_socket_dir = %s\n"
		  . "auth_type = trust\nauth_file = %s/users\npool_mode = transaction\n"
		  . "default_pool_size = 3\nlogfile = %s/log\npidfile = %s/pid\n",
		$node->host, $node->port, $port, $dir, $dir, $dir, $dir));
	my $run = IPC::Run::start([ pgbouncer(), '-q', "$dir/ini" ], '<', \undef, '>', "$dir/out", '2>',
		"$dir/err");
	my $tries = 0;
	until (IPC::Run::run([ 'psql', '-XAtqc', 'SELECT 1', '-h', $dir, '-p', $port, 'postgres' ],
		'<', \undef, '>', '/dev/null', '2>', '/dev/null') || $tries++ == 100)
	{
		select(undef, undef, undef, 0.1);
	}
	return ($run, $dir, $port);
}

# A clean stop instead of Cluster.pm's immediate one: it shows that our workers do not stand in the
# way, and counts what they did when coverage is measured.
END
{
	my $exit_code = $?;

	for my $node (@nodes)
	{
		$node->stop('fast', fail_ok => 1) if defined $node->{_pid};
	}
	$? = $exit_code;
}

1;
