-- A tenant leaves: what is cancelled, what is removed and what stays (src/tenant/removal.c).
-- Deprovisioning against concurrent requests is tested in test/specs/tenant/removal.spec.
SELECT plan(35);

SELECT hotswap.create_tenant('Acme, Inc.', 'acme-1', 'ops@acme.example',
	metadata => '{"crm": 7}') AS t \gset

-- From beginning to end, with something of everything.
SELECT is(hotswap.activate_tenant(:'t'), 'active', 'activated');
SET hotswap.tenant = :'t';
CREATE SCHEMA n;
CREATE SCHEMA p;
SELECT hotswap.register_node('development', 'n', schema => 'n'),
	hotswap.register_node('production', 'p', schema => 'p') \g /dev/null
SELECT hotswap.publish_version('m', '1', 'SELECT 1'),
	hotswap.publish_version('gated', '1',
		'SET LOCAL lock_timeout = 0; SELECT pg_advisory_xact_lock_shared(1)') \g /dev/null
CREATE FUNCTION hook(uuid) RETURNS boolean LANGUAGE sql AS 'SELECT true';
SELECT hotswap.register_hook('validate', 'hook(uuid)', 'other') \g /dev/null
SELECT hotswap.grant_access('postgres', 'approver'), hotswap.set_quota(:'t', 'websites', 5),
	hotswap.set_quota(:'t', 'concurrent_deployments', NULL),
	hotswap.consume_quota(:'t', 'websites', 2), hotswap.lease_lock('l', '1 h'),
	hotswap.claim_idempotency_key('app', 'k', '{}'),
	hotswap.delegate_approval('pg_monitor', now() + interval '1 day', 'x') \g /dev/null
SELECT hotswap.deploy('m', '1', 'development', 'key') AS done \gset
SELECT is(hotswap.wait(:'done', '60 s'), 'succeeded', 'a deployment that has ended');
SELECT pg_advisory_lock(1) \g /dev/null
SELECT hotswap.deploy('gated', '1', 'development') AS running \gset
CALL until('at_gate(1)');
SELECT hotswap.deploy('gated', '1', 'development') AS waiting \gset
SELECT hotswap.deploy('m', '1', 'development', run_at => '2100-01-01') AS scheduled \gset
SELECT hotswap.deploy('m', '1', 'production', run_at => '2100-01-01') AS gated \gset
SELECT hotswap.deploy('m', '1', 'development', run_at => '2100-01-01') AS own \gset
SELECT hotswap.cancel(:'own', 'my own reason') \g /dev/null
SELECT is(hotswap.suspend_tenant(:'t', 'unpaid'), 'suspended', 'suspended');
SELECT results_eq(format($$SELECT status::text, status_reason, status_changed_at > created_at
	FROM hotswap.tenants WHERE id = %L$$, :'t'),
	$$VALUES ('suspended', 'unpaid', true)$$, 'with its reason');
SELECT throws_ok('SELECT hotswap.' || call, 'YH003', 'tenant "' || :'t' || '" is not active',
	'suspended: ' || call) FROM unnest(ARRAY['deploy(''m'', ''1'', ''development'')',
	'retry(''' || :'own' || ''')', 'consume_quota(''' || :'t' || ''', ''websites'', 1)',
	'release_quota(''' || :'t' || ''', ''websites'', 1)',
	'publish_version(''m'', ''2'', ''SELECT 1'')', 'upgrade_tier(''' || :'t' || ''', ''starter'')',
	'downgrade_tier(''' || :'t' || ''', ''starter'')']) call;
SELECT is(hotswap.deploy('m', '1', 'development', 'key'), :'done',
	'what was requested before is still told');
SELECT is(hotswap.resume_tenant(:'t'), 'active', 'resumed');
SELECT is((SELECT status_reason FROM hotswap.tenants WHERE id = :'t'), NULL,
	'without a reason any more');
SELECT hotswap.set_rule('qa', 'drop_table', 'deny') \g /dev/null
INSERT INTO hotswap.signing_key VALUES (:'t', 'k', 'ed25519', 'pem',
	decode(repeat('00', 32), 'hex'), '(,)', now(), 'x');
INSERT INTO hotswap.failed_rollback VALUES (:'t', :'done', 'm', 'development', now());
INSERT INTO hotswap.version_signature VALUES (:'t', 'm', '1', 'k', '', now(), 'x');
INSERT INTO hotswap.installer_signature VALUES (:'t', 'm', '1', 'k', '', now(), 'x');
INSERT INTO hotswap.version_tag VALUES (:'t', 'm', 'tag', '1', now(), 'x');
INSERT INTO hotswap.withdrawn_version VALUES (:'t', 'm', '0', 1,
	decode(repeat('00', 32), 'hex'), now(), 'x', now(), 'x', 'reason');
INSERT INTO hotswap.release VALUES (:'t', 'r', decode(repeat('00', 32), 'hex'), now(), 'x');
INSERT INTO hotswap.release_module VALUES (:'t', 'r', 'm', '1');
INSERT INTO hotswap.route VALUES (:'t', gen_random_uuid(), 'm', 1, 'm@a', 1, '1');
INSERT INTO hotswap.route_slot VALUES (:'t', gen_random_uuid(), 'm', 'm@a', 1, '1', sha256(''),
	'public', '{}', now());
INSERT INTO hotswap.environment_window (tenant_id, id, environment, name, kind, during, created_by,
	created_at) VALUES (:'t', gen_random_uuid(), 'qa', 'w', 'deny', '(,)', 'x', now());
INSERT INTO hotswap.gate VALUES (:'t', 'qa', '', 'f', 'postgres');
INSERT INTO hotswap.rollout_gate VALUES (:'t', :'done', 1, 'f', 'postgres');
INSERT INTO hotswap.node_pin VALUES (:'t', gen_random_uuid(), 'm', '1', now(), 'x', now(), 'x');
INSERT INTO hotswap.node_metric SELECT :'t', gen_random_uuid(), now(), true, s
	FROM generate_series(0, 8) s;
INSERT INTO hotswap.freeze_override VALUES (:'t', :'done', gen_random_uuid(), 'qa', '{}', 'x', 'x',
	now(), 'x', NULL, now());
INSERT INTO hotswap.held_version VALUES (:'t', 'development', 'm', '1', now(), 'x', :'done', 'r');
INSERT INTO hotswap.statement VALUES (:'t', :'done', gen_random_uuid(), '1', 'deploy', 1, 0);
INSERT INTO hotswap.rollout VALUES (:'t', :'done', 1, 'rolling', 1, '0', '0', false, '1 d', 1, NULL,
	NULL, NULL, false, false, '0', NULL, NULL, 0.9, 1, 1, 1, 1, 1, false, '0', false, 0);
INSERT INTO hotswap.analysis (tenant_id, deployment_id, stage, at, metric, wave, look, method,
	verdict, gate, nodes_with, nodes_without, baseline_since, since, left_out)
	VALUES (:'t', :'done', 1, now(),
	'health', 1, 1, 'health', 'pass', 'pass', 1, 1, now(), now(), '{}');
INSERT INTO hotswap.pause VALUES (:'t', :'done', 'person', now(), now(), 'x', 'x');
INSERT INTO hotswap.rehearsal VALUES (:'t', :'done', gen_random_uuid(), 1, 'm', '1', 'up',
	'1 s', 1, '[]');

-- Whatever belongs to a tenant is either removed with it or left to retention: who makes a new
-- table has to think of it.
CREATE FUNCTION pg_temp.rows_of(tenant uuid, OUT name text, OUT n bigint) RETURNS SETOF record
	LANGUAGE sql AS $$
	SELECT t.table_name::text, (xpath('/row/n/text()',
		query_to_xml(format('SELECT count(*) AS n FROM hotswap.%I WHERE tenant_id = %L',
			t.table_name, tenant), false, true, '')))[1]::text::bigint
	FROM information_schema.columns c
	JOIN information_schema.tables t USING (table_schema, table_name)
	WHERE c.table_schema = 'hotswap' AND c.column_name = 'tenant_id' AND t.table_type = 'BASE TABLE'
		AND c.table_name !~ '^audit_event'
$$;
SELECT results_eq(format($$SELECT name COLLATE "C" FROM pg_temp.rows_of(%L) WHERE n = 0
	ORDER BY 1$$, :'t'), $$VALUES ('approval_vote' COLLATE "C")$$,
	'there is something in every table');

-- It is leaving: what has not started is cancelled.
SELECT is(hotswap.deprovision_tenant(:'t', 'contract ended'), 'deprovisioning', 'deprovisioned');
SELECT results_eq(format($$SELECT d.status::text, d.cancel_reason, d.finished_at IS NOT NULL,
	a.person, a.reason FROM unnest(%L::uuid[]) WITH ORDINALITY u (id, n)
	JOIN hotswap.deployment d USING (id)
	LEFT JOIN hotswap.audit_log a ON a.subject_id = d.id AND a.event = 'cancel' ORDER BY n$$,
	ARRAY[:'done', :'running', :'waiting', :'scheduled', :'gated', :'own']),
	$$VALUES ('succeeded', NULL::text, true, NULL::text, NULL::text),
		('running', NULL, false, NULL, NULL),
		('cancelled', 'contract ended', true, 'postgres', 'contract ended'),
		('cancelled', 'contract ended', true, 'postgres', 'contract ended'),
		('cancelled', 'contract ended', true, 'postgres', 'contract ended'),
		('cancelled', 'my own reason', true, 'postgres', 'my own reason')$$,
	'what has not started is cancelled, and only that');
SELECT is((SELECT string_agg(status::text, ' ') FROM hotswap.approval
	WHERE deployment_id = :'gated'), 'void', 'with its approval');
SELECT throws_ok(format('SELECT hotswap.set_quota(%L, ''websites'', 1)', :'t'), 'YH003',
	'tenant "' || :'t' || '" is not active', 'its quotas stay what they are');
SELECT results_eq(format('SELECT code, message, detail FROM refusal(%L)',
	format('SELECT hotswap.delete_tenant(%L)', :'t')),
	format($$VALUES ('55000', 'tenant "%s" has deployments that have not ended',
		'Deployment "%s" is in status "running".')$$, :'t', :'running'),
	'not deleted while something runs');

-- It is deleted, when nothing runs any more.
SELECT pg_advisory_unlock(1) \g /dev/null
SELECT is(hotswap.wait(:'running', '60 s'), 'succeeded', 'what was running goes on to its end');
SELECT is(hotswap.delete_tenant(:'t'), 'deleted', 'deleted');
SELECT results_eq(format($$SELECT name, subdomain, contact_email, status::text, status_reason,
	metadata FROM hotswap.tenant WHERE id = %L$$, :'t'),
	$$VALUES ('deleted', NULL::text, NULL::text, 'deleted', NULL::text, '{}'::jsonb)$$,
	'and forgotten');
SELECT results_eq(format($$SELECT name COLLATE "C" FROM pg_temp.rows_of(%L) WHERE n > 0
	ORDER BY 1$$, :'t'), $$VALUES ('approval' COLLATE "C"), ('deployment'), ('stage'), ('task')$$,
	'what is left');
SELECT throws_ok('SELECT hotswap.' || format(call, :'gated'), 'P0002',
	'environment "production" does not exist', 'nobody can act on what is left: ' || call)
FROM unnest(ARRAY['approve(%L, ''production'')',
	'close_bypass_review(%L, ''production'', ''x'')']) call;
SELECT is_empty('SELECT * FROM hotswap.verify_audit()', 'the audit log is whole');
SELECT results_eq(format($$SELECT event, before, after, reason FROM hotswap.audit_log
	WHERE subject_id = %L AND event IN ('activate', 'suspend', 'resume', 'deprovision', 'delete')
	ORDER BY seq$$, :'t'),
	$$VALUES ('activate', 'provisioning', 'active', NULL::text),
		('suspend', 'active', 'suspended', 'unpaid'), ('resume', 'suspended', 'active', NULL),
		('deprovision', 'active', 'deprovisioning', 'contract ended'),
		('delete', 'deprovisioning', 'deleted', NULL)$$, 'and tells its life');
RESET hotswap.tenant;
SELECT lives_ok($$SELECT hotswap.create_tenant('n', 'acme-1', 'a@b.c')$$,
	'the subdomain is free again');
SELECT isnt(hotswap.find_tenant('acme-1'), :'t', 'and leads to the new one');

-- What runs is cancelled when that is wanted; from suspended as well.
SELECT hotswap.find_tenant('acme-1') AS t \gset
SELECT hotswap.activate_tenant(:'t') \g /dev/null
SET hotswap.tenant = :'t';
SELECT hotswap.register_node('development', 'n', schema => 'n') AS node \gset
SELECT hotswap.publish_version('gated', '1',
	'SET LOCAL lock_timeout = 0; SELECT pg_advisory_xact_lock_shared(1)') \g /dev/null
SELECT pg_advisory_lock(1) \g /dev/null
SELECT hotswap.deploy('gated', '1', 'development') AS running \gset
CALL until('at_gate(1)');
SELECT hotswap.suspend_tenant(:'t', 'x') \g /dev/null
SELECT is(hotswap.deprovision_tenant(:'t', 'at once', cancel_running => true), 'deprovisioning',
	'deprovisioned with what runs');
SELECT is(hotswap.wait(:'running', '60 s'), 'cancelled', 'which does not go on');
SELECT is((SELECT cancel_reason FROM hotswap.deployment WHERE id = :'running'), 'at once',
	'with the reason');
SELECT pg_advisory_unlock(1) \g /dev/null
RESET hotswap.tenant;

-- Several batches of them, in one transaction.
SELECT hotswap.create_tenant('many', 'many', 'a@b.c') AS t \gset
SELECT hotswap.activate_tenant(:'t'),
	hotswap.publish_version('m', '1', 'SELECT 1', tenant => :'t') \g /dev/null
SELECT count(hotswap.deploy('m', '1', 'qa', run_at => '2100-01-01', tenant => :'t'))
	FROM generate_series(1, 250) \g /dev/null
BEGIN;
SELECT hotswap.deploy('m', '1', 'qa', tenant => :'t') \g /dev/null
SELECT hotswap.deprovision_tenant(:'t', 'all') \g /dev/null
COMMIT;
SELECT results_eq(format('SELECT status::text, count(*) FROM hotswap.deployment WHERE tenant_id = %L
	GROUP BY 1', :'t'), $$VALUES ('cancelled', 251::bigint)$$, 'all are cancelled');
SELECT is_empty(format('SELECT FROM hotswap.work_item WHERE tenant_id = %L', :'t'),
	'none is in the queue');
SELECT * FROM finish();
