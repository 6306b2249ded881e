# Tenants and quotas with many clients: nobody ever uses more than there is, nothing is lost either,
# and a tenant with a long queue goes at once.
use strict;
use warnings;

use HotswapTest;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

my $clients = 64;
my $quota = 500;
my $node = hotswap_cluster('tenant', max_connections => 100);

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub used
{
	my ($tenant, $resource) = @_;
	return sql("SELECT used FROM hotswap.quotas
		WHERE tenant_id = '$tenant' AND resource = '$resource'");
}

# All clients at once, each a number of transactions; any error that the script does not expect
# fails.
sub pgbench
{
	my ($transactions, $script, $name) = @_;
	my $file = "$PostgreSQL::Test::Utils::tmp_check/$name.pgbench";
	append_to_file($file, $script);
	$node->command_ok([ 'pgbench', '-n', '-c', $clients, '-j', 4, '-t', $transactions, '-f', $file,
		$node->connstr('postgres') ], "$clients clients: $name");
	return;
}

sub new_tenant
{
	my ($name) = @_;
	my $tenant = sql("SELECT hotswap.create_tenant('$name', '$name', 'ops\@$name.example',
		'starter')");
	sql("SELECT hotswap.activate_tenant('$tenant')");
	return $tenant;
}

$node->safe_psql('postgres', q{CREATE TABLE granted (amount bigint, refused boolean)});
my $tenant = new_tenant('crowd');

# What was granted is written in the transaction that got it, and goes with it when it is rolled
# back.
# More than there is cannot be written, for however short a time.
sql(qq{
	SELECT hotswap.set_quota('$tenant', 'websites', $quota),
	hotswap.set_quota('$tenant', 'modules', 20);
	CREATE FUNCTION refuse() RETURNS trigger
	LANGUAGE plpgsql AS \$\$BEGIN RAISE 'too much: %', NEW.used; END\$\$;
	CREATE TRIGGER too_much BEFORE INSERT OR UPDATE ON hotswap.quota_usage
	FOR EACH ROW WHEN (NEW.used > $quota)
		EXECUTE FUNCTION refuse();
	CREATE FUNCTION take(n bigint) RETURNS void LANGUAGE plpgsql AS \$\$
	BEGIN
		PERFORM hotswap.consume_quota('$tenant', 'websites', n);
		INSERT INTO granted VALUES (n, false);
	EXCEPTION WHEN configuration_limit_exceeded THEN
		INSERT INTO granted VALUES (0, true);
	END \$\$;
	CREATE FUNCTION give() RETURNS void LANGUAGE plpgsql AS \$\$
	BEGIN
		PERFORM hotswap.release_quota('$tenant', 'websites', 1);
		INSERT INTO granted VALUES (-1, false);
	EXCEPTION WHEN invalid_parameter_value THEN
		INSERT INTO granted VALUES (0, true);
	END \$\$;
	CREATE FUNCTION publish(name text) RETURNS void LANGUAGE plpgsql AS \$\$
	BEGIN
		PERFORM hotswap.publish_version(name, '1', 'SELECT 1', tenant => '$tenant');
	EXCEPTION WHEN configuration_limit_exceeded THEN
	END \$\$});

pgbench(20, q{
\set n random(1, 3)
\set dice random(1, 4)
BEGIN;
SELECT take(:n);
\if :dice = 1
ROLLBACK;
\else
COMMIT;
\endif
}, 'consume');
cmp_ok(used($tenant, 'websites'), '<=', $quota, 'never more than there is');
cmp_ok(used($tenant, 'websites'), '>=', $quota - 2, 'and nothing that is left is refused');
is(used($tenant, 'websites'), sql('SELECT sum(amount) FROM granted'),
	'what is used is what was granted');
cmp_ok(sql('SELECT count(*) FROM granted WHERE refused'), '>', 0, 'many went away without');

pgbench(20, q{
\set dice random(1, 2)
\if :dice = 1
SELECT take(2);
\else
SELECT give();
\endif
}, 'consume and release');
is(used($tenant, 'websites'), sql('SELECT sum(amount) FROM granted'),
	'what is used is what was granted and not given back');

pgbench(2, q{
\set n random(1, 1000)
SELECT publish('m' || :n);
}, 'publish');
is(used($tenant, 'modules'), 20, 'as many modules as the quota allows, and no more');

# A queue of thousands is gone with one call, in a bounded memory, and its waiters are told.
my $many = 5000;
sql(qq{SELECT hotswap.stop_dispatching('so that they wait');
	SELECT hotswap.publish_version('app', '1', 'SELECT 1')});
my $doomed = new_tenant('doomed');
sql(qq{SELECT hotswap.publish_version('m', '1', 'SELECT 1', tenant => '$doomed');
	SELECT count(hotswap.deploy('m', '1', 'qa', tenant => '$doomed'))
	FROM generate_series(1, $many)});
my $other = sql(q{SELECT hotswap.deploy('app', '1', 'qa')});
my $last = sql(qq{SELECT id FROM hotswap.deployments WHERE tenant_id = '$doomed' ORDER BY id DESC
	LIMIT 1});
my $answer;
my $waiter = IPC::Run::start([ 'psql', '-XAtq', '-c', "SET hotswap.tenant = '$doomed'", '-c',
	"SELECT hotswap.wait('$last', '120 s')",
	$node->connstr('postgres') ], '>', \$answer);
ok(wait_for($node, 'postgres', q{SELECT count(*) = 1 FROM pg_stat_activity
	WHERE query LIKE 'SELECT hotswap.wait(%' AND wait_event_type = 'Extension'}),
	'somebody waits for the last one');
is(sql("SELECT hotswap.deprovision_tenant('$doomed', 'over')"), 'deprovisioning',
	'a tenant with a long queue');
$waiter->finish;
is($answer, "cancelled\n", 'who waits for one of them is told');
is(sql("SELECT count(*) FROM hotswap.deployments
	WHERE tenant_id = '$doomed' AND status = 'cancelled'"), $many, 'all are cancelled');
is(sql('SELECT count(*) FROM hotswap.queue'), 1, 'only the other tenant is in the queue');
is(sql("SELECT hotswap.delete_tenant('$doomed')"), 'deleted', 'and it can be deleted');
sql('SELECT hotswap.start_dispatching()');
is(sql("SELECT hotswap.wait('$other', '60 s')"), 'failed',
	'the other one has gone on: it has no node');
check_invariants($node, 'postgres');

done_testing();
