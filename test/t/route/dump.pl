# A routed module goes with its database: dumps that are restored, in any order, into others, and an
# extension that is dropped and made again. Each copy is called, deployed to and rolled back.
use strict;
use warnings;

use HotswapTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = hotswap_cluster('routed_dump');
my $dump = "$PostgreSQL::Test::Utils::tmp_check/routed";

# swap(DB, VERSION): how its deployment ends.
sub swap
{
	my ($db, $version) = @_;
	my $d = $node->safe_psql($db, "SELECT hotswap.deploy('billing', '$version', 'development')");

	return $node->safe_psql($db, "SELECT hotswap.wait('$d', '60 s')") . " $d";
}

sub roll_back
{
	my ($db, $d) = @_;
	my $r = $node->safe_psql($db, "SELECT hotswap.rollback('$d', 'it is wrong')");

	return $node->safe_psql($db, "SELECT hotswap.wait('$r', '60 s')");
}

# What is called and where: the answers of the entries, and the slots.
sub answers
{
	return $node->safe_psql($_[0], q(SELECT acme.says() || acme.tax(5) || acme.rated(7)));
}

sub slots
{
	return $node->safe_psql($_[0], q(SELECT string_agg(concat_ws(' ', slot, version, share), ', '
		ORDER BY slot COLLATE "C") FROM hotswap.routes));
}

# Version n takes amounts below 100 * n: what version 2 has let in, version 1 would not. It has
# types, views and a procedure of its own.
my $publish = q(SELECT hotswap.publish_version('billing', n::text, format($s$
	CREATE TYPE kind AS ENUM ('k%1$s');
	CREATE VIEW kinds AS SELECT 'k%1$s'::kind AS k;
	CREATE OR REPLACE FUNCTION says() RETURNS text STABLE
		BEGIN ATOMIC SELECT k::text FROM kinds; END;
	CREATE OR REPLACE FUNCTION tax(n int DEFAULT 3) RETURNS int LANGUAGE plpgsql
		AS 'BEGIN RETURN n * %1$s; END';
	CREATE OR REPLACE FUNCTION rated(n int) RETURNS int LANGUAGE sql SECURITY DEFINER
		SET search_path FROM CURRENT AS 'SELECT tax(n) + 1';
	CREATE OR REPLACE PROCEDURE go(INOUT n int) LANGUAGE plpgsql
		AS 'BEGIN COMMIT; n = n * %1$s; END';
	CREATE OR REPLACE FUNCTION fits(n int) RETURNS boolean LANGUAGE plpgsql
		AS 'BEGIN RETURN n < 100 * %1$s; END'$s$, n), 'SELECT fits(1)')
	FROM generate_series(1, 5) n);
my $register = q(SELECT hotswap.register_node('development', 'acme', run_as => 'acme',
		schema => 'acme');
	SELECT hotswap.configure_module('billing', routed => true));

$node->safe_psql('postgres', 'CREATE ROLE acme LOGIN; CREATE ROLE app LOGIN;
	CREATE DATABASE original');
$node->safe_psql('original', qq(CREATE EXTENSION hotswap; CREATE SCHEMA acme AUTHORIZATION acme;
	GRANT USAGE ON SCHEMA acme TO app; $register; $publish));
like(swap('original', 1), qr/succeeded/, 'a version');

# Tables whose rows are loaded before those of the route, and after them; both need entries.
$node->safe_psql('original', q(CREATE DOMAIN acme.amount AS int CHECK (acme.fits(VALUE));
	CREATE TABLE acme.bill (n int DEFAULT acme.tax(), m int CHECK (acme.fits(m)), a acme.amount);
	CREATE TABLE public.bill (n int DEFAULT acme.tax(4), m int CHECK (acme.fits(m)));
	CREATE VIEW acme.sum AS SELECT acme.tax(m) FROM acme.bill;
	GRANT SELECT, INSERT ON public.bill, acme.bill TO app));
like(swap('original', 2), qr/succeeded/, 'and the next');
$node->safe_psql('original', q(INSERT INTO acme.bill (m, a)
	SELECT 150, 150 FROM generate_series(1, 50);
	INSERT INTO public.bill (m) SELECT 150 FROM generate_series(1, 50)));
my $answers = answers('original');
my $slots = slots('original');
is("$answers $slots", 'k21015 acme:billing@a 1 0, acme:billing@b 2 10000', 'the original');

command_ok([ 'pg_dump', '-f', "$dump.sql", $node->connstr('original') ], 'pg_dump');
command_ok([ 'pg_dump', '-Fc', '-f', "$dump.c", $node->connstr('original') ], 'pg_dump -Fc');
for my $copy (qw(plain at_once parallel))
{
	my $to = $node->connstr($copy);
	my @psql = ('psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-o', '/dev/null', '-f', "$dump.sql");

	$node->safe_psql('postgres', "CREATE DATABASE $copy TEMPLATE template0");
	command_ok($copy eq 'parallel' ? [ 'pg_restore', '-e', '-j', 4, '-d', $to, "$dump.c" ] :
			$copy eq 'plain' ? [ @psql, $to ] : [ @psql, '-1', $to ], "$copy: restored");
	is($node->safe_psql($copy, 'SELECT count(m), count(a), min(n), (SELECT count(m) FROM
		public.bill) FROM acme.bill'), '50|50|6|50',
		"$copy: all rows, as the newest version lets in");
	is(answers($copy), $answers, "$copy: calls go on");
	is(slots($copy), $slots, "$copy: to the same slots");
	is($node->safe_psql($copy, 'INSERT INTO acme.bill (m, a) VALUES (199, 199) RETURNING n',
		extra_params => [ '-U', 'app' ]), '6', "$copy: defaults and rights");
	like(refusal($node, 'INSERT INTO acme.bill (m) VALUES (200)', db => $copy), qr/23514/,
		"$copy: constraints");
	is($node->safe_psql($copy, 'CALL acme.go(4)'), '8', "$copy: a procedure");

	# Deployments go on: going back to what was installed, new slots, and old ones anew.
	$node->safe_psql($copy, 'SELECT hotswap.adopt()');
	my ($end, $d) = split ' ', swap($copy, 3);
	is($end, 'succeeded', "$copy: the next version");
	is(answers($copy), 'k31522', "$copy: is called");
	is(roll_back($copy, $d), 'succeeded', "$copy: is rolled back");
	is(answers($copy), $answers, "$copy: to the one from before the dump");
	like(swap($copy, $_), qr/succeeded/, "$copy: $_") for 4, 5;
	is(slots($copy), 'acme:billing@a 4 0, acme:billing@b 2 0, acme:billing@c 5 10000',
		"$copy: in a slot that came with the dump");
	is(answers($copy), 'k52536', "$copy: is called");
	check_invariants($node, $copy);
}

# Where nobody kept the comments, entries go where they were made for; where that is not there, they
# say so.
$node->safe_psql('postgres', 'CREATE DATABASE bare TEMPLATE template0');
command_ok([ 'pg_restore', '-e', '--section=pre-data', '--no-comments', '-d',
		$node->connstr('bare'), "$dump.c" ], 'without comments');
is($node->safe_psql('bare', 'SELECT acme.tax(5)'), '5', 'the slot that an entry names');
$node->safe_psql('bare', 'ALTER SCHEMA "acme:billing@a" RENAME TO x');
like(refusal($node, 'SELECT acme.tax(5)', db => 'bare'),
	qr/55000: .*module "billing" has no version to be called/, 'or none');

# The extension goes only with the entries, and with what needs them; the slots stay.
like(refusal($node, 'DROP EXTENSION hotswap', db => 'plain'),
	qr/2BP01.*function acme.fits\(integer\) depends on language hotswap/s,
	'DROP EXTENSION is refused');
my $session = $node->background_psql('plain', on_error_stop => 0);
is($session->query_safe('SELECT acme.tax(5)'), '25', 'a session calls');
$node->safe_psql('plain', 'DROP EXTENSION hotswap CASCADE');
is($session->query('SELECT acme.tax(5)'), '', 'and finds nothing any more');
like($session->{stderr}, qr/function acme.tax\(integer\) does not exist/, 'as after any DROP');
is($node->safe_psql('plain', q(SELECT count(m) FROM acme.bill WHERE n IS NOT NULL)), '51',
	'tables stay');
is($node->safe_psql('plain', q(SELECT "acme:billing@a".tax(5))), '20', 'so do slots');
$node->safe_psql('plain', "CREATE EXTENSION hotswap; $register; $publish");
like(swap('plain', 2), qr/succeeded/, 'with a new extension it is routed again');
is(slots('plain'), 'acme:billing@d 2 10000', 'in a slot of its own');
is($session->query('SELECT acme.tax(5)'), '10', 'for the session as well');
$session->quit;

# What unroute() leaves needs no extension.
is($node->safe_psql('plain', q(SELECT hotswap.unroute('billing'))), '1', 'unroute()');
$node->safe_psql('plain', 'DROP EXTENSION hotswap');
is(answers('plain'), $answers, 'functions of the node');
done_testing();
