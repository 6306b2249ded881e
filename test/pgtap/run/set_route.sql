-- A share of the callers gets another version: set_route() (src/run/set_route.c).
SELECT plan(31);
\ir ../include/routed.sql
SELECT routed_node('acme') AS node \gset
SELECT routed_node('beta') AS beta \gset
SELECT named('tester') AS tester, named('operator') AS operator \gset
CREATE ROLE :"tester" LOGIN;
CREATE ROLE :"operator" LOGIN;
SELECT hotswap.grant_access(:'operator', 'operator') \g /dev/null
SELECT hotswap.configure_module('billing', routed => true) \g /dev/null
SELECT publish_tax(n) FROM generate_series(1, 4) n \g /dev/null
CALL swap('1') \gset
CALL swap('2') \gset
CALL swap('3') \gset
CREATE FUNCTION share_of(module_version text, on_node text DEFAULT 'acme') RETURNS int
		LANGUAGE sql AS $$
	SELECT share FROM hotswap.routes WHERE version = module_version AND node = on_node
$$;
CREATE FUNCTION keys_that_get(result int, of int DEFAULT 40) RETURNS int LANGUAGE sql AS $$
	SELECT count(*)::int FROM generate_series(1, of) k WHERE as_role(current_user,
		'SELECT acme.tax(1)', '-chotswap.route_key=k' || k) = result::text
$$;

-- A share of the callers, by their keys.
SELECT is(hotswap.set_route('billing', '2', 3000, node => :'node'), 1, 'set_route');
SELECT is(share_of('2'), 3000, 'a share gets the version');
SELECT is(share_of('3'), 7000, 'and all others the one that runs');
SELECT is(share_of('3', 'beta'), 10000, 'on that node alone');
SELECT is((SELECT count(*)::int FROM hotswap.routes WHERE since > now() - interval '1 day'
	AND retired_at IS NULL AND node = 'acme'), 2, 'routes says since when');
SELECT keys_that_get(2) AS few \gset
SELECT cmp_ok(:few, '>', 4, 'callers get it');
SELECT cmp_ok(:few, '<', 24, 'not all of them');
SELECT is(keys_that_get(3), 40 - :few, 'others get what runs');
SELECT is((SELECT version FROM hotswap.nodes WHERE name = 'acme'), '3', 'which is the same');

-- What is written of it.
SELECT hotswap.set_route('billing', '2', 5000, ARRAY[:'tester'::regrole], :'node') \g /dev/null
SELECT results_eq($$SELECT before::jsonb, after::jsonb, detail FROM hotswap.audit_log
	WHERE event = 'set_route' ORDER BY seq$$, format($$VALUES (NULL::jsonb,
	'{"version": "2", "share": 3000, "roles": null}'::jsonb,
	'{"node": "%1$s", "module": "billing"}'::jsonb),
	('{"version": "2", "share": 3000, "roles": null}',
	'{"version": "2", "share": 5000, "roles": ["%2$s"]}', '{"node": "%1$s", "module": "billing"}')
	$$, :'node', :'tester'), 'the audit log has each change');
SELECT is((SELECT roles::text FROM hotswap.routes WHERE version = '2' AND node = 'acme'),
	format('{%s}', :'tester'), 'routes names the roles');
SELECT is(hotswap.set_route('billing', '2', 5000, ARRAY[:'tester'::regrole], :'node'), 0,
	'what is so already');
SELECT is((SELECT count(*)::int FROM hotswap.audit_log WHERE event = 'set_route'), 2,
	'is no change');

-- Roles.
SELECT hotswap.set_route('billing', '2', 0, ARRAY[:'tester'::regrole], :'node') \g /dev/null
SELECT is(as_role(:'tester', 'SELECT acme.tax(1)'), '2', 'a role gets the version');
SELECT is(keys_that_get(2), 0, 'nobody else does');

-- A slot that a share gets is used by no other version.
SELECT hotswap.configure_module('billing', retain_versions => 0) \g /dev/null
SELECT is((SELECT retired_at FROM hotswap.routes WHERE version = '2' AND node = 'acme'), NULL,
	'it is not retired');
SELECT throws_ok($$SELECT hotswap.unroute('billing')$$, '55000',
	format('callers of module "billing" get two versions on node %s', :'node'),
	'unroute does not choose one of two');

-- The end of it.
SELECT is(hotswap.set_route('billing', '2', 0), 1, 'a share of nobody');
SELECT is(share_of('3'), 10000, 'leaves what runs');
SELECT is((SELECT retired_at IS NOT NULL FROM hotswap.routes WHERE version = '2'
	AND node = 'acme'), true, 'and retires the other');
SELECT is(hotswap.set_route('billing', '2', 1), 2, 'on all nodes');
CALL swap('4') \gset
SELECT is(share_of('4') + share_of('4', 'beta'), 20000, 'a deployment ends it as well');

-- What is refused.
SELECT throws_ok($$SELECT hotswap.set_route('billing', '4', 1)$$, '55000',
	format('version "4" of module "billing" is what callers get on node %s',
		(SELECT min(id::text) FROM hotswap.nodes)), 'the version that runs');
SELECT throws_ok($$SELECT hotswap.set_route('billing', '1', 1)$$, 'P0002',
	format('version "1" of module "billing" is not installed on node %s',
		(SELECT min(id::text) FROM hotswap.nodes)), 'one that is not installed');
SELECT throws_ok($$SELECT hotswap.set_route('x', '1', 1)$$, 'P0002',
	'module "x" does not exist', 'no such module');
SELECT throws_ok($$SELECT hotswap.set_route('billing', '3', 10000)$$, '22023', NULL,
	'everybody: that is a deployment');
SELECT throws_ok($$SELECT hotswap.set_route('billing', '3', -1)$$, '22023', NULL, 'a negative');
SELECT throws_ok($$SELECT hotswap.set_route('billing', '3', 1, '{99999999}'::regrole[])$$,
	'P0002', NULL, 'no such role');
SELECT is(as_role(:'tester', $$SELECT hotswap.set_route('billing', '3', 1)$$), '42501',
	'who has no right');
SELECT dblink_connect('other', connection_of(current_user)) \g /dev/null
SELECT dblink_exec('other', 'BEGIN') \g /dev/null
SELECT n FROM dblink('other', $$SELECT hotswap.set_route('billing', '3', 7)$$) d (n int)
	\g /dev/null
SELECT dblink_exec('other', 'ROLLBACK') \g /dev/null
SELECT is(share_of('4'), 10000, 'what is rolled back has not been');
SELECT is(as_role(:'operator', $$SELECT hotswap.set_route('billing', '3', 7)$$), '2',
	'who has the right');

SELECT * FROM finish();
