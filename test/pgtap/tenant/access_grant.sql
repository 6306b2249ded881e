-- Granting and revoking access: arguments, and what is recorded (src/tenant/access_grant.c). What a
-- capability allows is tested in test/pgtap/core/access.sql.
SELECT plan(15);

\set other 00000000-0000-7000-8000-0000000000bb
SELECT hotswap.configure_environment('production') \g /dev/null
INSERT INTO hotswap.tenant (id, name, status) VALUES (:'other', 'other', 'active'),
	('00000000-0000-7000-8000-0000000000cc', 'new', 'active');
SELECT format('CREATE ROLE %I LOGIN', named(who))
FROM unnest('{all,bob,boss,impersonator,viewer}'::text[]) who \gexec
SELECT hotswap.grant_access(named(who)::regrole, who, :'other')
FROM unnest('{impersonator,viewer}'::text[]) who \g /dev/null

-- Of one tenant.
SELECT hotswap.grant_access('tenant_access_grant_boss', 'admin') \g /dev/null
SELECT is((r).code || ': ' || (r).message, a.code || ': ' || a.message, call)
FROM (VALUES ($$grant_access('tenant_access_grant_bob', 'king')$$, '22023',
	'invalid value for "capability": "king"'),
	($$grant_access(NULL, 'approver')$$, '22023', '"role" must not be null'),
	($$grant_access(99999999, 'approver')$$, 'P0002', 'role with OID 99999999 does not exist'),
	($$grant_access('tenant_access_grant_bob', NULL)$$, '22023', '"capability" must not be null'),
	($$revoke_access('tenant_access_grant_bob', 'approver')$$, 'P0002',
		'role "tenant_access_grant_bob" was not granted the capability "approver"'))
	a (call, code, message),
	refusal('SELECT hotswap.' || call) r;
SELECT hotswap.grant_access('tenant_access_grant_boss', 'admin') \g /dev/null
SELECT is((SELECT count(*) FROM hotswap.audit_log
	WHERE event = 'grant_access' AND detail->>'role' = 'tenant_access_grant_boss'), 1::bigint,
	'granting again changes nothing');

-- For all tenants.
SELECT hotswap.grant_access(named('all')::regrole, 'viewer', all_tenants => true),
	hotswap.revoke_access(named('all')::regrole, 'viewer', all_tenants => true) \g /dev/null
SELECT is((r).code || ': ' || (r).message, a.code || ': ' || a.message, call)
FROM (VALUES (format($$grant_access('tenant_access_grant_all', 'viewer', %L, true)$$, :'other'),
	'22023', '"tenant" must be null where "all_tenants" is true'),
	($$grant_access('tenant_access_grant_all', 'viewer', NULL, NULL)$$, '22023',
		'"all_tenants" must not be null'),
	($$revoke_access('tenant_access_grant_all', 'viewer', all_tenants => true)$$, 'P0002',
		'role "tenant_access_grant_all" was not granted the capability "viewer" for all tenants'))
	a (call, code, message),
	refusal('SELECT hotswap.' || call) r;
SELECT results_eq($$SELECT event, person, detail FROM hotswap.audit_log
	WHERE detail->>'tenants' = 'all' ORDER BY seq$$,
	$$SELECT e, session_user::text COLLATE "default",
		jsonb_build_object('role', named('all'), 'tenants', 'all', 'capability', 'viewer')
		FROM unnest('{grant_access,revoke_access}'::text[]) e$$, 'audited');

-- A role that is dropped takes nothing with it but itself.
CREATE ROLE tenant_access_grant_gone;
SELECT hotswap.grant_access('tenant_access_grant_gone', 'viewer', all_tenants => true) \g /dev/null
DROP ROLE tenant_access_grant_gone;
SELECT is(as_role(named('viewer'), 'SELECT count(*) FROM hotswap.tenants'), '1',
	'the grant of a role that is gone harms nobody');

-- What somebody has can be taken before a suspended tenant is resumed; of one that is leaving
-- nothing changes.
SELECT hotswap.suspend_tenant(:'other', 'unpaid') \g /dev/null
SELECT lives_ok(format('SELECT hotswap.revoke_access(%L, ''impersonator'', %L)',
	named('impersonator'), :'other'), 'revoked while the tenant is suspended');
SELECT is((r).code, 'P0002', 'a key can be revoked, too')
	FROM refusal(format('SELECT hotswap.revoke_signing_key(''none'', ''x'', %L)',
		:'other')) r;
SELECT hotswap.deprovision_tenant('00000000-0000-7000-8000-0000000000cc', 'gone') \g /dev/null
SELECT is((r).code, 'YH003', call || ' in a tenant that is leaving')
	FROM unnest('{grant,revoke}'::text[]) call,
	refusal(format('SELECT hotswap.%s_access(%L, ''viewer'', %L)', call, named('viewer'),
		'00000000-0000-7000-8000-0000000000cc')) r;
SELECT * FROM finish();
