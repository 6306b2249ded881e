# What bench/compare and bench/compare-counts say of two runs, and that bench/run writes what they
# read.
use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = abs_path(PostgreSQL::Test::Utils::tempdir);
my $bench = abs_path(dirname(__FILE__) . '/../../../bench');

sub file
{
	my ($name, $text) = @_;
	append_to_file("$dir/$name", $text);
	return "$dir/$name";
}

# A run of bench/run with rows of measure, hotswap, bare and target.
sub run
{
	my ($name, @rows) = @_;
	my @saved;
	push @saved, { measure => $_->[0], hotswap => $_->[1], bare => $_->[2], target => $_->[3] }
		for @rows;
	return file($name, encode_json({ rows => \@saved }));
}

sub compared
{
	my (@command) = @_;
	my $said = '';
	IPC::Run::run(\@command, '>&', \$said);
	return ($? >> 8, $said);
}

# Two runs on the same machine.
my $before = run('before.json',
	['requests, tps', 1000, undef, '>= 900'], ['wait, p50 ms', 2, undef, '<= 3'],
	['drain, /s', 500, 1000, ''], ['waves', 7, undef, ''], ['gone, ms', 1, undef, '']);
my ($status, $said) = compared("$bench/compare", $before, $before);
is($status, 0, 'a run is not slower than itself');
like($said, qr/^Nothing is slower by more than 10 %\.$/m, 'and it is said');

($status, $said) = compared("$bench/compare", $before, run('after.json',
	['requests, tps', 800, undef, '>= 900'], ['wait, p50 ms', 1, undef, '<= 3'], ['drain, /s', 250, 500, ''], ['waves', 70, undef, ''],
	['new, ms', 5, undef, '']));
is($status, 1, 'what is slower fails');
like($said, qr/^requests, tps: 1000 -> 800, 25 % SLOWER$/m, 'less of what should be more');
like($said, qr/^wait, p50 ms: 2 -> 1, 50 % faster$/m, 'less of what should be less');
unlike($said, qr/drain/, 'a slower machine is not a slower hotswap');
unlike($said, qr/waves|new/, 'nothing is said of what nobody can judge');
like($said, qr/^gone, ms: was not measured$/m, 'what is missing is named');
($status) = compared("$bench/compare", $before, "$dir/after.json", 30);
is($status, 0, 'within the limit that was asked for');
($status) = compared("$bench/compare", $before,
	run('zero.json', ['requests, tps', 0, undef, '>= 900']));
is($status, 1, 'nothing at all is slower');

# Counts.
my $expected = file('expected', "request statements 20.0\nrequest flushes 1.0\nview buffers 2.0\n");
($status, $said) = compared("$bench/compare-counts", $expected,
	file('same', "request statements 21.9\nrequest flushes 1.0\nview buffers 2.4\n"));
is($status, 0, 'a tenth more, or half a page, is nothing');
unlike($said, qr/--save/, 'and no new figures');
($status, $said) = compared("$bench/compare-counts", $expected,
	file('more', "request statements 22.1\nrequest flushes 0.0\nview buffers 2.0\n"));
is($status, 1, 'more than a tenth fails');
like($said, qr/^request +statements +20\.0 +22\.1 GROWN$/m, 'and is named');
like($said, qr/^request +flushes +1\.0 +0\.0 less$/m, 'what is less as well');
like($said, qr/--save/, 'and how it becomes the figure');
($status, $said) = compared("$bench/compare-counts", $expected,
	file('some', "request statements 20.0\n"));
is($status, 1, 'what was not counted fails');
like($said, qr/^request +flushes +1\.0 +- MISSING$/m, 'and is named');

# The JSON of a run.
my $functions = slurp_file("$bench/run");
my ($row) = $functions =~ /^(row\(\)\n\{.*?\n\})$/ms or die 'no row()';
my ($save_row) = $functions =~ /^(save_row\(\)\n\{.*?\n\})$/ms or die 'no save_row()';
my ($line) = $functions =~ /^(line\(\) .*)$/m or die 'no line()';
my $script = file('rows.sh', "set -eu\nWORK=$dir\n$line\n$row\n$save_row\n" . <<'SH');
row "requests, tps" 900 1000 ">=" 800 0.5
row "wait, p50 ms" 4.5 n/a "<=" 3
row "waves" 7 n/a
SH
command_ok([ 'bash', $script ], 'rows are printed');
my @saved = map { decode_json($_) } split /\n/, slurp_file("$dir/rows.json");
is_deeply(\@saved, [
	{ measure => 'requests, tps', hotswap => 900, bare => 1000, target => '>= 800 and 0.5 x bare',
		reached => JSON::PP::true },
	{ measure => 'wait, p50 ms', hotswap => 4.5, bare => undef, target => '<= 3',
		reached => JSON::PP::false },
	{ measure => 'waves', hotswap => 7, bare => undef, target => 'none', reached => undef } ],
	'and saved');
done_testing();
