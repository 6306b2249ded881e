# Versions are swapped as fast as the server can, and nobody who calls them meanwhile sees two of
# them in one transaction: bench/route_storm.sql, at each isolation level and in each protocol.
use strict;
use warnings;

use HotswapTest;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = hotswap_cluster('storm', jit => 'off');
my $bench = "$ENV{TESTDIR}/bench";

$node->safe_psql('postgres', slurp_file("$bench/route.sql"));
my $swapper = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c',
		'CALL swap_on()' ], '<', \undef, '>', \my $out, '2>', \my $err);
wait_for($node, 'postgres', 'SELECT n > 10 FROM swaps');

for my $level ('READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE')
{
	for my $mode (qw(simple extended prepared))
	{
		my $before = $node->safe_psql('postgres', 'SELECT n FROM swaps');
		my ($out, $err);
		local $ENV{PGOPTIONS} = '-c default_transaction_isolation=' . $level =~ s/ /\\ /r;
		# SERIALIZABLE itself may ask for another try, of those who insert.
		my $done = IPC::Run::run([ 'pgbench', '-n', '-M', $mode, '-c', 4, '-T', 1, '-f',
				"$bench/route_storm.sql", '-D', 'calls=100', '--max-tries=100',
				$node->connstr('postgres') ], '<', \undef, '>', \$out, '2>', \$err);
		ok($done && $err !~ /ERROR|error/, "$level, $mode: no mixes, no errors") or diag($err);
		like($out, qr/number of failed transactions: 0 /, 'every transaction ended');
		cmp_ok($node->safe_psql('postgres', 'SELECT n FROM swaps'), '>', $before + 50,
			'in a storm');
	}
}
$node->safe_psql('postgres', 'UPDATE swaps SET stop = true');
$swapper->finish;
is($err, '', 'it was calm in the end');
done_testing();
