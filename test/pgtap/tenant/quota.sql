-- Quotas: what a tenant may have of what (src/tenant/quota.c). Many who consume at once:
-- test/specs/tenant/quota.spec, test/t/tenant/quota.pl.
SELECT plan(91);

SELECT hotswap.create_tenant('a', 'a', 'a@b.c') AS a \gset
SELECT hotswap.activate_tenant(:'a') \g /dev/null
\set default 00000000-0000-7000-8000-000000000001
\set nobody 00000000-0000-7000-8000-00000000dead

-- What a tenant begins with.
SELECT results_eq(format('SELECT resource, quota, own, used, "left" FROM hotswap.quotas
	WHERE tenant_id = %L ORDER BY 1', :'a'),
	$$VALUES ('bandwidth_gb', 10::bigint, false, 0::bigint, 10::bigint),
		('concurrent_deployments', 1, false, 0, 1), ('custom_domains', 0, false, 0, 0),
		('modules', NULL, false, 0, NULL),
		('nodes', NULL, false, 0, NULL), ('storage_gb', 1, false, 0, 1),
		('stored_bytes', NULL, false, 0, NULL), ('websites', 1, false, 0, 1)$$,
	'what a tenant of the tier free has');
SELECT is((SELECT count(quota) FROM hotswap.quotas WHERE tenant_id = :'default'), 0::bigint,
	'the tenant "default" has no limits');

-- Consuming and releasing.
SELECT is(hotswap.consume_quota(:'a', 'bandwidth_gb', 4), 6::bigint, 'what is left');
SELECT is(hotswap.consume_quota(:'a', 'bandwidth_gb', 6), 0::bigint, 'up to the last');
SELECT results_eq(format('SELECT code, message, detail FROM refusal(%L)',
	format('SELECT hotswap.consume_quota(%L, ''bandwidth_gb'', 1)', :'a')),
	$$VALUES ('53400', 'quota of "bandwidth_gb" exceeded',
		'The quota is 10, the use is 10, and the request is for 1.')$$, 'and no more');
SELECT is(hotswap.release_quota(:'a', 'bandwidth_gb', 3), 3::bigint, 'released');
SELECT throws_ok(format('SELECT hotswap.consume_quota(%L, ''bandwidth_gb'', 4)', :'a'), '53400',
	'quota of "bandwidth_gb" exceeded', 'too much at once');
SELECT results_eq(format('SELECT code, message, detail FROM refusal(%L)',
	format('SELECT hotswap.release_quota(%L, ''bandwidth_gb'', 8)', :'a')),
	$$VALUES ('22023', 'cannot release 8 of "bandwidth_gb"', 'The use is 7.')$$,
		'not below zero');
SELECT throws_ok(format('SELECT hotswap.release_quota(%L, ''websites'', 1)', :'a'), '22023',
	'cannot release 1 of "websites"', 'nor what was never used');
SELECT throws_ok(format('SELECT hotswap.consume_quota(%L, ''custom_domains'', 1)', :'a'), '53400',
	'quota of "custom_domains" exceeded', 'a quota of zero');
SELECT is(hotswap.release_quota(:'a', 'bandwidth_gb', 7), 10::bigint, 'all of it');

-- Rolled back, and unlimited.
BEGIN;
SELECT hotswap.consume_quota(:'a', 'websites', 1) \g /dev/null
ROLLBACK;
SELECT is((SELECT used FROM hotswap.quotas WHERE tenant_id = :'a' AND resource = 'websites'),
	0::bigint, 'rolled back is not consumed');
SELECT is(hotswap.consume_quota(:'default', 'websites', 9223372036854775807), NULL,
	'unlimited: NULL is left');
SELECT throws_ok(format('SELECT hotswap.consume_quota(%L, ''websites'', 1)', :'default'), '22003',
	'bigint out of range', 'more than a bigint holds');
SELECT is(hotswap.release_quota(:'default', 'websites', 9223372036854775807), NULL, 'released');

-- Arguments.
SELECT throws_ok(format('SELECT hotswap.%s_quota(%s)', f, args), code, message,
	f || '_quota ' || args)
FROM unnest('{consume,release}'::text[]) f,
	(VALUES ('NULL, ''websites'', 1', '22023', '"tenant" must not be null'),
		(quote_literal(:'a') || ', NULL, 1', '22023', '"resource" must not be null'),
	(quote_literal(:'a') || ', ''websites'', NULL', '22023', '"amount" must not be null'),
	(quote_literal(:'a') || ', ''websites'', 0', '22023', '"amount" must be positive: 0'),
	(quote_literal(:'a') || ', ''websites'', -1', '22023', '"amount" must be positive: -1'),
	(quote_literal(:'a') || ', ''moons'', 1', 'P0002', 'resource "moons" does not exist'),
	(quote_literal(:'a') || ', ''modules'', 1', '22023',
		'resource "modules" cannot be consumed or released explicitly'),
	(quote_literal(:'a') || ', ''concurrent_deployments'', 1', '22023',
		'resource "concurrent_deployments" cannot be consumed or released explicitly'),
	(quote_literal(:'nobody') || ', ''websites'', 1', 'P0002',
		'tenant "' || :'nobody' || '" does not exist')) v (args, code, message);

-- In which transactions.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT is(hotswap.consume_quota(:'a', 'websites', 1), 0::bigint,
	'REPEATABLE READ consumes what nobody else touches');
ROLLBACK;
BEGIN READ ONLY;
SELECT throws_ok(format('SELECT hotswap.consume_quota(%L, ''websites'', 1)', :'a'), '25006', NULL,
	'not in a read-only transaction');
ROLLBACK;

-- Quotas of a tenant's own.
SELECT hotswap.set_quota(:'a', 'bandwidth_gb', 20) \g /dev/null
SELECT is(hotswap.consume_quota(:'a', 'bandwidth_gb', 15), 5::bigint, 'a quota of its own');
SELECT results_eq(format('SELECT quota, own, used, "left" FROM hotswap.quotas
	WHERE tenant_id = %L AND resource = ''bandwidth_gb''', :'a'),
	'VALUES (20::bigint, true, 15::bigint, 5::bigint)', 'is in the view');
SELECT hotswap.set_quota(:'a', 'bandwidth_gb', 12) \g /dev/null
SELECT results_eq(format('SELECT quota, used, "left" FROM hotswap.quotas
	WHERE tenant_id = %L AND resource = ''bandwidth_gb''', :'a'),
	'VALUES (12::bigint, 15::bigint, 0::bigint)', 'less than is used: nothing is left');
SELECT throws_ok(format('SELECT hotswap.consume_quota(%L, ''bandwidth_gb'', 1)', :'a'), '53400',
	NULL, 'and no more is given');
SELECT is(hotswap.release_quota(:'a', 'bandwidth_gb', 1), 0::bigint, 'though it can be released');

-- Unlimited, and that of the tier again.
SELECT hotswap.set_quota(:'a', 'bandwidth_gb', NULL) \g /dev/null
SELECT is(hotswap.consume_quota(:'a', 'bandwidth_gb', 1000), NULL,
	'NULL is unlimited, whatever the tier says');
SELECT results_eq(format('SELECT quota, own, "left" FROM hotswap.quotas
	WHERE tenant_id = %L AND resource = ''bandwidth_gb''', :'a'),
	'VALUES (NULL::bigint, true, NULL::bigint)', 'in the view too');
SELECT hotswap.clear_quota(:'a', 'bandwidth_gb') \g /dev/null
SELECT throws_ok(format('SELECT hotswap.consume_quota(%L, ''bandwidth_gb'', 1)', :'a'), '53400',
	NULL, 'cleared: that of the tier holds again');
SELECT hotswap.release_quota(:'a', 'bandwidth_gb', 1014) \g /dev/null
SELECT results_eq($$SELECT event, before, after, detail FROM hotswap.audit_log
	WHERE event LIKE '%_quota' ORDER BY seq$$,
	$$VALUES ('set_quota', NULL, '20', '{"resource": "bandwidth_gb"}'::jsonb),
		('set_quota', '20', '12', '{"resource": "bandwidth_gb"}'),
		('set_quota', '12', 'unlimited', '{"resource": "bandwidth_gb"}'),
		('clear_quota', 'unlimited', NULL, '{"resource": "bandwidth_gb"}')$$,
	'audited with before and after');

-- Arguments.
SELECT throws_ok('SELECT hotswap.' || call, code, message, call) FROM (VALUES
	('set_quota(NULL, ''websites'', 1)', '22023', '"tenant" must not be null'),
	(format('set_quota(%L, NULL, 1)', :'a'), '22023', '"resource" must not be null'),
	(format('set_quota(%L, ''websites'', -1)', :'a'), '22023', '"amount" must not be negative: -1'),
	(format('set_quota(%L, ''moons'', 1)', :'a'), 'P0002', 'resource "moons" does not exist'),
	(format('set_quota(%L, ''websites'', 1)', :'nobody'), 'P0002',
		'tenant "' || :'nobody' || '" does not exist'),
	(format('clear_quota(%L, ''moons'')', :'a'), 'P0002', 'resource "moons" does not exist'),
	(format('clear_quota(%L, ''websites'')', :'a'), 'P0002',
		format('tenant "%s" has no quota of its own of "websites"', :'a')),
	(format('clear_quota(%L, ''websites'')', :'nobody'), 'P0002',
		'tenant "' || :'nobody' || '" does not exist')) v (call, code, message);

-- What hotswap counts itself.
SELECT hotswap.set_quota(:'a', 'modules', 2), hotswap.set_quota(:'a', 'stored_bytes', 40),
	hotswap.set_quota(:'a', 'nodes', 1) \g /dev/null
SELECT lives_ok(format($$SELECT hotswap.publish_version('m', '1', 'SELECT 1', 'SELECT 2',
	tenant => %L)$$, :'a'), 'a first module');
SELECT lives_ok(format($$SELECT hotswap.publish_version('n', '1', 'SELECT 1', NULL, 'SELECT 2',
	tenant => %L)$$, :'a'), 'a second one');
SELECT results_eq(format('SELECT code, message, detail FROM refusal(%L)',
	format('SELECT hotswap.publish_version(''o'', ''1'', ''SELECT 1'', tenant => %L)', :'a')),
	$$VALUES ('53400', 'quota of "modules" exceeded', 'The quota is 2; with this it would be 3.')$$,
	'a third one is too many');
SELECT hotswap.set_quota(:'a', 'modules', 1) \g /dev/null
SELECT lives_ok(format($$SELECT hotswap.publish_version('m', '2', 'SELECT 1', tenant => %L)$$,
	:'a'), 'a new version is not a new module');
SELECT results_eq(format('SELECT code, message, detail FROM refusal(%L)',
	format('SELECT hotswap.publish_version(''m'', ''3'', ''SELECT 1'', tenant => %L)', :'a')),
	$$VALUES ('53400', 'quota of "stored_bytes" exceeded',
		'The quota is 40; with this it would be 48.')$$, 'but takes space');
SELECT lives_ok(format($$SELECT hotswap.publish_version('m', '2', 'SELECT 1', tenant => %L)$$,
	:'a'), 'the same again does not');

-- Nodes.
CREATE SCHEMA n1;
CREATE SCHEMA n2;
SELECT hotswap.register_node('qa', 'n1', schema => 'n1', tenant => :'a') AS n \gset
SELECT results_eq(format('SELECT code, message, detail FROM refusal(%L)',
	format('SELECT hotswap.register_node(''qa'', ''n2'', schema => ''n2'', tenant => %L)', :'a')),
	$$VALUES ('53400', 'quota of "nodes" exceeded', 'The quota is 1; with this it would be 2.')$$,
	'a second node is too many');
SELECT results_eq(format('SELECT resource, used, "left" FROM hotswap.quotas
	WHERE tenant_id = %L AND resource IN (''modules'', ''nodes'', ''stored_bytes'') ORDER BY 1',
	:'a'),
	$$VALUES ('modules', 2::bigint, 0::bigint), ('nodes', 1, 0), ('stored_bytes', 40, 0)$$,
	'what is used is counted');
SET hotswap.tenant = :'a';
SELECT hotswap.remove_node(:'n') \g /dev/null
RESET hotswap.tenant;
SELECT lives_ok(format($$SELECT hotswap.register_node('qa', 'n2', schema => 'n2', tenant => %L)$$,
	:'a'), 'a removed node does not count');

-- Another tenant has its own.
SELECT lives_ok($$SELECT hotswap.publish_version('big', '1', rpad('SELECT 1 --', 1000000, 'x'))$$,
	'another tenant has its own');
SELECT is((SELECT used FROM hotswap.quotas
	WHERE tenant_id = :'default' AND resource = 'stored_bytes'), 1000000::bigint, 'uncompressed');
BEGIN;
INSERT INTO hotswap.deployment (tenant_id, id, status, priority, audit_seq, requested_at,
	audit_hash, module, version, environment, requested_by, run_by_role, login, metadata)
SELECT :'a', ('01a00000-0000-7000-8000-00000000000' || n)::uuid, s, 0, 1, now(),
	decode(repeat('00', 32), 'hex'), 'm', '1', 'qa', 'x', 'x', 'x', '{}'
FROM unnest(enum_range('scheduled'::hotswap.deployment_status, 'succeeded')) WITH ORDINALITY
	u (s, n);
INSERT INTO hotswap.work_item SELECT tenant_id, id, 'infinity', 0 FROM hotswap.deployment
	WHERE tenant_id = :'a' AND status <> 'succeeded';
SELECT results_eq(format('SELECT used FROM hotswap.quotas
	WHERE tenant_id = %L AND resource = ''concurrent_deployments''', :'a'),
	$$SELECT count(*) FROM unnest(enum_range(NULL::hotswap.deployment_status)) s
		WHERE s::text IN ('running', 'paused', 'rolling_back')$$,
	'what has started counts as concurrent');
ROLLBACK;

-- Resources of the user's.
SELECT lives_ok($$SELECT hotswap.define_resource('moons')$$, 'another resource');
SELECT lives_ok($$SELECT hotswap.define_resource('moons')$$, 'again');
SELECT is((SELECT count(*) FROM hotswap.audit_log WHERE event = 'define_resource'), 1::bigint,
	'audited when something changed');
SELECT is(hotswap.consume_quota(:'a', 'moons', 5), NULL, 'unlimited to begin with');
SELECT hotswap.set_tier_quota('free', 'moons', 6) \g /dev/null
SELECT is(hotswap.consume_quota(:'a', 'moons', 1), 0::bigint, 'a quota of the tier');
SELECT hotswap.set_tier_quota('free', 'moons', 7), hotswap.set_tier_quota('free', 'moons', NULL),
	hotswap.set_tier_quota('starter', 'moons', 3) \g /dev/null
SELECT is(hotswap.consume_quota(:'a', 'moons', 1), NULL, 'taken back');
SELECT results_eq($$SELECT before, after, detail FROM hotswap.audit_log
	WHERE event = 'set_tier_quota' ORDER BY seq$$,
	$$VALUES ('unlimited', '6', '{"tier": "free", "resource": "moons"}'::jsonb),
		('6', '7', '{"tier": "free", "resource": "moons"}'),
		('7', 'unlimited', '{"tier": "free", "resource": "moons"}'),
		('unlimited', '3', '{"tier": "starter", "resource": "moons"}')$$, 'audited');
SELECT throws_ok('SELECT hotswap.' || call, code, message, call) FROM (VALUES
	('define_resource(NULL)', '22023', '"name" must not be null'),
	('define_resource(''a b'')', '22023', 'invalid value for "name": "a b"'),
	('set_tier_quota(NULL, ''moons'', 1)', '22023', '"tier" must not be null'),
	('set_tier_quota(''free'', NULL, 1)', '22023', '"resource" must not be null'),
	('set_tier_quota(''free'', ''moons'', -1)', '22023', '"amount" must not be negative: -1'),
	('set_tier_quota(''gold'', ''moons'', 1)', 'P0002', 'tier "gold" does not exist'),
	('set_tier_quota(''free'', ''suns'', 1)', 'P0002', 'resource "suns" does not exist'))
	v (call, code, message);

-- Somebody who may not: refused before anything is looked up.
CREATE ROLE tenant_quota_user LOGIN;
SELECT hotswap.create_tenant('b', 'b', 'a@b.c', 'starter') AS b \gset
SELECT hotswap.activate_tenant(:'b') \g /dev/null
SET SESSION AUTHORIZATION tenant_quota_user;
SELECT is((refusal('SELECT hotswap.' || call)).code, '42501', 'not granted: ' || call)
	FROM unnest(ARRAY['configure_tier(''x'')', 'set_tier_quota(''x'', ''x'', 1)',
		'define_resource(''x'')',
	format('upgrade_tier(%L, ''x'')', :'nobody'), format('downgrade_tier(%L, ''x'')', :'nobody'),
	format('set_quota(%L, ''x'', 1)', :'nobody'), format('clear_quota(%L, ''x'')', :'nobody'),
	format('consume_quota(%L, ''x'', 1)', :'nobody'),
	format('release_quota(%L, ''x'', 1)', :'nobody')]) call;
RESET SESSION AUTHORIZATION;
SELECT hotswap.set_quota(:'b', 'storage_gb', 5),
	hotswap.grant_access('tenant_quota_user', 'agent', :'b') \g /dev/null
SET SESSION AUTHORIZATION tenant_quota_user;
SELECT is(hotswap.consume_quota(:'b', 'storage_gb', 2), 3::bigint,
	'an agent consumes what its tenant has');
SELECT is(hotswap.release_quota(:'b', 'storage_gb', 1), 4::bigint, 'and releases it');
SELECT is((refusal(format('SELECT hotswap.consume_quota(%L, ''storage_gb'', 1)',
	:'a'))).code, '42501', 'not what another one has');
SELECT is((refusal(format('SELECT hotswap.set_quota(%L, ''storage_gb'', 9)', :'b'))).code,
	'42501', 'and sets nothing');
RESET SESSION AUTHORIZATION;
SELECT * FROM finish();
