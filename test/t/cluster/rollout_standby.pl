# Rollouts whose server is lost in the middle of every kind of wait: the standby that is promoted
# goes on where each was, and nothing is done twice (src/pipeline/waves.c).
use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use HotswapTest;
use PostgreSQL::Test::Cluster;
use Test::More;
use Time::HiRes qw(sleep);

my $node = hotswap_cluster('rollout_primary', streaming => 1, 'hotswap.lock_timeout' => '170s',
	'hotswap.max_executors' => 10, 'hotswap.retry_base' => '50ms');
my $rank = 100;		# of the next environment
my %id;				# deployment of each environment
my @agents;

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub make_environment
{
	my ($name, $nodes, $strategy, $rollout) = @_;

	$rank++;
	sql("SELECT hotswap.configure_environment('$name', $rank, may_skip_environments => true,
			strategy => '$strategy');
		SELECT hotswap.configure_rollout('$name', $rollout)");
	sql(join '', map { "CREATE SCHEMA ${name}_$_; SELECT hotswap.register_node(
		'$name', '${name}_$_', schema => '${name}_$_');" } 1 .. $nodes);
	return;
}

sub deploy
{
	my ($environment, $module) = @_;

	$module //= 'm';
	$id{$environment} = sql("SELECT hotswap.deploy('$module', '1', '$environment',
		only_target => true)");
	return;
}

sub rollout { return sql("SELECT $_[1] FROM hotswap.rollouts WHERE deployment_id = '$id{$_[0]}'"); }

sub wait_rollout
{
	my ($environment, $condition) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return wait_for($node, 'postgres', "SELECT count(*) = 1 FROM hotswap.rollouts
		JOIN hotswap.deployments d ON d.id = deployment_id
		WHERE deployment_id = '$id{$environment}' AND $condition");
}

sub status { return status_of($node, $id{ $_[0] }); }
sub wait_end { return sql("SELECT hotswap.wait('$id{$_[0]}', '60 s')"); }

# What the scripts of an environment's nodes have written.
sub log_of
{
	return sql("SELECT string_agg(what || ' ' || n, ', ' ORDER BY what) FROM (SELECT what,
		count(*) || CASE WHEN count(*) > count(DISTINCT node) THEN ' more than once' ELSE '' END
		AS n FROM public.log WHERE node LIKE '$_[0]%' GROUP BY what) l");
}

# All nodes of an environment report, as often as they may.
sub report
{
	my ($environment, $cpu) = @_;

	wait_for($node, 'postgres', "SELECT count(*) = 0 FROM hotswap.node_metrics
		WHERE at > clock_timestamp() - interval '1 s'");
	sql("SELECT hotswap.heartbeat(id, cpu => $cpu) FROM (SELECT DISTINCT id, name
		FROM hotswap.nodes WHERE environment = '$environment') n");
	return;
}

sub claim { return split /\|/, sql("SELECT task, token FROM hotswap.claim_tasks('$_[0]')"); }

# Each does what it is told.
sub agents_work
{
	sql("SELECT hotswap.complete_task(c.task, c.token, true, c.digest)
		FROM unnest('{$agents[0], $agents[1]}'::uuid[]) n
			CROSS JOIN LATERAL hotswap.claim_tasks(n) c");
	sleep 0.1;
	return;
}

# ---- every kind of wait ----

sql(q(CREATE TABLE public.log (node text, what text);
	SELECT hotswap.publish_version('m', '1',
		'INSERT INTO public.log VALUES (current_schema, ''swap'')',
		revert_sql => 'SELECT pg_advisory_xact_lock(4711);
			INSERT INTO public.log VALUES (current_schema, ''revert'')')));
make_environment('bakes', 4, 'rolling', "bake => '1 h'");
make_environment('baked', 4, 'rolling', "bake => '1 h'");
make_environment('paused', 4, 'rolling', "bake => '1 h'");
make_environment('asked', 4, 'canary', "first_wave => '2', bake => '0'");
sql("SELECT hotswap.set_analysis_policy('asked', require_metrics => true)");
make_environment('failed', 4, 'canary', "first_wave => '4', bake => '1 h'");
sql("SELECT hotswap.set_health_policy('failed', max_cpu => 50)");
make_environment('sick', 4, 'blue_green', "health_timeout => '1 h', bake => '0'");
make_environment('leased', 0, 'direct', "bake => '0'");
sql(q(CREATE ROLE agent LOGIN; SELECT hotswap.publish_artifact('web', '1', 'one');
	SELECT hotswap.configure_agents('leased', lease => '1 h')));
@agents = map { sql("SELECT hotswap.register_node('leased', 'agent$_', 'agent', 'agent',
	shared_role => true)") } 1, 2;
my $standby = PostgreSQL::Test::Cluster->new('rollout_standby');
$node->backup('backup');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;

# an agent whose lease ends before anybody is there, and one whose lease does not
deploy('leased', 'web');
wait_for($node, 'postgres', "SELECT count(*) = 2 FROM hotswap.tasks
	WHERE deployment_id = '$id{leased}' AND status = 'running'");
my ($kept, $token) = claim($agents[0]);
my ($lost, $stale) = claim($agents[1]);

# a gate that nobody answers
deploy('asked');
wait_rollout('asked', "status = 'paused'");

# one that has failed, of which nothing is taken back yet
my $holder = $node->background_psql('postgres');
$holder->query_safe('SELECT pg_advisory_lock(4711)');
report('failed', 10);
deploy('failed');
wait_rollout('failed', 'bake_until IS NOT NULL');
report('failed', 99);
sql("SELECT hotswap.promote('$id{failed}', 'it has baked for long enough')");
wait_at_gate($node, 4711, 4);

# nodes that have to be healthy before they are switched
report('sick', "CASE name WHEN 'sick_3' THEN 99 ELSE 10 END");
deploy('sick');
wait_for($node, 'postgres', "SELECT count(*) = 4 FROM hotswap.tasks
	WHERE deployment_id = '$id{sick}' AND kind = 'prepare' AND status = 'succeeded'");

# a bake that is paused by a person, one that goes on, and one that ends meanwhile
deploy($_) for qw(paused bakes baked);
wait_rollout($_, 'bake_until IS NOT NULL') for qw(paused bakes baked);
sql("SELECT hotswap.pause('$id{paused}', 'lunch')");
wait_rollout('paused', "status = 'paused'");
sql("SELECT hotswap.configure_agents('leased', lease => '5 s');
	SELECT hotswap.extend_task('$lost', '$stale')");
my @same = (
	[ bakes => 'bake_until' ],
	[ paused => 'bake_left' ],
	[ asked => 'wave' ],
	[ failed => 'gate' ]);
my %before = map { $_->[0] => rollout(@$_) } @same;
my $pauses = 'SELECT deployment_id, kind, reason, ends_at FROM hotswap.pauses ORDER BY 1';
my $verdicts = 'SELECT * FROM hotswap.analyses ORDER BY deployment_id, at, metric';
my %rows = map { $_ => sql($_) } $pauses, $verdicts;
wait_for_idle_dispatcher($node);

# ---- the server is lost ----

# time is moved: nobody is there when it ends
sql("UPDATE hotswap.rollout SET bake_until = clock_timestamp() WHERE deployment_id = '$id{baked}';
	UPDATE hotswap.work_item SET due_at = clock_timestamp()
	WHERE deployment_id = '$id{baked}'");
$node->wait_for_catchup($standby);
$node->stop('immediate');
$holder->quit;
$node = $standby;
is(rollout('baked', "wave = 1 AND bake_until < clock_timestamp()"), 't', 'a bake has ended');
$node->promote;
wait_for_idle_dispatcher($node);

# ---- each goes on where it was ----

is(wait_end('baked'), 'succeeded', 'it ends at once');
is(sql("SELECT count(*) FROM hotswap.audit_log
	WHERE event = 'rollout.bake' AND subject_id = '$id{baked}'"), '1', 'and has not begun again');
is(log_of('baked'), 'swap 4', 'each node is swapped once');

is(rollout(@$_), $before{ $_->[0] }, "$_->[0]: $_->[1] is what it was") for @same;
is(sql($pauses), $rows{$pauses}, 'pauses are what they were');
is(status('bakes'), 'running', 'a bake goes on');
is(status('paused'), 'paused', 'what was paused is so');
sql("SELECT hotswap.resume('$id{paused}', 'back')");
wait_rollout('paused', 'bake_until IS NOT NULL AND wave = 1');
is(rollout('paused', "bake_until > clock_timestamp() + '50 min'"), 't', 'and has the rest to bake');
for my $environment (qw(bakes paused))
{
	sql("SELECT hotswap.promote('$id{$environment}', 'x')");
	is(wait_end($environment), 'succeeded', "$environment: it goes on");
	is(log_of($environment), 'swap 4', 'each node is swapped once');
}

is(status('asked'), 'paused', 'a gate that nobody answered waits');
sql("SELECT hotswap.promote('$id{asked}', 'I have looked', full => true)");
is(wait_end('asked'), 'succeeded', 'for a person');
is(log_of('asked'), 'swap 4', 'each node is swapped once');

is(wait_end('failed'), 'rolled_back', 'what a gate has found goes back');
like(sql("SELECT message FROM hotswap.deployments WHERE id = '$id{failed}'"),
	qr/^wave 1 of 1 is worse: node "failed_\d" is unhealthy: CPU is at 54/, 'by its verdict');
is(sql($verdicts), $rows{$verdicts}, 'no verdict is lost, and none is made again');
is(log_of('failed'), 'revert 4, swap 4', 'each node goes back once');

is(status('sick'), 'running', 'nodes have to be healthy still');
is(rollout('sick', 'wave'), '0', 'and none is switched');
report('sick', 10);
is(wait_end('sick'), 'succeeded', 'they are now');
is(log_of('sick'), 'swap 4', 'each node is swapped once');
is(sql("SELECT DISTINCT attempt FROM hotswap.tasks WHERE deployment_id = '$id{sick}'"), '1',
	'and was prepared once');

my $digest = sha256_hex('one');
is(sql("SELECT hotswap.complete_task('$kept', '$token', true, '$digest')"), 'succeeded',
	'a lease holds that was given before');
sql("SELECT hotswap.configure_agents('leased', lease => '1 h')");
wait_for($node, 'postgres', "SELECT attempt = 2 AND status = 'running' FROM hotswap.tasks
	WHERE deployment_id = '$id{leased}' AND node = 'agent2'");
like(refusal($node, "SELECT hotswap.complete_task('$lost', '$stale', true, '$digest')"), qr/YH002/,
	'one that has run out does not');
my ($again, $newer) = claim($agents[1]);
cmp_ok((split /-/, $newer)[0], '>', (split /-/, $stale)[0], 'the next token is larger');
sql("SELECT hotswap.complete_task('$again', '$newer', true, '$digest')");
agents_work() until status('leased') ne 'running';
is(status('leased'), 'succeeded', 'the agents go on');
is(sql(q(SELECT count(*) FROM hotswap.node_module WHERE module = 'web')), '2',
	'each node is switched once');

check_invariants($node, 'postgres');
$node->stop('fast');
done_testing();
