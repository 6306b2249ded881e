-- Which modules are routed: configure_module() (src/route/configure.c).
SELECT plan(14);
\ir ../include/routed.sql

-- A module that is not there is made.
SELECT hotswap.configure_module('billing', routed => true, retain_versions => 1) \g /dev/null
SELECT results_eq($$SELECT name, versions, routed, retain_versions, retain_for
	FROM hotswap.modules$$, $$VALUES ('billing', 0, true, 1, interval '0')$$, 'made');
SELECT hotswap.configure_module('billing', retain_for => '1 h') \g /dev/null
SELECT results_eq($$SELECT routed, retain_versions, retain_for FROM hotswap.modules$$,
	$$VALUES (true, 1, interval '1 h')$$, 'NULL leaves what is there');
SELECT hotswap.configure_module('billing', routed => true) \g /dev/null
SELECT results_eq($$SELECT after::jsonb - 'routed', detail ->> 'module' FROM hotswap.audit_log
	WHERE event = 'configure_module' ORDER BY seq$$,
	$$VALUES ('{"retain_versions": 1, "retain_for": "00:00:00"}'::jsonb, 'billing'),
	('{"retain_versions": 1, "retain_for": "01:00:00"}', 'billing')$$,
	'the audit log has what has changed');

-- What is refused.
SELECT throws_ok($$SELECT hotswap.configure_module('x', retain_versions => 21)$$, '22023',
	'"retain_versions" is out of range: 21', 'too many versions');
SELECT throws_ok($$SELECT hotswap.configure_module('x', retain_for => '-1 s')$$, '22023',
	'"retain_for" is out of range: -00:00:01', 'a time before now');
SELECT throws_ok($$SELECT hotswap.configure_module('x', retain_for => '2 years')$$, '22023',
	'"retain_for" is out of range: 2 years', 'a long time');
SELECT hotswap.publish_version('graph', '1', 'SELECT 1', parents => '{}') \g /dev/null
SELECT throws_ok($$SELECT hotswap.configure_module('graph', routed => true)$$, '55000',
	'module "graph" cannot be routed', 'versions that build on each other');
SELECT lives_ok($$SELECT hotswap.configure_module('graph', retain_versions => 3)$$,
	'what else there is to say of them is taken');
SELECT throws_ok($$SELECT hotswap.publish_version('billing', '1', 'SELECT 1', parents => '{}')$$,
	'55000', 'the versions of module "billing" are complete in themselves',
	'nor do the versions of a routed module build on each other');

-- Back, as long as nobody calls its entries.
SELECT lives_ok($$SELECT hotswap.configure_module('billing', routed => false),
	hotswap.configure_module('billing', routed => true)$$, 'back and forth');
SELECT routed_node('acme') \g /dev/null
SELECT publish_tax(1) \g /dev/null
CALL swap('1') \gset
SELECT throws_ok($$SELECT hotswap.configure_module('billing', routed => false)$$, '55000',
	'module "billing" is called through entries', 'not where somebody may');
SELECT throws_ok(format('SELECT hotswap.set_node_version(%L, ''billing'', ''{1}'', ''x'')',
	(SELECT id FROM hotswap.nodes)), '55000', 'cannot declare what runs of module "billing"',
	'nor is something declared that is not installed');

-- Nor while its first version is on its way.
SELECT hotswap.configure_module('late', routed => true),
	hotswap.publish_version('late', '1', 'SELECT pg_advisory_xact_lock_shared(4713);
		CREATE OR REPLACE FUNCTION late() RETURNS int LANGUAGE sql RETURN 1') \g /dev/null
SELECT pg_advisory_lock(4713) \g /dev/null
SELECT hotswap.deploy('late', '1', 'development') AS d \gset
CALL until('at_gate(4713)');
SELECT lives_ok($$SELECT hotswap.configure_module('late', routed => false)$$,
	'while its first version is installed');
SELECT pg_advisory_unlock(4713) \g /dev/null
SELECT hotswap.wait(:'d', '60 s') AS said \gset
SELECT is(:'said' || ': ' || (SELECT message FROM hotswap.tasks WHERE deployment_id = :'d'
	AND status = 'failed'), 'failed: module "late" is not routed any more', 'that is not');

SELECT * FROM finish();
