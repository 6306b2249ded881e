# Approvals over time: between sessions, over restarts, in another database, with many people at
# once, and who is told.
use strict;
use warnings;

use HotswapTest;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = hotswap_cluster('approval', max_connections => 150,
	'hotswap.notify_channel' => 'deployments');

sub sql { return $node->safe_psql($_[1] // 'postgres', $_[0]); }
sub deploy { return sql("SELECT hotswap.deploy('m', '1', 'production',
	on_behalf_of => 'requester')", $_[0]); }
sub pending { return wait_for($node, $_[1] // 'postgres',
	"SELECT status FROM hotswap.deployment WHERE id = '$_[0]'", 'pending_approval'); }
sub ended { return sql("SELECT hotswap.wait('$_[0]', '60 s')", $_[1]); }
sub policy { sql("SELECT hotswap.set_approval_policy('production', $_[0])", $_[1]); return; }

sql(q(
	CREATE ROLE customer LOGIN;
	CREATE SCHEMA customer AUTHORIZATION customer;
	SELECT hotswap.register_node('production', 'p', run_as => 'customer', schema => 'customer');
	SELECT hotswap.publish_version('m', '1', 'SELECT 1')));

# ---- requested in one session, decided in another, a restart in between ----

my $id = deploy();
pending($id);
$node->restart;
is(status_of($node, $id), 'pending_approval', 'after a restart it still waits');
is(sql("SELECT hotswap.approve('$id', on_behalf_of => 'approver')"), 'approved',
	'somebody else approves');
is(ended($id), 'succeeded', 'and it goes on');

# Before the decision is acted on the server is gone.
$id = deploy();
pending($id);
sql(q(SELECT hotswap.stop_dispatching('so that the decision is not acted on')));
is(sql("SELECT hotswap.approve('$id', on_behalf_of => 'approver')"), 'approved',
	'approved while nothing is dispatched');
$node->stop('immediate');
$node->start;
is(status_of($node, $id), 'queued', 'after a crash the decision is there');
sql('SELECT hotswap.start_dispatching()');
is(ended($id), 'succeeded', 'and is acted on');

# ---- a timer fires though nobody is connected, also after a restart that slept through it ----

policy(q(1, expires_after => '2 s'));
$id = deploy();
pending($id);
$node->stop('immediate');
my $awake = time + 3;
select(undef, undef, undef, 0.1) while time < $awake;    # the time has to pass: that is the test
$node->start;
is(ended($id), 'expired', 'the time was over when the server came back');
is(sql("SELECT string_agg(event, ' ' ORDER BY seq) FROM hotswap.audit_log
	WHERE subject_id = '$id' AND (event = 'expire' OR event ~ '^approval')"),
	'approval.request approval.expire expire', 'expired once, never approved');
policy(1);

# ---- whoever waits is woken: by the decision, while the line is stopped ----

$id = deploy();
pending($id);
my $waiter = $node->background_psql('postgres');
$waiter->query_until(qr/waiting/,
	"\\echo waiting\nSELECT hotswap.wait_for_approval('$id');\n\\echo woken\n");
wait_for($node, 'postgres', q(SELECT count(*) = 1 FROM pg_stat_activity
	WHERE query ~ '^SELECT hotswap.wait_for_approval' AND wait_event_type = 'Extension'));
sql(q(SELECT hotswap.stop_dispatching('so that the deployment does not end')));
sql("SELECT hotswap.approve('$id', on_behalf_of => 'approver')");
like($waiter->query_until(qr/woken/, ''), qr/approved/,
	'wait_for_approval() returns when somebody else has approved');
sql('SELECT hotswap.start_dispatching()');
is(ended($id), 'succeeded', 'and the deployment goes on');

# ---- a hundred people at once ----

policy(3);
$id = deploy();
pending($id);
sql(q(CREATE FUNCTION attempt(d uuid, person text) RETURNS text LANGUAGE plpgsql AS $$
	BEGIN RETURN hotswap.approve(d, on_behalf_of => person); EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE; END $$;
	CREATE TABLE answer (value text)));
my $script = "$PostgreSQL::Test::Utils::tmp_check/approve.sql";
append_to_file($script, "INSERT INTO answer SELECT attempt('$id', 'person :client_id');\n");
$node->command_ok([ 'pgbench', '-n', '-c', '100', '-j', '2', '-t', '1', '-f', $script, '-h',
	$node->host, '-p', $node->port, 'postgres' ],
	'a hundred people approve at once');
is(sql(q(SELECT string_agg(value || ' ' || n, ', ' ORDER BY value)
	FROM (SELECT value, count(*) AS n FROM answer GROUP BY 1) a)),
	'55000 97, approved 1, pending 2', 'three votes were needed, the others came too late');
is(ended($id), 'succeeded', 'it goes on');
is(sql("SELECT count(*) FROM hotswap.audit_log
	WHERE subject_id = '$id' AND event = 'approval.approve'"), '1', 'one transition');
is(sql("SELECT count(*) FROM hotswap.audit_log
	WHERE subject_id = '$id' AND event = 'approval.use'"), '1', 'used once');
policy(1);

# ---- who is told ----

my $listener = $node->background_psql('postgres');
$listener->query('LISTEN deployments');
sql('SELECT count(*) FROM hotswap.take_notifications(10000)');
$id = deploy();
pending($id);
# what was sent is shown with the next answer
my $heard = '';
foreach my $try (1 .. 1800)
{
	$heard .= $listener->query('SELECT 1');
	last if $heard =~ /Asynchronous notification "deployments"/;
	select(undef, undef, undef, 0.1);
}
like($heard, qr/Asynchronous notification "deployments"/, 'the dispatcher sends a NOTIFY');

# Two consumers get different notices; what one of them rolls back is due again.
sql("SELECT hotswap.approve('$id', on_behalf_of => 'approver')");
is(ended($id), 'succeeded', 'three notices by now');
$waiter->query('BEGIN');
like($waiter->query(q(SELECT event FROM hotswap.take_notifications(1))), qr/^requested$/,
	'one consumer takes one');
is(sql(q(SELECT event FROM hotswap.take_notifications())), "approved\nended",
	'another one the others');
$waiter->query('ROLLBACK');
is(sql(q(SELECT event FROM hotswap.take_notifications())), 'requested',
	'what was rolled back is due again');
is(sql(q(SELECT count(*) FROM hotswap.take_notifications())), '0', 'no notice twice');
$_->quit for ($waiter, $listener);

# ---- to another database ----

policy(2);
$id = deploy();
pending($id);
sql("SELECT hotswap.approve('$id', on_behalf_of => 'first')");
my $late = deploy();
pending($late);
my $file = "$PostgreSQL::Test::Utils::tmp_check/approvals.sql";
my $all = q(SELECT md5(string_agg(t::text, '|' ORDER BY t::text))
	FROM (SELECT a::text AS t FROM hotswap.approval a UNION ALL
	SELECT v::text FROM hotswap.approval_vote v UNION ALL SELECT n::text FROM hotswap.notification n
	UNION ALL SELECT g::text FROM hotswap.access g) x);
my $before = sql($all);
$node->command_ok([ 'pg_dump', '-f', $file, $node->connstr('postgres') ], 'pg_dump');
sql('CREATE DATABASE copy TEMPLATE template0');
$node->command_ok([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-o', '/dev/null', '-f', $file,
	$node->connstr('copy') ], 'psql restores it');
is(sql($all, 'copy'), $before, 'approvals, votes and notices are the same');
# as if its time had come meanwhile
sql("UPDATE hotswap.approval SET expires_at = clock_timestamp() WHERE deployment_id = '$late'",
	'copy');
is(status_of($node, $late, 'copy'), 'pending_approval', 'the copy waits to be adopted');
sql('SELECT hotswap.adopt()', 'copy');
is(ended($late, 'copy'), 'expired', 'then its timer fires');
is(sql("SELECT hotswap.approve('$id', on_behalf_of => 'second')", 'copy'), 'approved',
	'the vote of the original counts');
is(ended($id, 'copy'), 'succeeded', 'and the deployment goes on there');
is(status_of($node, $id), 'pending_approval', 'the original still waits');
check_invariants($node, 'copy');
sql("SELECT hotswap.cancel('$_', 'x')") for ($id, $late);
check_invariants($node, 'postgres');

done_testing();
