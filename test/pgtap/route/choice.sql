-- Which slot a transaction gets: shares, roles, and what is gone.
SELECT plan(23);
\ir ../include/route.sql
SELECT make_slot('m@a', 1), make_slot('m@b', 1) \g /dev/null
SELECT routed('f() RETURNS text', $$LANGUAGE plpgsql AS 'BEGIN RETURN ''%s''; END'$$) \g /dev/null

-- Shares of keys.
CREATE FUNCTION with_key(key integer) RETURNS text LANGUAGE sql AS $$
	SELECT as_role(current_user, 'SELECT f()', '-chotswap.route_key=customer-' || key)
$$;
SELECT route('m@b', 1, other => 'm@a', other_generation => 1, share => 0) \g /dev/null
SELECT is((SELECT count(*) FROM generate_series(1, 40) i WHERE with_key(i) = 'm@b'), 0::bigint,
	'a share of nobody');
SELECT route('m@b', 1, other => 'm@a', other_generation => 1, share => 3000) \g /dev/null
CREATE TEMP TABLE few AS SELECT i FROM generate_series(1, 100) i WHERE with_key(i) = 'm@b';
SELECT cmp_ok((SELECT count(*) FROM few), '>', 15::bigint, 'three of ten');
SELECT cmp_ok((SELECT count(*) FROM few), '<', 45::bigint, 'more or less');
SELECT route('m@b', 1, other => 'm@a', other_generation => 1, share => 6000) \g /dev/null
SELECT is((SELECT count(*) FROM few WHERE with_key(i) <> 'm@b'), 0::bigint,
	'who had it keeps it when the share grows');
SELECT route('m@b', 1, share => 10000) \g /dev/null
SELECT is((SELECT count(*) FROM generate_series(1, 10) i WHERE with_key(i) = 'm@b'), 10::bigint,
	'everybody');

-- The place of a key is the same on every server and for ever.
SET hotswap.route_key = 'customer-1';
SELECT route('m@b', 1, other => 'm@a', other_generation => 1, share => 5809) \g /dev/null
SELECT is(f(), 'm@a', 'the place of a key');
SELECT route('m@b', 1, other => 'm@a', other_generation => 1, share => 5810) \g /dev/null
SELECT is(f(), 'm@b', 'does not move');

-- It is decided once a transaction.
BEGIN;
SELECT f() \g /dev/null
SET LOCAL hotswap.route_key = 'customer-2';
SELECT is(f(), 'm@b', 'a key that comes later is for the next transaction');
COMMIT;
RESET hotswap.route_key;
SELECT route('m@b', 1, other => 'm@a', other_generation => 1, share => 5000) \g /dev/null
SELECT is((SELECT count(DISTINCT f()) FROM generate_series(1, 20)), 1::bigint,
	'without a key the session has a place');

-- Roles.
SELECT named('tester') AS tester, named('group') AS testers \gset
CREATE ROLE :tester SUPERUSER;
CREATE ROLE :testers;
SELECT route('m@b', 1, other => 'm@a', other_generation => 1, share => 0,
	roles => ARRAY[:'testers'::regrole]) \g /dev/null
SET ROLE :tester;
SELECT is(f(), 'm@a', 'another role, also where it may do everything');
RESET ROLE;
GRANT :testers TO :tester;
SET ROLE :tester;
SELECT is(f(), 'm@b', 'a member of the role');
RESET ROLE;
SELECT is(f(), 'm@a', 'who was it before is not');
ALTER FUNCTION f RENAME TO g;
CREATE FUNCTION through() RETURNS text LANGUAGE sql SECURITY DEFINER AS 'SELECT g()';
ALTER FUNCTION through OWNER TO :tester;
SELECT is(through(), 'm@a', 'whom a function is for does not count');
ALTER FUNCTION through OWNER TO CURRENT_USER;
DROP ROLE :tester, :testers;

-- What the route names, and is not there.
SELECT route('m@b', 1) \g /dev/null
DROP TABLE "m@b".hotswap_slot_1;
SELECT is((SELECT (code, message, detail, hint)::text FROM refusal('SELECT g()')),
	'(55000,"version ""m@b1"" of module ""m"" is not there",'
	|| '"Schema ""m@b"" has no table ""hotswap_slot_1"".","Deploy a version of the module.")',
	'a slot without its marker');
DROP SCHEMA "m@b" CASCADE;
SELECT is(attempt('SELECT g()'), '55000', 'nor its schema');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT is(attempt('SELECT g()'), '55000', 'a snapshot does not change that');
COMMIT;
SELECT route('m@a', 1) \g /dev/null
SELECT is(g(), 'm@a', 'another row helps');

-- Its row is removed, and there is a later one of another module, as of which it was read.
SELECT route('n@a', 1, module => 'n') \g /dev/null
SELECT g() \g /dev/null
DELETE FROM hotswap.route WHERE module = 'm';
SELECT refill_slot('m@a', 1, 2) \g /dev/null
SET statement_timeout = '10 s';
SELECT is(g(), 'm@a', 'what was read is not looked for again and again');
RESET statement_timeout;
TRUNCATE hotswap.route;
DROP SCHEMA "m@a" CASCADE;
SELECT is((SELECT (code, message, detail)::text FROM refusal('SELECT g()')),
	'(55000,"module ""m"" has no version to be called","The route says nothing about it,'
	|| ' and schema ""m@a"" of its entries does not exist.")', 'nothing at all');

-- Without a route, somebody's own entry and schemas lead nobody else to them: who calls g() is a
-- superuser, and so is the owner of it.
SELECT named('evil') AS evil, current_user AS me \gset
CREATE ROLE :evil;
SELECT make_slot('m@b', 1) \g /dev/null
CREATE FUNCTION "m@b".f() RETURNS text LANGUAGE sql AS 'SELECT ''m@b''';
CREATE SCHEMA "x@b" AUTHORIZATION :evil;
SELECT format('CREATE FUNCTION "x@b".own() RETURNS text LANGUAGE hotswap STABLE AS %L',
	body_of('f', 'm', 'x@b')) AS entry, replace(body_of('f'), 'm@a', 'm@b') AS body \gset
SET ROLE :evil;
:entry;
CREATE FUNCTION "x@b".f() RETURNS text LANGUAGE sql AS 'SELECT ''evil as '' || current_user';
RESET ROLE;
SELECT format('CREATE OR REPLACE FUNCTION g() RETURNS text LANGUAGE hotswap STABLE AS %L', :'body')
	\gexec
SELECT is(g(), 'm@b', 'the slot of an entry');
BEGIN;
SET LOCAL ROLE :evil;
SELECT is("x@b".own(), 'evil as ' || :'evil', 'somebody''s own');
SET LOCAL ROLE :me;
SELECT is((SELECT (code, message)::text FROM refusal('SELECT g()')),
	'(42501,"entries of module ""m"" lead to different schemas")',
	'which the transaction has called');
COMMIT;
CREATE SCHEMA "m@a" AUTHORIZATION :evil;
SET ROLE :evil;
COMMENT ON SCHEMA "m@a" IS 'what callers of a routed module get';
CREATE FUNCTION "m@a".f() RETURNS text LANGUAGE sql AS 'SELECT ''evil as '' || current_user';
RESET ROLE;
SELECT is((SELECT (code, detail)::text FROM refusal('SELECT g()')),
	'(42501,"Its owner has not the privileges of the owner of schema ""m@a"".")',
	'and that says so itself');
DROP OWNED BY :evil CASCADE;
DROP ROLE :evil;
SELECT * FROM finish();
