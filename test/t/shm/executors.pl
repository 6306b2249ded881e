# The slots of executors: one that is frozen while it starts, and executors and dispatchers that are
# frozen and sent away at random.
use strict;
use warnings;

use HotswapTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

# Executors come and go, so that there are some in every state.
my $node = hotswap_cluster(
	'executors',
	'hotswap.min_executors' => 0,
	'hotswap.executor_idle_timeout' => '1s',
	'hotswap.retry_base' => '20ms',
	'hotswap.retry_limit' => 10,
	log_min_messages => 'log');
my $start_limit = 30;    # START_LIMIT_MS in src/dispatch/pool.c
my @roles = qw(a b c);

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub pids
{
	my ($kind) = @_;
	return split /\n/, sql("SELECT pid FROM hotswap.workers
		WHERE kind = '$kind' AND pid IS NOT NULL ORDER BY pid");
}

# What every deployment of these leaves behind: its module and version, once on each node.
sub publish
{
	my ($modules, $versions, $script) = @_;
	sql("SELECT hotswap.publish_version(m, v::text,
			format('INSERT INTO done (module, version) VALUES (%L, %L); $script', m, v))
		FROM unnest('{$modules}'::text[]) m, generate_series(1, $versions) v");
	return;
}

sub check_end
{
	my ($name, $modules) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	check_invariants($node, 'postgres');
	is(sql("SELECT string_agg(DISTINCT status::text, ' ') FROM hotswap.deployment
		WHERE module = ANY ('{$modules}')"), 'succeeded', "$name: all deployments succeed");
	is(sql("SELECT count(*) FROM (SELECT FROM in_database WHERE module = ANY ('{$modules}')
		GROUP BY node, module, version HAVING count(*) > 1) twice"), '0', "$name: none twice");
	is(sql("SELECT count(*) FROM in_database WHERE module = ANY ('{$modules}')"),
		sql("SELECT @{[ scalar @roles ]} * count(*) FROM hotswap.deployment
			WHERE module = ANY ('{$modules}')"),
		"$name: each on each node");
	unlike(slurp_file($node->logfile), qr/was terminated by signal (?!9)/,
		"$name: no process has crashed");
	return;
}

sub lost_attempts
{
	my ($modules) = @_;
	return sql("SELECT count(*) FROM hotswap.task t JOIN hotswap.deployment d
			ON d.tenant_id = t.tenant_id AND d.id = t.deployment_id
		WHERE attempt > 1 AND module = ANY ('{$modules}')");
}

for my $role (@roles)
{
	sql("CREATE ROLE $role LOGIN; CREATE SCHEMA $role AUTHORIZATION $role
		CREATE TABLE done (n bigserial, module text, version text);
		ALTER TABLE $role.done OWNER TO $role; ALTER SEQUENCE $role.done_n_seq OWNER TO $role;
		SELECT hotswap.register_node('development', '$role', run_as => '$role',
			schema => '$role')");
}
sql('CREATE VIEW in_database AS ' . join ' UNION ALL ',
	map { "SELECT '$_' AS node, * FROM $_.done" } @roles);

# ---- frozen while it logs in, for longer than a starting executor is waited for ----

publish('early,late', 1, 'SELECT 1');
my $holder = $node->background_psql('postgres');
my $control = $node->background_psql('postgres');
my ($dispatcher) = pids('dispatcher');
$control->query_safe('SELECT count(*) FROM hotswap.workers');

# Given executors that have taken their slots, and cannot log in for a lock.
$holder->query_safe('BEGIN; LOCK TABLE pg_db_role_setting IN ACCESS EXCLUSIVE MODE');
$control->query_safe("SELECT hotswap.deploy('early', '1', 'development')");
my @frozen;
do
{
	# Those that wait in the lock's queue: elsewhere they could be frozen with a lock that all need.
	@frozen = split /\n/, $control->query_safe("SELECT w.pid FROM hotswap.workers w JOIN pg_locks l
			ON l.pid = w.pid AND l.relation = 'pg_db_role_setting'::regclass AND NOT l.granted
		WHERE w.kind = 'executor' AND w.state = 'starting'");
} while (@frozen < @roles);

# When they are frozen and their dispatcher leaves without them,
kill 'STOP', @frozen;
my $began = time;
kill 'TERM', $dispatcher;
do { usleep(10_000) } while (kill 0, $dispatcher);
$holder->query_safe('COMMIT');
$holder->quit;
$control->quit;
wait_for($node, 'postgres', "SELECT count(*) = 1 FROM hotswap.workers
	WHERE kind = 'dispatcher' AND pid <> $dispatcher");

# then their slots stay theirs, and others do the work meanwhile.
my $starting = "SELECT count(*) FROM hotswap.workers
	WHERE state = 'starting' AND pid IN (@{[ join ',', @frozen ]})";
for (my $n = 0; time < $began + $start_limit + 6; $n++)
{
	my $id = sql("SELECT hotswap.publish_version('late', 'n$n',
			'INSERT INTO done (module, version) VALUES (''late'', ''n$n'')') \\g /dev/null
		SELECT hotswap.deploy('late', 'n$n', 'development')");
	die 'work does not go on' if sql("SELECT hotswap.wait('$id', '60 s')") ne 'succeeded';
	last if sql($starting) ne scalar @roles;
	usleep(200_000);
}
is(sql($starting), scalar @roles, 'executors that are frozen while they start keep their slots');

# And when they go on, their tasks are run by others, and no attempt has been lost.
kill 'CONT', @frozen;
check_end('frozen', 'early,late');
is(lost_attempts('early,late'), '0', 'frozen: no attempt is lost');

# ---- at random ----

my $seed = $ENV{HOTSWAP_TEST_SEED} // int(time);
note("HOTSWAP_TEST_SEED=$seed");
srand $seed;

# What is frozen may hold a lock that every other process needs: nothing is asked before it goes on.
sub freeze
{
	my ($usecs, $meanwhile, @pids) = @_;
	kill 'STOP', @pids;
	$meanwhile->();
	usleep($usecs);
	kill 'CONT', @pids;
	return;
}

# The dispatcher, and the launcher, which would take its time to start another one.
my @gone = (0);

sub restart_dispatcher
{
	@gone = @_;
	return kill 'TERM', @gone;
}

sub some { return grep { rand() < 0.5 } @_; }

# One round: work of every role, and a fault in the middle of it.
sub round
{
	my ($module, $round, $fault) = @_;
	sql("SELECT hotswap.deploy('$module', '$round', 'development')");
	my @workers = (pids('dispatcher'), pids('launcher'));
	usleep(int rand 60_000);
	$fault->(\@workers, [ pids('executor') ]);
	# Until there are both again, and others than those that were sent away.
	wait_for($node, 'postgres', "SELECT count(*) = 2 FROM hotswap.workers
		WHERE kind <> 'executor' AND pid NOT IN (@{[ join ',', @gone ]})");
	return;
}

my %harmless = (
	'executors are frozen' => sub { freeze(rand 200_000, sub { }, some(@{ $_[1] })) },
	'the dispatcher is frozen' => sub { freeze(rand 200_000, sub { }, $_[0][0]) },
	'the dispatcher restarts' => sub { restart_dispatcher(@{ $_[0] }) },
	'the dispatcher restarts while executors are frozen' => sub {
		my ($workers, $executors) = @_;
		freeze(rand 300_000, sub { restart_dispatcher(@$workers) }, some(@$executors));
	});
my %harmful = (
	'executors are sent away' => sub { kill 'TERM', some(@{ $_[1] }) },
	'frozen executors are sent away' => sub {
		my ($workers, $executors) = @_;
		my @some = some(@$executors);
		freeze(rand 200_000, sub { kill 'TERM', @some; restart_dispatcher(@$workers) }, @some);
	},
	'an executor is killed' => sub { kill 'KILL', $_[1][0] if @{ $_[1] } });

for my $kind ([ 'harmless', 40, \%harmless ], [ 'harmful', 10, \%harmful ])
{
	my ($module, $rounds, $faults) = @$kind;
	my @names = sort keys %$faults;
	publish($module, $rounds, 'SELECT pg_sleep(0.03)');
	for my $round (1 .. $rounds)
	{
		my $name = $names[ rand @names ];
		note("$module round $round: $name");
		round($module, $round, $faults->{$name});
	}
	check_end($module, $module);
	is(lost_attempts($module), '0', 'no attempt is lost by a freeze or a restart')
	  if $module eq 'harmless';
}

done_testing();
