-- A session asks for versions by name.
SELECT plan(13);
\ir ../include/route.sql
SELECT make_slot('m@a', 1), make_slot('m@b', 1), make_slot('n@a', 1), make_slot('n@b', 1)
\g /dev/null
SELECT routed('f() RETURNS text', $$LANGUAGE plpgsql AS 'BEGIN RETURN ''%s''; END'$$),
	routed('g() RETURNS text', $$LANGUAGE plpgsql AS 'BEGIN RETURN ''%s''; END'$$, module => 'n')
\g /dev/null
SELECT route('m@a', 1), route('n@a', 1, 'n') \g /dev/null
INSERT INTO hotswap.route_slot (tenant_id, node_id, module, slot, generation, version, digest,
	entry_schema, inventory, installed_at)
SELECT the_tenant(), the_node(), m, m || s, 1, v, sha256(''), 'public', '{}', now()
FROM unnest('{m,n}'::text[]) m, (VALUES ('@a', '1.0'), ('@b', '2.0')) s (s, v);

SET hotswap.route = 'm=2.0';
SELECT is(f() || ' ' || g(), 'm@b n@a', 'the version that is asked for');
SET hotswap.route = 'm=2.0, n=2.0';
SELECT is(f() || ' ' || g(), 'm@b n@b', 'of more than one module');
BEGIN;
SELECT f() \g /dev/null
SET LOCAL hotswap.route = '';
SELECT is(f(), 'm@b', 'what was called is called to the end');
COMMIT;
RESET hotswap.route;
SELECT is(f(), 'm@a', 'who does not ask gets what everybody gets');
SET hotswap.route = 'm=1.0';
SELECT is(f(), 'm@a', 'the same by name');
SET hotswap.route = 'm=3.0';
SELECT is((SELECT (code, message)::text FROM refusal('SELECT f()')),
	'(P0002,"version ""3.0"" of module ""m"" is not installed on the node")', 'none');
ALTER TABLE "m@b".hotswap_slot_1 RENAME TO hotswap_slot_2;
SET hotswap.route = 'm=2.0';
SELECT is(attempt('SELECT f()'), 'P0002', 'one whose slot has another one now');
ALTER TABLE "m@b".hotswap_slot_2 RENAME TO hotswap_slot_1;

-- Who may ask.
SELECT named('tester') AS tester \gset
CREATE ROLE :tester;
SET ROLE :tester;
SELECT is((SELECT (code, message)::text FROM refusal('SELECT f()')),
	'(42501,"permission denied to ask for a version of a module")', 'not everybody may ask');
SELECT is(g(), 'n@a', 'for what the session calls');
RESET ROLE;
INSERT INTO hotswap.access VALUES (the_tenant(), :'tester', 'tester');
SET ROLE :tester;
SELECT is(f(), 'm@b', 'a tester may');
RESET ROLE;
SELECT is(attempt(format('SET hotswap.route = %L', r)), '22023', 'not a list: ' || r)
FROM unnest('{m,=1,m=}'::text[]) r;
DROP ROLE :tester;
SELECT * FROM finish();
