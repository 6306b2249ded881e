# The server's clock is set, forward and back: what is due by the clock as it is starts, and nothing
# waits for a time that was counted before.
use strict;
use warnings;

use HotswapTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

plan skip_all => 'needs LD_PRELOAD' if $^O ne 'linux';

# ---- a clock that this script sets ----

my $dir = $PostgreSQL::Test::Utils::tmp_check;
my $shim = "$dir/clockshim.so";
my $offset_file = "$dir/clock_offset";

append_to_file("$dir/clockshim.c", <<'C');
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *offset; /* seconds, in a file that the processes map */

__attribute__((constructor)) static void
map_offset(void)
{
	int fd = open(getenv("CLOCK_OFFSET_FILE"), O_RDONLY);
	void *map = mmap(NULL, sizeof(*offset), PROT_READ, MAP_SHARED, fd, 0);

	if (fd < 0 || map == MAP_FAILED)
		abort();
	close(fd);
	offset = map;
}

int
clock_gettime(clockid_t id, struct timespec *ts)
{
	int rc = (int) syscall(SYS_clock_gettime, id, ts);

	if (rc == 0 && id == CLOCK_REALTIME && offset)
		ts->tv_sec += *offset;
	return rc;
}

int
gettimeofday(struct timeval *tv, void *tz)
{
	struct timespec ts;

	(void) tz;
	clock_gettime(CLOCK_REALTIME, &ts);
	tv->tv_sec = ts.tv_sec;
	tv->tv_usec = ts.tv_nsec / 1000;
	return 0;
}

time_t
time(time_t *t)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	if (t)
		*t = ts.tv_sec;
	return ts.tv_sec;
}
C
append_to_file($offset_file, pack('q', 0));

# Seconds that the server's clock is ahead from now on.
sub set_clock
{
	open my $file, '+<', $offset_file or die $!;
	syswrite $file, pack('q', $_[0]);
	close $file;
	return;
}

system($ENV{CC} // 'cc', '-shared', '-fPIC', '-o', $shim, "$dir/clockshim.c") == 0
  or die 'no compiler';
my $node;
{
	local $ENV{LD_PRELOAD} = $shim;
	local $ENV{CLOCK_OFFSET_FILE} = $offset_file;
	$node = hotswap_cluster('clock',
		'hotswap.retry_base' => '500ms',
		'hotswap.retry_max_delay' => '1s');
}

sub sql { return $node->safe_psql('postgres', $_[0]); }

# Does it come true at once, though the clock says what it says?
sub soon
{
	my ($query, $name) = @_;
	my $start = time;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	wait_for($node, 'postgres', $query) or return fail($name);
	return cmp_ok(time - $start, '<', 15, $name);
}

sub is_soon
{
	my ($id, $status, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return soon("SELECT status = '$status' FROM hotswap.deployment WHERE id = '$id'", $name);
}

sql(q(CREATE ROLE app LOGIN; CREATE SCHEMA app AUTHORIZATION app;
	SELECT hotswap.register_node('development', 'n', run_as => 'app', schema => 'app');
	SELECT hotswap.publish_version('m', v, 'SELECT 1') FROM unnest('{1,2,3,4}'::text[]) v;
	CREATE SEQUENCE app.attempts; ALTER SEQUENCE app.attempts OWNER TO app;
	SELECT hotswap.publish_version('again', '1',
		$$DO 'BEGIN IF nextval(''attempts'') < 3 THEN
			RAISE ''again'' USING ERRCODE = ''40001''; END IF; END'$$)));

my $asleep = q(SELECT count(*) = 1 FROM pg_stat_activity
	WHERE backend_type = 'hotswap dispatcher' AND state = 'idle');
my $end_dispatcher = q(SELECT pg_terminate_backend(pid) FROM pg_stat_activity
	WHERE backend_type = 'hotswap dispatcher');

sub wait_for_sleep
{
	wait_for($node, 'postgres', $asleep);
	return;
}

# ---- forward ----

my $hour = sql(q(SELECT hotswap.deploy('m', '1', 'development',
	run_at => clock_timestamp() + '1 hour')));
wait_for_sleep();
set_clock(3600);
is_soon($hour, 'succeeded', 'one whose time has come by the new clock starts');

# ---- back ----

my $deployment = sql(q(SELECT hotswap.deploy('m', '2', 'development',
	run_at => clock_timestamp() + '2 s')));
my $waiter = $node->background_psql('postgres');
my $start = time;
$waiter->query_until(qr/begins/,
	"SELECT 'begins';\nSELECT hotswap.wait('$deployment', '4 s');\n\\echo it is over\n");
my $retried = sql(q(SELECT hotswap.deploy('again', '1', 'development')));
wait_for($node, 'postgres', "SELECT bool_or(status = 'retry_wait') FROM hotswap.task
	WHERE deployment_id = '$retried'");
set_clock(0);
is_soon($retried, 'succeeded', 'a retry does not wait for a time of before');
like($waiter->query_until(qr/it is over/, ''), qr/scheduled/, 'the time of another has not come');
cmp_ok(time - $start, '<', 30, 'wait() ends after its timeout');
$waiter->quit;
$deployment = sql(q(SELECT hotswap.deploy('m', '3', 'development')));
is_soon($deployment, 'succeeded', 'a new one is dispatched');

# ---- back and forth: a start that failed does not keep the next dispatcher off ----

set_clock(7200);
sql($end_dispatcher);
wait_for_sleep();
sql($end_dispatcher);
wait_for($node, 'postgres', q(SELECT count(*) = 0 FROM pg_stat_activity
	WHERE backend_type = 'hotswap dispatcher'));
set_clock(0);
soon($asleep, 'a dispatcher comes back');
$deployment = sql(q(SELECT hotswap.deploy('m', '4', 'development')));
is_soon($deployment, 'succeeded', 'and dispatches');

set_clock(7200);
check_invariants($node, 'postgres');
$node->stop('fast');
done_testing();
