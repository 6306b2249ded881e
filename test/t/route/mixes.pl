# examples/routing/mixes.sh: callers of a routed module see one version, and of one that is replaced
# in place also two.
use strict;
use warnings;

use HotswapTest;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = hotswap_cluster('mixes');
local $ENV{PGHOST} = $node->host;
local $ENV{PGPORT} = $node->port;
my ($out, $err);
my $done = IPC::Run::run([ "$ENV{TESTDIR}/examples/routing/mixes.sh", 3, 4 ], '<', \undef, '>',
	\$out, '2>', \$err);
ok($done, 'the example runs') or diag($err);
is($err, '', 'without a word');
note($out);

my %said;
my $line = qr/^(\w+) +(\d+) transactions of 21 calls, (\d+) swaps: (\d+) mixes, (\d+) errors$/m;
$said{$1} = { transactions => $2, swaps => $3, mixes => $4, errors => $5 } while $out =~ /$line/g;
for my $module ('routed', 'direct')
{
	cmp_ok($said{$module}{transactions}, '>', 100, "$module: it is called");
	cmp_ok($said{$module}{swaps}, '>', 5, 'while it is swapped');
}
is($said{routed}{mixes}, 0, 'nobody sees two versions of a routed module');
is($said{routed}{errors}, 0, 'nor an error');
cmp_ok($said{direct}{mixes}, '>', 0, 'in place somebody does');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_database d, pg_roles r
	WHERE datname = 'hotswap_mixes' OR rolname = 'hotswap_mixes'"), 0, 'it leaves nothing');
done_testing();
