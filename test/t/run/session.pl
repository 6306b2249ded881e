# The session of an executor: what a script has done to it does not reach the next task, and it is
# what a login of the role would be now (src/run/session.c, src/worker/executor.c).
use strict;
use warnings;

use HotswapTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $node = hotswap_cluster(
	'session',
	wal_level => 'logical',
	log_lock_waits => 'on',
	deadlock_timeout => '10ms',
	'hotswap.retry_base' => '20ms');
my $version = 0;

sub sql { return $node->safe_psql('postgres', $_[0]); }

# A module of its own for each script.
sub deploy
{
	my ($script, $verify) = @_;
	$version++;
	$verify //= '--';
	return sql(qq(SELECT hotswap.publish_version('m$version',
		'1', \$script\$$script\$script\$, \$script\$$verify\$script\$) \\g /dev/null
		SELECT hotswap.deploy('m$version', '1', 'development')));
}

sub run
{
	my ($id) = @_;
	return sql("SELECT hotswap.wait('$id', '60 s')");
}

sub task
{
	my ($id, $columns) = @_;
	return sql("SELECT $columns FROM hotswap.tasks WHERE deployment_id = '$id' AND kind = 'swap'");
}

sub executor
{
	return sql(q(SELECT string_agg(pid::text, ',') FROM hotswap.workers WHERE kind = 'executor'));
}

# The same as wait_for(), in a session that is there already.
sub wait_in
{
	my ($session, $query) = @_;
	my $limit = time + $PostgreSQL::Test::Utils::timeout_default;
	while (time < $limit)
	{
		return 1 if $session->query_safe($query) eq 't';
		usleep(10_000);
	}
	return 0;
}

# What the server has logged since.
sub logged
{
	my ($offset) = @_;
	return substr(slurp_file($node->logfile), $offset);
}

sql(q(CREATE ROLE app LOGIN REPLICATION; CREATE SCHEMA app AUTHORIZATION app;
	CREATE TABLE app.seen (what text); GRANT ALL ON app.seen TO app;
	SELECT hotswap.register_node('development', 'n', run_as => 'app', schema => 'app')));
is(run(deploy('SELECT 1')), 'succeeded', 'all is well');
my $executor = executor();

# ---- replication slots ----

sql(q(SELECT pg_create_logical_replication_slot('kept', 'pgoutput')));
my $read = q(SELECT count(*) FROM pg_logical_slot_peek_binary_changes('kept', NULL, NULL));
my $id = deploy($read);
is(run($id), 'failed', 'a script fails while it reads a replication slot');
is(sql(q(SELECT active FROM pg_replication_slots WHERE slot_name = 'kept')), 'f',
	'and does not keep it');
$id = deploy("DO \$\$BEGIN PERFORM FROM ($read) x; EXCEPTION WHEN OTHERS THEN NULL; END\$\$");
is(run($id), 'succeeded', 'one that catches the error succeeds');
ok( wait_for($node, 'postgres',
		q(SELECT NOT active FROM pg_replication_slots WHERE slot_name = 'kept')),
	'and does not keep it either');
is(run(deploy(q(SELECT pg_create_physical_replication_slot('own', true, true)))), 'succeeded',
	'a script makes a temporary slot');
ok(wait_for($node, 'postgres', q(SELECT count(*) = 1 FROM pg_replication_slots)),
	'which ends with the task');
is(executor(), $executor, 'all of it in one executor');

# ---- the text of errors ----

$id = deploy(q(DO $$BEGIN RAISE '%', repeat('ä', 1000000) USING DETAIL = repeat('d', 9000),
	HINT = repeat('h', 8192); END$$));
is(run($id), 'failed', 'an error with a very long text');
is(task($id, q{octet_length(message) BETWEEN 8192 AND 8300, right(message, 30), right(detail, 26),
	hint = repeat('h', 8192)}), 't|ää... (cut from 2000000 bytes)|d... (cut from 9000 bytes)|t',
	'is kept up to a limit, which it says');
is(sql(qq(SELECT octet_length(message) < 8300 FROM hotswap.deployment WHERE id = '$id')), 't',
	'everywhere');
is(sql(q(SELECT max(octet_length(reason)) < 8300 FROM hotswap.audit_log)), 't',
	'in the audit log too');

# ---- the statement that is over is not logged as the one that runs ----

my $gate = $node->background_psql('postgres');
$gate->query_safe('SELECT pg_advisory_lock(5)');
$id = deploy('SELECT 1;' x 60_000 . 'SELECT pg_advisory_xact_lock(5)');
wait_at_gate($node, 5, 1);
my $holder = $node->background_psql('postgres');
$holder->query_safe("BEGIN; SELECT FROM hotswap.task WHERE deployment_id = '$id' FOR UPDATE");
my $offset = -s $node->logfile;
$gate->query_safe('SELECT pg_advisory_unlock(5)');
ok($node->wait_for_log(qr/hotswap executor .*still waiting for ShareLock/, $offset),
	'the record of a task waits for somebody');
$holder->query_safe('ROLLBACK');
is(run($id), 'succeeded', 'and is written then');
unlike(logged($offset) =~ s/.*still waiting for ShareLock//sr, qr/hotswap executor .*STATEMENT:/,
	'the statement was over by then');
$_->quit for $gate, $holder;
is(executor(), $executor, 'still the same executor');

# ---- memory ----

SKIP:
{
	my $status = "/proc/$executor/status";
	skip 'no /proc', 3 unless -r $status;
	is(run(deploy(q(SELECT g, repeat('x', 100) FROM generate_series(1, 1000000) g))), 'succeeded',
		'a script that returns 100 MB');
	cmp_ok((slurp_file($status) =~ /VmHWM:\s+(\d+) kB/)[0], '<', 100_000, 'does not need them');
	is(executor(), $executor, 'and the executor goes on');
}
is(run(deploy(q(DO $$BEGIN
	EXECUTE format('CREATE FUNCTION big() RETURNS integer LANGUAGE plpgsql AS %L',
		'BEGIN RETURN length(' || quote_literal(repeat('x', 40000000)) || '); END');
	PERFORM big();
	END$$))), 'succeeded', 'a script that makes a cache grow');
ok(wait_for($node, 'postgres', "SELECT count(*) = 0 FROM hotswap.workers WHERE pid = $executor"),
	'its executor leaves');
is(run(deploy('SELECT 1')), 'succeeded', 'and another one takes its place');
$executor = executor();

# ---- a role that is set when the task is committed ----

sql(q(CREATE ROLE other; CREATE ROLE third; GRANT other, third TO app));
$id = deploy(q(CREATE TABLE t (i int);
	CREATE FUNCTION become() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
		IF new.i < 3 THEN
			SET CONSTRAINTS ALL DEFERRED;
			INSERT INTO app.t VALUES (new.i + 1);
		ELSE
			SET ROLE other;
		END IF;
		RETURN NULL;
	END$$;
	CREATE CONSTRAINT TRIGGER c AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED
		FOR EACH ROW EXECUTE FUNCTION become();
	INSERT INTO t VALUES (1)));
is(run($id), 'succeeded', 'a trigger that is deferred to the commit becomes somebody else');
my $who = q(INSERT INTO app.seen SELECT session_user || ' ' || current_user || ' '
	|| current_setting('work_mem'));
sub seen { return sql('DELETE FROM app.seen RETURNING what'); }
is(run(deploy($who)), 'succeeded', 'the next task');
is(seen(), 'app app 4MB', 'runs as the login');
$executor = executor();

# ---- a role that changes while an executor is logged in as it ----

my @changes = (
	[ q(ALTER ROLE app SET work_mem = '5MB'), 'app app 5MB' ],
	[ q(ALTER ROLE app IN DATABASE postgres SET work_mem = '6MB'), 'app app 6MB' ],
	[ q(ALTER ROLE app RESET ALL; ALTER ROLE app IN DATABASE postgres RESET ALL;
		ALTER DATABASE postgres SET work_mem = '7MB'), 'app app 7MB' ],
	[ q(ALTER DATABASE postgres RESET ALL; ALTER ROLE ALL SET work_mem = '8MB'), 'app app 8MB' ],
	[ q(ALTER ROLE ALL RESET ALL; ALTER ROLE app SET role = 'other';
		GRANT INSERT ON app.seen TO other; GRANT USAGE ON SCHEMA app TO other), 'app other 4MB' ],
	[ 'REVOKE other FROM app', 'app app 4MB' ],
	[ 'CREATE ROLE between IN ROLE other; GRANT between TO app', 'app other 4MB' ],
	[ 'REVOKE other FROM between', 'app app 4MB' ],
	[ 'GRANT other TO between', 'app other 4MB' ]);
for my $change (@changes)
{
	sql($change->[0]);
	$id = deploy($who);
	is(run($id), 'succeeded', "after $change->[0]");
	is(seen(), $change->[1], 'the next task finds what a login finds');
	is(task($id, 'attempt'), '1', 'at its first attempt');
	isnt(executor(), $executor, 'in another executor');
	$executor = executor();
}

# ---- a role that is set by ALTER ROLE ----

for my $script ('RESET ROLE', 'SET ROLE NONE; SET ROLE other', 'SET LOCAL ROLE NONE; RESET ROLE',
	'SET ROLE NONE')
{
	is(run(deploy($script, "SELECT current_user = 'other'")),
		'succeeded', "a script may $script; the next one has the role again");
}
$id = deploy('SET ROLE third');
is(run($id), 'failed', 'but not leave another role behind');
is(task($id, 'sqlstate, message'), '55000|script changed the role', 'and says so');
sql(q(CREATE FUNCTION public.smoke(uuid) RETURNS boolean LANGUAGE plpgsql AS
		$$BEGIN
			INSERT INTO app.seen VALUES (session_user || ' ' || current_user);
			RETURN true;
		END$$;
	ALTER FUNCTION public.smoke OWNER TO app;
	SELECT hotswap.register_hook('test', 'public.smoke(uuid)')));
is(run(deploy('SELECT 1')), 'succeeded', 'a hook of that role');
is(seen(), 'app other', 'is called as the scripts run');
sql(q(SELECT hotswap.remove_hook('test', 'public.smoke(uuid)')));
is(executor(), $executor, 'all of it in one executor');

# ---- a login that somebody holds up ----

sql(q(CREATE ROLE chief LOGIN SUPERUSER;
	SELECT hotswap.remove_node(id) FROM hotswap.node;
	SELECT hotswap.register_node('development', 'chief', run_as => 'chief')));
sql(q(SELECT hotswap.publish_version('early', '1', 'SELECT 1')));
my $control = $node->background_psql('postgres');
$holder = $node->background_psql('postgres');
$control->query_safe('SELECT count(*) FROM hotswap.workers');
$holder->query_safe('BEGIN; LOCK TABLE pg_db_role_setting IN ACCESS EXCLUSIVE MODE');
$id = $control->query_safe("SELECT hotswap.deploy('early', '1', 'development')");
ok(wait_in(
		$control, q(SELECT count(*) = 1 FROM hotswap.workers
			WHERE kind = 'executor' AND state = 'starting' AND pid IS NOT NULL)),
	'the dispatcher starts an executor while nobody can log in');
my $held = $control->query_safe(
	q(SELECT pid FROM hotswap.workers WHERE kind = 'executor' AND state = 'starting'));
$holder->query_safe('COMMIT');
$_->quit for $control, $holder;
is(run($id), 'succeeded', 'its task runs when they can');
is(task($id, 'attempt'), '1', 'at its first attempt');
is(sql("SELECT count(*) FROM hotswap.workers WHERE pid = $held"), '0',
	'in one whose login is known');

# ---- a superuser that is none any more ----

is(run(deploy('SET SESSION AUTHORIZATION postgres; RESET SESSION AUTHORIZATION')), 'succeeded',
	'a superuser may be anybody');
$id = deploy('SET SESSION AUTHORIZATION postgres');
is(run($id), 'failed', 'but not stay it');
is(task($id, 'message, hint'), 'script changed the session authorization|'
	. 'End the script with RESET SESSION AUTHORIZATION.', 'and is told so');
$gate = $node->background_psql('postgres');
$gate->query_safe('SELECT pg_advisory_lock(6)');
# The second one is in the hands of the executor when the role changes.
sql(q(ALTER SYSTEM SET hotswap.max_executors = 1));
$node->reload;
wait_for($node, 'postgres', q(SELECT current_setting('hotswap.max_executors') = '1'));
my @ids = (deploy('SELECT pg_advisory_xact_lock(6)'),
	deploy('SET SESSION AUTHORIZATION postgres; CREATE ROLE backdoor SUPERUSER'));
wait_at_gate($node, 6, 1);
sql('ALTER ROLE chief NOSUPERUSER; GRANT CREATE ON SCHEMA public TO chief');
$gate->query_safe('SELECT pg_advisory_unlock(6)');
$gate->quit;
is(run($ids[0]), 'succeeded', 'one that runs when the role changes ends');
is(run($ids[1]), 'failed', 'the next one is not a superuser');
is(task($ids[1], 'attempt, sqlstate'), '1|42501', 'and has lost no attempt');
is(sql(q(SELECT count(*) FROM pg_roles WHERE rolname = 'backdoor')), '0',
	'nor has it made anything');

# ---- scripts that do not want to end, or to be kept ----

is(run(deploy(q(SET exit_on_error = on; SELECT 1/0))), 'failed',
	'a script that makes each error end the session');
is(sql("SELECT string_agg(DISTINCT attempt || ' ' || sqlstate, ',') FROM hotswap.tasks
	WHERE sqlstate = '22012'"), '1 22012', 'has failed at once, for its reason');
sql('ALTER ROLE chief SET exit_on_error = on');
is(run($id = deploy(q(SELECT 1/0))), 'failed', 'and so has one of a role that does');
is(task($id, 'attempt, sqlstate'), '1|22012', 'for its reason');
sql('ALTER ROLE chief RESET ALL');
unlike(slurp_file($node->logfile), qr/FATAL:  division by zero/, 'no session has ended for that');

sql(q(ALTER SYSTEM SET hotswap.statement_timeout = '300ms';
	ALTER SYSTEM SET hotswap.cancel_grace = '1h'));
$node->reload;
my $catch = q(BEGIN PERFORM pg_sleep(60); EXCEPTION WHEN query_canceled THEN NULL; END;);
wait_for($node, 'postgres', q(SELECT current_setting('hotswap.cancel_grace') = '1h'));
is(run(deploy('SELECT 1')), 'succeeded', 'a short script');
$executor = executor();
$id = deploy("DO \$\$BEGIN $catch END\$\$");
is(run($id), 'failed', 'a script that catches its cancel');
is(task($id, 'sqlstate, message'), '57014|the script took longer than hotswap.statement_timeout',
	'has failed when it ends');
$id = deploy('SELECT pg_sleep(60)');
is(run($id), 'failed', 'one that does not');
is(task($id, 'sqlstate, message'), '57014|canceling statement due to statement timeout',
	'has failed by the cancel');
for my $own ("SET statement_timeout = '1h';",
	"SET statement_timeout = 50; DO \$\$BEGIN $catch END\$\$; SET statement_timeout = 0;")
{
	$id = deploy("$own SELECT pg_sleep(60)");
	is(run($id), 'failed', "it holds whatever the script sets: $own");
	is(task($id, 'sqlstate, message'), '57014|canceling statement due to statement timeout',
		'and cancels');
}
is(executor(), $executor, 'and the executor stays');
sql(q(ALTER SYSTEM SET hotswap.cancel_grace = '200ms'));
$node->reload;
wait_for($node, 'postgres', q(SELECT current_setting('hotswap.cancel_grace') = '200ms'));
$id = deploy("DO \$\$BEGIN LOOP $catch END LOOP; END\$\$");
is(run($id), 'failed', 'one that goes on for ever');
is(task($id, 'attempt, sqlstate, message'), '1|57014|the task went on after '
	. 'hotswap.statement_timeout, and its executor was ended', 'is ended after the grace period');
isnt(executor(), $executor, 'with its executor');

check_invariants($node, 'postgres');
done_testing();
