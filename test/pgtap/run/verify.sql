-- Verify scripts leave nothing (src/run/script.c).
SELECT plan(16);

CREATE ROLE hotswap_test_verify LOGIN;
CREATE SCHEMA t AUTHORIZATION hotswap_test_verify;
SELECT hotswap.register_node('development', 't', run_as => 'hotswap_test_verify',
	schema => 't') AS node \gset
CREATE TABLE t.log (what text);
GRANT ALL ON t.log TO hotswap_test_verify;
CREATE TABLE t.parent (id int PRIMARY KEY);
CREATE TABLE t.child (id int REFERENCES t.parent DEFERRABLE INITIALLY DEFERRED);
GRANT ALL ON t.parent, t.child TO hotswap_test_verify;

\ir ../include/request.sql

-- Whatever it does; it sees what the deploy script has done.
SELECT pg_temp.request('INSERT INTO log VALUES (''deploy'')',
	'INSERT INTO log VALUES (''verify''); CREATE TABLE x (); CREATE TEMP TABLE y ();
	SET search_path = pg_catalog; SET ROLE NONE; DECLARE c CURSOR WITH HOLD FOR SELECT 1;
	SELECT array_agg(what) = ''{deploy,verify}'' FROM t.log') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'one that changes much');
SELECT results_eq('SELECT what FROM t.log', $$VALUES ('deploy')$$,
	'leaves nothing, neither after the deploy script nor in the stage validate');
SELECT ok(to_regclass('t.x') IS NULL, 'no table');
SELECT is((SELECT count(*) FROM hotswap.tasks WHERE deployment_id = :'d' AND kind = 'verify'
	AND status = 'succeeded'), 1::bigint, 'the stage validate has run it');

-- What other tools write around it.
SELECT pg_temp.request('SELECT 1', 'BEGIN; INSERT INTO t.log VALUES (''verify''); ROLLBACK;') AS a,
	pg_temp.request('SELECT 1', 'SELECT true; ROLLBACK') AS b,
	pg_temp.request('SELECT 1', E'-- nothing\nBEGIN; ROLLBACK') AS c,
	pg_temp.request('SELECT 1', 'BEGIN; SELECT false; ROLLBACK') AS d \gset
SELECT is(hotswap.wait(:'a', '60 s'), 'succeeded', 'BEGIN and ROLLBACK');
SELECT is(hotswap.wait(:'b', '60 s'), 'succeeded', 'ROLLBACK alone');
SELECT is(hotswap.wait(:'c', '60 s'), 'succeeded', 'nothing between');
SELECT is(hotswap.wait(:'d', '60 s'), 'failed', 'what is between counts');
SELECT is((SELECT count(*) FROM t.log), 1::bigint, 'and leaves nothing');
SELECT throws_ok(format('SELECT hotswap.publish_version(''no'', ''1'', %L, %L)', d, v), '0A000',
	'transaction control is not allowed in the ' || s, d || ' / ' || v)
FROM (VALUES ('SELECT 1', 'BEGIN; SELECT 1; COMMIT', 'verify script'),
	('SELECT 1', 'BEGIN ISOLATION LEVEL SERIALIZABLE; ROLLBACK', 'verify script'),
	('SELECT 1', 'ROLLBACK; SELECT 1', 'verify script'),
	('SELECT 1', 'SELECT 1; ROLLBACK AND CHAIN', 'verify script'),
	('BEGIN; ROLLBACK', 'SELECT 1', 'deploy script')) v (d, v, s);

-- What the deploy script has deferred is checked, even where the verify script has had it run.
SELECT pg_temp.request('INSERT INTO child VALUES (1)',
	'INSERT INTO parent VALUES (1); SET CONSTRAINTS ALL IMMEDIATE') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'failed', 'a deferred constraint');
SELECT is((SELECT sqlstate FROM hotswap.tasks WHERE deployment_id = :'d' AND kind = 'swap'),
	'23503', 'is checked against what stays');

SELECT * FROM finish();
