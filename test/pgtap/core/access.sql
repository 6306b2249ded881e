-- Access: capabilities, what each of them lets a role do and see, and that it ends when it is taken
-- back (src/core/access.c).
SELECT plan(110);

\set other 00000000-0000-7000-8000-0000000000bb
\set first 00000000-0000-7000-8000-000000000001
SELECT hotswap.configure_environment('production') \g /dev/null
INSERT INTO hotswap.tenant (id, name, status) VALUES (:'other', 'other', 'active');
DO $$
DECLARE
	r text;
BEGIN
	FOR r IN SELECT unnest(enum_range(NULL::hotswap.capability))::text UNION ALL
	SELECT unnest('{nobody,member,aloof,group,policy,lent,all}'::text[]) LOOP
		EXECUTE format('CREATE ROLE %I LOGIN', named(r));
	END LOOP;
	EXECUTE format('ALTER ROLE %I NOINHERIT', named('aloof'));
	EXECUTE format('GRANT %I TO %I, %I', named('group'), named('member'), named('aloof'));
END $$;
CREATE FUNCTION asks(name text, query text,
	tenant uuid DEFAULT '00000000-0000-7000-8000-0000000000bb') RETURNS text
	LANGUAGE sql AS $$SELECT as_role(named(name), query, '-c hotswap.tenant=' || tenant)$$;

-- which of the calls below a role is not refused, in one session
CREATE FUNCTION allowed(name text, tenant uuid DEFAULT '00000000-0000-7000-8000-0000000000bb')
	RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE
	result text[];
	c record;
BEGIN
	PERFORM dblink_connect('allowed', connection_of(named(name), '-c hotswap.tenant=' || tenant));
	FOR c IN SELECT query FROM call WHERE query !~ '8000-0000000000bb' OR tenant::text ~ 'bb$'
	ORDER BY query LOOP
		BEGIN
			PERFORM FROM dblink('allowed', c.query) t (r text);
			result = result || c.query;
		EXCEPTION WHEN insufficient_privilege THEN
			NULL;
		WHEN OTHERS THEN
			result = result || c.query;
		END;
	END LOOP;
	PERFORM dblink_disconnect('allowed');
	RETURN result;
END $$;

-- Something to see in both tenants.
SELECT hotswap.configure_environment('production', 40, tenant => :'other'),
	hotswap.configure_environment('development', 10, tenant => :'other') \g /dev/null
CREATE ROLE core_access_node LOGIN;
CREATE SCHEMA one AUTHORIZATION core_access_node;
CREATE SCHEMA two AUTHORIZATION core_access_node;
CREATE FUNCTION smoke(uuid) RETURNS void LANGUAGE sql AS '';
SELECT hotswap.register_node('production', 'n', run_as => 'core_access_node', schema => s,
	tenant => t),
	hotswap.publish_version('m', '1', 'SELECT 1', tenant => t),
	hotswap.set_approval_policy('production', 1, ARRAY[named('policy')::regrole], tenant => t),
	hotswap.register_hook('test', 'smoke(uuid)', 'other', t)
FROM (VALUES ('one', :'first'::uuid), ('two', :'other'::uuid)) v (s, t) \g /dev/null
SELECT hotswap.deploy('m', '1', 'production', run_at => '2100-01-01', tenant => t)
	FROM unnest(ARRAY[:'first', :'other']::uuid[]) t \g /dev/null
SELECT hotswap.lease_lock('theirs', '1 h') \g /dev/null
SET hotswap.tenant = :'other';
SELECT hotswap.lease_lock('ours', '1 h') \g /dev/null
SELECT id AS d FROM hotswap.deployments WHERE tenant_id = :'other' \gset
SELECT id AS theirs FROM hotswap.deployments WHERE tenant_id = :'first' \gset
RESET hotswap.tenant;

-- What each capability allows: calls that are refused otherwise, and then fail for another reason
-- or do no harm.
CREATE TABLE call (query text PRIMARY KEY, needs hotswap.capability[]);
INSERT INTO call
SELECT query, needs::hotswap.capability[] || CASE WHEN needs = '{break_glass}' THEN '{}'
	ELSE '{admin}' END::hotswap.capability[]
FROM (SELECT unnest(ARRAY['SELECT hotswap.wait(gen_random_uuid())',
	'SELECT hotswap.explain(gen_random_uuid())',
	'SELECT hotswap.wait_for_approval(gen_random_uuid())',
	'SELECT hotswap.lint_version(''none'', ''1'', ''qa'')',
		format('SELECT hotswap.verify_audit(%L)', :'other'),
		format('SELECT hotswap.approval_state(%L, gen_random_uuid(), ''qa'', 1)', :'other'),
		'SELECT hotswap.approve(gen_random_uuid())',
		'SELECT hotswap.reject(gen_random_uuid(), comment => ''x'')',
		'SELECT hotswap.retract_vote(gen_random_uuid())',
		'SELECT hotswap.close_bypass_review(gen_random_uuid(), ''production'', ''x'')',
		'SELECT hotswap.revoke_delegation(gen_random_uuid())']),
	'{viewer,agent,deployer,approver,operator,break_glass,impersonator,tester}'
	UNION ALL SELECT unnest(ARRAY['SELECT hotswap.acquire_lock(''x'')',
		'SELECT hotswap.acquire_xact_lock(''x'')', 'SELECT hotswap.acquire_locks(''{x,y}'')',
		'SELECT hotswap.check_token(''x'', 1)',
		'SELECT hotswap.lease_lock(''x'', ''1 ms'')',
		'SELECT hotswap.renew_lease(''none'', 1, ''1 s'')',
		'SELECT hotswap.release_lease(''none'', 1)',
		'SELECT hotswap.claim_idempotency_key(''s'', ''k'', ''1'')',
		'SELECT hotswap.store_idempotent_response(''s'', ''none'', ''1'')',
		'SELECT hotswap.take_notifications(1)',
		format('SELECT hotswap.consume_quota(%L, ''none'', 1)', :'other'),
		format('SELECT hotswap.release_quota(%L, ''none'', 1)', :'other')]),
	'{agent,deployer,operator}'
	UNION ALL SELECT unnest(ARRAY['SELECT hotswap.publish_version(''m'', ''1'', ''SELECT 1'')',
		'SELECT hotswap.deploy(''none'', ''1'', ''production'')',
		'SELECT hotswap.cancel(gen_random_uuid(), ''x'')',
		'SELECT hotswap.retry(gen_random_uuid())']), '{deployer,operator}'
	UNION ALL SELECT unnest(ARRAY['SELECT hotswap.register_node(''none'', ''x'')',
		'SELECT hotswap.remove_node(gen_random_uuid())',
		'SELECT hotswap.remove_hook(''test'', ''none'')']), '{operator}'
	UNION ALL SELECT unnest(ARRAY['SELECT hotswap.configure_environment(''none'')',
		'SELECT hotswap.set_approval_policy(''none'', 1)',
		'SELECT hotswap.set_rule(''none'', ''truncate'', ''off'')',
		'SELECT hotswap.revoke_signing_key(''none'', ''x'')',
		'SELECT hotswap.grant_access(99999999, ''viewer'')',
		'SELECT hotswap.revoke_access(99999999, ''viewer'')']), '{}'
	UNION ALL SELECT 'SELECT hotswap.bypass_approval(gen_random_uuid(), ''production'', ''x'',
		''x'')', '{break_glass}') c (query, needs);

SELECT is(allowed(c.name), NULL, 'nothing granted: ' || c.name)
FROM (SELECT unnest(enum_range(NULL::hotswap.capability))::text) c (name);
SELECT hotswap.grant_access(named(c.name)::regrole, c.name, :'other')
	FROM (SELECT unnest(enum_range(NULL::hotswap.capability))::text) c (name) \g /dev/null
SELECT is(allowed(c.name),
	(SELECT array_agg(query ORDER BY query) FROM call
		WHERE c.name::hotswap.capability = ANY (needs)), 'what is allowed with ' || c.name)
FROM (SELECT unnest(enum_range(NULL::hotswap.capability))::text) c (name);
SELECT is(allowed(c.name, :'first'), NULL, 'nothing in another tenant: ' || c.name)
FROM (SELECT unnest(enum_range(NULL::hotswap.capability))::text) c (name);
SELECT is(asks('admin', format(query, :'first'), :'other'), '42501', 'nor by naming it: ' || query)
FROM unnest(ARRAY['SELECT hotswap.publish_version(''m'', ''1'', ''SELECT 1'', tenant => %L)',
	'SELECT hotswap.deploy(''m'', ''1'', ''qa'', tenant => %L)',
	'SELECT hotswap.register_node(''qa'', ''x'', tenant => %L)',
	'SELECT hotswap.configure_environment(''qa'', tenant => %L)',
	'SELECT hotswap.set_approval_policy(''qa'', 0, tenant => %L)',
	'SELECT hotswap.grant_access(''core_access_admin'', ''viewer'', %L)',
	'SELECT hotswap.take_notifications(1, %L)',
	'SELECT hotswap.claim_idempotency_key(''s'', ''k'', ''1'', tenant => %L)',
	'SELECT hotswap.verify_audit(%L)', 'SELECT hotswap.audit_head(%L)',
	'SELECT hotswap.check_audit_head(now(), now(), 1, ''0'', %L)',
	'SELECT hotswap.remove_hook(''test'', ''x'', tenant => %L)']) query;
SELECT is(asks('admin', query), '42501',
	'what concerns all tenants is not for the admin of one: ' || query)
FROM unnest(ARRAY['SELECT hotswap.create_tenant(''x'', ''x'', ''x@example.org'')',
	format('SELECT hotswap.suspend_tenant(%L, ''x'')', :'other'),
	format('SELECT hotswap.deprovision_tenant(%L, ''x'')', :'other'),
	format('SELECT hotswap.upgrade_tier(%L, ''custom'')', :'other'),
	format('SELECT hotswap.set_quota(%L, ''websites'', NULL)', :'other'),
	'SELECT hotswap.configure_tier(''x'', 1)', 'SELECT hotswap.reserve_subdomain(''x'')',
	'SELECT hotswap.define_resource(''x'')',
	'SELECT hotswap.set_tier_quota(''free'', ''websites'', NULL)',
	'SELECT hotswap.stop_dispatching(''x'')', 'SELECT hotswap.start_dispatching()',
	'SELECT hotswap.adopt()', 'SELECT hotswap.health()', 'SELECT hotswap.verify_audit()',
	'SELECT hotswap.grant_access(''core_access_admin'', ''viewer'',
		all_tenants => true)']) query;
SELECT is(asks('deployer', 'SELECT hotswap.deploy(''none'', ''1'', ''production'',
	on_behalf_of => ''x'')'), '42501', 'on_behalf_of is a capability of its own');
SELECT hotswap.grant_access(named('deployer')::regrole, 'impersonator', :'other') \g /dev/null
SELECT is(asks('deployer', 'SELECT hotswap.deploy(''none'', ''1'', ''production'',
	on_behalf_of => ''x'')'), 'P0002', 'with it he may');

-- A refusal tells nothing: not even whether there is such a tenant.
SELECT is((SELECT array_agg(DISTINCT (r).message || coalesce((r).hint, ''))
	FROM unnest(ARRAY[:'first', :'other', '00000000-0000-7000-8000-00000000dead']) t,
	refusal(format('SET LOCAL ROLE core_access_nobody;
		SELECT hotswap.deploy(''m'', ''1'', ''qa'', tenant => %L)', t)) r),
	'{"permission denied to deployAn admin can grant it with hotswap.grant_access()."}',
	'the refusal is the same whether or not there is such a tenant');
SELECT is(asks('operator', format('SELECT hotswap.cancel(%L, ''x'')', :'theirs'))
	|| asks('operator', 'SELECT hotswap.cancel(gen_random_uuid(), ''x'')'), 'P0002P0002',
	'another tenant''s deployment is as good as none');
SELECT is((r).message || (r).detail,
	'node with role "core_access_node" and schema "one" already exists',
	'nor what another tenant calls its nodes')
FROM refusal(format('SELECT hotswap.register_node(''production'', ''x'',
	run_as => ''core_access_node'', schema => ''one'', tenant => %L)', :'other')) r;

-- What is seen: in every view nothing but the own tenant, and something in those that have
-- something.
CREATE FUNCTION all_seen(name text) RETURNS text LANGUAGE sql AS $$
	SELECT asks(name, 'SELECT string_agg(seen, '','' ORDER BY seen) FROM ('
		|| string_agg(format('SELECT DISTINCT %L || '' '' || right(tenant_id::text, 2) AS seen
			FROM hotswap.%I', relname, relname), ' UNION ALL ') || ') s')
	FROM (SELECT relname FROM pg_class c
		WHERE relnamespace = 'hotswap'::regnamespace AND relkind = 'v'
			AND has_table_privilege(named('nobody'), oid, 'SELECT')
		AND EXISTS (SELECT FROM pg_attribute a
			WHERE a.attrelid = c.oid AND a.attname = 'tenant_id')) v
$$;
SELECT is(all_seen('nobody'), NULL, 'who has nothing sees nothing');
SELECT is(all_seen(c.name),
	'approvals bb,audit_log bb,deployments bb,environments bb,hooks bb,modules bb,nodes bb,' ||
		'notifications bb,queue bb,quotas bb,rules bb,versions bb', 'the own tenant: ' || c.name)
FROM (SELECT unnest(enum_range(NULL::hotswap.capability))::text) c (name);
SELECT is(asks(name, 'SELECT string_agg(name, '','') FROM hotswap.tenants'), seen,
	'tenants: ' || name)
FROM (VALUES ('nobody', NULL), ('viewer', 'other')) v (name, seen);
SELECT is(asks(name, 'SELECT string_agg(resource, '','' ORDER BY resource) FROM hotswap.locks
	WHERE kind = ''lease'''), seen, 'leases: ' || name)
FROM (VALUES ('nobody', NULL), ('viewer', 'ours')) v (name, seen);
SELECT hotswap.acquire_lock('secret') \g /dev/null
SELECT is(asks('viewer', 'SELECT count(*) || coalesce(max(resource), '''') FROM hotswap.locks
	WHERE kind = ''lock'''), '1',
	'the name of a lock that was taken for another tenant is not shown');
SET hotswap.tenant = :'other';
SELECT hotswap.acquire_lock('known') \g /dev/null
SELECT is(asks('viewer', 'SELECT string_agg(resource, '','') FROM hotswap.locks
	WHERE kind = ''lock'''), 'known', 'that of one for the own tenant is');
RESET hotswap.tenant;
SELECT hotswap.release_all_locks() \g /dev/null

-- Groups: who has the privileges of a role.
SELECT hotswap.grant_access(named('group')::regrole, 'viewer', :'other') \g /dev/null
SELECT is(asks('member', 'SELECT count(*) FROM hotswap.deployments'), '1',
	'who has the privileges of a role has its capabilities');
SELECT is(asks('aloof', 'SELECT count(*) FROM hotswap.deployments'), '0',
	'a member that does not inherit has not');
SELECT is(asks('aloof', 'WITH s AS MATERIALIZED (SELECT set_config(''role'',
	''core_access_group'', false)) SELECT count(*) FROM s, hotswap.deployments'), '1',
	'until it sets the role');

-- Those that the policy of an environment names, and those to whom a vote was lent.
SELECT is(asks('policy', 'SELECT count(*) FROM hotswap.approvals'), '2',
	'whom policies name sees the tenants');
SELECT is(asks('policy', 'SELECT hotswap.deploy(''m'', ''1'', ''production'')'), '42501',
	'and may do no more');
SELECT asks('policy', $$SELECT hotswap.delegate_approval('core_access_lent',
	now() + interval '1 day', 'away')$$) AS delegation \gset
SELECT is(asks('lent', 'SELECT count(*) FROM hotswap.approvals'), '1',
	'to whom a vote was lent sees the tenant');
SELECT asks('policy', format('SELECT hotswap.revoke_delegation(%L)', :'delegation')) \g /dev/null
SELECT is(asks('lent', 'SELECT count(*) FROM hotswap.approvals'), '0', 'until it is taken back');
SELECT hotswap.set_approval_policy('production', 1, tenant => :'other') \g /dev/null
SELECT is(asks('policy', 'SELECT count(*) FROM hotswap.approvals'), '1', 'or the policy changes');

-- One session throughout: what it has prepared and what it remembers must not outlive the grant.
SELECT dblink_connect('open', connection_of(named('all'))) \g /dev/null
CREATE FUNCTION open_asks(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	SELECT r INTO result FROM dblink('open', query) t (r text);
	RETURN result;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END $$;
SELECT dblink_exec('open',
	'PREPARE look AS SELECT string_agg(right(tenant_id::text, 2), '','' ORDER BY tenant_id)
		FROM hotswap.deployments'),
	dblink_exec('open',
		'PREPARE act AS SELECT hotswap.deploy(''none'', ''1'', ''production'')') \g /dev/null

-- A grant is seen at once.
SELECT is(open_asks('EXECUTE look'), NULL, 'nothing yet');
SELECT hotswap.grant_access(named('all')::regrole, 'viewer', all_tenants => true) \g /dev/null
SELECT is(open_asks('EXECUTE look'), '01,bb', 'for all tenants');
INSERT INTO hotswap.tenant (id, name, status)
	VALUES ('00000000-0000-7000-8000-0000000000cc', 'new', 'active');
INSERT INTO hotswap.deployment SELECT (jsonb_populate_record(d,
	'{"tenant_id": "00000000-0000-7000-8000-0000000000cc"}')).* FROM hotswap.deployment d
	WHERE id = :'d';
SELECT is(open_asks('EXECUTE look'), '01,bb,cc', 'those that come later too');
SELECT is(open_asks('EXECUTE act'), '42501', 'a viewer only looks');
SELECT hotswap.grant_access(named('all')::regrole, 'deployer') \g /dev/null
SELECT is(open_asks('EXECUTE act'), 'P0002', 'a grant is seen at once');

-- A revocation when it commits, whatever the snapshot.
BEGIN;
SELECT hotswap.revoke_access(named('all')::regrole, 'deployer') \g /dev/null
SELECT is(open_asks('EXECUTE act'), 'P0002', 'not before the revocation commits');
ROLLBACK;
SELECT is(open_asks('EXECUTE act'), 'P0002', 'nor when it is rolled back');
SELECT dblink_exec('open', 'BEGIN ISOLATION LEVEL REPEATABLE READ'),
	open_asks('EXECUTE look') \g /dev/null
SELECT hotswap.revoke_access(named('all')::regrole, 'deployer'),
	hotswap.revoke_access(named('all')::regrole, 'viewer', all_tenants => true) \g /dev/null
SELECT is(open_asks('EXECUTE look'), NULL,
	'a revocation counts in a transaction with an older snapshot');
SELECT is(open_asks('EXECUTE act'), '42501', 'too');
SELECT dblink_exec('open', 'ROLLBACK') \g /dev/null
SELECT is(open_asks('EXECUTE look'), NULL, 'and after it');

-- What else gives and takes access.
SELECT hotswap.grant_access(named('all')::regrole, 'viewer', :'other') \g /dev/null
SELECT is(open_asks('EXECUTE look'), 'bb', 'one tenant');
DELETE FROM hotswap.access WHERE role = named('all')::regrole;
SELECT is(open_asks('EXECUTE look'), NULL, 'what the owner does to the table counts as well');
SELECT format('GRANT %I TO %I', named('group'), named('all')) \gexec
SELECT is(open_asks('EXECUTE look'), 'bb', 'membership');
SELECT format('REVOKE %I FROM %I', named('group'), named('all')) \gexec
SELECT is(open_asks('EXECUTE look'), NULL, 'and its end');
SELECT format('ALTER ROLE %I SUPERUSER', named('all')) \gexec
SELECT is(open_asks('EXECUTE look'), '01,bb,cc', 'a superuser sees all');
SELECT format('ALTER ROLE %I NOSUPERUSER', named('all')) \gexec
SELECT is(open_asks('EXECUTE look'), NULL, 'as long as it is one');

-- And time.
INSERT INTO hotswap.approval_delegation
	VALUES (:'other', gen_random_uuid(), named('policy')::regrole, named('all')::regrole, now(),
		clock_timestamp() + interval '3 s', NULL, 'short');
SELECT is(open_asks('EXECUTE look'), 'bb', 'a vote that was lent for a while');
CREATE FUNCTION sees_nothing_at_last() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. 1000 LOOP
		IF open_asks('EXECUTE look') IS NULL THEN
			RETURN true;
		END IF;
		PERFORM pg_sleep(0.05);
	END LOOP;
	RETURN false;
END $$;
SELECT ok(sees_nothing_at_last(),
	'shows the tenant for that while, though nothing tells the session');
SELECT dblink_disconnect('open') \g /dev/null

-- The own transaction sees what it does, and forgets what it rolls back.
BEGIN;
SELECT hotswap.grant_access(named('nobody')::regrole, 'viewer', :'other') \g /dev/null
SET LOCAL ROLE core_access_nobody;
SELECT is((SELECT count(*) FROM hotswap.deployments), 1::bigint, 'granted in this transaction');
RESET ROLE;
SAVEPOINT s;
SELECT hotswap.revoke_access(named('nobody')::regrole, 'viewer', :'other') \g /dev/null
SET LOCAL ROLE core_access_nobody;
SELECT is((SELECT count(*) FROM hotswap.deployments), 0::bigint, 'revoked in it');
ROLLBACK TO s;
SET LOCAL ROLE core_access_nobody;
SELECT is((SELECT count(*) FROM hotswap.deployments), 1::bigint, 'the savepoint brings it back');
ROLLBACK;
SET ROLE core_access_nobody;
SELECT is((SELECT count(*) FROM hotswap.deployments), 0::bigint,
	'the end of the transaction takes it');
RESET ROLE;

-- The views cost a look-up by index for each tenant that is seen, whatever others have.
INSERT INTO hotswap.tenant (id, name, status)
	SELECT ('00000000-0000-7000-9000-' || lpad(to_hex(n), 12, '0'))::uuid, 't' || n, 'active'
	FROM generate_series(1, 500) n;
INSERT INTO hotswap.deployment SELECT (jsonb_populate_record(d,
	jsonb_build_object('tenant_id', t.id, 'id', gen_random_uuid()))).*
FROM hotswap.deployment d, hotswap.tenant t, generate_series(1, 10)
	WHERE d.id = :'d' AND d.tenant_id = :'other' AND t.name ~ '^t[0-9]';
VACUUM ANALYZE hotswap.deployment, hotswap.tenant;
CREATE FUNCTION plan_of(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	line text;
	result text = '';
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
		result = result || line || E'\n';
	END LOOP;
	RETURN result;
END $$;
SET ROLE core_access_viewer;
SELECT matches(plan_of('SELECT id FROM hotswap.deployments'),
	'Index Cond: \(?tenant_id = v\.tenant_id', 'the tenant is an index condition');
SELECT unalike(plan_of('SELECT id FROM hotswap.deployments'), '%Seq Scan on deployment%',
	'nothing is scanned');
SELECT matches(plan_of(format('SELECT id FROM hotswap.deployments WHERE id = %L', :'d')),
	'tenant_id = v\.tenant_id\) AND \(?id = ', 'with the id');
RESET ROLE;
SELECT matches(plan_of(format('SELECT id FROM hotswap.deployments WHERE tenant_id = %L AND id = %L',
	:'other', :'d')), 'Index Cond: .*tenant_id = .* AND \(?id = ', 'for who sees all as well');
SELECT matches(plan_of('SELECT id FROM hotswap.deployments'),
	'Index Cond: \(?tenant_id = v\.tenant_id',
	'who reads everything looks up tenant by tenant, too: no plan scans what one may not see');
SELECT * FROM finish();
