-- Tasks: what scripts may do and what they may not, and what becomes of it (src/run/).
SELECT plan(55);

CREATE ROLE hotswap_test_task LOGIN;
CREATE SCHEMA t AUTHORIZATION hotswap_test_task;
ALTER ROLE hotswap_test_task SET statement_timeout = '1ms';
ALTER ROLE hotswap_test_task SET standard_conforming_strings = off;
GRANT pg_monitor TO hotswap_test_task;
GRANT CREATE ON DATABASE :"DBNAME" TO hotswap_test_task;
SELECT hotswap.register_node('development', 't', run_as => 'hotswap_test_task',
	schema => 't') AS node \gset
CREATE TABLE t.log (what text);
GRANT ALL ON t.log TO hotswap_test_task;

-- deployed(scripts): publishes them as a new version and requests a deployment; its end is awaited
-- by the next statement, since it cannot begin before this one has committed.
\ir ../include/request.sql
CREATE TEMP TABLE request (ordinal serial, what text, code text, message text, id uuid);

-- Scripts that must fail: the task with the error, everything else unharmed.
SELECT pg_temp.request('SELECT 1') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'a harmless one');
CREATE TEMP VIEW worker AS SELECT kind, pid FROM hotswap.workers
	WHERE kind = 'launcher' OR database = current_database();
CREATE TEMP TABLE worker_before AS SELECT * FROM worker;
INSERT INTO request (what, code, message, id)
SELECT what, code, message, pg_temp.request('INSERT INTO log VALUES (''must not stay''); '
	|| script)
FROM (VALUES
	('a syntax error in dynamic SQL', '42601', 'syntax error at or near "NONSENSE"',
		'DO $$BEGIN EXECUTE ''NONSENSE''; END$$'),
	('a missing table', '42P01', 'relation "missing" does not exist', 'SELECT * FROM missing'),
	('an open cursor', '55000', 'script left cursor "c" open',
		'DECLARE c CURSOR WITH HOLD FOR SELECT 1'),
	('an open cursor without hold', '55000', 'script left cursor "c" open',
		'DECLARE c CURSOR FOR SELECT 1'),
	('SET ROLE', '55000', 'script changed the role', 'SET ROLE pg_monitor'),
	('SET SESSION AUTHORIZATION', '42501', 'permission denied to set session authorization',
		'SET SESSION AUTHORIZATION postgres'),
	('SET SESSION AUTHORIZATION in a block', '42501',
		'permission denied to set session authorization',
		'DO $$BEGIN SET SESSION AUTHORIZATION postgres; END$$'),
	('SET TRANSACTION READ ONLY', '25006', 'cannot execute INSERT in a read-only transaction',
		'SET TRANSACTION READ ONLY; INSERT INTO log VALUES (1)'),
	('SET TRANSACTION ISOLATION LEVEL', '25001',
		'SET TRANSACTION ISOLATION LEVEL must be called before any query',
		'SET TRANSACTION ISOLATION LEVEL SERIALIZABLE'),
	('advisory unlock of everything', '55000',
		'script released advisory locks that are not its own',
		'SELECT pg_advisory_unlock_all()'),
	('a deferred constraint', '23503',
		'insert or update on table "child" violates foreign key constraint "child_id_fkey"',
		'CREATE TABLE parent (id int PRIMARY KEY);
			CREATE TABLE child (id int REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
			INSERT INTO child VALUES (1)'),
	('a procedure that commits', '2D000', 'invalid transaction termination',
		'CREATE PROCEDURE p() LANGUAGE plpgsql AS $$BEGIN COMMIT; END$$; CALL p()'),
	('backslashes in strings', '0A000',
		'changing standard_conforming_strings is not allowed in the deploy script',
		'SELECT set_config(''standard_conforming_strings'', ''off'', false);
			SELECT ''\''; SELECT 1 --'''),
	('what the role has set', '0A000',
		'changing standard_conforming_strings is not allowed in the deploy script',
		'RESET ALL; SELECT 1'),
	('no right', '42501', 'permission denied for table deployment',
		'DELETE FROM hotswap.deployment'),
	('division by zero', '22012', 'division by zero', 'SELECT 1/0'))
	v (what, code, message, script);
SELECT is(hotswap.wait(id, '60 s'), 'failed', what) FROM request;
SELECT results_eq(format('SELECT sqlstate, left(message, %s) FROM pg_temp.swap_of(%L)',
	length(message), id), format('VALUES (%L, %L)', code, message), what || ': the error')
FROM request;
SELECT is((SELECT count(*) FROM t.log), 0::bigint, 'nothing of what failed has stayed');
SELECT is((SELECT count(*) FROM hotswap.node_module), 1::bigint, 'nor was it recorded');
SELECT results_eq('SELECT kind, count(*) FROM worker_before JOIN worker USING (kind, pid) GROUP BY 1
	ORDER BY 1',
	$$VALUES ('dispatcher', 1::bigint), ('executor', 1), ('launcher', 1)$$, 'no worker has ended');

-- Where the error is.
SELECT pg_temp.request(E'SELECT 1;\n\nSELECT 2,\n  "ä" FROM log;') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'failed', 'an unknown column');
SELECT results_eq(format('SELECT script, position, substr(v.deploy_sql, position, 3)
	FROM pg_temp.swap_of(%L) t, hotswap.module_version v WHERE v.deploy_sql LIKE ''%%ä%%''', :'d'),
	$$VALUES ('deploy', 24, '"ä"')$$, 'the position is in characters of the whole script');

-- Very many statements cost no more than so many times one.
SELECT pg_temp.request(repeat('SELECT ''ä'';', 100000) || 'SELECT "ä"') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'failed', 'a hundred thousand statements');
SELECT is((pg_temp.swap_of(:'d')).position, 1100008, 'and where the last one has its error');

-- What is left of one script does not reach the next: same role, so the same executor.
SELECT pg_temp.request('PREPARE p AS SELECT 1; SET work_mem = ''64kB''; SELECT pg_advisory_lock(1);
	CREATE SEQUENCE s; SELECT nextval(''s'')') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded',
	'prepared statements, settings and locks of its own');
SELECT pg_temp.request($t$DO $d$BEGIN
	IF EXISTS (SELECT 1 FROM pg_prepared_statements) OR current_setting('work_mem') = '64kB'
		OR EXISTS (SELECT 1 FROM pg_locks
			WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND objsubid = 1) THEN
		RAISE 'something was left';
	END IF;
	PERFORM lastval();
	RAISE 'lastval was left';
EXCEPTION WHEN object_not_in_prerequisite_state THEN
END$d$$t$) AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'are not there for the next task');

-- Who runs it, and how.
SELECT pg_temp.request($$INSERT INTO log
	SELECT format('%s %s %s %s %s', session_user, current_user, current_schema,
		current_setting('transaction_isolation'),
		current_setting('transaction_read_only'))$$) AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'an insert');
SELECT results_eq('SELECT what FROM t.log',
	$$VALUES ('hotswap_test_task hotswap_test_task t read committed off')$$,
	'as the role of the node, in its schema');

-- A script's strings are what publish_version() has seen, whatever the role's settings are.
SELECT pg_temp.request('INSERT INTO log SELECT ''\''''; DROP TABLE log; --''') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'a backslash before a quote');
SELECT is((SELECT count(*) FROM t.log WHERE what = '\''; DROP TABLE log; --'), 1::bigint,
	'is a backslash');

-- Verify scripts.
INSERT INTO request (what, code, message, id)
SELECT 'verify: ' || verify, 'verify', result, pg_temp.request('SELECT 1', verify)
FROM (VALUES ('SELECT true', 'succeeded'), ('SELECT false', 'failed'),
	('SELECT NULL::boolean', 'failed'), ('SELECT x FROM (VALUES (true), (false)) v (x)', 'failed'),
	('SELECT true WHERE false', 'succeeded'), ('SELECT 1', 'succeeded'),
	('SELECT false, 1', 'succeeded'),
	('SELECT true; SELECT false; SELECT true', 'failed')) v (verify, result);
SELECT is(hotswap.wait(id, '60 s')::text, message, what) FROM request WHERE code = 'verify'
	ORDER BY ordinal;

SELECT is((SELECT count(*) FROM hotswap.verify_audit()), 0::bigint, 'the audit log is whole');
SELECT * FROM finish();
