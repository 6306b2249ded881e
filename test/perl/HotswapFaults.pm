# Faults of a server in the middle of work: processes that are killed, ended or cancelled, and who
# asks meanwhile. For tests that do what is to be interrupted.
package HotswapFaults;

use strict;
use warnings;

use HotswapClient;
use HotswapTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

use Exporter 'import';
our @EXPORT = qw(STANDSTILL begin_faults pick chance ask soon worker crash signal stopped crashes
  check_log);

# A fault that brings everything to a standstill is followed by the next one after so long.
use constant STANDSTILL => 0.3;

my ($node, $before_crash);
my @stopped;		# processes, some of which may go on by now
my $crashes = 0;

# begin_faults(NODE [, SEED] [, before_crash => sub]): the same random numbers for the same seed,
# which is returned. before_crash: what has to be undone before a process is killed.
sub begin_faults
{
	my ($cluster, $seed, %param) = @_;

	($node, $before_crash) = ($cluster, $param{before_crash});
	$seed ||= int(rand(1_000_000)) + 1;
	srand $seed;
	return $seed;
}

sub pick { return $_[ int rand @_ ]; }
sub chance { return rand() < $_[0]; }

# What the server says, or undef when it does not just now.  Whom we have stopped may hold a lock of
# shared memory: no timeout ends the wait for that one, and who waits here would not let it go on.
sub ask
{
	my $client = HotswapClient->new($node, $_[0], options => '-c lock_timeout=200ms');
	my $patience = time + 1;

	until ($client->answered)
	{
		kill 'CONT', @stopped if time > $patience;
		select undef, undef, undef, 0.002;
	}
	return $client;
}

# A value that may not be there yet, or undef when it does not come.
sub soon
{
	my ($query) = @_;
	my $start = time;
	my $value;

	do { $value = ask($query)->value }
	  until defined $value || time - $start > STANDSTILL;
	return $value;
}

# A process of hotswap, or undef.
sub worker
{
	my ($kind) = @_;
	return soon("SELECT pid FROM hotswap.workers WHERE kind = '$kind' AND pid IS NOT NULL
		ORDER BY state = 'busy' DESC, random() LIMIT 1");
}

# A process is killed, or none if there is none, and the server has begun anew.
sub crash
{
	my ($pid) = @_;

	return unless defined $pid;
	$before_crash->() if $before_crash;
	kill(9, $pid) or return;
	$crashes++;
	# The postmaster has noticed, and has begun anew.
	wait_for($node, 'postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $pid");
	return;
}

sub crashes { return $crashes; }

# A process stands still; somebody lets it go on.
sub stopped { push @stopped, @_; return; }

sub signal
{
	my ($function, $pid) = @_;
	ask("SELECT $function($pid)") if defined $pid;
	return;
}

# Of the server's log: it crashed when it was made to, and nothing happened that must not.
sub check_log
{
	my @log = split /\n/, slurp_file($node->logfile);
	my $ours = grep { /was terminated by signal 9/ } @log;
	# What our REINDEX CONCURRENTLY left of an index of a TOAST table when it was interrupted.
	my $left_over =
	  qr/ XX002 .* WARNING:  cannot reindex invalid index "pg_toast\.\w+_cc(new|old)\d*" /;
	my @bad = grep { !/$left_over/
		&& / XX... |PANIC:|TRAP:|terminated by signal (?!9)|stuck spinlock/ } @log;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(join("\n", @bad), '', 'no error in the log that must not be');
	cmp_ok($ours, '<=', $crashes, 'no process was killed but by us');
	return;
}

1;
