-- What a script leaves in the session is put back, dropped or refused (src/run/session_mark.c).
SELECT plan(46);

CREATE ROLE hotswap_test_mark LOGIN;
CREATE ROLE hotswap_test_mark_other;
GRANT hotswap_test_mark_other TO hotswap_test_mark;
CREATE SCHEMA t AUTHORIZATION hotswap_test_mark;
CREATE SCHEMA elsewhere;
SELECT hotswap.register_node('development', 't', run_as => 'hotswap_test_mark', schema => 't')
	\g /dev/null
CREATE TABLE t.log (what text);
GRANT ALL ON t.log TO hotswap_test_mark;
GRANT USAGE ON SCHEMA t TO hotswap_test_mark_other;

\ir ../include/request.sql
CREATE TEMP TABLE request (ordinal serial, what text, code text, message text, id uuid);

-- An event trigger of the superuser: what is dropped at the end does not call it.
CREATE FUNCTION public.note_drop() RETURNS event_trigger LANGUAGE plpgsql AS
	$$BEGIN INSERT INTO t.log SELECT object_identity FROM pg_event_trigger_dropped_objects(); END$$;
CREATE EVENT TRIGGER note_drop ON sql_drop EXECUTE FUNCTION public.note_drop();

-- What it sets is put back before the next script, and before the record.
INSERT INTO request (what, id)
SELECT script, pg_temp.request(script, 'SELECT ' || format(
	'coalesce(current_setting(%L, true), '''') = %L', split_part(setting, '=', 1),
	split_part(setting, '=', 2)))
FROM (VALUES ('SET search_path = elsewhere', 'search_path=t'),
	('SET LOCAL search_path = elsewhere', 'search_path=t'),
	('RESET search_path', 'search_path=t'), ('RESET ALL', 'search_path=t'),
	('DISCARD PLANS; SET SCHEMA ''elsewhere''', 'search_path=t'),
	('SELECT set_config(''search_path'', ''elsewhere'', true)', 'search_path=t'),
	('SELECT set_config(''search_path'', ''elsewhere'', false)', 'search_path=t'),
	('DO $$BEGIN SET search_path = elsewhere; EXCEPTION WHEN OTHERS THEN END$$', 'search_path=t'),
	('SET work_mem = ''64kB''', 'work_mem=4MB'), ('SET row_security = off', 'row_security=on'),
	('SET own.setting = 1', 'own.setting='), ('SET lock_timeout = 1', 'lock_timeout=5s'),
	('SET exit_on_error = on', 'exit_on_error=off'),
	('SET TRANSACTION READ ONLY', 'transaction_read_only=off'),
	('SET ROLE hotswap_test_mark_other; SELECT 1; RESET ROLE', 'role=none'),
	('SET ROLE hotswap_test_mark_other; SELECT 1; SET ROLE NONE', 'role=none'),
	('SET LOCAL ROLE hotswap_test_mark_other; SET LOCAL ROLE NONE', 'role=none'),
	('SET ROLE hotswap_test_mark', 'role=none')) v (script, setting);
SELECT is(hotswap.wait(id, '60 s'), 'succeeded', what) FROM request ORDER BY ordinal;
SELECT is((SELECT string_agg(coalesce((pg_temp.swap_of(id)).message, '-'), ' ') FROM request),
	repeat('- ', 17) || '-', 'and none says anything');

-- What is temporary is dropped.
TRUNCATE request;
INSERT INTO request (what, id)
SELECT script, pg_temp.request(script, 'SELECT NOT EXISTS (SELECT FROM pg_depend
	WHERE refobjid = pg_my_temp_schema())')
FROM (VALUES ('CREATE TEMP TABLE x ()'), ('CREATE TEMP TABLE x () ON COMMIT DROP'),
	('CREATE TEMP TABLE x ON COMMIT DROP AS SELECT 1 AS i; CREATE TABLE kept AS SELECT i FROM x'),
	('CREATE TEMP TABLE x (i int) ON COMMIT DELETE ROWS; INSERT INTO x VALUES (1)'),
	('CREATE TEMP TABLE x (i serial PRIMARY KEY, j int GENERATED ALWAYS AS IDENTITY, t text);
		CREATE TEMP VIEW y AS SELECT * FROM x; CREATE VIEW z AS SELECT * FROM y'),
	('CREATE TEMP TABLE x (i int) PARTITION BY LIST (i);
		CREATE TEMP TABLE x1 PARTITION OF x FOR VALUES IN (1); INSERT INTO x VALUES (1)'),
	('CREATE TEMP TABLE x (i int); CREATE TEMP TABLE y () INHERITS (x)'),
	('CREATE TEMP SEQUENCE x'), ('SELECT 1 AS i INTO TEMP x; CREATE STATISTICS pg_temp.s
		ON (i + 1) FROM x'),
	('CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS ''SELECT 1'';
		CREATE TYPE pg_temp.e AS ENUM (''a''); CREATE TYPE pg_temp.c AS (e pg_temp.e)'),
	('DO $$BEGIN CREATE TEMP TABLE x (); END$$'),
	('CREATE TEMP TABLE x (i int REFERENCES x DEFERRABLE INITIALLY DEFERRED, PRIMARY KEY (i));
		INSERT INTO x VALUES (2); UPDATE x SET i = 1')) v (script);
SELECT is(hotswap.wait(id, '60 s'), 'succeeded', what) FROM request ORDER BY ordinal;
SELECT is((SELECT count(*) FROM t.kept), 1::bigint, 'what was made from it stays');
SELECT is((SELECT count(*) FROM t.log), 0::bigint, 'and no event trigger has been called');

-- What is refused.
TRUNCATE request;
INSERT INTO request (what, code, message, id)
SELECT what, code, message, pg_temp.request('CREATE TABLE t.no (); ' || script)
FROM (VALUES ('another role', '55000', 'script changed the role',
		'SET ROLE hotswap_test_mark_other'),
	('another role, set locally', '55000', 'script changed the role',
		'SET LOCAL ROLE hotswap_test_mark_other'),
	('by a trigger that is deferred', '55000', 'script changed the role',
		'CREATE TEMP TABLE x ();
		CREATE FUNCTION become() RETURNS trigger LANGUAGE plpgsql AS
			$$BEGIN SET ROLE hotswap_test_mark_other; RETURN NULL; END$$;
		CREATE CONSTRAINT TRIGGER c AFTER INSERT ON t.log DEFERRABLE INITIALLY DEFERRED
			FOR EACH ROW EXECUTE FUNCTION become();
		INSERT INTO t.log VALUES (1)'),
	('a function that needs a temporary table', '2BP01',
		'cannot drop table x because other objects depend on it',
		'CREATE TEMP TABLE x (); CREATE FUNCTION f(x) RETURNS int LANGUAGE sql AS ''SELECT 1'''))
	 v (what, code, message, script);
SELECT is(hotswap.wait(id, '60 s'), 'failed', what) FROM request;
SELECT results_eq(format('SELECT sqlstate, message FROM pg_temp.swap_of(%L)', id),
	format('VALUES (%L, %L)', code, message), what || ': the error') FROM request;
SELECT hasnt_table('t', 'no', 'nothing of them stays');

-- Steps of one task do not meet.
SELECT hotswap.publish_version('graph', '1', 'CREATE TEMP TABLE x (); SET search_path = elsewhere',
	parents => '{}') \g /dev/null
SELECT hotswap.publish_version('graph', '2', 'CREATE TEMP TABLE x (); CREATE TABLE last ()',
	parents => '{1}') \g /dev/null
SELECT hotswap.deploy('graph', '2', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'two steps with a temporary table each');
SELECT has_table('t', 'last', 'and the search_path of the node');

SELECT hotswap.publish_version('prepared', '1', 'PREPARE p AS SELECT 1; PREPARE "P q" AS SELECT 2',
	parents => '{}') \g /dev/null
SELECT hotswap.publish_version('prepared', '2', 'PREPARE p AS SELECT 3 AS i;
	CREATE TABLE made AS EXECUTE p; PREPARE "P q" AS SELECT 2', 'PREPARE p AS SELECT NOT EXISTS (
	SELECT FROM pg_prepared_statements WHERE name = ''P q''); EXECUTE p', parents => '{1}')
	\g /dev/null
SELECT hotswap.deploy('prepared', '2', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s')::text || coalesce((pg_temp.swap_of(:'d')).message, ''),
	'succeeded', 'scripts that prepare statements of the same name');

-- Hooks neither.
CREATE FUNCTION public.hook(uuid) RETURNS void LANGUAGE sql AS 'CREATE TEMP TABLE x ()';
ALTER FUNCTION public.hook(uuid) OWNER TO hotswap_test_mark;
SELECT hotswap.register_hook('test', 'public.hook(uuid)') \g /dev/null
SELECT hotswap.register_hook('validate', 'public.hook(uuid)') \g /dev/null
SELECT pg_temp.request('SELECT 1') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'a hook that makes a temporary table');

DROP EVENT TRIGGER note_drop;
SELECT * FROM finish();
