# The story that scripts/demo tells, with fewer servers, is what happens.
use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

local %ENV = (%ENV, DEMO_INSTALLED => 'yes', DEMO_AGENTS => 12, DEMO_BAKE => '20 s');
my ($out, $err);
ok(IPC::Run::run([ "$ENV{TESTDIR}/scripts/demo" ], '<', \undef, '>', \$out, '2>', \$err),
	'it comes to its end');
is($err, '', 'without a complaint');
like($out, qr/ failed \| P0004 .*? 42\.00 EUR \| 42\.00 EUR\n/s,
	'two versions are deployed, and one is not');
like($out, qr/broken_chains \n-+\n +0\n/, 'the audit log is whole');
like($out, qr/version 2 is succeeded, wave 3 of 3\n.*\n +runs( +2){12}\n/, 'a canary that is good');
like($out, qr/version 3 is rolled_back, wave 1 of 3\n.*\n +runs( +2){12}\n/, 'and one that is bad');
like($out, qr/rolled_back \| wave 1 of 3 is worse: errors \+\d+ %/, 'by what was measured');
diag($out, $err) unless Test::More->builder->is_passing;
done_testing();
