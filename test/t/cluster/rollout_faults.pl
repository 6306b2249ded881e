# Faults in the middle of rollouts, in a random order: processes die, the server stops, agents fall
# silent, nodes are removed, and people pause, resume, promote, skip and cancel. Nothing is swapped
# twice, no wave overtakes another one, and the registry is what happened on the nodes.
#
# FAULTS=n: how many (200). FAULT_SEED=n: the random numbers of an earlier run, which prints its
# seed. FAULTS_VERBOSE=1: tells of each.
use strict;
use warnings;

use HotswapClient;
use HotswapFaults;
use HotswapLedger;
use HotswapTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $faults = $ENV{FAULTS} || 200;
# More than a visit reads at once (FEW_TASKS of src/pipeline/task_set.c).
my $nodes = 18;
my $agents = 5;
my $versions = 12;
my $node = hotswap_cluster(
	'rollout_faults',
	log_line_prefix => '%m [%p] %b %e %q%u@%d %a ',
	'hotswap.cancel_grace' => '500ms',
	'hotswap.lock_timeout' => '300ms',
	'hotswap.retry_base' => '20ms',
	'hotswap.retry_limit' => 6,
	'hotswap.retry_max_delay' => '200ms');
my $seed = begin_faults($node, $ENV{FAULT_SEED});
note("FAULTS=$faults FAULT_SEED=$seed");
my $tenant;
my @clients;
my %count;

sub sql { return $node->safe_psql('postgres', $_[0]); }

# ---- what is rolled out ----

my @kinds = (
	(sub { () }) x 5,
	sub { (deploy => 'SELECT pg_sleep(0.05)') },
	# On one node of many: the others go back.
	sub { (deploy => q(DO $$BEGIN IF current_schema ~ '7$' THEN RAISE 'no'; END IF; END$$)) },
	# Transient, in every third attempt.
	sub { (deploy => q(DO $$BEGIN IF random() < 0.3 THEN
		RAISE 'again' USING ERRCODE = '40001'; END IF; END$$)) });

sub prepare
{
	sql("SELECT hotswap.configure_environment('development', strategy => 'rolling'),
		hotswap.configure_environment('field', 9, may_skip_environments => true,
			strategy => 'canary'),
		hotswap.configure_agents('field', lease => '1 s', attempts => 9)");
	$tenant = sql('SELECT id FROM hotswap.tenant');
	sql('CREATE ROLE owner LOGIN; CREATE ROLE agent LOGIN;
		CREATE TABLE agent (node uuid);
		CREATE TABLE content (n bigserial, node uuid, version text)');
	ledger_node($node, "n$_", 'owner', 'development', $tenant) for 1 .. $nodes;
	sql(join '', map { publish_booked('m', $_, $tenant, pick(@kinds)->()) } 1 .. $versions);
	sql("INSERT INTO agent SELECT hotswap.register_node('field', 'a' || i, 'agent', 'agent',
			shared_role => true) FROM generate_series(1, $agents) i;
		SELECT hotswap.publish_artifact('web', v::text, convert_to(v::text, 'UTF8'))
		FROM generate_series(1, $versions) v");
	configure();
	return;
}

# How the next rollouts go.
sub configure
{
	request(sprintf q(SELECT hotswap.configure_rollout('%s', first_wave => '%s', wave_step => '%s',
		first_bake => '%s ms', bake => '%s ms')),
		pick('development', 'field'), pick('1', '3', '20%'), pick('2', '5', '40%'),
		pick(0, 100, 1000), pick(0, 50, 200));
	request(sprintf q(SELECT hotswap.configure_environment('development', strategy => '%s',
		max_failed => '%s')), pick('rolling', 'canary', 'direct'), pick('off', '2', '30%'));
	return;
}

# ---- people and agents ----

sub request
{
	my ($sql) = @_;

	push @clients, HotswapClient->new($node, $sql);
	return;
}

# What they are told does not matter, as long as it makes sense.
sub read_clients
{
	my @busy;

	for my $client (@clients)
	{
		if (!$client->answered) { push @busy, $client; next; }
		my $error = $client->{error} // '';
		fail("$client->{sql}: $error $client->{message}") if $error =~ /^(XX|22|42|P0)/;
		$client->vanish;
	}
	@clients = @busy;
	return;
}

# turn(VERB, more arguments): of a deployment that has not ended.
sub turn
{
	my ($verb, $more) = @_;
	request("SELECT hotswap.$verb(id, 'a fault'" . ($more // '') . ") FROM hotswap.deployment
		WHERE finished_at IS NULL AND status IN ('running', 'paused') ORDER BY random() LIMIT 1");
	return;
}

sub new_deployment
{
	my ($module, $environment) = @{ pick([ 'm', 'development' ], [ 'web', 'field' ]) };

	request(sprintf q(SELECT hotswap.deploy('%s', '%d', '%s', only_target => true)
		WHERE (SELECT count(*) FROM hotswap.work_item) < 6),
		$module, 1 + int rand $versions, $environment);
	return;
}

# Each does what it is told, and writes down what it runs now; or it dies when it has claimed.
sub agents_work
{
	my ($share) = @_;
	request("WITH c AS (SELECT a.node, t.* FROM agent a
			CROSS JOIN LATERAL hotswap.claim_tasks(a.node) t WHERE random() < $share),
		done AS (SELECT c.node, c.action, c.version,
			hotswap.complete_task(c.task, c.token, true, c.digest) FROM c)
		INSERT INTO content (node, version) SELECT node, version FROM done
			WHERE action <> 'verify'");
	return;
}

sub remove_node
{
	request("SELECT hotswap.remove_node(id) FROM hotswap.node WHERE removed_at IS NULL
		AND kind = 'database' AND (SELECT count(*) FROM hotswap.node WHERE removed_at IS NULL
			AND kind = 'database') > $nodes / 2 ORDER BY random() LIMIT 1");
	return;
}

# ---- the run ----

my @faults = (
	[ 2, executor_killed => sub { crash(worker('executor')) } ],
	[ 2, dispatcher_killed => sub { crash(worker('dispatcher')) } ],
	[ 1, immediate_stop => sub { $node->stop('immediate'); $node->start } ],
	[ 1, restart => sub { $node->restart } ],
	[ 8, executor_terminated => sub { signal('pg_terminate_backend', worker('executor')) } ],
	[ 8, dispatcher_terminated => sub { signal('pg_terminate_backend', worker('dispatcher')) } ],
	[ 6, cancelled => sub { turn('cancel') } ],
	[ 10, paused => sub { turn('pause') } ],
	[ 14, resumed => sub { turn('resume') } ],
	[ 10, promoted => sub { turn('promote') } ],
	[ 4, hurried => sub { turn('promote', ', true') } ],
	[ 6, node_skipped => sub { request(q(
		SELECT hotswap.skip_node(deployment_id, node_id, 'a fault') FROM hotswap.task
		WHERE status = 'pending' AND kind = 'swap' ORDER BY random() LIMIT 1)) } ],
	[ 4, node_removed => \&remove_node ],
	[ 8, agent_dies => sub { request('SELECT t.task FROM agent a
		CROSS JOIN LATERAL hotswap.claim_tasks(a.node) t WHERE random() < 0.5') } ],
	[ 8, configured => \&configure ]);
my @lots = map { ($_) x $_->[0] } @faults;

sub storm
{
	for my $number (1 .. $faults)
	{
		my $fault = pick(@lots);

		note("$number: $fault->[1]") if $ENV{FAULTS_VERBOSE};
		$count{ $fault->[1] }++;
		$fault->[2]->();
		new_deployment();
		agents_work(0.7);
		select undef, undef, undef, rand(0.1);
		read_clients();
	}
	return;
}

# Nobody disturbs any more, and what was begun ends.
sub calm
{
	my $start = time;

	until ((ask('SELECT count(*) = 0 FROM hotswap.deployment WHERE finished_at IS NULL')->value
		// '') eq 't')
	{
		last if time - $start > $PostgreSQL::Test::Utils::timeout_default;
		turn('resume');
		turn('promote', ', true');
		agents_work(1);
		select undef, undef, undef, 0.05;
		read_clients();
	}
	$_->finish for @clients;
	read_clients();
	return;
}

# ---- what must be so ----

sub check_rollouts
{
	is(sql(q(SELECT r.deployment_id, r.nodes_done, count(*) FROM hotswap.rollouts r
		JOIN hotswap.task t USING (tenant_id, deployment_id, stage)
		JOIN hotswap.deployment d ON d.id = deployment_id
		WHERE t.kind = 'swap' AND t.steps > 0 AND d.status = 'succeeded'
		GROUP BY 1, 2, r.nodes HAVING r.nodes <> count(*)
			OR r.nodes_done <> count(*) FILTER (WHERE t.status = 'succeeded'))), '',
		'the progress is what the tasks are');
	is(sql(q(SELECT t.deployment_id, t.wave, u.wave FROM hotswap.task t
		JOIN hotswap.task u USING (tenant_id, deployment_id, stage)
		WHERE t.kind = 'swap' AND u.kind = 'swap' AND t.wave < u.wave
			AND t.status = 'succeeded' AND u.status = 'succeeded'
			AND t.finished_at > u.started_at LIMIT 5)), '', 'no wave overtook another one');
	is(sql(q(WITH s AS (SELECT n.environment, m.deployment_id,
				m.deployment_id IS DISTINCT FROM lag(m.deployment_id)
					OVER (PARTITION BY n.environment, m.module ORDER BY m.swap) AS is_first
			FROM hotswap.node_module m JOIN hotswap.node n ON n.id = m.node_id)
		SELECT deployment_id, count(*) FROM s WHERE is_first GROUP BY 1 HAVING count(*) > 1)), '',
		'no two rollouts of a module were interleaved');
	is(sql(q(WITH r AS (SELECT DISTINCT ON (node_id) node_id, version FROM hotswap.node_module
			WHERE module = 'web' ORDER BY node_id, swap DESC),
		c AS (SELECT DISTINCT ON (node) node AS node_id, version FROM content
			ORDER BY node, n DESC)
		SELECT node_id, r.version, c.version FROM r FULL JOIN c USING (node_id)
		WHERE r.version IS DISTINCT FROM c.version)), '', 'the agents run what the registry says');
	is(sql(q(SELECT d.id, d.status FROM hotswap.deployment d WHERE d.cancel_requested_at IS NOT NULL
		AND d.status NOT IN ('cancelled', 'rolled_back', 'rollback_failed'))), '',
		'what was cancelled did not go on to its end');
	is(sql('SELECT count(*) FROM hotswap.pause'), '0', 'no pause is left');
	return;
}

my $begin = time;
prepare();
storm();
note(sprintf '%d crashes, storm over after %.1f s', crashes(), time - $begin);
note(join ', ', map { "$_ $count{$_}" } sort keys %count);
calm();
note(sprintf 'calm after %.1f s', time - $begin);
note(sql('SELECT status, count(*) FROM hotswap.deployment GROUP BY 1 ORDER BY 1'));
check_invariants($node, 'postgres');
check_ledgers($node);
check_rollouts();
check_log();
is(sql('SELECT count(*) > 0 FROM hotswap.rollouts WHERE wave > 1'), 't', 'there were rollouts');
ok(Test::More->builder->is_passing, "all is well (FAULT_SEED=$seed repeats it)");
done_testing();
