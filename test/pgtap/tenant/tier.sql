-- Tiers, and moving between them (src/tenant/tier.c).
SELECT plan(36);

SELECT hotswap.adopt() \g /dev/null
\set nobody 00000000-0000-7000-8000-00000000dead

-- What every installation begins with.
SELECT results_eq('SELECT name, quotas FROM hotswap.tiers ORDER BY rank', $$VALUES
	('free', '{"websites": 1, "storage_gb": 1, "bandwidth_gb": 10, "custom_domains": 0,
		"concurrent_deployments": 1}'::jsonb),
	('starter', '{"websites": 5, "storage_gb": 10, "bandwidth_gb": 100, "custom_domains": 5,
		"concurrent_deployments": 3}'),
	('professional', '{"websites": 25, "storage_gb": 50, "bandwidth_gb": 500,
		"custom_domains": 25, "concurrent_deployments": 10}'),
	('enterprise', '{"websites": 100, "storage_gb": 500, "bandwidth_gb": 5000,
		"custom_domains": 100, "concurrent_deployments": 50}'),
	('custom', '{}')$$, 'what the tiers give');

-- Tiers.
SELECT hotswap.configure_tier('gold', 35) \g /dev/null
SELECT results_eq($$SELECT rank, weight, monthly_price_cents, quotas FROM hotswap.tiers
	WHERE name = 'gold'$$, $$VALUES (35, 1, 0, '{}'::jsonb)$$, 'a new tier');
SELECT hotswap.configure_tier('gold', weight => 7, monthly_price_cents => 19900),
	hotswap.configure_tier('gold', 36), hotswap.configure_tier('gold', 36) \g /dev/null
SELECT results_eq($$SELECT rank, weight, monthly_price_cents FROM hotswap.tiers
	WHERE name = 'gold'$$, $$VALUES (36, 7, 19900)$$, 'changed');
SELECT results_eq($$SELECT before::jsonb->>'weight', after::jsonb->>'weight', after::jsonb->>'rank'
	FROM hotswap.audit_log WHERE event = 'configure_tier' ORDER BY seq$$,
	$$VALUES (NULL, '1', '35'), ('1', '7', '35'), ('7', '7', '36')$$,
	'audited when something changed');
SELECT throws_ok('SELECT hotswap.configure_tier(' || args || ')', code, message, args) FROM (VALUES
	('NULL, 1', '22023', '"name" must not be null'), ('''a b'', 1', '22023',
		'invalid value for "name": "a b"'),
	('''silver''', 'P0002', 'tier "silver" does not exist'),
	('''silver'', 0', '22023', '"rank" is out of range: 0'),
	('''silver'', 1001', '22023', '"rank" is out of range: 1001'),
	('''silver'', 1, 0', '22023', '"weight" is out of range: 0'),
	('''silver'', 1, 1001', '22023', '"weight" is out of range: 1001'),
	('''silver'', 1, 1, -1', '22023', '"monthly_price_cents" is out of range: -1'),
	('''silver'', 40', '23505', 'rank 40 is taken'),
	('''gold'', 40', '23505', 'rank 40 is taken')) v (args, code, message);

-- Up and down.
SELECT hotswap.create_tenant('b', 'b', 'a@b.c', 'starter') AS b \gset
SELECT throws_ok(format('SELECT hotswap.upgrade_tier(%L, ''gold'')', :'b'), 'YH003', NULL,
	'only while active');
SELECT hotswap.activate_tenant(:'b') \g /dev/null
SELECT results_eq(format('SELECT code, message, detail FROM refusal(%L)',
	format('SELECT hotswap.upgrade_tier(%L, %L)', :'b', tier)),
	format($$VALUES ('55000', 'cannot upgrade from tier "starter" to tier "%s"',
		'Its rank is %s and must be higher than 20.')$$, tier, rank), 'not up to ' || tier)
FROM (VALUES ('free', 10), ('starter', 20)) v (tier, rank);
SELECT results_eq(format('SELECT code, message, detail FROM refusal(%L)',
	format('SELECT hotswap.downgrade_tier(%L, %L)', :'b', tier)),
	format($$VALUES ('55000', 'cannot downgrade from tier "starter" to tier "%s"',
		'Its rank is %s and must be lower than 20.')$$, tier, rank), 'not down to ' || tier)
FROM (VALUES ('starter', 20), ('gold', 36)) v (tier, rank);
SELECT throws_ok(format('SELECT hotswap.%s_tier(%s)', f, args), code, message, f || ' ' || args)
	FROM unnest('{upgrade,downgrade}'::text[]) f,
	(VALUES ('NULL, ''gold''', '22023', '"tenant" must not be null'),
	(quote_literal(:'b') || ', NULL', '22023', '"tier" must not be null'),
	(quote_literal(:'b') || ', ''silver''', 'P0002', 'tier "silver" does not exist'),
	(quote_literal(:'nobody') || ', ''gold''', 'P0002',
		'tenant "' || :'nobody' || '" does not exist'))
	v (args, code, message);

-- Down only when what is used fits.
SELECT lives_ok(format('SELECT hotswap.upgrade_tier(%L, ''gold'')', :'b'), 'up');
SELECT is(hotswap.consume_quota(:'b', 'websites', 6), NULL, 'with what that tier gives');
SELECT results_eq(format('SELECT code, message, detail FROM refusal(%L)',
	format('SELECT hotswap.downgrade_tier(%L, ''starter'')', :'b')),
	format($$VALUES ('53400', 'tenant "%s" uses more of "websites" than tier "starter" gives',
		'It uses 6; the tier gives 5.')$$, :'b'), 'down only when what it uses fits');
SELECT is((SELECT tier FROM hotswap.tenants WHERE id = :'b'), 'gold', 'it stays where it is');
SELECT hotswap.set_quota(:'b', 'websites', 6) \g /dev/null
SELECT lives_ok(format('SELECT hotswap.downgrade_tier(%L, ''starter'')', :'b'),
	'a quota of its own fits everywhere');
SELECT hotswap.clear_quota(:'b', 'websites'), hotswap.upgrade_tier(:'b', 'enterprise'),
	hotswap.release_quota(:'b', 'websites', 5),
	hotswap.set_tier_quota('free', 'modules', 0) \g /dev/null
SELECT hotswap.publish_version('m', '1', 'SELECT 1', tenant => :'b') \g /dev/null
SELECT throws_ok(format('SELECT hotswap.downgrade_tier(%L, ''free'')', :'b'), '53400',
	format('tenant "%s" uses more of "modules" than tier "free" gives', :'b'),
	'what is counted has to fit too');
SELECT hotswap.set_tier_quota('free', 'modules', 1) \g /dev/null
SELECT lives_ok(format('SELECT hotswap.downgrade_tier(%L, ''free'')', :'b'),
	'down, with as much as that tier gives');

-- Audited.
SELECT results_eq(format($$SELECT event, before, after FROM hotswap.audit_log
	WHERE subject_id = %L AND event LIKE '%%grade_tier' ORDER BY seq$$, :'b'),
	$$VALUES ('upgrade_tier', 'starter', 'gold'), ('downgrade_tier', 'gold', 'starter'),
		('upgrade_tier', 'starter', 'enterprise'), ('downgrade_tier', 'enterprise', 'free')$$,
	'audited');
SELECT is_empty('SELECT * FROM hotswap.verify_audit()', 'the audit log is whole');
SELECT * FROM finish();
