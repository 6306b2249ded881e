# Rehearsals that end in their middle, whatever ends them: nothing is left, and nobody behind their
# locks is harmed (src/run/rehearsal.c, src/run/lock_watch.c).
use strict;
use warnings;

use HotswapTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = hotswap_cluster(
	'rehearsal',
	'hotswap.retry_base' => '20ms',
	'hotswap.retry_max_delay' => '100ms',
	'hotswap.cancel_grace' => '300ms');

sub sql { return $node->safe_psql('postgres', $_[0]); }

# Every row of the catalogs that a script could change, and of the tables.
my $everything = q(SELECT md5(string_agg(r, '|' ORDER BY r)) FROM (
	SELECT (to_jsonb(c) - '{relpages,reltuples,relallvisible,relallfrozen}'::text[])::text
		FROM pg_class c WHERE relnamespace = 'public'::regnamespace
	UNION ALL SELECT to_jsonb(a)::text FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid
		WHERE relnamespace = 'public'::regnamespace
	UNION ALL SELECT to_jsonb(t)::text FROM pg_type t WHERE typnamespace = 'public'::regnamespace
	UNION ALL SELECT to_jsonb(p)::text FROM pg_proc p WHERE pronamespace = 'public'::regnamespace
	UNION ALL SELECT to_jsonb(i)::text FROM items i
	UNION ALL SELECT to_jsonb(m)::text FROM hotswap.node_module m) t (r));

sql(q(CREATE TABLE items (id int PRIMARY KEY, name text);
	INSERT INTO items SELECT g, 'item ' || g FROM generate_series(1, 1000) g;
	SELECT hotswap.register_node('development', 'n');
	SELECT hotswap.configure_environment('development', rehearse_max_lock => '1 h');
	SELECT hotswap.publish_version('m', '1', 'ALTER TABLE items ALTER COLUMN id TYPE bigint;
		CREATE TABLE fresh (); DELETE FROM items WHERE id < 10; SELECT pg_advisory_xact_lock(1)')));
my $before = sql($everything);

my $gate = $node->background_psql('postgres', on_error_die => 0);
my $at_gate = "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 1
	AND NOT granted)";
my $reader_waits = "SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'items'::regclass
	AND NOT granted)";

# Rehearses up to the gate, where it has its locks.
sub rehearse
{
	$gate->query_safe('SELECT pg_advisory_lock(1)');
	my $d = sql(q(SELECT hotswap.deploy('m', '1', 'development', rehearse => true)));
	wait_for($node, 'postgres', $at_gate);
	return $d;
}

# Somebody reads, and waits.
sub reader
{
	my $reader = $node->background_psql('postgres', on_error_die => 0);
	$reader->query_until(qr/reads/, "\\echo reads\nSELECT count(*), sum(id) FROM items;\n");
	wait_for($node, 'postgres', $reader_waits);
	return $reader;
}

sub executor
{
	return sql(q(SELECT pid FROM hotswap.workers WHERE kind = 'executor' AND state = 'busy'));
}

# Its executor is ended: the reader goes on, and so does the rehearsal, with another executor.
my $d = rehearse();
my $reader = reader();
my $pid = executor();
sql("SELECT pg_terminate_backend($pid)");
wait_for($node, 'postgres', "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $pid)");
like($reader->query('SELECT 1'), qr/1000\|500500/, 'who waits behind it reads what was there');
$gate->query_safe('SELECT pg_advisory_unlock(1)');
is(sql("CALL hotswap.await('$d', '120 s')"), 'succeeded', 'another executor rehearses it anew');
is(sql("SELECT string_agg(step || ' ' || rows, ',') FROM hotswap.rehearsals"), '1 9',
	'and says what it took, once');
is(sql($everything), $before, 'nothing has changed');
$reader->quit;

# Killed, and the server with it.
$d = rehearse();
kill 'KILL', executor();
$gate->{run}->finish;
wait_for($node, 'postgres', "SELECT EXISTS (SELECT FROM pg_stat_activity
	WHERE backend_type = 'hotswap dispatcher')");
is(sql("CALL hotswap.await('$d', '120 s')"), 'succeeded', 'after a crash it is rehearsed anew');
is(sql($everything), $before, 'nothing has changed by the crash either');
is(sql("SELECT count(*) FROM hotswap.rehearsals WHERE deployment_id = '$d'"), 1, 'a row for it');
$gate = $node->background_psql('postgres', on_error_die => 0);

# A cancel, and who waits.
$d = rehearse();
$reader = reader();
sql("SELECT hotswap.cancel('$d', 'enough')");
is(sql("CALL hotswap.await('$d', '120 s')"), 'cancelled', 'it is cancelled');
like($reader->query('SELECT 1'), qr/1000\|500500/, 'the reader goes on');
is(sql($everything), $before, 'nothing has changed');
$gate->query_safe('SELECT pg_advisory_unlock(1)');

# Its budget ends it while somebody waits, in the middle of a statement that waits itself.
sql("SELECT hotswap.configure_environment('development', rehearse_max_lock => '1 s')");
$gate->query_safe('SELECT pg_advisory_lock(1)');
$d = sql(q(SELECT hotswap.deploy('m', '1', 'development', rehearse => true)));
wait_for($node, 'postgres', $at_gate);
like($reader->query('SELECT count(*), sum(id) FROM items'), qr/1000\|500500/, 'the reader waits');
is(sql("CALL hotswap.await('$d', '120 s')"), 'failed', 'until its time is over');
like(sql("SELECT sqlstate || ' ' || message FROM hotswap.tasks WHERE deployment_id = '$d'
		AND kind = 'swap'"), qr/^YH012 rehearsal had an AccessExclusive lock on public\.items /,
	'it says for which lock');
like(sql("SELECT detail FROM hotswap.tasks WHERE deployment_id = '$d' AND kind = 'swap'"),
	qr/; 1 session was seen to wait/, 'and who was waiting');
is(sql($everything), $before, 'nothing has changed');
$gate->query_safe('SELECT pg_advisory_unlock(1)');

# A script that does not hear of it, since it catches every cancel, is ended with its executor.
sql(q(SELECT hotswap.publish_version('m', '2', $$LOCK TABLE items; DO $d$ BEGIN
		LOOP
			BEGIN PERFORM pg_sleep(1);
			EXCEPTION WHEN query_canceled THEN NULL;
			END;
		END LOOP;
	END $d$ $$)));
$d = sql(q(SELECT hotswap.deploy('m', '2', 'development', rehearse => true)));
is(sql("CALL hotswap.await('$d', '120 s')"), 'failed', 'a script that goes on is ended');
is(sql("SELECT message FROM hotswap.deployments WHERE id = '$d'"), 'the rehearsal went on after'
	  . ' it was told to stop, and its executor was ended', 'for good');
is(sql($everything), $before, 'nothing has changed');

$reader->quit;
$gate->quit;
check_invariants($node);
$node->stop;
done_testing();
