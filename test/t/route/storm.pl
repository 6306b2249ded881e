# Versions are swapped as fast as the server can, and nobody who calls them meanwhile sees two of
# them in one transaction: bench/route_storm.sql and bench/route_procedure.sql, at each isolation
# level, in each protocol, and behind a pooler.
use strict;
use warnings;

use HotswapTest;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = hotswap_cluster('storm', jit => 'off', max_parallel_workers => 4);
my $bench = "$ENV{TESTDIR}/bench";

sub sql { return $node->safe_psql('postgres', $_[0]); }

$node->safe_psql('postgres', slurp_file("$bench/route.sql"));
my $perl = sql(q(SELECT lanname FROM pg_language l JOIN pg_proc p
	ON p.prolang = l.oid JOIN pg_namespace s ON s.oid = p.pronamespace
	WHERE proname = 'n_perl' AND nspname = 'n@a'));
SKIP:
{
	skip 'PL/Perl is not installed', 1
		if sql(q(SELECT count(*) FROM pg_available_extensions WHERE name = 'plperl')) eq '0';
	is($perl, 'plperl', 'one of the functions is in Perl');
}

my $swapper = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c',
		'CALL swap_on()' ], '<', \undef, '>', \my $out, '2>', \my $err);
wait_for($node, 'postgres', 'SELECT n > 10 FROM swaps');

# storm(WHAT, LEVEL, argument ...): clients call for a second.
sub storm
{
	my ($what, $level, @arguments) = @_;
	my $before = sql('SELECT n FROM swaps');
	my ($out, $err);
	local $ENV{PGOPTIONS} = '-c default_transaction_isolation=' . $level =~ s/ /\\ /r if $level;

	# SERIALIZABLE itself may ask for another try, of those who insert.
	my $done = IPC::Run::run([ 'pgbench', '-n', '-c', 4, '-T', 1, '-f', "$bench/route_storm.sql\@9",
			'-f', "$bench/route_procedure.sql", '-D', 'calls=100', '--max-tries=100', @arguments ],
		'<', \undef, '>', \$out, '2>', \$err);
	ok($done && $err !~ /ERROR|error/, "$what: no mixes, no errors") or diag($err);
	like($out, qr/number of failed transactions: 0 /, 'every transaction ended');
	cmp_ok(sql('SELECT n FROM swaps'), '>', $before + 50, 'in a storm');
	return;
}

for my $level ('READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE')
{
	for my $mode (qw(simple extended prepared))
	{
		storm("$level, $mode", $level, '-M', $mode, $node->connstr('postgres'));
	}
}
SKIP:
{
	skip 'pgbouncer is not installed', 1 unless pgbouncer();
	my ($pooler, $host, $port) = start_pooler($node);
	for my $level ('READ COMMITTED', 'REPEATABLE READ')
	{
		sql("ALTER DATABASE postgres SET default_transaction_isolation = '$level'");
		storm("behind a pooler, $level", undef, '-M', 'extended', '-h', $host, '-p', $port,
			'postgres');
	}
	$pooler->signal('INT');
	$pooler->finish;
}
sql('BEGIN ISOLATION LEVEL READ COMMITTED; UPDATE swaps SET stop = true; COMMIT');
$swapper->finish;
is($err, '', 'it was calm in the end');
done_testing();
