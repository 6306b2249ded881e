-- A rehearsal runs everything, says what it took, and leaves nothing (src/run/rehearsal.c,
-- src/run/lock_watch.c).
SELECT plan(39);
\ir ../include/rehearsal.sql
SELECT hotswap.configure_environment('development', rehearse_max_lock => '1 min') \g /dev/null
SELECT hotswap.publish_version('m', '1', 'SELECT 1', revert_sql => 'SELECT 1', parents => '{}')
	\g /dev/null
CALL rehearse('1') \gset
SELECT everything() AS before \gset

-- Steps of all kinds of changes.
SELECT hotswap.publish_version('m', '2', $$
	ALTER TABLE items ALTER COLUMN id TYPE bigint;
	CREATE TABLE fresh (id int PRIMARY KEY REFERENCES parent);
	INSERT INTO parent VALUES (1), (2);
	UPDATE items SET name = 'new' WHERE id <= 10;
	DELETE FROM items WHERE id > 1990;
	CREATE INDEX ON items (name);
	COMMENT ON TABLE items IS 'rehearsed';
	GRANT SELECT ON items TO pg_monitor$$,
	'SELECT count(*) = 1990 FROM items; SELECT count(*) = 2 FROM parent', parents => '{1}'),
	hotswap.publish_version('m', '3', $$
	CREATE TYPE mood AS ENUM ('good');
	CREATE FUNCTION f() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM items';
	COPY items FROM STDIN;
3001	one
3002	two
\.
	DROP TABLE child; TRUNCATE items;
	LOCK TABLE fresh; SELECT pg_sleep(0.11)$$, 'SELECT f() = 0', parents => '{2}') \g /dev/null
CALL rehearse('3') \gset
SELECT is(:'said'::text, 'succeeded', 'it succeeds');
SELECT is(everything(), :'before', 'no row and no object has changed, whatever it did');
SELECT is((SELECT count(*) FROM hotswap.node_module), 0::bigint, 'the node runs nothing');
SELECT is((task()).status::text, 'succeeded', 'its task has succeeded');
SELECT results_eq('SELECT kind::text FROM hotswap.stages WHERE deployment_id = rehearsal()
	ORDER BY ordinal', $$VALUES ('build'), ('scan'), ('deploy')$$, 'no hook is called for it');
SELECT results_eq('SELECT node, step, module, version, direction::text, rows
	FROM hotswap.rehearsals WHERE deployment_id = rehearsal() ORDER BY step',
	$$VALUES ('n', 1, 'm', '1', 'up', 0::bigint), ('n', 2, 'm', '2', 'up', 22),
	('n', 3, 'm', '3', 'up', 2)$$, 'a row for each step, with the rows that it changed');
SELECT ok(bool_and(duration > '0' AND duration < '1 min'), 'and how long it took')
FROM hotswap.rehearsals;
SELECT is((SELECT string_agg(step || ' ' || mode, ', ') FROM hotswap.rehearsal_locks
	WHERE deployment_id = rehearsal() AND relation = 'public.items'), '2 AccessExclusiveLock',
	'a lock belongs to the step that took it');
SELECT is((SELECT string_agg(step || ' ' || mode, ', ') FROM hotswap.rehearsal_locks
	WHERE deployment_id = rehearsal() AND relation = 'public.child'), '3 AccessExclusiveLock',
	'to its strongest mode');
SELECT is((SELECT string_agg(step || ' ' || mode, ', ') FROM hotswap.rehearsal_locks
	WHERE deployment_id = rehearsal() AND relation = 'public.parent'),
	'3 AccessExclusiveLock', 'and to the step where it became so strong');
SELECT is((SELECT count(*) FROM hotswap.rehearsal_locks WHERE relation ~ 'fresh|hotswap'),
	0::bigint, 'what it has made itself, and what is hotswap''s, is left out');
SELECT ok((SELECT held > '0.1 s' FROM hotswap.rehearsal_locks WHERE deployment_id = rehearsal()
	AND step = 2 AND relation = 'public.items'), 'a lock is held until the end of the last step');
SELECT results_eq($$SELECT event::text, environment, reason ~ 'AccessExclusiveLock on '
	FROM hotswap.notification WHERE deployment_id = rehearsal()
		AND concerns = ARRAY[session_user::text] ORDER BY event::text COLLATE "C"$$,
	$$VALUES ('ended', 'development', false), ('rehearsed', 'development', true)$$,
	'the outbox has it');
SELECT is((SELECT detail ->> 'rehearse' FROM hotswap.audit_log WHERE event = 'request'
	AND subject_id = rehearsal()), 'true', 'the audit log says what was asked for');

-- What fails.
SELECT hotswap.publish_version('m', 'deferred', 'INSERT INTO child VALUES (7)',
	parents => '{1}'),
	hotswap.publish_version('m', 'late', 'INSERT INTO child VALUES (7);
		CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS
			''BEGIN RAISE check_violation; END'';
		CREATE CONSTRAINT TRIGGER late AFTER INSERT ON items DEFERRABLE INITIALLY DEFERRED
			FOR EACH ROW EXECUTE FUNCTION late(); DELETE FROM child; INSERT INTO items
			VALUES (0, ''x'')', parents => '{1}'),
	hotswap.publish_version('m', 'false', 'CREATE TABLE fresh ()',
		'SELECT count(*) = 1 FROM items', parents => '{1}'),
	hotswap.publish_version('m', 'error', E'LOCK TABLE items;\nSELECT 1/0', parents => '{1}')
	\g /dev/null
CALL rehearse('deferred') \gset
SELECT matches(:'said'::text, '^failed 23503 .*"child_id_fkey"$',
	'deferred constraints are checked');
CALL rehearse('late') \gset
SELECT matches(:'said'::text, '^failed 23514', 'and deferred triggers run');
CALL rehearse('false') \gset
SELECT is(:'said'::text, 'failed P0004 verification returned false', 'verify scripts are run');
CALL rehearse('error') \gset
SELECT is(:'said'::text, 'failed 22012 division by zero', 'an error is that of the script');
SELECT results_eq('SELECT (task()).step, (task()).script, (task()).line, (task()).excerpt',
	$$VALUES ('error', 'deploy', 2, E'LINE 1: LOCK TABLE items;\nLINE 2: SELECT 1/0\n        ^')$$,
	'it says where');
SELECT results_eq('SELECT version FROM hotswap.rehearsals WHERE deployment_id = rehearsal()
	ORDER BY step', $$VALUES ('1'), ('error')$$, 'and what it took until then is kept');
SELECT is((SELECT status::text FROM hotswap.deployment WHERE id = rehearsal()), 'failed',
	'nothing is rolled back then');
SELECT is(everything(), :'before', 'what fails leaves nothing either');

-- Locks that are held for too long, in the middle of a statement.
SELECT hotswap.configure_environment('development', rehearse_max_lock => '100 ms') \g /dev/null
SELECT hotswap.publish_version('m', 'long', E'SELECT 1;\nLOCK TABLE items; SELECT pg_sleep(600)',
	parents => '{1}'),
	hotswap.publish_version('m', 'weak', 'LOCK TABLE items IN EXCLUSIVE MODE;
		CREATE TABLE fresh (); SELECT pg_sleep(0.4)', parents => '{1}'),
	hotswap.publish_version('m', 'caught', $$DO $do$ BEGIN
		BEGIN
			LOCK TABLE items;
			PERFORM pg_sleep(600);
		EXCEPTION WHEN query_canceled THEN
			NULL;
		END;
	END $do$; SELECT 1$$, parents => '{1}'),
	hotswap.publish_version('m', 'released', $$DO $do$ BEGIN
		FOR i IN 1..20 LOOP
			BEGIN
				LOCK TABLE items;
				PERFORM pg_sleep(0.03);
				RAISE 'again';
			EXCEPTION WHEN raise_exception THEN
				NULL;
			END;
			PERFORM pg_sleep(0.03);
		END LOOP;
	END $do$ $$, parents => '{1}'),
	hotswap.publish_version('m', 'function', $$LOCK TABLE parent IN SHARE MODE;
	DO $do$ BEGIN
		ALTER TABLE items ADD more int;
		FOR i IN 1..1000000 LOOP
			PERFORM count(*) FROM items;
		END LOOP;
	END $do$ $$, parents => '{1}') \g /dev/null
CALL rehearse('long') \gset
SELECT is(:'said'::text, 'failed YH012 rehearsal had an AccessExclusive lock on public.items for '
	'longer than 100 ms', 'it is stopped');
SELECT results_eq('SELECT (task()).detail, (task()).hint ~ ''rehearse_max_lock'', (task()).step,
	(task()).line, (task()).attempt',
	$$VALUES ('Version "long" had taken it; 0 sessions were seen to wait for it.', true, 'long', 2,
	1)$$, 'at once and for good');
SELECT results_eq('SELECT relation, mode, held BETWEEN ''0.1 s'' AND ''10 s''
	FROM hotswap.rehearsal_locks WHERE deployment_id = rehearsal()',
	$$VALUES ('public.items', 'AccessExclusiveLock', true)$$, 'the lock is among what it took');
CALL rehearse('weak') \gset
SELECT is(:'said'::text, 'succeeded', 'a weaker lock may last longer, and one of a new table');
SELECT is((SELECT mode FROM hotswap.rehearsal_locks WHERE deployment_id = rehearsal()
	AND relation = 'public.items' AND held > '0.3 s'), 'ExclusiveLock', 'it is reported');
CALL rehearse('caught') \gset
SELECT matches(:'said'::text, '^failed YH012 .* public.items ', 'who catches that has failed');
CALL rehearse('released') \gset
SELECT is(:'said'::text, 'succeeded', 'locks that are released do not add up');
CALL rehearse('function') \gset
SELECT matches(:'said'::text, '^failed YH012 .* public.items ',
	'a statement that never waits is stopped as well');
SELECT is((SELECT string_agg(mode, ' ') FROM hotswap.rehearsal_locks
	WHERE deployment_id = rehearsal() AND relation = 'public.parent'), 'ShareLock',
	'what it has locked besides is known');
SELECT is(everything(), :'before', 'what is stopped leaves nothing');

-- The executor is as good as before.
CALL rehearse('1') \gset
SELECT is(:'said'::text, 'succeeded', 'the next task is not stopped');
SELECT hotswap.deploy('m', 'long', 'development') AS d \gset
CALL until('EXISTS (SELECT FROM pg_locks WHERE relation = ''items''::regclass
	AND mode = ''AccessExclusiveLock'' AND granted)');
SELECT pg_sleep(0.3) \g /dev/null
SELECT is(status_of(:'d'), 'running', 'a deployment may lock for as long as it likes');
SELECT hotswap.cancel(:'d', 'enough') \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'cancelled', 'until somebody cancels it');

-- Who waits for the lock is counted.
SELECT hotswap.configure_environment('development', rehearse_max_lock => '1 min') \g /dev/null
SELECT hotswap.publish_version('m', 'gate', 'LOCK TABLE items; SELECT pg_advisory_xact_lock(7)',
	parents => '{1}') \g /dev/null
SELECT pg_advisory_lock(7) \g /dev/null
SELECT hotswap.deploy('m', 'gate', 'development', rehearse => true) AS d \gset
CALL until('at_gate(7)');
SELECT dblink_connect('reader', connection_of('postgres')),
	dblink_send_query('reader', 'SELECT count(*) FROM items') \g /dev/null
CALL until('EXISTS (SELECT FROM pg_locks WHERE relation = ''items''::regclass AND NOT granted)');
SELECT pg_advisory_unlock(7) \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'somebody waits behind it');
SELECT is((SELECT waiters FROM hotswap.rehearsal_locks WHERE deployment_id = :'d'
	AND mode = 'AccessExclusiveLock'), 1, 'and is counted');
SELECT results_eq($$SELECT n FROM dblink_get_result('reader') r (n bigint)$$,
	'VALUES (2000::bigint)', 'he gets what was there before');

-- It waits no longer for a lock than it may have one.
SELECT dblink_exec('reader', 'BEGIN') FROM (SELECT * FROM dblink_get_result('reader') r (n bigint))
	AS done RIGHT JOIN (VALUES (1)) one ON true \g /dev/null
SELECT * FROM dblink('reader', 'SELECT count(*) FROM items') r (n bigint) \g /dev/null
SELECT hotswap.configure_environment('development', rehearse_max_lock => '10 ms') \g /dev/null
SELECT hotswap.deploy('m', 'error', 'development', rehearse => true) AS d \gset
CALL until('(task()).status = ''retry_wait''');
SELECT is((task()).sqlstate, '55P03', 'what it waits for stops others, too: it tries again later');
SELECT hotswap.cancel(:'d', 'enough') \g /dev/null
SELECT dblink_disconnect('reader') \g /dev/null

SELECT * FROM finish();
