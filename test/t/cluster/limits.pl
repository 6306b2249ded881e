# What the server does not grant: worker slots, roles that may log in, plain settings.
use strict;
use warnings;

use HotswapTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# Of six slots two are the launchers' (ours, and that of logical replication) and one is the
# dispatcher's of database postgres.
my $node = hotswap_cluster('limits', max_worker_processes => 6);

my $no_executor = qr/no worker slot is free for a hotswap executor/;
my $no_dispatcher = qr/no worker slot is free for a hotswap dispatcher in database "\w+"/;

# A database with the extension, a module of which each version leaves its name behind, and a node.
sub furnish
{
	my ($db) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $db") unless $db eq 'postgres';
	$node->safe_psql($db, q{
		CREATE EXTENSION IF NOT EXISTS hotswap;
		CREATE TABLE done (version text);
		GRANT INSERT ON done TO PUBLIC;
		SELECT hotswap.publish_version('app', v, format('INSERT INTO public.done VALUES (%L)', v))
			FROM unnest('{1,2,3,4,5}'::text[]) v;
		SELECT hotswap.register_node('development', 'n')});
	return;
}

sub deploy
{
	my ($db, $version, $environment) = @_;
	$environment //= 'development';
	return $node->safe_psql($db, "SELECT hotswap.deploy('app', '$version', '$environment')");
}

sub ends
{
	my ($db, $id, $status, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is($node->safe_psql($db, "SELECT hotswap.wait('$id', '60 s')"), $status, $name);
}

sub health
{
	my ($component) = @_;
	return "SELECT status FROM hotswap.health() WHERE component = '$component'";
}

# How often the server has logged something, from the beginning.
sub logged
{
	my ($pattern) = @_;
	my $log = slurp_file($node->logfile);
	return scalar(() = $log =~ /$pattern/g);
}

# Nodes of three roles, so that each deployment wants four executors.
sub add_roles
{
	my ($db) = @_;
	$node->safe_psql($db, "SELECT hotswap.register_node('development', r, run_as => r::regrole)
		FROM unnest('{r1,r2,r3}'::text[]) r");
	return;
}

# How many events the audit log of a database has.
sub events
{
	return $node->safe_psql($_[0], 'SELECT count(*) FROM hotswap.audit_event');
}

# ---- executors that idle give way to a dispatcher ----

$node->safe_psql('postgres', "CREATE ROLE $_ LOGIN") for qw(r1 r2 r3 r4);
furnish('postgres');
add_roles('postgres');
ends('postgres', deploy('postgres', '1'), 'succeeded',
	'a database with three worker slots deploys');
for my $db ('first', 'second')
{
	furnish($db);
	ok(wait_for($node, $db, health('dispatcher'), 'ok'),
		'an executor of another database gives way to a dispatcher');
	add_roles($db);
}

$node->safe_psql('postgres',
	"SELECT hotswap.remove_node(id) FROM hotswap.nodes WHERE name <> 'n'");

# ---- one slot for all executors ----

# Two databases with four roles each: who has none gets one when another has had its turn.
my @requests = map { [ $_->[0], deploy(@$_) ] } map { [ 'first', $_ ], [ 'second', $_ ] } 1 .. 3;
ends($_->[0], $_->[1], 'succeeded', "with one slot for all executors database $_->[0] deploys")
	for @requests;
for my $db ('first', 'second')
{
	is($node->safe_psql($db, 'SELECT max(attempt) FROM hotswap.task'), '1',
		'each task at its first attempt');
	is($node->safe_psql($db, "SELECT count(*) FROM hotswap.audit_event WHERE event = 'give_back'"),
		'0', 'and none was given back');
}

# A long task of one database has the slot: the other one waits, and that is said once.
my $holder = $node->background_psql('first');
$holder->query_safe('SELECT pg_advisory_lock(4711)');
$node->safe_psql('first', q{SELECT hotswap.register_node('qa', 'n', run_as => 'r4'),
	hotswap.publish_version('app', 'long', 'SELECT pg_advisory_xact_lock_shared(4711)')});
my $long = deploy('first', 'long', 'qa');
wait_for($node, 'first', "SELECT count(*) FROM hotswap.workers
	WHERE kind = 'executor' AND state = 'busy' AND deployment_id = '$long'", '1');
my $id = deploy('second', '4');
ok(wait_for($node, 'second', health('executors'), 'critical'),
	'health() reports that no executor can be started');
my $before = events('second');
like($node->safe_psql('second', "SELECT unblocked_by FROM hotswap.explain('$id')
	WHERE reason = 'no worker slot is free'"),
	qr/max_worker_processes/, 'explain() says what would help');
$node->wait_for_log($no_executor);
is(status_of($node, $id, 'second'), 'running', 'the deployment waits');
is(events('second'), $before, 'and writes no events while it does');
$holder->quit;
ends('second', $id, 'succeeded', 'when the other executor has had its turn, it goes on');
is($node->safe_psql('second', 'SELECT max(attempt) FROM hotswap.task'), '1',
	'at its first attempt');
is($node->safe_psql('second', health('executors')), 'ok', 'health() is content');
ends('first', $long, 'succeeded', 'the long task has ended, too');
is(logged($no_executor), 1, 'the log has said once that there was no slot');
is(logged(qr/worker slots are free again for hotswap executors/), 1, 'and once that there is');

# ---- no slot for a dispatcher, until one becomes free ----

# The last slot is left to executors.
furnish('third');
$id = deploy('third', '1');
ok($node->wait_for_log($no_dispatcher), 'the log says that no dispatcher can be started');
is($node->safe_psql('third', "SELECT status, detail ~ 'increase max_worker_processes'
	FROM hotswap.health() WHERE component = 'dispatcher'"), 'critical|t',
	'health() says so, and why');
is($node->safe_psql('third', "SELECT count(*) FROM hotswap.explain('$id')
	WHERE reason = 'no dispatcher is running'"),
	'1', 'and so does explain()');
ends('second', deploy('second', '5'), 'succeeded', 'the databases with a dispatcher deploy');
$node->safe_psql('postgres', 'DROP DATABASE first');
ends('third', $id, 'succeeded', 'when a database has gone, its slots are used');
is(logged($no_dispatcher), 1, 'the log has said it once');
$node->safe_psql('postgres', 'DROP DATABASE second');

# ---- more slots after a restart ----

my %waiting;
furnish('filler');
wait_for($node, 'filler', health('dispatcher'), 'ok');
for my $db ('fourth', 'fifth')
{
	furnish($db);
	$waiting{$db} = deploy($db, '1');
}
$node->wait_for_log(qr/$no_dispatcher.*$no_dispatcher/s);
is(logged($no_dispatcher), 2, 'two databases that lack a dispatcher are one line in the log');
$node->append_conf('postgresql.conf', 'max_worker_processes = 16');
$node->restart;
ends($_, $waiting{$_}, 'succeeded', "after a restart with more, database $_ deploys")
	for sort keys %waiting;
check_invariants($node, $_) for qw(third fourth fifth);

# ---- roles that cannot log in ----

my $dispatcher = dispatcher_pid($node, 'postgres');

# Nodes of roles, each in an environment of its own; "only" leaves one of them on the way.
sub only
{
	my ($role) = @_;
	$node->safe_psql('postgres', "SELECT hotswap.set_approval_policy('production', 0);
		SELECT hotswap.remove_node(id) FROM hotswap.nodes WHERE environment = 'production';
		SELECT hotswap.register_node('production', '$role', run_as => '$role')");
	return;
}

my %refused = (
	gone => [ 'DROP ROLE gone', qr/^role with OID \d+, which the node runs as, does not exist$/ ],
	shut => [ 'ALTER ROLE shut NOLOGIN', qr/^role "shut" is not permitted to log in$/ ],
	barred => [ 'REVOKE CONNECT ON DATABASE postgres FROM PUBLIC',
		qr/^role "barred" does not have CONNECT privilege on database "postgres"$/ ]);
for my $role (qw(gone shut barred))
{
	my ($command, $message) = @{ $refused{$role} };
	$node->safe_psql('postgres', "CREATE ROLE $role LOGIN");
	only($role);
	# So that an executor is logged in as the role already when it loses the right to.
	ends('postgres', deploy('postgres', '1', 'production'), 'succeeded', "role $role can deploy");
	$node->safe_psql('postgres', $command);
	$id = deploy('postgres', '2', 'production');
	ends('postgres', $id, 'failed', "after $command it cannot");
	my ($sqlstate, $text) = split /\|/, $node->safe_psql('postgres',
		"SELECT sqlstate, message FROM hotswap.task
			WHERE deployment_id = '$id' AND status = 'failed'");
	is($sqlstate, '28000', 'the task has failed with 28000');
	like($text, $message, 'and says why');
	is($node->safe_psql('postgres', "SELECT sqlstate FROM hotswap.deployment WHERE id = '$id'"),
		'28000',
		'and so does the deployment');
}
$node->safe_psql('postgres', 'GRANT CONNECT ON DATABASE postgres TO PUBLIC');
is($node->safe_psql('postgres', "SELECT hotswap.retry('$id')"), 'queued',
	'when the role may connect again');
ends('postgres', $id, 'succeeded', 'a retry succeeds');
is(dispatcher_pid($node, 'postgres'), $dispatcher, 'the dispatcher has lived through all of it');

# ---- settings of roles ----

# A schema that stands before pg_catalog, with traps for whoever looks names up there.
$node->safe_psql('postgres', q{
	CREATE SCHEMA hostile;
	GRANT USAGE ON SCHEMA hostile TO PUBLIC;
	CREATE FUNCTION hostile.now() RETURNS timestamptz LANGUAGE plpgsql AS
		$$BEGIN RAISE 'a trap was sprung as %', current_user; END$$;
	DO $do$
	DECLARE
		t text;
		op text;
	BEGIN
		FOREACH t IN ARRAY '{uuid,text,integer,smallint,bytea,name}'::text[] LOOP
			EXECUTE format($f$CREATE FUNCTION hostile.trap(%1$s, %1$s) RETURNS boolean
				LANGUAGE plpgsql AS
				$$BEGIN RAISE 'a trap was sprung as %%', current_user; END$$$f$, t);
			FOREACH op IN ARRAY '{=,<>,<,~}'::text[] LOOP
				EXECUTE format('CREATE OPERATOR hostile.%1$s (LEFTARG = %2$s, RIGHTARG = %2$s,
					FUNCTION = hostile.trap)',
					op, t);
			END LOOP;
		END LOOP;
	END $do$;
	CREATE TYPE hostile.uuid AS ENUM ('trap');
	CREATE DOMAIN hostile.task_status AS text CHECK (value IS NULL)});
my %settings = (
	reader => [ 'default_transaction_read_only = on' ],
	serial => [ 'default_transaction_isolation = serializable',
		'default_transaction_deferrable = on' ],
	lost => [ 'search_path = hostile, pg_catalog' ],
	pathless => [ "search_path = ''" ],
	hasty => [ 'statement_timeout = 1', 'lock_timeout = 1',
		'idle_in_transaction_session_timeout = 1' ],
	odd => [
		"DateStyle = 'SQL, DMY'", 'IntervalStyle = sql_standard', 'TimeZone = \'Asia/Kathmandu\'',
		'bytea_output = escape', 'standard_conforming_strings = off', 'transform_null_equals = on',
		'array_nulls = off', 'xmloption = document', 'row_security = off',
		'synchronous_commit = off',
		'check_function_bodies = off', 'extra_float_digits = -15',
		'default_toast_compression = pglz',
		'plan_cache_mode = force_custom_plan', 'enable_indexscan = off', 'jit = off',
		"client_encoding = 'LATIN1'" ]);
for my $role (sort keys %settings)
{
	$node->safe_psql('postgres', join ';', "CREATE ROLE $role LOGIN",
		map { "ALTER ROLE $role SET $_" } @{ $settings{$role} });
	only($role);
	$id = deploy('postgres', '3', 'production');
	ends('postgres', $id, 'succeeded', "role $role, with " . join(', ', @{ $settings{$role} }))
	  or diag($node->safe_psql('postgres',
		"SELECT sqlstate, message, detail, context FROM hotswap.task WHERE deployment_id = '$id'"));
}

# ---- how many sessions may wait ----

sub set_max_waiters
{
	$node->safe_psql('postgres', "ALTER SYSTEM SET hotswap.max_waiters = $_[0]");
	$node->reload;
	return wait_for($node, 'postgres', 'SHOW hotswap.max_waiters', $_[0]);
}

my $waiting = $node->safe_psql('postgres',
	q(SELECT hotswap.deploy('app', '1', 'development', run_at => '2100-01-01')));
my $waits = q{SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%hotswap.wait(%'
	AND backend_type = 'client backend' AND wait_event_type = 'Extension'};
set_max_waiters(1);
my $waiter = $node->background_psql('postgres');
$waiter->query_until(qr/begun/, "\\echo begun\nSELECT hotswap.wait('$waiting');\n");
wait_for($node, 'postgres', $waits, '1');
like(refusal($node, "SELECT hotswap.wait('$waiting')"),
	qr/53400: +too many sessions wait in this database/, 'one session may wait, and does');
is($node->safe_psql('postgres', "SELECT hotswap.wait('$waiting', timeout => '0')"), 'scheduled',
	'whoever does not wait is told the status');
$node->safe_psql('postgres', "SELECT hotswap.cancel('$waiting', 'seen')");
wait_for($node, 'postgres', $waits, '0');
$waiter->quit;
set_max_waiters(0);

# ---- settings of the database, for the dispatcher too ----

for my $setting ('default_transaction_read_only = on',
	'default_transaction_isolation = serializable',
	'search_path = hostile, pg_catalog')
{
	my ($name) = $setting =~ /^(\w+)/;
	$node->safe_psql('fourth', "ALTER DATABASE fourth SET $setting");
	# Whoever is connected still has the old setting.
	$node->restart;
	local $ENV{PGOPTIONS} = '-c default_transaction_read_only=off '
		. '-c default_transaction_isolation=read\ committed -c search_path=public';
	ok(wait_for($node, 'fourth', health('dispatcher'), 'ok'),
		"a database with $setting has a dispatcher");
	$id = deploy('fourth', 2 + $node->safe_psql('fourth', 'SELECT count(*) - 1 FROM done'));
	ends('fourth', $id, 'succeeded', 'and deploys');
	$node->safe_psql('fourth', "ALTER DATABASE fourth RESET $name");
}
check_invariants($node, $_) for qw(postgres fourth);

done_testing();
