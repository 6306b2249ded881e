-- The epoch: how a session learns that callers get another version.
SELECT plan(10);
\ir ../include/route.sql
SELECT make_slot('m@a', 1), make_slot('m@b', 1), make_slot('n@a', 1), make_slot('n@b', 1)
\g /dev/null
SELECT routed('f() RETURNS text', $$LANGUAGE plpgsql AS 'BEGIN RETURN ''%s''; END'$$),
	routed('g() RETURNS text', $$LANGUAGE plpgsql AS 'BEGIN RETURN ''%s''; END'$$, module => 'n')
\g /dev/null
SELECT route('m@a', 1), route('n@a', 1, 'n') \g /dev/null

-- A session's own change.
SELECT is(f(), 'm@a', 'the row counts');
BEGIN;
SELECT route('m@b', 1) \g /dev/null
SELECT is(f(), 'm@b', 'who changes the route gets what it says');
ROLLBACK;
SELECT is(f(), 'm@a', 'until it is rolled back');
BEGIN;
SAVEPOINT s;
SELECT route('m@b', 1) \g /dev/null
SELECT is(f(), 'm@b', 'in a savepoint too');
ROLLBACK TO s;
SELECT is(f(), 'm@b', 'where the transaction keeps what it has called');
COMMIT;
SELECT is(f(), 'm@a', 'and the next does not');

-- Another's change: a transaction keeps what it has, for all modules.
BEGIN;
SELECT f() \g /dev/null
SELECT as_role(current_user, $$SELECT route('m@b', 1) + route('n@b', 1, 'n')$$)
\g /dev/null
SELECT is(f() || ' ' || g(), 'm@a n@a', 'also for a module that it calls first after the change');
COMMIT;
SELECT is(f() || ' ' || g(), 'm@b n@b', 'the next transaction gets all of it');
TRUNCATE hotswap.route;
SELECT is(f(), 'm@a', 'no row is nothing to go by');

-- The trigger.
SELECT is((SELECT (code, message)::text FROM refusal('SELECT hotswap.route_changed()')),
	'(39P01,"function ""route_changed"" was not called by trigger manager")',
	'is no function to call');
SELECT * FROM finish();
