# COMMIT PREPARED does what a commit does: it wakes who waits, the dispatcher and the launcher.
use strict;
use warnings;

use HotswapTest;
use PostgreSQL::Test::Cluster;
use Test::More;
use Time::HiRes qw(time);

my $node = hotswap_cluster('prepared');

# Woken at once; whatever looks from time to time, or when its own time is over, takes longer.
my $at_once = 5;

sub sql { return $node->safe_psql($_[1] // 'postgres', $_[0]); }

# prepare(NAME, STATEMENTS [, DATABASE]): what they return.
sub prepare
{
	my ($name, $statements, $db) = @_;
	return sql("BEGIN; $statements; PREPARE TRANSACTION '$name'", $db);
}

# Does the query come true at once?
sub soon
{
	my ($db, $query, $name) = @_;
	my $start = time;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	wait_for($node, $db, $query) or return fail($name);
	return cmp_ok(time - $start, '<', $at_once, $name);
}

sub succeeds
{
	my ($db, $id, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return soon($db, "SELECT status = 'succeeded' FROM hotswap.deployment WHERE id = '$id'", $name);
}

# A session that waits, and whether it has waited long.
sub waiting
{
	my ($statement) = @_;
	my $session = $node->background_psql('postgres');

	$session->query_until(qr/begins/, "SELECT 'begins';\n\\set QUIET\n"
		  . "SET application_name = 'waiter';\n$statement;\n\\echo it is over\n");
	wait_for($node, 'postgres', q(SELECT count(*) > 0 FROM pg_stat_activity
		WHERE application_name = 'waiter' AND state = 'active' AND wait_event_type = 'Extension'));
	return { session => $session, since => time };
}

sub is_woken
{
	my ($waiter, $answer, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	like($waiter->{session}->query_until(qr/it is over/, ''), $answer, $name);
	cmp_ok(time - $waiter->{since}, '<', $at_once, '... at once');
	$waiter->{session}->quit;
	return;
}

# ---- the first use of hotswap in the database ----

sql('CREATE ROLE app LOGIN; CREATE SCHEMA app AUTHORIZATION app');
prepare('first', q(
	SELECT hotswap.register_node('development', 'n', run_as => 'app', schema => 'app');
	SELECT hotswap.publish_version('m', v, 'SELECT 1') FROM unnest('{1,2,3}'::text[]) v));
sql(q(COMMIT PREPARED 'first'));
my $id = sql(q(SELECT hotswap.deploy('m', '1', 'development')));
succeeds('postgres', $id, 'the dispatcher has noticed the first use');

# ---- a request, and the end of what is waited for ----

$id = prepare('request', q(SELECT hotswap.deploy('m', '2', 'development')));
sql(q(COMMIT PREPARED 'request'));
succeeds('postgres', $id, 'a request is dispatched');

$id = sql(q(SELECT hotswap.deploy('m', '3', 'development', run_at => clock_timestamp() + '1 day')));
my $waiter = waiting("SELECT hotswap.wait('$id', '1 min')");
prepare('cancel', "SELECT hotswap.cancel('$id', 'not now')");
sql(q(COMMIT PREPARED 'cancel'));
is_woken($waiter, qr/cancelled/, 'wait() is woken');

my $token = sql(q(SELECT hotswap.lease_lock('l', '1 hour')));
$waiter = waiting(q(SELECT hotswap.lease_lock('l', '1 hour', timeout => '1 min') > 0 AS taken));
prepare('release', "SELECT hotswap.release_lease('l', $token)");
sql(q(COMMIT PREPARED 'release'));
is_woken($waiter, qr/t/, 'and so is who waits for a lease');

# ---- what was prepared before a crash ----

sql(q(SELECT hotswap.stop_dispatching('a crash is to come')));
$id = prepare('before', q(SELECT hotswap.deploy('m', '1', 'development')));
prepare('go on', q(SELECT hotswap.start_dispatching()));
$node->stop('immediate');
$node->start;
wait_for($node, 'postgres', q(SELECT count(*) = 1 FROM pg_stat_activity
	WHERE backend_type = 'hotswap dispatcher' AND state = 'idle'));
sql(qq(COMMIT PREPARED '$_')) for 'before', 'go on';
succeeds('postgres', $id, 'what was prepared before a crash is dispatched');

# ---- what is nothing to hotswap wakes nobody ----

my $looked = q(SELECT state, state_change FROM pg_stat_activity
	WHERE backend_type = 'hotswap dispatcher');
wait_for($node, 'postgres', q(SELECT count(*) = 1 FROM pg_stat_activity
	WHERE backend_type = 'hotswap dispatcher' AND state = 'idle'
	AND state_change < clock_timestamp() - interval '1 s'));
my $before = sql($looked);
for my $n (1 .. 20)
{
	prepare("other $n", 'CREATE TABLE other ()');
	sql("COMMIT PREPARED 'other $n'; DROP TABLE other");
}
prepare('rolled back', q(SELECT hotswap.deploy('m', '2', 'development')));
sql(q(ROLLBACK PREPARED 'rolled back'));
is(sql($looked), $before,
	'a transaction without anything of hotswap, or rolled back, wakes nobody');

# The same name again, with something to announce this time.
$id = prepare('other 1', q(SELECT hotswap.deploy('m', '2', 'development')));
sql(q(COMMIT PREPARED 'other 1'));
succeeds('postgres', $id, 'a name that is used again announces what is new');

# ---- the extension itself, and adopt() ----

sql('CREATE DATABASE other');
prepare('extension', 'CREATE EXTENSION hotswap', 'other');
sql(q(COMMIT PREPARED 'extension'), 'other');
soon('postgres', q(SELECT count(*) = 1 FROM pg_stat_activity
	WHERE backend_type = 'hotswap dispatcher' AND datname = 'other' AND state = 'idle'),
	'CREATE EXTENSION brings a dispatcher');
prepare('no extension', 'DROP EXTENSION hotswap', 'other');
sql(q(COMMIT PREPARED 'no extension'), 'other');
soon('postgres', q(SELECT count(*) = 0 FROM pg_stat_activity
	WHERE backend_type = 'hotswap dispatcher' AND datname = 'other'),
	'DROP EXTENSION sends it away');

sql('CREATE DATABASE copy TEMPLATE postgres', 'other');
$id = sql(q(SELECT hotswap.deploy('m', '3', 'development')), 'copy');
is(sql("SELECT hotswap.wait('$id', '0.5 s')", 'copy'), 'queued', 'a copy does not dispatch');
prepare('adopt', 'SELECT hotswap.adopt()', 'copy');
sql(q(COMMIT PREPARED 'adopt'), 'copy');
succeeds('copy', $id, 'it does after adopt()');

check_invariants($node, $_) for qw(postgres copy);
done_testing();
