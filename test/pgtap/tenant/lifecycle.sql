-- The life of a tenant (src/tenant/lifecycle.c). Suspending while the dispatcher works is tested
-- in test/specs/tenant/lifecycle.spec.
SELECT plan(85);

-- Creation, as the first thing that is done in a fresh database.
SELECT hotswap.create_tenant('Acme, Inc.', 'Acme-1', 'ops@acme.example',
	metadata => '{"crm": 7}') AS t \gset
SELECT results_eq($$SELECT name, subdomain, contact_email, tier, status::text, status_reason,
	metadata FROM hotswap.tenants WHERE subdomain IS NOT NULL$$,
	$$VALUES ('Acme, Inc.', 'acme-1', 'ops@acme.example', 'free', 'provisioning', NULL::text,
		'{"crm": 7}'::jsonb)$$, 'a new tenant');
SELECT results_eq($$SELECT name, tier, status::text, subdomain FROM hotswap.tenants
	WHERE id = '00000000-0000-7000-8000-000000000001'$$,
	$$VALUES ('default', 'custom', 'active', NULL::text)$$,
	'the tenant "default" is there as well');
SELECT results_eq(format($$SELECT name, rank, strategy::text, min_approvals FROM hotswap.environment
	WHERE tenant_id = %L ORDER BY rank$$, :'t'),
	$$SELECT name, rank, strategy::text, min_approvals FROM hotswap.environment
		WHERE tenant_id = '00000000-0000-7000-8000-000000000001' ORDER BY rank$$,
	'its environments are those that the default one has');
SELECT results_eq($$SELECT before, after, person, reason, detail FROM hotswap.audit_log
	WHERE event = 'create'$$,
	$$VALUES (NULL::text, 'provisioning', 'postgres', NULL::text,
		'{"tier": "free", "subdomain": "acme-1"}'::jsonb)$$, 'audited, without name and address');
SELECT results_eq('SELECT name, rank, weight, monthly_price_cents FROM hotswap.tiers ORDER BY rank',
	$$VALUES ('free', 10, 1, 0), ('starter', 20, 2, 2900), ('professional', 30, 4, 9900),
		('enterprise', 40, 8, 49900), ('custom', 50, 8, 0)$$, 'the tiers are there');
SELECT is((SELECT count(*) FROM hotswap.reserved_subdomain), 35::bigint,
	'and the reserved subdomains');

-- Validation.
CREATE TEMP TABLE wrong (args text, code text, message text);
INSERT INTO wrong VALUES
	($$NULL, 's', 'a@b.c'$$, '22023', '"name" must not be null'),
	($$' ', 's', 'a@b.c'$$, '22023', '"name" must not be blank'),
	($$repeat('n', 201), 's', 'a@b.c'$$, '22023',
		'"name" is too long: "' || repeat('n', 100) || '..."'),
	($$'n', NULL, 'a@b.c'$$, '22023', '"subdomain" must not be null'),
	($$'n', '', 'a@b.c'$$, '22023', '"subdomain" must not be blank'),
	($$'n', repeat('s', 64), 'a@b.c'$$, '22023',
		'"subdomain" is too long: "' || repeat('s', 64) || '..."'),
	($$'n', '-s', 'a@b.c'$$, '22023', 'invalid value for "subdomain": "-s"'),
	($$'n', 's-', 'a@b.c'$$, '22023', 'invalid value for "subdomain": "s-"'),
	($$'n', 's.s', 'a@b.c'$$, '22023', 'invalid value for "subdomain": "s.s"'),
	($$'n', 's s', 'a@b.c'$$, '22023', 'invalid value for "subdomain": "s s"'),
	($$'n', 's_s', 'a@b.c'$$, '22023', 'invalid value for "subdomain": "s_s"'),
	($$'n', 'ß', 'a@b.c'$$, '22023', 'invalid value for "subdomain": "ß"'),
	($$'n', 'WWW', 'a@b.c'$$, '22023', 'subdomain "www" is reserved'),
	($$'n', 'sandbox', 'a@b.c'$$, '22023', 'subdomain "sandbox" is reserved'),
	($$'n', 'ACME-1', 'a@b.c'$$, '23505', 'subdomain "acme-1" is taken'),
	($$'n', 's', NULL$$, '22023', '"contact_email" must not be null'),
	($$'n', 's', 'a@b.c', NULL$$, '22023', '"tier" must not be null'),
	($$'n', 's', 'a@b.c', 'gold'$$, 'P0002', 'tier "gold" does not exist'),
	($$'n', 's', 'a@b.c', metadata => NULL$$, '22023', '"metadata" must not be null'),
	($$'n', 's', 'a@b.c', metadata => '[]'$$, '22023', '"metadata" must be a JSON object');
INSERT INTO wrong SELECT format('''n'', ''s'', %L', e), '22023',
	format('invalid value for "contact_email": "%s"', e)
FROM unnest(ARRAY['a', '@b.c', 'a@', 'a@b', 'a@.c', 'a@b.', 'a@b..c', 'a@-b.c', 'a@b-.c', 'a@b.c-',
	'a@b@b.c', 'a b@b.c', 'a@b c.d', E'a\n@b.c', 'a@b_c.d',
	repeat('a', 65) || '@b.c', repeat('ä', 33) || '@b.c']) e;
SELECT throws_ok('SELECT hotswap.create_tenant(' || args || ')', code, message, args) FROM wrong;
SELECT is((SELECT count(*) FROM hotswap.tenant), 2::bigint, 'nothing was made');
SELECT lives_ok($$SELECT hotswap.create_tenant(repeat('ü', 200), repeat('a-9', 21),
	'Jörg.O''Neil+x@mail-1.bücher.example', 'enterprise')$$, 'as long as allowed');
SELECT lives_ok($$SELECT hotswap.create_tenant('one', '7', 'a@b.c')$$, 'as short as allowed');

-- Every transition in every state.
SELECT hotswap.create_tenant('n', 'foo', 'a@b.c') \g /dev/null
CREATE FUNCTION pg_temp.result_of(call text, state text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	UPDATE hotswap.tenant SET status = state::hotswap.tenant_status WHERE subdomain = 'foo';
	EXECUTE format('SELECT hotswap.' || call,
		(SELECT id FROM hotswap.tenant WHERE subdomain = 'foo')) INTO result;
	RAISE no_data_found;
EXCEPTION WHEN no_data_found THEN
	RETURN result;
WHEN object_not_in_prerequisite_state THEN
	RETURN 'refused';
END $$;
SELECT results_eq($$SELECT s::text, pg_temp.result_of('activate_tenant(%L)', s::text),
	pg_temp.result_of('suspend_tenant(%L, ''x'')', s::text),
		pg_temp.result_of('resume_tenant(%L)', s::text),
		pg_temp.result_of('deprovision_tenant(%L, ''x'')', s::text),
		pg_temp.result_of('delete_tenant(%L)', s::text)
		FROM unnest(enum_range(NULL::hotswap.tenant_status)) WITH ORDINALITY u (s, n) ORDER BY n$$,
	$$VALUES ('provisioning', 'active', 'refused', 'refused', 'refused', 'refused'),
		('active', 'refused', 'suspended', 'refused', 'deprovisioning', 'refused'),
		('suspended', 'refused', 'refused', 'active', 'deprovisioning', 'refused'),
		('deprovisioning', 'refused', 'refused', 'refused', 'refused', 'deleted'),
		('deleted', 'refused', 'refused', 'refused', 'refused', 'refused')$$,
	'every transition in every state');
SELECT results_eq(format('SELECT code, message, detail FROM refusal(%L)',
	format('SELECT hotswap.suspend_tenant(%L, ''x'')', :'t')),
	$$VALUES ('55000', 'tenant in status "provisioning" does not allow event "suspend"',
		'Status "active" allows it.')$$, 'what the refusal says');
SELECT throws_ok('SELECT hotswap.' || call, code, message, call) FROM (VALUES
	('activate_tenant(NULL)', '22023', '"tenant" must not be null'),
	('suspend_tenant(NULL, ''x'')', '22023', '"tenant" must not be null'),
	('suspend_tenant(''' || :'t' || ''', '' '')', '22023', '"reason" must not be blank'),
	('deprovision_tenant(''' || :'t' || ''', NULL)', '22023', '"reason" must not be null'),
	('deprovision_tenant(''' || :'t' || ''', ''x'', NULL)', '22023',
		'"cancel_running" must not be null'),
	('activate_tenant(''00000000-0000-7000-8000-00000000dead'')', 'P0002',
		'tenant "00000000-0000-7000-8000-00000000dead" does not exist'),
	('suspend_tenant(''00000000-0000-7000-8000-00000000dead'', ''x'')', 'P0002',
		'tenant "00000000-0000-7000-8000-00000000dead" does not exist'),
	('resume_tenant(''00000000-0000-7000-8000-00000000dead'')', 'P0002',
		'tenant "00000000-0000-7000-8000-00000000dead" does not exist'),
	('deprovision_tenant(''00000000-0000-7000-8000-00000000dead'', ''x'')', 'P0002',
		'tenant "00000000-0000-7000-8000-00000000dead" does not exist'),
	('delete_tenant(''00000000-0000-7000-8000-00000000dead'')', 'P0002',
		'tenant "00000000-0000-7000-8000-00000000dead" does not exist')) v (call, code, message);

-- The default tenant may rest, but does not go.
SELECT is(hotswap.suspend_tenant('00000000-0000-7000-8000-000000000001', 'holidays'), 'suspended',
	'the tenant "default" can be suspended');
SELECT throws_ok($$SELECT hotswap.deprovision_tenant('00000000-0000-7000-8000-000000000001', 'x')$$,
	'55000', 'tenant "default" cannot be deprovisioned', 'but not deprovisioned');
SELECT throws_ok($$SELECT hotswap.delete_tenant('00000000-0000-7000-8000-000000000001')$$, '55000',
	'tenant in status "suspended" does not allow event "delete"', 'nor deleted');
SELECT throws_ok($$SELECT hotswap.publish_version('m', '1', 'SELECT 1')$$, 'YH003',
	'tenant "00000000-0000-7000-8000-000000000001" is not active',
		'suspended: nothing is published');
SELECT is(hotswap.resume_tenant('00000000-0000-7000-8000-000000000001'), 'active', 'and resumed');
SELECT throws_ok(format($$SELECT hotswap.publish_version('m', '1', 'SELECT 1', tenant => %L)$$,
	:'t'), 'YH003', 'tenant "' || :'t' || '" is not active', 'provisioning: not yet either');

-- Somebody who may not: refused before anything is looked up.
CREATE ROLE tenant_lifecycle_user LOGIN;
SET SESSION AUTHORIZATION tenant_lifecycle_user;
SELECT is((refusal('SELECT hotswap.' || call)).code, '42501', 'not granted: ' || call)
	FROM unnest(ARRAY['create_tenant(''n'', ''acme-1'', ''a@b.c'')',
	'activate_tenant(''00000000-0000-7000-8000-00000000dead'')',
	'suspend_tenant(''00000000-0000-7000-8000-00000000dead'', ''x'')',
	'resume_tenant(''00000000-0000-7000-8000-00000000dead'')',
	'deprovision_tenant(''00000000-0000-7000-8000-00000000dead'', ''x'')',
	'delete_tenant(''00000000-0000-7000-8000-00000000dead'')', 'reserve_subdomain(''x'')',
	'unreserve_subdomain(''www'')']) call;
SELECT throws_ok($$SELECT hotswap.find_tenant('acme-1')$$, 'P0002',
	'tenant with subdomain "acme-1" does not exist', 'nor is told who is there');
SELECT is_empty('SELECT FROM hotswap.' || v, 'nor sees anything in ' || v)
	FROM unnest('{tenants,tiers,quotas}'::text[]) v;
RESET SESSION AUTHORIZATION;

-- A viewer of one tenant.
SELECT hotswap.find_tenant('foo') AS foo, hotswap.find_tenant('7') AS seven \gset
SELECT hotswap.activate_tenant(:'foo'),
	hotswap.grant_access('tenant_lifecycle_user', 'viewer', :'foo') \g /dev/null
SET SESSION AUTHORIZATION tenant_lifecycle_user;
SELECT is(hotswap.find_tenant('foo'), :'foo', 'a viewer finds its tenant');
SELECT throws_ok($$SELECT hotswap.find_tenant('7')$$, 'P0002',
	'tenant with subdomain "7" does not exist',
	'but no other');
SELECT results_eq('SELECT DISTINCT t.id, q.tenant_id FROM hotswap.tenants t, hotswap.quotas q',
	format('VALUES (%1$L::uuid, %1$L::uuid)', :'foo'), 'and sees no other');
SELECT is((SELECT count(*) FROM hotswap.tiers), 5::bigint, 'the tiers are the same for all');
SELECT throws_ok(format('SELECT hotswap.suspend_tenant(%L, ''x'')', :'foo'), '42501',
	'permission denied to change the status of a tenant', 'looking is not changing');
RESET SESSION AUTHORIZATION;

-- Its admin.
SELECT hotswap.grant_access('tenant_lifecycle_user', 'admin', :'foo') \g /dev/null
SET SESSION AUTHORIZATION tenant_lifecycle_user;
SELECT throws_ok(format('SELECT hotswap.suspend_tenant(%L, ''x'')', :'foo'), '42501',
	'permission denied to change the status of a tenant',
		'who is admin in a tenant does not decide about it');
RESET SESSION AUTHORIZATION;

-- The admin of all.
SELECT hotswap.grant_access('tenant_lifecycle_user', 'admin', all_tenants => true) \g /dev/null
SET SESSION AUTHORIZATION tenant_lifecycle_user;
SELECT is(hotswap.suspend_tenant(:'foo', 'x'), 'suspended', 'who is admin everywhere does');
SELECT is(hotswap.activate_tenant(hotswap.create_tenant('n', 'fresh', 'a@b.c')), 'active',
	'and makes tenants');
SELECT is((SELECT person FROM hotswap.audit_log WHERE event = 'create' ORDER BY at DESC LIMIT 1),
	'tenant_lifecycle_user', 'under its own name');
RESET SESSION AUTHORIZATION;
SELECT * FROM finish();
