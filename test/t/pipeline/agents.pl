# A canary over real agents that report what their services do: a good version goes to all of them,
# a bad one goes back because of what was measured, while each service is well by itself.
use strict;
use warnings;

use HotswapAgents;
use HotswapTest;
use Test::More;

my $agents = 12;
my $node = hotswap_cluster('canary', max_connections => 200, 'hotswap.retry_base' => '10ms');

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub deploy
{
	my ($version) = @_;

	sql("SELECT hotswap.publish_artifact('shop', '$version', '$version')");
	return sql("SELECT hotswap.deploy('shop', '$version', 'development')");
}

sub wait_end { return sql("SELECT hotswap.wait('$_[0]', '150 s')"); }

# about one request of a hundred fails, of a bad version four
begin_agents($node);
make_agent($_, 'development', sprintf(q(if grep -q bad current/artifact; then errors=%d;
		else errors=%d; fi; echo "{\"requests\": 1000, \"errors\": $errors}"),
	40 + $_ % 3, 9 + $_ % 3)) for 1 .. $agents;
start_agent($_) for 1 .. $agents;
is(wait_end(deploy('version 1')), 'succeeded', 'all agents run a version');
sql("SELECT hotswap.configure_environment('development', strategy => 'canary'),
	hotswap.configure_rollout('development', first_wave => '3', wave_step => '9', bake => '24 s',
		bake_last => false),
	hotswap.set_health_policy('development', silent_after => '10 min'),
	hotswap.set_analysis_policy('development', looks => 1)");
# Who has reported much less often than the others would not be compared with them.
wait_for($node, 'postgres', "SELECT count(*) = $agents AND min(n) >= 4 AND 2 * min(n) > max(n)
	FROM (SELECT count(*) AS n FROM hotswap.node_metrics WHERE requests > 0 GROUP BY node) r");

my $good = deploy('version 2');
is(wait_end($good), 'succeeded', 'a good version goes on');
is(artifacts(), "$agents version 2", 'to all of them');
is(sql("SELECT string_agg(metric || ' ' || verdict, ', ' ORDER BY metric) FROM hotswap.analyses
	WHERE deployment_id = '$good' AND wave = 1"), 'health pass, errors pass',
	'by what three of them reported, beside the nine others');

my $bad = deploy('bad');
is(wait_end($bad), 'rolled_back', 'a bad one goes back');
is(artifacts(), "$agents version 2", 'on those that had it');
like(sql("SELECT message FROM hotswap.deployments WHERE id = '$bad'"),
	qr/^wave 1 of 2 is worse: errors \+\d+ %.*, more than \d+ %(?:; left out: .*)?$/,
	'because of its errors');
is(sql("SELECT string_agg(action || ' ' || n, ', ' ORDER BY action) FROM (SELECT action,
	count(*) AS n FROM hotswap.tasks WHERE deployment_id = '$bad' AND started_at IS NOT NULL
	GROUP BY 1) t"),
	'activate 3, revert 3', 'no other one has ever run it');

kill_agents();
check_invariants($node, 'postgres');
done_testing();
