-- Scripts outside of transactions in the paths of versions, and what becomes of nodes when
-- something fails (src/run/toplevel.c, src/run/task.c, src/pipeline/rollback.c).
SELECT plan(38);

SELECT named('node') AS node \gset
CREATE ROLE :"node" LOGIN;
ALTER ROLE :"node" SET default_transaction_read_only = on;
ALTER ROLE :"node" SET default_transaction_isolation = serializable;
CREATE SCHEMA t AUTHORIZATION :"node";
SELECT hotswap.register_node('development', 't', run_as => :'node', schema => 't') \g /dev/null
CREATE TABLE t.book (id serial, what text);
ALTER TABLE t.book OWNER TO :"node";

-- outside(module, version, script): published without a transaction around it
CREATE FUNCTION outside(module text, version text, script text, parents text[] DEFAULT NULL,
		verify text DEFAULT NULL, revert text DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
	SELECT hotswap.publish_version(module, version, script, verify, revert, parents => parents,
		transactional => false)
$$;
CREATE FUNCTION requested(module text, version text, what text DEFAULT NULL) RETURNS uuid
	LANGUAGE sql AS $$SELECT hotswap.deploy(module, version, 'development', on_failure => what)$$;
CREATE FUNCTION book(what text) RETURNS text LANGUAGE sql AS
	$$SELECT format('INSERT INTO book (what) VALUES (%L);', what)$$;
CREATE FUNCTION booked() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text = (SELECT coalesce(string_agg(what, ' ' ORDER BY id), '') FROM t.book);
BEGIN
	DELETE FROM t.book;
	RETURN result;
END $$;
CREATE FUNCTION runs(m text) RETURNS text LANGUAGE sql AS $$
	SELECT (SELECT version FROM hotswap.node_module WHERE module = m ORDER BY swap DESC LIMIT 1)
$$;

-- Complete versions, forwards and back.
SELECT outside('c', '1', 'CREATE TABLE IF NOT EXISTS c (x int);'
	|| 'CREATE INDEX CONCURRENTLY IF NOT EXISTS c_x ON c (x);'
	|| book('c1'), revert => 'DROP INDEX CONCURRENTLY c_x; DROP TABLE c;' || book('c1 back'),
	verify => 'SELECT to_regclass(''t.c_x'') IS NOT NULL; INSERT INTO c VALUES (1)') \g /dev/null
SELECT requested('c', '1') AS d \gset
CALL hotswap.await(:'d', '60 s') \g /dev/null
SELECT is(status_of(:'d'), 'succeeded', 'a complete version');
SELECT is(booked(), 'c1', 'runs, though the role can only read');
SELECT is_empty('SELECT * FROM t.c', 'its verify script leaves nothing');
SELECT is(runs('c'), '1', 'it is recorded');
SELECT outside('c', '2', book('c2'), verify => 'SELECT false') \g /dev/null
SELECT requested('c', '2') AS d \gset
CALL hotswap.await(:'d', '60 s') \g /dev/null
SELECT is(status_of(:'d'), 'failed', 'one whose verify script fails');
SELECT is(booked() || ' ' || runs('c'), 'c2 1', 'stays as far as it came, since nothing is all');
SELECT is((SELECT count(*) FROM hotswap.statement WHERE deployment_id = :'d'), 1::bigint,
	'that is noted');
SELECT hotswap.retry(:'d') \g /dev/null
CALL hotswap.await(:'d', '60 s') \g /dev/null
SELECT is(status_of(:'d'), 'failed', 'it fails again');
SELECT is(booked(), '', 'and runs nothing again');
SELECT requested('c', '2', 'back') AS d \gset
CALL hotswap.await(:'d', '60 s') \g /dev/null
SELECT is(status_of(:'d'), 'rolled_back', 'one that shall go back');
SELECT is(booked() || ' ' || runs('c'), 'c2 c1 1', 'runs the version before it again');
SELECT outside('c', '3', book('c3') || 'SELECT 1/0', revert => book('c3 back')) \g /dev/null
SELECT requested('c', '3', 'back') AS d \gset
CALL hotswap.await(:'d', '60 s') \g /dev/null
SELECT is(status_of(:'d'), 'rolled_back', 'one that fails in the middle');
SELECT is(booked() || ' ' || runs('c'), 'c3 c3 back 1', 'is taken back by its revert script');
SELECT is(status::text || ' ' || steps, 'reverted 1', 'and says so')
FROM hotswap.task WHERE deployment_id = :'d' AND kind = 'swap';

-- A hook that fails after the swap.
CREATE FUNCTION refuse(uuid) RETURNS boolean LANGUAGE sql AS 'SELECT false';
SELECT hotswap.register_hook('validate', 'public.refuse(uuid)', 'h') \g /dev/null
SELECT outside('h', '1', 'VACUUM;' || book('h1'), revert => book('h1 back')) \g /dev/null
SELECT requested('h', '1') AS d \gset
CALL hotswap.await(:'d', '60 s') \g /dev/null
SELECT is(status_of(:'d'), 'failed', 'after a step outside of a transaction');
SELECT is(booked() || ' ' || runs('h'), 'h1 1', 'the node stays');
SELECT requested('h', '1', 'back') AS d \gset
CALL hotswap.await(:'d', '60 s') \g /dev/null
SELECT is(status_of(:'d'), 'failed', 'where it runs the version already');
SELECT outside('h', '2', book('h2'), revert => 'VACUUM;' || book('h2 back')) \g /dev/null
SELECT requested('h', '2', 'back') AS d \gset
CALL hotswap.await(:'d', '60 s') \g /dev/null
SELECT is(status_of(:'d'), 'rolled_back', 'it goes back when it is told to');
SELECT is(booked() || ' ' || runs('h'), 'h2 h2 back 1', 'outside of a transaction as well');

-- Paths: pieces.
SELECT hotswap.publish_version('p', '1', 'CREATE TABLE p (x int);' || book('p1'), parents => '{}',
	revert_sql => 'DROP TABLE p;' || book('p1 back')) \g /dev/null
SELECT hotswap.publish_version('p', '2', book('p2'), parents => '{1}',
	revert_sql => book('p2 back')) \g /dev/null
SELECT outside('p', '3', 'CREATE INDEX CONCURRENTLY p_x ON p (x);' || book('p3'), '{2}',
	'SELECT true', 'DROP INDEX CONCURRENTLY p_x;' || book('p3 back')) \g /dev/null
SELECT hotswap.publish_version('p', '4', book('p4') || 'SELECT 1/0', parents => '{3}',
	revert_sql => 'SELECT 1') \g /dev/null
SELECT results_eq($$SELECT step_version, transactional
	FROM hotswap.preview('p', '4', 'development')$$,
	$$VALUES ('1', true), ('2', true), ('3', false), ('4', true)$$, 'preview() says which are not');
SELECT requested('p', '4') AS d \gset
CALL hotswap.await(:'d', '60 s') \g /dev/null
SELECT is(status_of(:'d'), 'failed', 'the last of three pieces fails');
SELECT is(booked() || ' ' || runs('p'), 'p1 p2 p3 3', 'the node is at the end of the second');
SELECT is(step, '4', 'the task says which step it was')
FROM hotswap.task WHERE deployment_id = :'d' AND kind = 'swap';
SELECT hotswap.publish_version('p', '5', book('p5') || 'SELECT 1/0', parents => '{3}',
	revert_sql => 'SELECT 1') \g /dev/null
SELECT requested('p', '5', 'back') AS d \gset
CALL hotswap.await(:'d', '60 s') \g /dev/null
SELECT is(status_of(:'d'), 'failed', 'where no piece was done nothing goes back');
SELECT is(booked() || ' ' || runs('p'), ' 3', 'and nothing is done');

-- The same, and all of it goes back.
SELECT hotswap.publish_version('q', '1', 'CREATE TABLE q (x int);' || book('q1'), parents => '{}',
	revert_sql => 'DROP TABLE q;' || book('q1 back')) \g /dev/null
SELECT outside('q', '2', 'CREATE INDEX CONCURRENTLY q_x ON q (x);' || book('q2'), '{1}',
	NULL, 'DROP INDEX CONCURRENTLY q_x;' || book('q2 back')) \g /dev/null
SELECT hotswap.publish_version('q', '3', 'SELECT 1/0', parents => '{2}') \g /dev/null
SELECT requested('q', '3', 'back') AS d \gset
CALL hotswap.await(:'d', '60 s') \g /dev/null
SELECT is(status_of(:'d'), 'rolled_back', 'pieces go back when they are told to');
SELECT is(booked(), 'q1 q2 q2 back q1 back', 'the last first');
SELECT is(runs('q'), NULL, 'as far as they came');
SELECT outside('q', '2b', book('q2b') || 'SELECT 1/0', '{1}', NULL, book('q2b back')) \g /dev/null
SELECT requested('q', '2b', 'back') AS d \gset
CALL hotswap.await(:'d', '60 s') \g /dev/null
SELECT is(status_of(:'d'), 'rolled_back', 'a piece that is not complete');
SELECT is(booked() || coalesce(runs('q'), ''), 'q1 q2b q2b back q1 back', 'goes back first');
SELECT requested('q', '2b', 'stay') AS d \gset
CALL hotswap.await(:'d', '60 s') \g /dev/null
SELECT is(status_of(:'d'), 'failed', 'or it stays');
SELECT is(booked() || ' ' || runs('q'), 'q1 q2b 1', 'beside the piece before it');
SELECT hotswap.retry(:'d') \g /dev/null
CALL hotswap.await(:'d', '60 s') \g /dev/null
SELECT is(status_of(:'d'), 'failed', 'after retry()');
SELECT is(booked(), '', 'it goes on where it was');

-- Errors have their place.
SELECT outside('e', '1', E'SELECT 1;\n-- ü\nCREATE TABLE e (x int);\nSELECT y FROM e') \g /dev/null
SELECT requested('e', '1') AS d \gset
CALL hotswap.await(:'d', '60 s') \g /dev/null
SELECT is(status_of(:'d'), 'failed', 'an error in the third statement');
SELECT is(t.position || ' ' || t.detail, '47 Statements 1 to 2 of the script are done.',
	'has its place in the script') FROM hotswap.tasks t WHERE deployment_id = :'d';

-- retry() and doubt.
SELECT throws_ok(format('SELECT hotswap.retry(%L, ''run'')', :'d'), '55000',
	format('no statement of deployment "%s" is in doubt', :'d'), 'nothing is in doubt');
SELECT throws_ok(format('SELECT hotswap.retry(%L, ''maybe'')', :'d'), '22023',
	'invalid value for "in_doubt": "maybe"', 'run or skip');
SELECT * FROM finish();
