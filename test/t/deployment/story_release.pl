# 40 modules that are released together, from the first release to the hotfix and back: the second
# one changes two modules, and its executor is killed in the middle; in the third one a module does
# not fit a node, and all go back.
use strict;
use warnings;

use HotswapTest;
use Test::More;

my $modules = 40;
my @nodes = qw(p1 p2 p3);
my $node = hotswap_cluster('release');

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub name { return sprintf 'm%02d', $_[0]; }

# publish(MODULE, VERSION, PARENTS [, REQUIRES [, SCRIPT [, VERIFY]]]): a version that writes its
# name to the log of its node
sub publish
{
	my ($module, $version, $parents, $requires, $script, $verify) = @_;
	my $what = "$module=$version";

	sql(sprintf q(SELECT hotswap.publish_version('%s', '%s', $$INSERT INTO log VALUES ('%s'); %s$$,
		%s, $$INSERT INTO log VALUES ('-%s')$$, parents => '{%s}', requires => '{%s}')),
		$module, $version, $what, $script // '',
		defined $verify ? "\$\$$verify\$\$" : 'NULL', $what, $parents, $requires // '');
	return;
}

# release(NAME, MODULE => VERSION ...): all modules, the others at version 1
sub release
{
	my ($name, %version) = @_;
	my $list = join ',', map { name($_) . '=' . ($version{ name($_) } // '1') } 1 .. $modules;

	sql("SELECT hotswap.publish_release('$name', '{$list}')");
	return;
}

# approved(NAME): deploys a release, with the approval that production needs
sub approved
{
	my ($release) = @_;
	my $id = sql("SELECT hotswap.deploy_release('$release', 'production')");

	sql("SELECT hotswap.approve('$id')");
	return $id;
}

sub ended { return sql("CALL hotswap.await('$_[0]', '120 s', NULL)"); }

# What the nodes of production have done, each in its order, from an entry of their logs on.
sub done
{
	my ($from) = @_;

	return sql(join ' UNION ALL ', map {
		"SELECT '$_: ' || coalesce(string_agg(what, ' ' ORDER BY n), '')
			FROM $_.log WHERE n > $from"
	} @nodes);
}

# What differs from version 1 on the nodes of production.
sub running
{
	return sql(q(SELECT string_agg(DISTINCT v, '; ') FROM (SELECT string_agg(
			module || '=' || version, ' ' ORDER BY module) AS v FROM hotswap.nodes
		WHERE environment = 'production' AND version <> '1' GROUP BY name) n));
}

sub everywhere
{
	my ($steps) = @_;

	return join "\n", map { "$_: $steps" } @nodes;
}

sql(qq(SELECT hotswap.set_approval_policy('production', 1, allow_self_approval => true);
	CREATE SCHEMA $_ CREATE TABLE log (what text, n serial, xid xid8 DEFAULT pg_current_xact_id());
	SELECT hotswap.register_node('@{[ $_ eq 'd' ? 'development' : 'production' ]}', '$_',
		schema => '$_'))) for 'd', @nodes;

# ---- the first release: each module requires the one behind it ----

publish(name($_), '1', '', $_ < $modules ? name($_ + 1) . '>=1' : '') for 1 .. $modules;
release('r1');
my $first = approved('r1');
is(ended($first), 'succeeded', 'the first release');
is(sql("SELECT string_agg(DISTINCT module || version, ' ') FROM hotswap.approvals"),
	sql("SELECT 'r1' || digest FROM hotswap.releases WHERE name = 'r1'"), 'has one approval');
is(sql("SELECT jsonb_array_length(steps) FROM hotswap.approvals WHERE deployment_id = '$first'"),
	$modules, 'about everything');
is(sql("SELECT count(*) FROM hotswap.tasks WHERE deployment_id = '$first' AND kind = 'swap'"), 4,
	'a swap for each node');
is(done(0), everywhere(join ' ', map { name($_) . '=1' } reverse 1 .. $modules),
	'in the order of what they require');
is(sql("SELECT string_agg(x::text, ' ') FROM (SELECT count(DISTINCT m.xmin::text) AS x
	FROM hotswap.node_module m WHERE deployment_id = '$first' GROUP BY node_id) c"), '1 1 1 1',
	'in one transaction a node');

# ---- the second one lists 40 and changes two; the executor dies in the middle ----

publish('m23', '2', '1', 'm07>=2', q(SELECT CASE current_schema WHEN 'p2' THEN
	pg_advisory_xact_lock_shared(1) END;));
publish('m07', '2', '1');
release('r2', m07 => '2', m23 => '2');
is(sql("SELECT string_agg(node || ' ' || step_module || '=' || step_version, ', '
	ORDER BY node, step) FROM hotswap.preview_release('r2', 'production')"),
	join(', ', map { "$_ m07=2, $_ m23=2" } 'd', @nodes), 'two are previewed');
my $gate = $node->background_psql('postgres', on_error_stop => 1);
$gate->query_safe('SELECT pg_advisory_lock(1)');
my $second = approved('r2');
wait_at_gate($node, 1, 1);
is(sql(q(SELECT count(*) FROM p2.log WHERE what = 'm07=2')), 0, 'half a release is not to be seen');
# a commit puts those before it on disk: the start of the task
sql(q(SELECT pg_logical_emit_message(true, 'test', 'on disk')));
kill 'KILL', sql(q(SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = 1
	AND NOT granted)) or die 'no executor';
eval { $gate->quit };
wait_for($node, 'postgres', 'SELECT true');
is(ended($second), 'succeeded', 'a killed executor is no failure');
is(done($modules), everywhere('m07=2 m23=2'), 'each script has run once')
  or diag(sql("SELECT * FROM hotswap.tasks WHERE deployment_id = '$second'"));
is(running(), 'm07=2 m23=2', 'all nodes run it');
is(sql("SELECT max(attempt) FROM hotswap.tasks WHERE deployment_id = '$second'"), 2,
	'at the second attempt');

# ---- the third one: a module does not fit one node ----

publish('m10', '2', '1');
publish('m30', '2', '1', '', '', q(SELECT current_schema <> 'p3'));
release('r3', m07 => '2', m10 => '2', m23 => '2', m30 => '2');
my $third = approved('r3');
is(ended($third), 'rolled_back', 'one bad module');
is(running(), 'm07=2 m23=2', 'takes everything back');
is(sql("SELECT string_agg(what, ' ' ORDER BY n) FROM p3.log WHERE what LIKE '%m10=2%'"), '',
	'on the node where it failed there is nothing of it');
like(sql("SELECT string_agg(what, ' ' ORDER BY n) FROM p1.log WHERE what LIKE '%m_0=2'"),
	qr/^(m10=2 m30=2 -m30=2 -m10=2)?$/, 'where both ran they have gone back in reverse');
is(sql("SELECT string_agg(node || ' ' || step, ',') FROM hotswap.tasks
	WHERE deployment_id = '$third' AND status = 'failed'"), 'p3 m30=2', 'it is said which it was');
is(sql("SELECT string_agg(DISTINCT m.module || m.version, ' ') FROM hotswap.nodes m
	WHERE name = 'd' AND version <> '1'"), 'm072 m102 m232 m302', 'development has gone on');

# ---- the hotfix, past development ----

publish('m30', '1.1', '1');
release('r3.1', m07 => '2', m10 => '2', m23 => '2', m30 => '1.1');
my $hotfix = approved('r3.1');
is(ended($hotfix), 'succeeded', 'the hotfix');
is(running(), 'm07=2 m10=2 m23=2 m30=1.1', 'comes to production');
is(sql("SELECT version FROM hotswap.nodes WHERE name = 'd' AND module = 'm30'"), 2,
	'past development');

# ---- back ----

my $back = sql("SELECT hotswap.rollback('$hotfix', 'back to the second release')");
is(ended($back), 'succeeded', 'the hotfix is rolled back');
is(running(), 'm07=2 m23=2', 'to the second release');
is(sql(q(SELECT string_agg(module || '=' || version, ' ' ORDER BY module)
	FROM hotswap.held_versions)), 'm10=2 m30=1.1', 'and held');
my $again = sql("SELECT hotswap.deploy_release('r3.1', 'production', reapply => true)");
sql("SELECT hotswap.approve('$again')");
is(ended($again), 'succeeded', 'until it is wanted again');
is(running(), 'm07=2 m10=2 m23=2 m30=1.1', 'by all');
check_invariants($node, 'postgres');
done_testing();
