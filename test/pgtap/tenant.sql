-- The life of a tenant: src/tenant/lifecycle.c, src/tenant/removal.c, src/tenant/subdomain.c.
-- Deprovisioning against concurrent requests is tested in test/specs/tenant.spec.
SELECT plan(132);
\ir include/refusal.psql

-- Creation, as the first thing that is done in a fresh database.
SELECT hotswap.create_tenant('Acme, Inc.', 'Acme-1', 'ops@acme.example', metadata => '{"crm": 7}') AS t \gset
SELECT results_eq($$SELECT name, subdomain, contact_email, tier, status::text, status_reason, metadata FROM hotswap.tenants WHERE subdomain IS NOT NULL$$,
	$$VALUES ('Acme, Inc.', 'acme-1', 'ops@acme.example', 'free', 'provisioning', NULL::text, '{"crm": 7}'::jsonb)$$, 'a new tenant');
SELECT results_eq($$SELECT name, tier, status::text, subdomain FROM hotswap.tenants WHERE id = '00000000-0000-7000-8000-000000000001'$$,
	$$VALUES ('default', 'custom', 'active', NULL::text)$$, 'the tenant "default" is there as well');
SELECT results_eq(format($$SELECT name, rank, strategy::text, min_approvals FROM hotswap.environment WHERE tenant_id = %L ORDER BY rank$$, :'t'),
	$$SELECT name, rank, strategy::text, min_approvals FROM hotswap.environment WHERE tenant_id = '00000000-0000-7000-8000-000000000001' ORDER BY rank$$,
	'its environments are those that the default one has');
SELECT results_eq($$SELECT before, after, person, reason, detail FROM hotswap.audit_log WHERE event = 'create'$$,
	$$VALUES (NULL::text, 'provisioning', 'postgres', NULL::text, '{"tier": "free", "subdomain": "acme-1"}'::jsonb)$$, 'audited, without name and address');
SELECT results_eq('SELECT name, rank, weight, monthly_price_cents FROM hotswap.tiers ORDER BY rank',
	$$VALUES ('free', 10, 1, 0), ('starter', 20, 2, 2900), ('professional', 30, 4, 9900), ('enterprise', 40, 8, 49900), ('custom', 50, 8, 0)$$, 'the tiers are there');
SELECT is((SELECT count(*) FROM hotswap.reserved_subdomain), 35::bigint, 'and the reserved subdomains');

-- Validation.
CREATE TEMP TABLE wrong (args text, code text, message text);
INSERT INTO wrong VALUES
	($$NULL, 's', 'a@b.c'$$, '22023', 'name must not be null'), ($$' ', 's', 'a@b.c'$$, '22023', 'name must not be blank'),
	($$repeat('n', 201), 's', 'a@b.c'$$, '22023', 'name is too long: "' || repeat('n', 100) || '..."'),
	($$'n', NULL, 'a@b.c'$$, '22023', 'subdomain must not be null'), ($$'n', '', 'a@b.c'$$, '22023', 'subdomain must not be blank'),
	($$'n', repeat('s', 64), 'a@b.c'$$, '22023', 'subdomain is too long: "' || repeat('s', 64) || '..."'),
	($$'n', '-s', 'a@b.c'$$, '22023', 'invalid subdomain: "-s"'), ($$'n', 's-', 'a@b.c'$$, '22023', 'invalid subdomain: "s-"'),
	($$'n', 's.s', 'a@b.c'$$, '22023', 'invalid subdomain: "s.s"'), ($$'n', 's s', 'a@b.c'$$, '22023', 'invalid subdomain: "s s"'),
	($$'n', 's_s', 'a@b.c'$$, '22023', 'invalid subdomain: "s_s"'), ($$'n', 'ß', 'a@b.c'$$, '22023', 'invalid subdomain: "ß"'),
	($$'n', 'WWW', 'a@b.c'$$, '22023', 'subdomain "www" is reserved'), ($$'n', 'sandbox', 'a@b.c'$$, '22023', 'subdomain "sandbox" is reserved'),
	($$'n', 'ACME-1', 'a@b.c'$$, '23505', 'subdomain "acme-1" is taken'),
	($$'n', 's', NULL$$, '22023', 'contact_email must not be null'), ($$'n', 's', 'a@b.c', NULL$$, '22023', 'tier must not be null'),
	($$'n', 's', 'a@b.c', 'gold'$$, 'P0002', 'no such tier: "gold"'), ($$'n', 's', 'a@b.c', metadata => NULL$$, '22023', 'metadata must not be null'),
	($$'n', 's', 'a@b.c', metadata => '[]'$$, '22023', 'metadata must be a JSON object');
INSERT INTO wrong SELECT format('''n'', ''s'', %L', e), '22023', format('invalid contact_email: "%s"', e)
FROM unnest(ARRAY['a', '@b.c', 'a@', 'a@b', 'a@.c', 'a@b.', 'a@b..c', 'a@-b.c', 'a@b-.c', 'a@b.c-', 'a@b@b.c', 'a b@b.c', 'a@b c.d', E'a\n@b.c', 'a@b_c.d',
	repeat('a', 65) || '@b.c', repeat('ä', 33) || '@b.c']) e;
SELECT throws_ok('SELECT hotswap.create_tenant(' || args || ')', code, message, args) FROM wrong;
SELECT is((SELECT count(*) FROM hotswap.tenant), 2::bigint, 'nothing was made');
SELECT lives_ok($$SELECT hotswap.create_tenant(repeat('ü', 200), repeat('a-9', 21), 'Jörg.O''Neil+x@mail-1.bücher.example', 'enterprise')$$, 'as long as allowed');
SELECT lives_ok($$SELECT hotswap.create_tenant('one', '7', 'a@b.c')$$, 'as short as allowed');

-- Reserved subdomains.
SELECT lives_ok($$SELECT hotswap.reserve_subdomain('Foo')$$, 'reserved in lower case');
SELECT lives_ok($$SELECT hotswap.reserve_subdomain('foo')$$, 'again');
SELECT is((SELECT count(*) FROM hotswap.audit_log WHERE event = 'reserve_subdomain' AND detail = '{"subdomain": "foo"}'), 1::bigint, 'audited when something changed');
SELECT throws_ok($$SELECT hotswap.create_tenant('n', 'foo', 'a@b.c')$$, '22023', 'subdomain "foo" is reserved', 'it cannot be had');
SELECT lives_ok($$SELECT hotswap.unreserve_subdomain('foo')$$, 'given free');
SELECT throws_ok($$SELECT hotswap.unreserve_subdomain('foo')$$, 'P0002', 'subdomain "foo" is not reserved', 'twice');
SELECT throws_ok($$SELECT hotswap.reserve_subdomain('-')$$, '22023', 'invalid name: "-"', 'not a subdomain');
SELECT lives_ok($$SELECT hotswap.create_tenant('n', 'foo', 'a@b.c')$$, 'then it can be had');
SELECT lives_ok($$SELECT hotswap.reserve_subdomain('foo')$$, 'reserved while a tenant has it');
SELECT is(hotswap.find_tenant('FOO'), (SELECT id FROM hotswap.tenant WHERE subdomain = 'foo'), 'which keeps it; found in any case of letters');
SELECT throws_ok($$SELECT hotswap.find_tenant('bar')$$, 'P0002', 'no such tenant: subdomain "bar"', 'one that is not there');
SELECT throws_ok($$SELECT hotswap.find_tenant(NULL)$$, '22023', 'subdomain must not be null', 'NULL');

-- Every transition in every state.
CREATE FUNCTION pg_temp.result_of(call text, state text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	UPDATE hotswap.tenant SET status = state::hotswap.tenant_status WHERE subdomain = 'foo';
	EXECUTE format('SELECT hotswap.' || call, (SELECT id FROM hotswap.tenant WHERE subdomain = 'foo')) INTO result;
	RAISE no_data_found;
EXCEPTION WHEN no_data_found THEN
	RETURN result;
WHEN object_not_in_prerequisite_state THEN
	RETURN 'refused';
END $$;
SELECT results_eq($$SELECT s::text, pg_temp.result_of('activate_tenant(%L)', s::text), pg_temp.result_of('suspend_tenant(%L, ''x'')', s::text),
		pg_temp.result_of('resume_tenant(%L)', s::text), pg_temp.result_of('deprovision_tenant(%L, ''x'')', s::text), pg_temp.result_of('delete_tenant(%L)', s::text)
		FROM unnest(enum_range(NULL::hotswap.tenant_status)) WITH ORDINALITY u (s, n) ORDER BY n$$,
	$$VALUES ('provisioning', 'active', 'refused', 'refused', 'refused', 'refused'), ('active', 'refused', 'suspended', 'refused', 'deprovisioning', 'refused'),
		('suspended', 'refused', 'refused', 'active', 'deprovisioning', 'refused'), ('deprovisioning', 'refused', 'refused', 'refused', 'refused', 'deleted'),
		('deleted', 'refused', 'refused', 'refused', 'refused', 'refused')$$, 'every transition in every state');
SELECT results_eq(format('SELECT code, message, detail FROM pg_temp.refusal(%L)', format('SELECT hotswap.suspend_tenant(%L, ''x'')', :'t')),
	$$VALUES ('55000', 'cannot suspend a tenant that is provisioning', 'It is legal from: active.')$$, 'what the refusal says');
SELECT throws_ok('SELECT hotswap.' || call, code, message, call) FROM (VALUES
	('activate_tenant(NULL)', '22023', 'tenant must not be null'), ('suspend_tenant(NULL, ''x'')', '22023', 'tenant must not be null'),
	('suspend_tenant(''' || :'t' || ''', '' '')', '22023', 'reason must not be blank'), ('deprovision_tenant(''' || :'t' || ''', NULL)', '22023', 'reason must not be null'),
	('deprovision_tenant(''' || :'t' || ''', ''x'', NULL)', '22023', 'cancel_running must not be null'),
	('activate_tenant(''00000000-0000-7000-8000-00000000dead'')', 'P0002', 'no such tenant: 00000000-0000-7000-8000-00000000dead'),
	('suspend_tenant(''00000000-0000-7000-8000-00000000dead'', ''x'')', 'P0002', 'no such tenant: 00000000-0000-7000-8000-00000000dead'),
	('resume_tenant(''00000000-0000-7000-8000-00000000dead'')', 'P0002', 'no such tenant: 00000000-0000-7000-8000-00000000dead'),
	('deprovision_tenant(''00000000-0000-7000-8000-00000000dead'', ''x'')', 'P0002', 'no such tenant: 00000000-0000-7000-8000-00000000dead'),
	('delete_tenant(''00000000-0000-7000-8000-00000000dead'')', 'P0002', 'no such tenant: 00000000-0000-7000-8000-00000000dead')) v (call, code, message);

-- The default tenant may rest, but does not go.
SELECT is(hotswap.suspend_tenant('00000000-0000-7000-8000-000000000001', 'holidays'), 'suspended', 'the tenant "default" can be suspended');
SELECT throws_ok($$SELECT hotswap.deprovision_tenant('00000000-0000-7000-8000-000000000001', 'x')$$, '55000', 'cannot deprovision the tenant "default"', 'but not deprovisioned');
SELECT throws_ok($$SELECT hotswap.delete_tenant('00000000-0000-7000-8000-000000000001')$$, '55000', 'cannot delete a tenant that is suspended', 'nor deleted');
SELECT throws_ok($$SELECT hotswap.publish_version('m', '1', 'SELECT 1')$$, 'YH003', 'tenant 00000000-0000-7000-8000-000000000001 is not active', 'suspended: nothing is published');
SELECT is(hotswap.resume_tenant('00000000-0000-7000-8000-000000000001'), 'active', 'and resumed');
SELECT throws_ok(format($$SELECT hotswap.publish_version('m', '1', 'SELECT 1', tenant => %L)$$, :'t'), 'YH003', 'tenant ' || :'t' || ' is not active', 'provisioning: not yet either');

-- From beginning to end, with something of everything.
SELECT is(hotswap.activate_tenant(:'t'), 'active', 'activated');
SET hotswap.tenant = :'t';
CREATE SCHEMA n;
CREATE SCHEMA p;
SELECT hotswap.register_node('development', 'n', schema => 'n'), hotswap.register_node('production', 'p', schema => 'p') \g /dev/null
SELECT hotswap.publish_version('m', '1', 'SELECT 1'), hotswap.publish_version('gated', '1', 'SET LOCAL lock_timeout = 0; SELECT pg_advisory_xact_lock_shared(1)') \g /dev/null
CREATE FUNCTION hook(uuid) RETURNS boolean LANGUAGE sql AS 'SELECT true';
SELECT hotswap.register_hook('validate', 'hook(uuid)', 'other') \g /dev/null
SELECT hotswap.grant_access('postgres', 'approver'), hotswap.set_quota(:'t', 'websites', 5), hotswap.set_quota(:'t', 'concurrent_deployments', NULL),
	hotswap.consume_quota(:'t', 'websites', 2), hotswap.lease_lock('l', '1 h'), hotswap.claim_idempotency_key('app', 'k', '{}'),
	hotswap.delegate_approval('pg_monitor', now() + interval '1 day', 'x') \g /dev/null
SELECT hotswap.deploy('m', '1', 'development', 'key') AS done \gset
SELECT is(hotswap.wait(:'done', '60 s'), 'succeeded', 'a deployment that has ended');
SELECT pg_advisory_lock(1) \g /dev/null
SELECT hotswap.deploy('gated', '1', 'development') AS running \gset
CREATE PROCEDURE pg_temp.until(condition text) LANGUAGE plpgsql AS $$
DECLARE
	happened boolean;
BEGIN
	FOR i IN 1 .. 3000 LOOP
		EXECUTE format('SELECT %s', condition) INTO happened;
		COMMIT;
		IF happened THEN
			RETURN;
		END IF;
		PERFORM pg_sleep(0.01);
	END LOOP;
	RAISE 'not within 30 s: %', condition;
END $$;
CALL pg_temp.until('EXISTS (SELECT FROM pg_locks WHERE locktype = ''advisory'' AND NOT granted AND objid = 1)');
SELECT hotswap.deploy('gated', '1', 'development') AS waiting \gset
SELECT hotswap.deploy('m', '1', 'development', run_at => '2100-01-01') AS scheduled \gset
SELECT hotswap.deploy('m', '1', 'production', run_at => '2100-01-01') AS gated \gset
SELECT hotswap.deploy('m', '1', 'development', run_at => '2100-01-01') AS own \gset
SELECT hotswap.cancel(:'own', 'my own reason') \g /dev/null
SELECT is(hotswap.suspend_tenant(:'t', 'unpaid'), 'suspended', 'suspended');
SELECT results_eq(format($$SELECT status::text, status_reason, status_changed_at > created_at FROM hotswap.tenants WHERE id = %L$$, :'t'),
	$$VALUES ('suspended', 'unpaid', true)$$, 'with its reason');
SELECT throws_ok('SELECT hotswap.' || call, 'YH003', 'tenant ' || :'t' || ' is not active', 'suspended: ' || call) FROM unnest(ARRAY['deploy(''m'', ''1'', ''development'')',
	'retry(''' || :'own' || ''')', 'consume_quota(''' || :'t' || ''', ''websites'', 1)', 'release_quota(''' || :'t' || ''', ''websites'', 1)',
	'publish_version(''m'', ''2'', ''SELECT 1'')', 'upgrade_tier(''' || :'t' || ''', ''starter'')', 'downgrade_tier(''' || :'t' || ''', ''starter'')']) call;
SELECT is(hotswap.deploy('m', '1', 'development', 'key'), :'done', 'what was requested before is still told');
SELECT is(hotswap.resume_tenant(:'t'), 'active', 'resumed');
SELECT is((SELECT status_reason FROM hotswap.tenants WHERE id = :'t'), NULL, 'without a reason any more');
SELECT hotswap.set_rule('qa', 'drop_table', 'deny') \g /dev/null
INSERT INTO hotswap.signing_key VALUES (:'t', 'k', 'ed25519', 'pem', decode(repeat('00', 32), 'hex'), '(,)', now(), 'x');
INSERT INTO hotswap.version_signature VALUES (:'t', 'm', '1', 'k', '', now(), 'x');
-- Whatever belongs to a tenant is either removed with it or left to retention: who makes a new table has to think of it.
CREATE FUNCTION pg_temp.rows_of(tenant uuid, OUT name text, OUT n bigint) RETURNS SETOF record LANGUAGE sql AS $$
	SELECT t.table_name::text, (xpath('/row/n/text()', query_to_xml(format('SELECT count(*) AS n FROM hotswap.%I WHERE tenant_id = %L', t.table_name, tenant), false, true, '')))[1]::text::bigint
	FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
	WHERE c.table_schema = 'hotswap' AND c.column_name = 'tenant_id' AND t.table_type = 'BASE TABLE' AND c.table_name !~ '^audit_event'
$$;
SELECT results_eq(format($$SELECT name COLLATE "C" FROM pg_temp.rows_of(%L) WHERE n = 0 ORDER BY 1$$, :'t'), $$VALUES ('approval_vote' COLLATE "C")$$, 'there is something in every table');
SELECT is(hotswap.deprovision_tenant(:'t', 'contract ended'), 'deprovisioning', 'deprovisioned');
SELECT results_eq(format($$SELECT d.status::text, d.cancel_reason, d.finished_at IS NOT NULL, a.person, a.reason FROM unnest(%L::uuid[]) WITH ORDINALITY u (id, n)
	JOIN hotswap.deployment d USING (id) LEFT JOIN hotswap.audit_log a ON a.subject_id = d.id AND a.event = 'cancel' ORDER BY n$$,
	ARRAY[:'done', :'running', :'waiting', :'scheduled', :'gated', :'own']),
	$$VALUES ('succeeded', NULL::text, true, NULL::text, NULL::text), ('running', NULL, false, NULL, NULL), ('cancelled', 'contract ended', true, 'postgres', 'contract ended'),
		('cancelled', 'contract ended', true, 'postgres', 'contract ended'), ('cancelled', 'contract ended', true, 'postgres', 'contract ended'),
		('cancelled', 'my own reason', true, 'postgres', 'my own reason')$$, 'what has not started is cancelled, and only that');
SELECT is((SELECT string_agg(status::text, ' ') FROM hotswap.approval WHERE deployment_id = :'gated'), 'void', 'with its approval');
SELECT throws_ok(format('SELECT hotswap.set_quota(%L, ''websites'', 1)', :'t'), 'YH003', 'tenant ' || :'t' || ' is not active', 'its quotas stay what they are');
SELECT results_eq(format('SELECT code, message, detail FROM pg_temp.refusal(%L)', format('SELECT hotswap.delete_tenant(%L)', :'t')),
	format($$VALUES ('55000', 'tenant %s has deployments that have not ended', 'Deployment %s is running.')$$, :'t', :'running'), 'not deleted while something runs');
SELECT pg_advisory_unlock(1) \g /dev/null
SELECT is(hotswap.wait(:'running', '60 s'), 'succeeded', 'what was running goes on to its end');
SELECT is(hotswap.delete_tenant(:'t'), 'deleted', 'deleted');
SELECT results_eq(format($$SELECT name, subdomain, contact_email, status::text, status_reason, metadata FROM hotswap.tenant WHERE id = %L$$, :'t'),
	$$VALUES ('deleted', NULL::text, NULL::text, 'deleted', NULL::text, '{}'::jsonb)$$, 'and forgotten');
SELECT results_eq(format($$SELECT name COLLATE "C" FROM pg_temp.rows_of(%L) WHERE n > 0 ORDER BY 1$$, :'t'), $$VALUES ('approval' COLLATE "C"), ('deployment'), ('stage'), ('task')$$, 'what is left');
SELECT throws_ok('SELECT hotswap.' || format(call, :'gated'), 'P0002', 'no such environment: "production"', 'nobody can act on what is left: ' || call)
FROM unnest('{"approve(%L, ''production'')", "close_bypass_review(%L, ''production'', ''x'')"}'::text[]) call;
SELECT is_empty('SELECT * FROM hotswap.verify_audit()', 'the audit log is whole');
SELECT results_eq(format($$SELECT event, before, after, reason FROM hotswap.audit_log WHERE subject_id = %L AND event IN ('activate', 'suspend', 'resume', 'deprovision', 'delete') ORDER BY seq$$, :'t'),
	$$VALUES ('activate', 'provisioning', 'active', NULL::text), ('suspend', 'active', 'suspended', 'unpaid'), ('resume', 'suspended', 'active', NULL),
		('deprovision', 'active', 'deprovisioning', 'contract ended'), ('delete', 'deprovisioning', 'deleted', NULL)$$, 'and tells its life');
RESET hotswap.tenant;
SELECT lives_ok($$SELECT hotswap.create_tenant('n', 'acme-1', 'a@b.c')$$, 'the subdomain is free again');
SELECT isnt(hotswap.find_tenant('acme-1'), :'t', 'and leads to the new one');

-- What runs is cancelled when that is wanted; from suspended as well.
SELECT hotswap.find_tenant('acme-1') AS t \gset
SELECT hotswap.activate_tenant(:'t') \g /dev/null
SET hotswap.tenant = :'t';
SELECT hotswap.register_node('development', 'n', schema => 'n') AS node \gset
SELECT hotswap.publish_version('gated', '1', 'SET LOCAL lock_timeout = 0; SELECT pg_advisory_xact_lock_shared(1)') \g /dev/null
SELECT pg_advisory_lock(1) \g /dev/null
SELECT hotswap.deploy('gated', '1', 'development') AS running \gset
CALL pg_temp.until('EXISTS (SELECT FROM pg_locks WHERE locktype = ''advisory'' AND NOT granted AND objid = 1)');
SELECT hotswap.suspend_tenant(:'t', 'x') \g /dev/null
SELECT is(hotswap.deprovision_tenant(:'t', 'at once', cancel_running => true), 'deprovisioning', 'deprovisioned with what runs');
SELECT is(hotswap.wait(:'running', '60 s'), 'cancelled', 'which does not go on');
SELECT is((SELECT cancel_reason FROM hotswap.deployment WHERE id = :'running'), 'at once', 'with the reason');
SELECT pg_advisory_unlock(1) \g /dev/null
RESET hotswap.tenant;

-- Several batches of them, in one transaction.
SELECT hotswap.create_tenant('many', 'many', 'a@b.c') AS t \gset
SELECT hotswap.activate_tenant(:'t'), hotswap.publish_version('m', '1', 'SELECT 1', tenant => :'t') \g /dev/null
SELECT count(hotswap.deploy('m', '1', 'qa', run_at => '2100-01-01', tenant => :'t')) FROM generate_series(1, 250) \g /dev/null
BEGIN;
SELECT hotswap.deploy('m', '1', 'qa', tenant => :'t') \g /dev/null
SELECT hotswap.deprovision_tenant(:'t', 'all') \g /dev/null
COMMIT;
SELECT results_eq(format('SELECT status::text, count(*) FROM hotswap.deployment WHERE tenant_id = %L GROUP BY 1', :'t'), $$VALUES ('cancelled', 251::bigint)$$, 'all are cancelled');
SELECT is_empty(format('SELECT FROM hotswap.work_item WHERE tenant_id = %L', :'t'), 'none is in the queue');

-- Somebody who may not: refused before anything is looked up.
CREATE ROLE hotswap_test_tenant LOGIN;
SET SESSION AUTHORIZATION hotswap_test_tenant;
SELECT is((pg_temp.refusal('SELECT hotswap.' || call)).code, '42501', 'not granted: ' || call) FROM unnest(ARRAY['create_tenant(''n'', ''acme-1'', ''a@b.c'')',
	'activate_tenant(''00000000-0000-7000-8000-00000000dead'')', 'suspend_tenant(''00000000-0000-7000-8000-00000000dead'', ''x'')',
	'resume_tenant(''00000000-0000-7000-8000-00000000dead'')', 'deprovision_tenant(''00000000-0000-7000-8000-00000000dead'', ''x'')',
	'delete_tenant(''00000000-0000-7000-8000-00000000dead'')', 'reserve_subdomain(''x'')', 'unreserve_subdomain(''www'')']) call;
SELECT throws_ok($$SELECT hotswap.find_tenant('acme-1')$$, 'P0002', 'no such tenant: subdomain "acme-1"', 'nor is told who is there');
SELECT is_empty('SELECT FROM hotswap.' || v, 'nor sees anything in ' || v) FROM unnest('{tenants,tiers,quotas}'::text[]) v;
RESET SESSION AUTHORIZATION;
SELECT hotswap.find_tenant('foo') AS foo, hotswap.find_tenant('7') AS seven \gset
SELECT hotswap.activate_tenant(:'foo'), hotswap.grant_access('hotswap_test_tenant', 'viewer', :'foo') \g /dev/null
SET SESSION AUTHORIZATION hotswap_test_tenant;
SELECT is(hotswap.find_tenant('foo'), :'foo', 'a viewer finds its tenant');
SELECT throws_ok($$SELECT hotswap.find_tenant('7')$$, 'P0002', 'no such tenant: subdomain "7"', 'but no other');
SELECT results_eq('SELECT DISTINCT t.id, q.tenant_id FROM hotswap.tenants t, hotswap.quotas q', format('VALUES (%1$L::uuid, %1$L::uuid)', :'foo'), 'and sees no other');
SELECT is((SELECT count(*) FROM hotswap.tiers), 5::bigint, 'the tiers are the same for all');
SELECT throws_ok(format('SELECT hotswap.suspend_tenant(%L, ''x'')', :'foo'), '42501', 'permission denied to suspend a tenant', 'looking is not changing');
RESET SESSION AUTHORIZATION;
SELECT hotswap.grant_access('hotswap_test_tenant', 'admin', :'foo') \g /dev/null
SET SESSION AUTHORIZATION hotswap_test_tenant;
SELECT throws_ok(format('SELECT hotswap.suspend_tenant(%L, ''x'')', :'foo'), '42501', 'permission denied to suspend a tenant', 'who is admin in a tenant does not decide about it');
RESET SESSION AUTHORIZATION;
SELECT hotswap.grant_access('hotswap_test_tenant', 'admin', all_tenants => true) \g /dev/null
SET SESSION AUTHORIZATION hotswap_test_tenant;
SELECT is(hotswap.suspend_tenant(:'foo', 'x'), 'suspended', 'who is admin everywhere does');
SELECT is(hotswap.activate_tenant(hotswap.create_tenant('n', 'fresh', 'a@b.c')), 'active', 'and makes tenants');
SELECT is((SELECT person FROM hotswap.audit_log WHERE event = 'create' ORDER BY at DESC LIMIT 1), 'hotswap_test_tenant', 'under its own name');
RESET SESSION AUTHORIZATION;
SELECT * FROM finish();
