# A canary by callers while it is called: each transaction has one version, a crash in the bake
# changes nobody's share, and what fails to verify later takes it back (src/pipeline/waves.c).
use strict;
use warnings;

use HotswapTest;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = hotswap_cluster('callers', 'hotswap.retry_base' => '50ms');

sub sql { return $node->safe_psql('postgres', $_[0]); }

# Two functions: who gets one of each version says so.
sub publish
{
	my ($version, $verify) = @_;

	return sql(qq(SELECT hotswap.publish_version('m', '$version', string_agg(format(
		'CREATE OR REPLACE FUNCTION f%s() RETURNS int LANGUAGE plpgsql AS'
		' ''BEGIN RETURN $version; END''', i), ';'), '$verify') FROM generate_series(1, 2) i));
}

sub deploy { return sql("SELECT hotswap.deploy('m', '$_[0]', 'development')"); }

sub shares
{
	return sql("SELECT string_agg(version || ' ' || share, ', ' ORDER BY version)
		FROM hotswap.routes WHERE share > 0");
}

sql(q(
	CREATE ROLE app LOGIN;
	CREATE SCHEMA app AUTHORIZATION app;
	CREATE TABLE switch (fails boolean);
	INSERT INTO switch VALUES (false);
	CREATE TABLE seen (version int);
	GRANT ALL ON switch, seen TO PUBLIC;
	SELECT hotswap.register_node('development', 'app', run_as => 'app', schema => 'app');
	SELECT hotswap.configure_module('m', routed => true);
	SELECT hotswap.configure_environment('development', strategy => 'canary');
	SELECT hotswap.configure_rollout('development', canary_by => 'callers', first_wave => '50%',
		wave_step => '50%', bake => '0')));
publish($_, 'SELECT 1') for 1 .. 3;
is(sql("SELECT hotswap.wait('" . deploy(1) . "', '60 s')"), 'succeeded', 'a first version');
sql("SELECT hotswap.configure_rollout('development', bake => '1 h')");

# Clients that call both functions in a transaction, each with a key of its own.
my $script = $node->basedir . '/calls.sql';
append_to_file($script, q(\set key random(1, 1000)
BEGIN;
SET LOCAL hotswap.route_key = :key;
SELECT app.f1() AS first \gset
SELECT app.f2() AS second \gset
INSERT INTO seen VALUES (CASE WHEN :first = :second THEN :first ELSE -1 END);
END;
));
my ($out, $err);
my $calls = IPC::Run::start([ 'pgbench', '-n', '-c', 4, '-T', 600, '-f', $script,
		$node->connstr('postgres') ], '<', \undef, '>', \$out, '2>', \$err);

my $id = deploy(2);
wait_for($node, 'postgres', "SELECT bake_until IS NOT NULL FROM hotswap.rollouts
	WHERE deployment_id = '$id'");
is(shares(), '1 5000, 2 5000', 'half of the callers');
wait_for($node, 'postgres', 'SELECT count(DISTINCT version) = 2 FROM seen');
sql("SELECT hotswap.promote('$id', 'x')");
wait_for($node, 'postgres', "SELECT count(*) = 1 FROM hotswap.routes WHERE share = 10000
	AND version = '2'");
sql("SELECT hotswap.promote('$id', 'x')");
is(sql("SELECT hotswap.wait('$id', '60 s')"), 'succeeded', 'all of them');

# A verify script that fails takes the share back: in the validation at the end.
publish(4, 'SELECT 1 / (NOT fails)::int FROM public.switch');
$id = deploy(4);
wait_for($node, 'postgres', "SELECT bake_until IS NOT NULL FROM hotswap.rollouts
	WHERE deployment_id = '$id'");
is(shares(), '2 5000, 4 5000', 'another one');
sql("UPDATE switch SET fails = true; SELECT hotswap.promote('$id', 'x', true)");
is(sql("SELECT hotswap.wait('$id', '60 s')"), 'rolled_back',
	'does not stand its last verification');
is(shares(), '2 10000', 'and is taken back');

$calls->signal('INT');
$calls->finish;
is(sql('SELECT count(*) FROM seen WHERE version = -1'), 0, 'nobody has seen two versions');
unlike($err, qr/ERROR/, 'nor an error');
is(sql('SELECT count(*) > 100 FROM seen'), 't', 'of many');

# kill -9 in the bake.
$id = deploy(3);
wait_for($node, 'postgres', "SELECT bake_until IS NOT NULL FROM hotswap.rollouts
	WHERE deployment_id = '$id'");
my $pid = dispatcher_pid($node, 'postgres');
kill 'KILL', $pid;
wait_for($node, 'postgres', "SELECT count(*) = 1 AND bool_and(pid <> $pid)
	FROM pg_stat_activity WHERE backend_type = 'hotswap dispatcher'");
wait_for_idle_dispatcher($node);
is(shares(), '2 5000, 3 5000', 'the server crashes in the bake: shares are as they were');
sql("SELECT hotswap.promote('$id', 'x', true)");
is(sql("SELECT hotswap.wait('$id', '60 s')"), 'succeeded', 'it goes on');
is(shares(), '3 10000', 'to the end');
is(sql("SELECT string_agg(share::text, ' ' ORDER BY epoch) FROM hotswap.route
	WHERE deployment_id = '$id'"), '5000 10000', 'each share was given once');
check_invariants($node, 'postgres');
done_testing();
