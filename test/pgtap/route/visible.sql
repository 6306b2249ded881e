-- Who sees what of a route (sql/route/ring.sql): nobody anything of another tenant's.
SELECT plan(9);
\ir ../include/routed.sql
SELECT routed_node('acme') \g /dev/null
SELECT hotswap.activate_tenant(hotswap.create_tenant('Other', 'other', 'ops@other.example'))
	\g /dev/null
SELECT hotswap.find_tenant('other') AS other \gset
SELECT named('viewer') AS viewer, named('stranger') AS stranger, named('nobody') AS nobody \gset
CREATE ROLE :viewer LOGIN;
CREATE ROLE :stranger LOGIN;
CREATE ROLE :nobody LOGIN;
SELECT hotswap.grant_access(:'viewer', 'viewer'),
	hotswap.grant_access(:'stranger', 'admin', :'other') \g /dev/null
SELECT hotswap.configure_module('billing', routed => true) \g /dev/null
SELECT publish_tax(n) FROM generate_series(1, 2) n \g /dev/null
CALL swap('1') \gset
CALL swap('2') \gset

SELECT is(as_role(:'viewer', $$SELECT string_agg(version, ' ' ORDER BY version)
	FROM hotswap.routes$$), '1 2', 'a viewer sees the routes of its tenant');
SELECT is(as_role(:'viewer', 'SELECT string_agg(entry, '' '') FROM hotswap.entries'),
	'acme.tax(integer)', 'and the entries');
SELECT is(as_role(who, 'SELECT count(*) FROM hotswap.' || v), '0', 'not ' || v || ': ' || who)
FROM unnest(ARRAY[:'stranger', :'nobody']) who, unnest('{routes,entries}'::text[]) v;
SELECT is(as_role(:'stranger', 'SELECT hotswap.unroute(''billing'')',
	'-c hotswap.tenant=' || :'other'), 'P0002', 'to another tenant there is no such module');
SELECT is(as_role(:'stranger', format('SELECT hotswap.unroute(''billing'', tenant => %L)',
	'00000000-0000-7000-8000-000000000001')), '42501', 'nor may it ask for one');
SELECT is(as_role(:'nobody', 'SELECT generation FROM hotswap.route'), '42501',
	'the table is nobody''s to read');
SELECT hotswap.revoke_access(:'viewer', 'viewer'),
	hotswap.revoke_access(:'stranger', 'admin', :'other') \g /dev/null
DROP ROLE :viewer, :stranger, :nobody;
SELECT * FROM finish();
