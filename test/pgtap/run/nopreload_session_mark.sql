-- In the session of CALL work() what was there before a script stays (src/run/session_mark.c).
SELECT plan(9);

CREATE SCHEMA t;
SELECT hotswap.register_node('development', 't', schema => 't') \g /dev/null
SELECT hotswap.publish_version('m', '1', 'PREPARE x AS SELECT 1;
	CREATE TEMP TABLE x (); CREATE TEMP VIEW y AS SELECT 1;
	SET work_mem = ''64kB''; SET search_path = pg_catalog; SET exit_on_error = on;
	CREATE TABLE t.made AS SELECT * FROM pg_temp.mine; INSERT INTO pg_temp.mine VALUES (2)',
	'SELECT current_setting(''work_mem'') = ''5MB'' AND current_setting(''search_path'') = ''t''')
	\g /dev/null

-- A table, a function, a cursor, a prepared statement and a setting of the session.
CREATE TEMP TABLE mine (i integer);
INSERT INTO mine VALUES (1);
CREATE FUNCTION pg_temp.mine() RETURNS integer LANGUAGE sql AS 'SELECT 1';
DECLARE mine CURSOR WITH HOLD FOR SELECT 3;
PREPARE mine AS SELECT 4;
SET work_mem = '5MB';
SELECT hotswap.deploy('m', '1', 'development') AS d \gset
CALL hotswap.work();
SELECT is((SELECT concat_ws(' ', status, message) FROM hotswap.deployments WHERE id = :'d'),
	'succeeded', 'a script that makes temporary tables, and sets what the session has set');
SELECT results_eq('SELECT i FROM pg_temp.mine', 'VALUES (1), (2)',
	'the table of the session is there, with what the script has done to it');
SELECT is(pg_temp.mine(), 1, 'its function');
SELECT is((SELECT name FROM pg_cursors WHERE name = 'mine'), 'mine', 'its cursor');
SELECT is(current_setting('work_mem'), '5MB', 'its setting');
SELECT is((SELECT string_agg(name, ' ') FROM pg_prepared_statements), 'mine',
	'what it has prepared');
SELECT is(current_setting('exit_on_error'), 'off', 'and nothing of the script''s');
SELECT is((SELECT string_agg(relname, ' ') FROM pg_class WHERE relnamespace = pg_my_temp_schema()
	AND relname IN ('x', 'y')), NULL, 'not its temporary tables');

-- Nor does a script that fails leave what it has prepared.
SELECT hotswap.publish_version('fails', '1', 'PREPARE x AS SELECT 1; SELECT 1/0') \g /dev/null
SELECT hotswap.deploy('fails', '1', 'development') AS d \gset
CALL hotswap.work();
SELECT is((SELECT status FROM hotswap.deployments WHERE id = :'d') || ' ' ||
	(SELECT string_agg(name, ' ') FROM pg_prepared_statements), 'failed mine', 'after a failure');
SELECT * FROM finish();
