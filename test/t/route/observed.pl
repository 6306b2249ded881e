# What watches statements sees those of the version behind an entry: pg_stat_statements counts them,
# auto_explain logs their plans, and the context of each names the slot.
use strict;
use warnings;

use HotswapTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = hotswap_cluster('observed',
	shared_preload_libraries => 'hotswap,pg_stat_statements,auto_explain',
	'pg_stat_statements.track' => 'all',
	'auto_explain.log_min_duration' => 0,
	'auto_explain.log_nested_statements' => 'on');

sub sql { return $node->safe_psql('postgres', $_[0]); }

# How often a statement has run, and whether any of that was a client's.
sub counted
{
	return sql(qq(SELECT sum(calls), bool_or(toplevel) FROM pg_stat_statements
		WHERE query = 'SELECT count(*) FROM $_[0]'));
}

sql(slurp_file("$ENV{TESTDIR}/bench/route.sql"));
sql(q(CREATE EXTENSION pg_stat_statements;
	CREATE TABLE rate_1 (); CREATE TABLE rate_2 ();
	CALL make('m', 'observed() RETURNS void', 'LANGUAGE plpgsql AS
		''BEGIN PERFORM count(*) FROM rate_1; END''');
	CREATE OR REPLACE FUNCTION "m@b".observed() RETURNS void LANGUAGE plpgsql AS
		'BEGIN PERFORM count(*) FROM rate_2; END';
	SELECT pg_stat_statements_reset()));

for my $v (1, -1)
{
	my $table = $v == 1 ? 'rate_1' : 'rate_2';
	my $slot = $v == 1 ? 'm@a' : 'm@b';
	my $before = -s $node->logfile;

	sql(qq(INSERT INTO hotswap.route (tenant_id, node_id, module, epoch, slot, generation, version)
		VALUES ('11111111-1111-4111-8111-111111111111', '11111111-1111-4111-8111-111111111111',
			'm', nextval('hotswap.epoch_seq'), '$slot', 1, '$v')));
	sql('SELECT observed(), observed()');
	is(counted($table), '2|f', "$slot: its statement is counted, as one within another");
	like(slurp_file($node->logfile, $before), qr/plan:\n\tQuery\ Text:\ SELECT\ count\(\*\)\ FROM
		\ $table\n\tAggregate.*?\n.*?CONTEXT:\ .*PL\/pgSQL\ function\ "$slot"\.observed\(\)\ line\ 1
		/xs, 'its plan is logged, and where it is from');
}
is(counted('rate_1'), '2|f', 'what is swapped is counted no more');
done_testing();
