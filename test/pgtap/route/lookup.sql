-- What a look-up looks at: rights of the caller, changes of functions, statistics.
SELECT plan(19);
\ir ../include/route.sql
SELECT make_slot('m@a', 1), make_slot('m@b', 1) \g /dev/null
SELECT routed('f() RETURNS text',
	$$LANGUAGE plpgsql AS 'BEGIN RETURN ''%s '' || current_user; END'$$),
	routed('d() RETURNS text', $$SECURITY DEFINER LANGUAGE plpgsql
		AS 'BEGIN RETURN ''%s '' || current_user; END'$$),
	routed('s(i integer) RETURNS SETOF integer',
		$$LANGUAGE sql AS 'SELECT n + 10 FROM generate_series(1, i) n'$$),
	route('m@b', 1) \g /dev/null
SELECT named('caller') AS caller, named('definer') AS definer, named('other') AS other \gset
CREATE ROLE :caller;
CREATE ROLE :definer;
CREATE ROLE :other;
ALTER FUNCTION "m@b".d OWNER TO :definer;

-- The caller's rights, which may change while the session goes on.
SELECT set_config('test.caller', :'caller', false) \g /dev/null
CREATE FUNCTION as_caller(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	PERFORM set_config('role', current_setting('test.caller'), true);
	result = attempt(query);
	RESET ROLE;
	RETURN result;
END $$;
SELECT is(as_caller('SELECT f()'), 'm@b ' || :'caller', 'it runs as the caller');
SELECT is(as_caller('SELECT d()'), 'm@b ' || :'definer', 'SECURITY DEFINER stays what it is');
REVOKE EXECUTE ON FUNCTION "m@b".f FROM PUBLIC;
SELECT is(as_caller('SELECT f()'), '42501', 'a right that is taken is missed at the next call');
SELECT is(f(), 'm@b ' || current_user, 'by that role only');
GRANT EXECUTE ON FUNCTION "m@b".f TO :other;
SELECT is(as_caller('SELECT f()'), '42501', 'another''s right');
GRANT :other TO :caller;
SELECT is(as_caller('SELECT f()'), 'm@b ' || :'caller', 'counts for its members');
REVOKE :other FROM :caller;
SELECT is(as_caller('SELECT f()'), '42501', 'as long as they are');
GRANT EXECUTE ON FUNCTION "m@b".f TO PUBLIC;
REVOKE EXECUTE ON FUNCTION f FROM PUBLIC;
SELECT is(as_caller('SELECT f()'), '42501', 'the entry has rights as well');
GRANT EXECUTE ON FUNCTION f TO PUBLIC;

-- Nobody gets into a slot by an entry of its own.
GRANT CREATE ON SCHEMA public TO :caller;
SELECT set_config('test.entry', format('CREATE FUNCTION own() RETURNS text LANGUAGE hotswap'
	|| ' STABLE AS %L', body_of('f')), false) \g /dev/null
SET ROLE :caller;
SELECT current_setting('test.entry') \gexec
SELECT is((SELECT (code, message, detail)::text FROM refusal('SELECT own()')),
	'(42501,"permission denied for entry ""own""",'
	|| '"Its owner has not the privileges of the owner of schema ""m@b"".")',
	'an entry of somebody else''s leads nowhere');
RESET ROLE;
BEGIN;
SELECT as_caller('SELECT own()') \g /dev/null
SELECT is((SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid()
	AND relation = '"m@b".hotswap_slot_1'::regclass), 0::bigint,
	'nor does it keep a slot from being used anew');
COMMIT;
ALTER FUNCTION own OWNER TO CURRENT_USER;
SELECT is(own(), 'm@b ' || current_user, 'that of the slot''s owner does');

-- Functions that change while they are called.
PREPARE p AS SELECT f();
EXECUTE p \g /dev/null
CREATE OR REPLACE FUNCTION "m@b".f() RETURNS text LANGUAGE sql AS $$ SELECT 'sql' $$;
SELECT is(f(), 'sql', 'a target in another language');
DROP FUNCTION "m@b".f;
SELECT is(attempt('EXECUTE p'), '42883', 'none');
CREATE FUNCTION "m@b".f() RETURNS text LANGUAGE sql AS $$ SELECT 'new' $$;
SELECT is(f(), 'new', 'and another one');
CREATE FUNCTION swap_within(i integer) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE OR REPLACE FUNCTION "m@b".f() RETURNS text LANGUAGE sql AS
		''SELECT ''''%s''''''', i);
	RETURN i;
END $$;
SELECT is((SELECT string_agg(swap_within(i) || f(), ' ') FROM generate_series(1, 3) i),
	'11 22 33', 'between two calls of one statement');

-- A set that is being returned is returned to its end.
CREATE FUNCTION replace_set(i integer) RETURNS integer LANGUAGE plpgsql AS $$
BEGIN
	CREATE OR REPLACE FUNCTION "m@b".s(i integer) RETURNS SETOF integer LANGUAGE sql AS
		'SELECT n + 20 FROM generate_series(1, i) n';
	RETURN i;
END $$;
SELECT is((SELECT array_agg(s + replace_set(0)) FROM (SELECT s(3) s) x), '{11,12,13}',
	'what is half returned goes on');
SELECT is((SELECT array_agg(s) FROM (SELECT s(1) s) x), '{21}', 'the next is new');

-- Calls are counted for the target.
SELECT routed('counted() RETURNS void', $$LANGUAGE plpgsql AS 'BEGIN END'$$) \g /dev/null
CREATE FUNCTION calls_of(name text) RETURNS bigint LANGUAGE sql AS $$
	SELECT pg_stat_get_function_calls(to_regproc(name))
$$;
SET track_functions = 'pl';
SELECT counted(), counted() \g /dev/null
RESET track_functions;
SELECT pg_stat_force_next_flush() \g /dev/null
SELECT is(calls_of('"m@b".counted'), 2::bigint, 'as those of any function of its language');
SELECT is(calls_of('counted'), 2::bigint, 'and the entry''s');
DROP OWNED BY :caller, :definer, :other CASCADE;
DROP ROLE :caller, :definer, :other;
SELECT * FROM finish();
