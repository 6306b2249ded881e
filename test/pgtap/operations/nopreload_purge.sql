-- Rows of the route that nobody can need are removed (src/operations/retention.c): not the newest
-- of a module, nor those of what is installed; a snapshot sees them. CALL work() keeps house.
SELECT plan(6);
\ir ../include/route.sql
SET client_min_messages = error;
SELECT hotswap.register_node('development', 'n', run_as => current_user::regrole) \g /dev/null
SELECT make_slot('m@a', 1), make_slot('m@b', 1) \g /dev/null
SELECT routed('v() RETURNS text', $$LANGUAGE plpgsql AS 'BEGIN RETURN ''%s''; END'$$) \g /dev/null

-- m was swapped five times, lately at last; the others, long ago.
SELECT route('m@b', 1), route('m@a', 1) \g /dev/null
SELECT dblink_connect('s', connection_of(current_user)) \g /dev/null
SELECT dblink_exec('s', 'BEGIN ISOLATION LEVEL REPEATABLE READ') \g /dev/null
SELECT r FROM dblink('s', 'SELECT 1') d (r int) \g /dev/null
SELECT route('m@b', 1), route('m@b', 1) AS before, route('m@b', 1) AS last \gset
SELECT route('n@a', 1, 'n'), route('o@a', g, 'o') FROM generate_series(1, 3) g \g /dev/null
SELECT route('p@a', 1, 'p', 'p@b', 9, 5000), route('p@a', 2, 'p'), route('p@a', 3, 'p') \g /dev/null
DELETE FROM hotswap.route WHERE module = 'n' AND epoch > (SELECT min(epoch) FROM hotswap.route
	WHERE module = 'n');
INSERT INTO hotswap.route_slot (tenant_id, node_id, module, slot, generation, version, digest,
		entry_schema, inventory, installed_at)
	SELECT the_tenant(), the_node(), module, 'x', generation, '1', decode(repeat('00', 32), 'hex'),
		'public', '{}', now() FROM (VALUES ('o', 1), ('p', 9)) s (module, generation);
UPDATE hotswap.route SET created_at = '2020-01-01' WHERE epoch <> :last;

CALL hotswap.work();
SELECT results_eq($$SELECT epoch FROM hotswap.route WHERE module = 'm' ORDER BY epoch$$,
	format('VALUES (%s::bigint), (%s)', :before, :last), 'what counted lately stays');
SELECT is((SELECT count(*)::int FROM hotswap.route WHERE module = 'n'), 1,
	'so does the newest of a module, however old');
SELECT is((SELECT string_agg(generation::text, ' ' ORDER BY epoch) FROM hotswap.route
	WHERE module = 'o'), '1 3', 'and that of what is installed');
SELECT is((SELECT string_agg(generation::text, ' ' ORDER BY epoch) FROM hotswap.route
	WHERE module = 'p'), '1 3', 'for whichever callers');
SELECT is((SELECT r FROM dblink('s', 'SELECT v()') d (r text)), 'm@a',
	'a snapshot has what it has');
SELECT dblink_exec('s', 'COMMIT') \g /dev/null
SELECT is((SELECT r FROM dblink('s', 'SELECT v()') d (r text)), 'm@b', 'as long as it lives');
SELECT * FROM finish();
