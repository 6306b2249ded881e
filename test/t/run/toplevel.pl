# Scripts outside of transactions: whatever ends them in their middle, each statement is done
# once, or the task says that it is in doubt (src/run/toplevel.c and its kin).
use strict;
use warnings;

use HotswapTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = hotswap_cluster(
	'toplevel',
	'hotswap.retry_base' => '20ms',
	'hotswap.retry_max_delay' => '100ms',
	'hotswap.cancel_grace' => '60s');
my $version = 0;

sub sql { return $node->safe_psql('postgres', $_[0]); }

# A module of its own for each script.
sub deploy
{
	my ($script, %more) = @_;
	$version++;
	my $verify = $more{verify} ? "verify_sql => \$v\$$more{verify}\$v\$," : '';
	my $revert = $more{revert} ? "revert_sql => \$r\$$more{revert}\$r\$," : '';
	return sql(qq(SELECT hotswap.publish_version('m$version', '1', \$script\$$script\$script\$,
			$verify $revert transactional => false) \\g /dev/null
		SELECT hotswap.deploy('m$version', '1', 'development')));
}

sub ends
{
	my ($id, $status, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is(sql("CALL hotswap.await('$id', '120 s')"), $status, $name)
	  || diag(sql("SELECT sqlstate, message, detail FROM hotswap.tasks
			WHERE deployment_id = '$id'"));
}

sub task
{
	my ($id, $columns) = @_;
	return sql("SELECT $columns FROM hotswap.tasks WHERE deployment_id = '$id' AND kind = 'swap'");
}

# Kills the executor once the condition holds, and waits until the server is back.
sub kill_when
{
	my ($condition) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	wait_for($node, 'postgres', "SELECT $condition");
	my $pids = sql(q(SELECT string_agg(pid::text, ' ' ORDER BY kind) FROM hotswap.workers
		WHERE kind = 'dispatcher' OR kind = 'executor' AND state = 'busy'));
	my ($dispatcher, $executor) = split / /, $pids;
	kill 'KILL', $executor;
	wait_for($node, 'postgres', "SELECT pid <> $dispatcher FROM pg_stat_activity
		WHERE backend_type = 'hotswap dispatcher'");
	return;
}

my $waits = "EXISTS (SELECT FROM pg_stat_activity a JOIN pg_locks l USING (pid)
	WHERE a.backend_type = 'hotswap executor' AND NOT l.granted)";

# Holds what keeps CONCURRENTLY waiting; gone with a crash.
sub writer
{
	my ($statement) = @_;
	my $session = $node->background_psql('postgres', on_error_die => 0);
	$session->query_safe("BEGIN");
	$session->query_safe($statement);
	return $session;
}

sub leave { my ($session) = @_; eval { $session->quit }; return; }

sql(q(CREATE ROLE app LOGIN; CREATE SCHEMA app AUTHORIZATION app;
	CREATE SCHEMA elsewhere AUTHORIZATION app;
	CREATE TABLE app.book (id serial, what text); ALTER TABLE app.book OWNER TO app;
	CREATE TABLE app.t (x int); ALTER TABLE app.t OWNER TO app;
	INSERT INTO app.t SELECT generate_series(1, 1000);
	SELECT hotswap.register_node('development', 'n', run_as => 'app', schema => 'app')));

sub booked { return sql(q(SELECT coalesce(string_agg(what, ' ' ORDER BY id), '') FROM app.book)); }

my ($id, $gate);

# ---- an ordinary statement ----

sql(q(DELETE FROM app.book));
$gate = writer('SELECT pg_advisory_xact_lock(1)');
$id = deploy(q(INSERT INTO book (what) VALUES ('a1');
	SET search_path = elsewhere;
	CREATE TABLE made (x int);
	DO $$BEGIN INSERT INTO app.book (what) VALUES ('a2');
		PERFORM pg_advisory_lock_shared(1), pg_advisory_unlock_shared(1); END$$;
	CREATE TABLE made_later (x int);
	BEGIN; INSERT INTO app.book (what) VALUES ('a3'); SAVEPOINT s;
	INSERT INTO app.book (what) VALUES ('never'); ROLLBACK TO s; COMMIT;
	BEGIN READ ONLY; SELECT 1; COMMIT;
	BEGIN; INSERT INTO app.book (what) VALUES ('never'); ROLLBACK),
	verify => 'SELECT to_regclass($$elsewhere.made_later$$) IS NOT NULL');
kill_when($waits);
leave($gate);
ends($id, 'succeeded', 'killed in an ordinary statement');
is(booked(), 'a1 a2 a3', 'each statement is done once');
is(sql(q(SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class
	WHERE relnamespace = 'elsewhere'::regnamespace)), 'made made_later',
	'a setting holds in the session that goes on');
is(sql('SELECT count(*) FROM hotswap.statement'), '0', 'what was noted is gone at the end');

# ---- a transaction of the script's own ----

sql(q(DELETE FROM app.book));
$gate = writer('SELECT pg_advisory_xact_lock(1)');
$id = deploy(q(BEGIN; INSERT INTO book (what) VALUES ('b1');
	DO $$BEGIN PERFORM pg_advisory_lock_shared(1), pg_advisory_unlock_shared(1); END$$;
	INSERT INTO book (what) VALUES ('b2'); COMMIT));
kill_when($waits);
leave($gate);
ends($id, 'succeeded', 'killed between BEGIN and COMMIT');
is(booked(), 'b1 b2', 'the transaction is done once');

# ---- CREATE INDEX CONCURRENTLY ----

$gate = writer('INSERT INTO app.t VALUES (0)');
$id = deploy('CREATE INDEX CONCURRENTLY t_x ON t (x); INSERT INTO book (what) VALUES (\'c\')');
kill_when("$waits AND EXISTS (SELECT FROM pg_index WHERE NOT indisvalid)");
leave($gate);
ends($id, 'succeeded', 'killed while it builds an index');
is(sql("SELECT string_agg(indexrelid::regclass || ' ' || indisvalid, ', ') FROM pg_index
	WHERE indrelid = 'app.t'::regclass"), 'app.t_x true', 'there is one, and it is valid');

# ---- REINDEX CONCURRENTLY ----

$gate = writer('INSERT INTO app.t VALUES (0)');
$id = deploy('REINDEX INDEX CONCURRENTLY t_x');
kill_when("$waits AND EXISTS (SELECT FROM pg_index WHERE NOT indisvalid)");
leave($gate);
ends($id, 'succeeded', 'killed while it builds an index again');
is(sql("SELECT string_agg(indexrelid::regclass || ' ' || indisvalid, ', ') FROM pg_index
	WHERE indrelid = 'app.t'::regclass"), 'app.t_x true', 'nothing is left of the first attempt');

# ---- DROP INDEX CONCURRENTLY ----

$gate = writer('INSERT INTO app.t VALUES (0)');
$id = deploy('DROP INDEX CONCURRENTLY t_x');
kill_when($waits);
leave($gate);
ends($id, 'succeeded', 'killed while it drops an index');
is(sql("SELECT count(*) FROM pg_index WHERE indrelid = 'app.t'::regclass"), '0', 'it is gone');

# ---- DETACH PARTITION CONCURRENTLY ----

sql(q(CREATE TABLE app.parts (x int) PARTITION BY LIST (x); ALTER TABLE app.parts OWNER TO app;
	CREATE TABLE app.part PARTITION OF app.parts FOR VALUES IN (1);
	ALTER TABLE app.part OWNER TO app));
$gate = writer('SELECT * FROM app.parts');
$id = deploy('ALTER TABLE parts DETACH PARTITION part CONCURRENTLY');
kill_when("$waits AND EXISTS (SELECT FROM pg_inherits WHERE inhdetachpending)");
leave($gate);
ends($id, 'succeeded', 'killed while it detaches a partition');
is(sql("SELECT count(*) FROM pg_inherits WHERE inhparent = 'app.parts'::regclass"), '0',
	'it is detached');

# ---- in doubt ----

sql(q(CREATE PROCEDURE app.twice() LANGUAGE plpgsql AS $$BEGIN
		INSERT INTO app.book (what) VALUES ('-1'); COMMIT;
		PERFORM pg_advisory_lock_shared(1), pg_advisory_unlock_shared(1);
		INSERT INTO app.book (what) VALUES ('-2'); END$$;
	ALTER PROCEDURE app.twice() OWNER TO app;
	DELETE FROM app.book));
my $call = q(INSERT INTO book (what) VALUES ('d1'); CALL twice();
	INSERT INTO book (what) VALUES ('d3'));
$gate = writer('SELECT pg_advisory_xact_lock(1)');
$id = deploy($call);
kill_when($waits);
leave($gate);
ends($id, 'failed', 'killed in a procedure that has committed');
is(task($id, q(sqlstate || ' ' || message)),
	"08007 statement 2 of the deploy script of version \"1\" is in doubt", 'which is in doubt');
is(task($id, 'detail'), 'Its executor ended while it ran, and it may have committed a part.'
	. ' Statement 1 of the script is done.', 'what is done is said');
like(refusal($node, "SELECT hotswap.retry('$id')"),
	qr/55000: deployment ".*" has a statement in doubt.*DETAIL:  It is statement 2 of the deploy/s,
	'somebody has to decide');
sql("SELECT hotswap.retry('$id', in_doubt => 'skip')");
ends($id, 'succeeded', 'it is skipped');
is(booked(), 'd1 -1 d3', 'and the script goes on behind it');
is(sql("SELECT string_agg(detail::text, ', ') FROM hotswap.audit_log
	WHERE event = 'resolve_doubt' AND subject_id = '$id'"),
	'{"node": "n", "script": "deploy", "version": "1", "in_doubt": "skip", "statement": "2"}',
	'the audit log knows who said so');
sql('DELETE FROM app.book');
$gate = writer('SELECT pg_advisory_xact_lock(1)');
$id = deploy($call);
kill_when($waits);
leave($gate);
ends($id, 'failed', 'the same again');
sql("SELECT hotswap.retry('$id', in_doubt => 'run')");
ends($id, 'succeeded', 'it is run again');
is(booked(), 'd1 -1 -1 -2 d3', 'all of it');

# ---- the server is restarted ----

sql('DELETE FROM app.book');
$gate = writer('INSERT INTO app.t VALUES (0)');
$id = deploy(q(INSERT INTO book (what) VALUES ('e1');
	CREATE INDEX CONCURRENTLY IF NOT EXISTS t_x ON t (x);
	INSERT INTO book (what) VALUES ('e2')));
wait_for($node, 'postgres', "SELECT $waits");
$node->restart;
leave($gate);
ends($id, 'succeeded', 'shut down in its middle');
is(booked(), 'e1 e2', 'each statement is done once');
is(sql("SELECT indisvalid FROM pg_index WHERE indexrelid = 'app.t_x'::regclass"), 't',
	'IF NOT EXISTS is not content with what was left');

# ---- cancel ----

$gate = writer('INSERT INTO app.t VALUES (0)');
$id = deploy(q(INSERT INTO book (what) VALUES ('f1');
	CREATE INDEX CONCURRENTLY t_y ON t ((x + 1))));
wait_for($node, 'postgres', "SELECT $waits AND EXISTS (SELECT FROM pg_index WHERE NOT indisvalid)");
sql("SELECT hotswap.cancel('$id', 'enough')");
ends($id, 'cancelled', 'a cancel ends the statement');
is(task($id, 'detail'), 'Statement 1 of the script is done. Left behind is what'
	. ' "DROP INDEX CONCURRENTLY app.t_y" removes.', 'and says what stays');
leave($gate);
sql('DROP INDEX app.t_y');

# ---- an index that cannot be ----

sql('INSERT INTO app.t VALUES (1)');
$id = deploy('CREATE UNIQUE INDEX CONCURRENTLY t_z ON t (x)');
ends($id, 'failed', 'a unique index over duplicates');
is(task($id, q(sqlstate || ' ' || attempt)), '23505 1', 'is not tried again');
is(sql("SELECT count(*) FROM pg_index WHERE NOT indisvalid"), '0', 'and leaves nothing');
sql("DELETE FROM app.t WHERE x IN (0, 1)");
sql("SELECT hotswap.retry('$id')");
ends($id, 'succeeded', 'later it can be');

# ---- locks ----

sql('DELETE FROM app.book');
$node->append_conf('postgresql.conf', "hotswap.lock_timeout = '100ms'\nhotswap.retry_limit = 50\n");
$node->reload;
$gate = writer('LOCK TABLE app.t IN ROW EXCLUSIVE MODE');
$id = deploy(q(INSERT INTO book (what) VALUES ('g1'); ALTER TABLE t ADD COLUMN y int;
	INSERT INTO book (what) VALUES ('g2')));
wait_for($node, 'postgres', "SELECT attempts > 1 FROM hotswap.statement
	WHERE deployment_id = '$id' AND statement = 2");
$gate->query_safe('COMMIT');
ends($id, 'succeeded', 'a lock that is not there is waited for again and again');
is(booked(), 'g1 g2', 'each statement is done once');
$gate->query_safe('BEGIN; INSERT INTO app.t VALUES (-7)');
$id = deploy('DROP INDEX CONCURRENTLY t_z');
wait_for($node, 'postgres', "SELECT clock_timestamp() > started_at + interval '300 ms'
	FROM hotswap.statement WHERE deployment_id = '$id'");
$gate->query_safe('COMMIT');
ends($id, 'succeeded', 'CONCURRENTLY waits longer than for a lock');
is(task($id, 'attempt'), '1', 'at once');
leave($gate);

# ---- a procedure that fails after it has committed ----

sql(q(CREATE PROCEDURE app.half() LANGUAGE plpgsql AS $$BEGIN
		INSERT INTO app.book (what) VALUES ('-1'); COMMIT;
		RAISE lock_not_available; END$$;
	ALTER PROCEDURE app.half() OWNER TO app; DELETE FROM app.book));
$id = deploy('CALL half()');
ends($id, 'failed', 'a procedure that fails after it has committed');
is(task($id, q(sqlstate || ' ' || attempt)), '55P03 1', 'is not tried again by itself');
is(booked(), '-1', 'what it has committed stays');
like(refusal($node, "SELECT hotswap.retry('$id')"), qr/has a statement in doubt/,
	'somebody has to decide');

check_invariants($node, 'postgres');
done_testing();
