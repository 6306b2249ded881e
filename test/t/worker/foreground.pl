# Without shared_preload_libraries nothing works in the background, but everything can be tried:
# CALL hotswap.work() is the dispatcher then. With it, the two keep out of each other's way.
use strict;
use warnings;

use HotswapTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = hotswap_cluster('nopreload', shared_preload_libraries => '');

# Two nodes, one of the superuser who will call work(), and one of a role of its own.
$node->safe_psql('postgres', q{
	CREATE ROLE app_owner LOGIN;
	CREATE SCHEMA app AUTHORIZATION app_owner;
	CREATE TABLE done (version text, who name);
	GRANT INSERT ON done TO app_owner;
	SELECT hotswap.publish_version('app', v,
		format('INSERT INTO public.done VALUES (%L, current_user)', v))
		FROM unnest('{1,2,3,4}'::text[]) v;
	SELECT hotswap.publish_version('app', 'bad', 'SELECT 1/0');
	SELECT hotswap.register_node('development', 'mine');
	SELECT hotswap.register_node('qa', 'theirs', run_as => 'app_owner', schema => 'app')});

# What can be known and what cannot be done.
my $id = $node->safe_psql('postgres', q{SELECT hotswap.deploy('app', '1', 'development')});
is(status_of($node, $id), 'queued', 'a request is accepted');
is($node->safe_psql('postgres', "SELECT hotswap.wait('$id', '0')"), 'queued',
	'wait() that need not wait says how it is');
for my $timeout ('', ", '1 s'")
{
	my $err = refusal($node, "SELECT hotswap.wait('$id'$timeout)");
	like($err, qr/^psql:<stdin>:1: ERROR:  55000: .*shared_preload_libraries/,
		'wait() that would have to wait is refused');
	like($err, qr/HINT: .*hotswap\.work\(\)/, 'with what to do instead');
}
is($node->safe_psql('postgres', "SELECT status FROM hotswap.health() WHERE component = 'preload'"),
	'warning', 'health() reports it');
like($node->safe_psql('postgres', "SELECT unblocked_by FROM hotswap.explain('$id')"),
	qr/CALL hotswap\.work\(\)/, 'explain() too');
is($node->safe_psql('postgres', 'SELECT count(*) FROM hotswap.workers'), '0',
	'there are no workers');

# In a transaction block it could not commit.
for my $call ('BEGIN; CALL hotswap.work()', 'SELECT 1; BEGIN; SAVEPOINT s; CALL hotswap.work()',
	"BEGIN; DO 'BEGIN CALL hotswap.work(); END'")
{
	like(refusal($node, $call), qr/ERROR:  2D000: /, "refused: $call");
}
is(status_of($node, $id), 'queued', 'and nothing has been done');

# As the node's role.
my ($rc, $out, $err) = $node->psql('postgres', 'CALL hotswap.work()');
is($rc, 0, 'CALL work()');
is($err, '', 'leaves nothing');
is(status_of($node, $id), 'succeeded', 'the deployment has succeeded');
is($node->safe_psql('postgres', "SELECT hotswap.wait('$id')"), 'succeeded',
	'wait() of one that has ended returns');
is($node->safe_psql('postgres', 'SELECT version, who FROM done'), '1|postgres',
	'it has been done once');

# A failure is recorded as in the background, and does not keep the next one from being done.
my $bad = $node->safe_psql('postgres',
	q{SELECT hotswap.deploy('app', 'bad', 'development', priority => 1)});
$id = $node->safe_psql('postgres', q{SELECT hotswap.deploy('app', '2', 'development')});
$node->safe_psql('postgres', 'CALL hotswap.work()');
is($node->safe_psql('postgres', "SELECT status, sqlstate FROM hotswap.deployments
	WHERE id = '$bad'"),
	'failed|22012', 'one that fails says why');
is(status_of($node, $id), 'succeeded', 'the next one succeeds');

# In DO, outside of a block, it may commit.
$id = $node->safe_psql('postgres', q{SELECT hotswap.deploy('app', '3', 'development')});
($rc, $out, $err) = $node->psql('postgres', "DO 'BEGIN CALL hotswap.work(); END'");
is($err, '', 'CALL in DO');
is(status_of($node, $id), 'succeeded', 'does the same');

# The task of another role is left, and named.
$id = $node->safe_psql('postgres', q{SELECT hotswap.deploy('app', '4', 'qa')});
($rc, $out, $err) = $node->psql('postgres', 'CALL hotswap.work()');
like($err, qr/NOTICE:  tasks of role "app_owner" were left/,
	'a notice names the role whose tasks were left');
is(status_of($node, $id), 'running', 'the deployment is not finished');
is($node->safe_psql('postgres', q{SELECT string_agg(version || who, ',' ORDER BY version)
	FROM done}),
	'1postgres,2postgres,3postgres,4postgres', 'only what is ours has been done');
($rc, $out, $err) = $node->psql('postgres', 'CALL hotswap.work()',
	extra_params => [ '-U', 'app_owner' ]);
like($err, qr/permission denied/, 'that role needs the capability to dispatch');
$node->safe_psql('postgres', q{SELECT hotswap.grant_access('app_owner', 'operator',
	all_tenants => true)});
($rc, $out, $err) = $node->psql('postgres', 'CALL hotswap.work()',
	extra_params => [ '-U', 'app_owner' ]);
is($err, '', 'in its own session nothing is left');
is(status_of($node, $id), 'succeeded', 'and the deployment succeeds');
is($node->safe_psql('postgres', q{SELECT string_agg(who, ',') FROM done WHERE version = '4'}),
	'postgres,app_owner',
	'each node by its own role');

# The login role counts, not the one that a superuser plays: a script could end the play, and be
# superuser itself.
$node->safe_psql('postgres', q{SELECT hotswap.publish_version('app', 'evil',
	'RESET SESSION AUTHORIZATION; CREATE ROLE risen; SET SESSION AUTHORIZATION app_owner')});
$id = $node->safe_psql('postgres', q{SELECT hotswap.deploy('app', 'evil', 'qa')});
$node->safe_psql('postgres', q{SELECT hotswap.remove_node(id) FROM hotswap.nodes
	WHERE name = 'mine'});
($rc, $out, $err) = $node->psql('postgres',
	'SET SESSION AUTHORIZATION app_owner; CALL hotswap.work()');
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_roles WHERE rolname = 'risen'}), '0',
	'a script does not become superuser through SET SESSION AUTHORIZATION');
$node->psql('postgres', 'CALL hotswap.work()', extra_params => [ '-U', 'app_owner' ]);
is(status_of($node, $id), 'failed', 'nor in a session of its own role');
$node->safe_psql('postgres', q{SELECT hotswap.register_node('development', 'mine')});
$id = $node->safe_psql('postgres', q{SELECT hotswap.deploy('app', '1', 'development')});
$node->psql('postgres', 'SET ROLE app_owner; CALL hotswap.work()');
isnt(status_of($node, $id), 'failed', 'nor is SET ROLE in the session blamed on the script');
$node->safe_psql('postgres', 'CALL hotswap.work()');
is(status_of($node, $id), 'succeeded', 'it succeeds');
check_invariants($node, 'postgres');

# A cancel is for the session: the task has failed, and the call ends. So it is with the session's
# own statement_timeout; hotswap.statement_timeout is for the script alone.
$node->safe_psql('postgres', q{SELECT hotswap.publish_version('slow', '1', 'SELECT pg_sleep(600)');
	SELECT hotswap.publish_version('quick', v, 'SELECT 1') FROM unnest('{1,2,3}'::text[]) v});
sub request
{
	my ($quick) = @_;
	return map { $node->safe_psql('postgres',
		"SELECT hotswap.deploy('$_->[0]', '$_->[1]', 'development', priority => $_->[2])") }
	  [ 'slow', '1', 1 ], [ 'quick', $quick, 0 ];
}
sub outcome { return $node->safe_psql('postgres',
	"SELECT status, sqlstate FROM hotswap.deployments WHERE id = '$_[0]'"); }
my ($slow, $quick) = request('1');
my $log_offset = -s $node->logfile;
my $session = $node->background_psql('postgres', on_error_stop => 0);
$session->query_until(qr/calling/,
	"\\echo calling\nCALL hotswap.work();\n\\echo ended :SQLSTATE\n");
wait_for($node, 'postgres', q{SELECT count(pg_cancel_backend(pid)) = 1 FROM pg_stat_activity
	WHERE query = 'SELECT pg_sleep(600)' AND state = 'active'});
like($session->query_until(qr/ended/, ''), qr/^ended 57014$/m, 'CALL work() can be cancelled');
$session->quit;
like(slurp_file($node->logfile, $log_offset),
	qr/ERROR:  work\(\) was cancelled [^\n]*\n[^\n]* STATEMENT:  CALL hotswap\.work\(\)/,
	'the server log names the call, not a statement of the script');
is(outcome($slow), 'failed|57014', 'the task that it ran has failed');
is($node->safe_psql('postgres', "SELECT attempt, status FROM hotswap.tasks
	WHERE deployment_id = '$quick'"), '0|ready',
	'and it has not gone on');
$node->safe_psql('postgres', 'CALL hotswap.work()');
is(status_of($node, $quick), 'succeeded', 'the next call does');
($slow, $quick) = request('2');
like(refusal($node, "SET statement_timeout = '3s'; CALL hotswap.work()"), qr/ERROR:  57014/,
	'statement_timeout of the session ends the call');
is(outcome($slow), 'failed|57014', 'the task has failed');
$node->safe_psql('postgres', q{LOAD 'hotswap'; ALTER SYSTEM SET hotswap.statement_timeout = '2s'});
$node->reload;
$node->safe_psql('postgres', 'CALL hotswap.work()');
($slow, $quick) = request('3');
my $said = refusal($node, 'CALL hotswap.work()');
unlike($said, qr/ERROR: /, 'hotswap.statement_timeout does not end it');
like($said, qr/WARNING: .* deployment "$slow" of .*: failed$/m,
	'the session is told what has failed');
is(outcome($slow), 'failed|57014', 'but the task');
is(status_of($node, $quick), 'succeeded', 'and the next one is done');
$node->safe_psql('postgres', q{LOAD 'hotswap'; ALTER SYSTEM RESET hotswap.statement_timeout});
check_invariants($node, 'postgres');

# With the preload, what was requested before goes on, and work() leaves it to the dispatcher.
$id = $node->safe_psql('postgres', q{SELECT hotswap.deploy('app', '1', 'qa')});
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'hotswap'");
$node->restart;
is($node->safe_psql('postgres', "SELECT hotswap.wait('$id', '60 s')"), 'succeeded',
	'with the preload the queue is worked off');
my $pid = $node->safe_psql('postgres',
	q{SELECT pid FROM hotswap.workers WHERE kind = 'dispatcher'});
$err = refusal($node, 'CALL hotswap.work()');
like($err, qr/ERROR:  55000: another session dispatches in database "\w+"/,
	'work() beside the dispatcher is refused');
like($err, qr/DETAIL:  It is the background dispatcher, process $pid\./, 'naming it');
like($err, qr/HINT:  .*hotswap\.wait\(\)/, 'with what to do instead');
$id = $node->safe_psql('postgres', q{SELECT hotswap.deploy('app', '2', 'development')});
is($node->safe_psql('postgres', "SELECT hotswap.wait('$id', '60 s')"), 'succeeded',
	'the dispatcher has not been disturbed');
check_invariants($node, 'postgres');

done_testing();
