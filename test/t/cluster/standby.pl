# A standby runs nothing, says so, and goes on with the work when it is promoted in the middle of
# it.
use strict;
use warnings;

use HotswapTest;
use PostgreSQL::Test::Cluster;
use Test::More;

my $primary = hotswap_cluster('primary', streaming => 1, 'hotswap.lock_timeout' => '170s',
	'hotswap.retry_base' => '50ms');

sub on_primary { return $primary->safe_psql('postgres', $_[0]); }

on_primary(q(CREATE ROLE app LOGIN; CREATE SCHEMA app AUTHORIZATION app;
	SELECT hotswap.register_node('development', 'n', run_as => 'app', schema => 'app');
	SELECT hotswap.publish_version('m', '1',
		'CREATE TABLE made (); SELECT pg_advisory_xact_lock(4711)');
	SELECT hotswap.publish_version('m', '2', 'CREATE TABLE made_too ()')));
$primary->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->start;

# One runs, one waits behind it.
my $holder = $primary->background_psql('postgres');
$holder->query_safe('SELECT pg_advisory_lock(4711)');
my $first = on_primary(q(SELECT hotswap.deploy('m', '1', 'development')));
my $second = on_primary(q(SELECT hotswap.deploy('m', '2', 'development')));
wait_for($primary, 'postgres', q(SELECT count(*) = 1 FROM pg_locks
	WHERE locktype = 'advisory' AND objid = 4711 AND NOT granted));
$holder->query_safe(q(SELECT set_config('test.token', hotswap.acquire_lock('lock')::text, false)));
my %token = (
	lock => $holder->query_safe(q(SELECT current_setting('test.token'))),
	lease => on_primary(q(SELECT hotswap.lease_lock('lease', '1 hour'))));
$primary->wait_for_catchup($standby);

is($standby->safe_psql('postgres', q(SELECT count(*) FROM hotswap.workers)), '0',
	'nothing runs on the standby');
is($standby->safe_psql('postgres',
	q(SELECT status, detail FROM hotswap.health() WHERE component = 'launcher')),
	'ok|this is a standby: it starts when the server is promoted', 'and health() says why');
is($standby->safe_psql('postgres', "SELECT status FROM hotswap.deployments WHERE id = '$first'"),
	'running', 'one can look');
my ($ret, $out, $err) = $standby->psql('postgres', "SELECT hotswap.wait('$first')");
like($err, qr/cannot wait on a standby/, 'but not wait');
($ret, $out, $err) = $standby->psql('postgres', q(\set VERBOSITY verbose
SELECT hotswap.acquire_lock('x')));
like($err, qr/25006/, 'nor take a lock by its name: there are no tokens');
for my $kind (sort keys %token)
{
	($ret, $out, $err) =
	  $standby->psql('postgres', "SELECT hotswap.check_token('$kind', $token{$kind})");
	like($err, qr/cannot check a token on a standby/,
		"nor be told whether the token of a $kind is good");
}
($ret, $out, $err) = $standby->psql('postgres', 'CALL hotswap.work()');
like($err, qr/cannot execute CALL hotswap.work\(\) during recovery/, 'nor work');
($ret, $out, $err) = $standby->psql('postgres', q(SELECT hotswap.deploy('m', '1', 'development')));
like($err, qr/read-only transaction/, 'nor request');

# The primary dies in the middle of the task; the lock that held the script up dies with it.
$primary->stop('immediate');
$holder->quit;
$standby->promote;
wait_for($standby, 'postgres', "SELECT status = 'succeeded' FROM hotswap.deployments
	WHERE id = '$second'");
is($standby->safe_psql('postgres', "SELECT status FROM hotswap.deployments WHERE id = '$first'"),
	'succeeded', 'the promoted standby finishes what ran');
is($standby->safe_psql('postgres',
	"SELECT attempt FROM hotswap.tasks WHERE deployment_id = '$first' AND kind = 'swap'"), '2',
	'the attempt of the primary counts');
is($standby->safe_psql('postgres',
	q(SELECT to_regclass('app.made') IS NOT NULL AND to_regclass('app.made_too') IS NOT NULL)), 't',
	'it is in the database');
is($standby->safe_psql('postgres', q(SELECT count(*) FROM hotswap.node_module)), '2', 'once each');
check_invariants($standby, 'postgres');
$standby->stop('fast');

done_testing();
