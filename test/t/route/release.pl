# Releases of two routed modules, deployed and taken back while they are called: nobody sees one of
# them without the other.
use strict;
use warnings;

use HotswapTest;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = hotswap_cluster('routed_release');
my $dir = PostgreSQL::Test::Utils::tempdir();
my $releases = 12;

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub ends { return sql("SELECT hotswap.wait('$_[0]', '60 s')"); }

sql(qq(CREATE ROLE acme LOGIN; CREATE SCHEMA acme AUTHORIZATION acme;
	CREATE FUNCTION agree(a int, b int) RETURNS int LANGUAGE plpgsql AS \$\$
		BEGIN
			IF a <> b THEN RAISE 'mixed: % %', a, b; END IF;
			RETURN a;
		END \$\$;
	SELECT hotswap.register_node('development', 'acme', run_as => 'acme', schema => 'acme');
	SELECT hotswap.configure_module(module, routed => true)
		FROM unnest('{base,shop}'::text[]) module;
	SELECT hotswap.publish_version(module, n::text, format('CREATE OR REPLACE FUNCTION %s()
		RETURNS int LANGUAGE plpgsql AS ''BEGIN RETURN %s; END''', module, n))
		FROM unnest('{base,shop}'::text[]) module, generate_series(1, $releases) n;
	SELECT hotswap.publish_release('r' || n, ARRAY['base=' || n, 'shop=' || n])
		FROM generate_series(1, $releases) n));
is(ends(sql("SELECT hotswap.deploy_release('r1', 'development')")), 'succeeded', 'a release');
is(sql('SELECT agree(acme.base(), acme.shop())'), '1', 'is called');

# One statement, two of a transaction, and a snapshot.
append_to_file("$dir/calls", q(SELECT agree(acme.base(), acme.shop());
BEGIN;
SELECT acme.shop() AS shop \gset
SELECT agree(acme.base(), :shop);
COMMIT;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT acme.base() AS base \gset
SELECT agree(:base, acme.shop());
COMMIT;
));
my ($out, $err);
my $callers = IPC::Run::start([ 'pgbench', '-n', '-c', 4, '-T', 600, '-f', "$dir/calls",
		$node->connstr('postgres') . ' application_name=callers' ], '<', \undef, '>', \$out,
	'2>', \$err);
wait_for($node, 'postgres', q(SELECT count(*) = 4 FROM pg_stat_activity
	WHERE application_name = 'callers' AND state IS NOT NULL));
for my $n (2 .. $releases)
{
	my $d = sql("SELECT hotswap.deploy_release('r$n', 'development')");

	is(ends($d), 'succeeded', "release $n");
	next if $n % 3;
	is(ends(sql("SELECT hotswap.rollback('$d', 'it is wrong')")), 'succeeded',
		"release $n is taken back");
	is(sql('SELECT agree(acme.base(), acme.shop())'), $n - 1, 'with both of its modules');
}
is(sql(q(SELECT count(*) FROM (SELECT FROM hotswap.route GROUP BY deployment_id
	HAVING count(*) <> 2) x)), '0', 'each deployment has changed both');

# Who calls goes on without an error until it is ended here.
is(sql(q(SELECT count(*) FROM pg_stat_activity WHERE application_name = 'callers')), '4',
	'the callers are there');
$callers->signal('TERM');
$callers->finish;
is($err =~ s/^pgbench \(.*\n//r, '', 'and have seen no mix');
done_testing();
