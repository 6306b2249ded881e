-- Deployments: deploy(), cancel(), retry() (src/deployment/*.c) and the pipeline (src/pipeline/pipeline.c).
SELECT plan(98);

\ir include/refusal.psql

CREATE ROLE hotswap_test_deploy_a LOGIN;
CREATE ROLE hotswap_test_deploy_b LOGIN;
CREATE SCHEMA a AUTHORIZATION hotswap_test_deploy_a;
CREATE SCHEMA b AUTHORIZATION hotswap_test_deploy_b;
SELECT hotswap.publish_version('billing', v, format('CREATE OR REPLACE FUNCTION release() RETURNS text LANGUAGE sql AS $f$SELECT %L::text$f$', v),
	format('SELECT release() = %L', v)) FROM unnest('{1,2,3}'::text[]) v \g /dev/null
SELECT hotswap.publish_version('billing', 'wrong', 'CREATE TABLE must_not_stay ()', 'SELECT false') \g /dev/null
SELECT hotswap.publish_version('plain', '1', 'SELECT 1') \g /dev/null

-- Bad arguments.
SELECT throws_ok(format('SELECT hotswap.deploy(%s)', args), code, message, args)
FROM (VALUES
	($$NULL, '1', 'qa'$$, '22023', 'module must not be null'), ($$'', '1', 'qa'$$, '22023', 'module must not be blank'),
	($$'a b', '1', 'qa'$$, '22023', 'invalid module: "a b"'), ($$repeat('m', 64), '1', 'qa'$$, '22023', 'module is too long: "' || repeat('m', 64) || '..."'),
	($$'billing', NULL, 'qa'$$, '22023', 'version must not be null'), ($$'billing', ' ', 'qa'$$, '22023', 'version must not be blank'),
	($$'billing', '1', NULL$$, '22023', 'environment must not be null'), ($$'billing', '1', ''$$, '22023', 'environment must not be blank'),
	($$'billing', '1', 'qa', ''$$, '22023', 'idempotency_key must not be blank'),
	($$'billing', '1', 'qa', repeat('k', 256)$$, '22023', 'idempotency_key is too long: "' || repeat('k', 100) || '..."'),
	($$'billing', '1', 'qa', priority => NULL$$, '22023', 'priority must not be null'),
	($$'billing', '1', 'qa', priority => 1001$$, '22023', 'priority is out of range: 1001'),
	($$'billing', '1', 'qa', priority => -1001$$, '22023', 'priority is out of range: -1001'),
	($$'billing', '1', 'qa', run_at => 'infinity'$$, '22023', 'run_at must be finite'),
	($$'billing', '1', 'qa', start_by => '-infinity'$$, '22023', 'start_by must be finite'),
	($$'billing', '1', 'qa', run_at => '2100-01-02', start_by => '2100-01-02'$$, '22023', 'start_by must be later than run_at'),
	($$'billing', '1', 'qa', metadata => NULL$$, '22023', 'metadata must not be null'),
	($$'billing', '1', 'qa', metadata => '[1]'$$, '22023', 'metadata must be a JSON object'),
	($$'billing', '1', 'qa', metadata => jsonb_build_object('a', repeat('b', 65536))$$, '22023', 'metadata is too large: 65545 bytes'),
	($$'billing', '1', 'qa', on_behalf_of => ''$$, '22023', 'on_behalf_of must not be blank'),
	($$'billing', '1', 'qa', on_behalf_of => repeat('p', 201)$$, '22023', 'on_behalf_of is too long: "' || repeat('p', 100) || '..."'),
	($$'billing', '9', 'qa'$$, 'P0002', 'no such version: "9" of module "billing"'),
	($$'other', '1', 'qa'$$, 'P0002', 'no such version: "1" of module "other"'),
	($$'billing', '1', 'moon'$$, 'P0002', 'no such environment: "moon"'),
	($$'billing', '1', 'qa', tenant => '00000000-0000-7000-8000-00000000dead'$$, 'P0002', 'no such tenant: 00000000-0000-7000-8000-00000000dead'))
	a (args, code, message);
SELECT is((SELECT count(*) FROM hotswap.deployment), 0::bigint, 'nothing of it was requested');
SELECT throws_ok($$SET hotswap.tenant = 'x'$$, '22023', 'invalid value for parameter "hotswap.tenant": "x"', 'the setting is checked');

-- What is written, and that it is the caller's transaction.
SELECT hotswap.stop_dispatching('the tests of requests') \g /dev/null
BEGIN;
SELECT hotswap.deploy('plain', '1', 'qa') \g /dev/null
ROLLBACK;
SELECT is((SELECT count(*) FROM hotswap.deployment), 0::bigint, 'rolled back with the caller''s transaction');
SELECT is((SELECT count(*) FROM hotswap.work_item), 0::bigint, 'its work item too');
SELECT hotswap.deploy('billing', '1', 'qa', 'key', 7, metadata => '{"ticket": 42}', on_behalf_of => 'Ärger') AS id \gset
SELECT results_eq(format($$SELECT module, version, environment, status::text, priority, requested_by, run_by_role, idempotency_key, metadata,
		run_at, start_by, started_at, finished_at FROM hotswap.deployment WHERE id = %L$$, :'id'),
	$$VALUES ('billing', '1', 'qa', 'queued', 7, 'Ärger', current_user, 'key', '{"ticket": 42}'::jsonb,
		NULL::timestamptz, NULL::timestamptz, NULL::timestamptz, NULL::timestamptz)$$, 'the deployment');
SELECT results_eq($$SELECT deployment_id, priority, due_at <= clock_timestamp() FROM hotswap.work_item$$,
	format('VALUES (%L::uuid, 7, true)', :'id'), 'its work item');
SELECT results_eq(format($$SELECT seq, event, before, after, person, role::text COLLATE "default", detail FROM hotswap.audit_log WHERE subject_id = %L$$, :'id'),
	$$VALUES (1, 'request', NULL, 'queued', 'Ärger', current_user::text COLLATE "default", '{"module": "billing", "version": "1", "environment": "qa"}'::jsonb)$$,
	'its audit event');

-- The same key.
SELECT is(hotswap.deploy('billing', '1', 'qa', 'key', 7, metadata => '{"ticket":42}', on_behalf_of => 'Ärger'), :'id', 'the same request returns the same id');
SELECT throws_ok(format('SELECT hotswap.deploy(%s)', args), 'YH001', 'idempotency key "key" was used with another request', args)
FROM (VALUES ($$'billing', '2', 'qa', 'key', 7, metadata => '{"ticket": 42}', on_behalf_of => 'Ärger'$$),
	($$'plain', '1', 'qa', 'key', 7, metadata => '{"ticket": 42}', on_behalf_of => 'Ärger'$$),
	($$'billing', '1', 'staging', 'key', 7, metadata => '{"ticket": 42}', on_behalf_of => 'Ärger'$$),
	($$'billing', '1', 'qa', 'key', 8, metadata => '{"ticket": 42}', on_behalf_of => 'Ärger'$$),
	($$'billing', '1', 'qa', 'key', 7, '2100-01-01', metadata => '{"ticket": 42}', on_behalf_of => 'Ärger'$$),
	($$'billing', '1', 'qa', 'key', 7, NULL, '2100-01-01', metadata => '{"ticket": 42}', on_behalf_of => 'Ärger'$$),
	($$'billing', '1', 'qa', 'key', 7, metadata => '{"ticket": "42"}', on_behalf_of => 'Ärger'$$),
	($$'billing', '1', 'qa', 'key', 7, metadata => '{"ticket": 42}'$$)) a (args);
SELECT matches((pg_temp.refusal($$SELECT hotswap.deploy('plain', '1', 'qa', 'key')$$)).detail, :'id', 'the detail names the deployment');
SELECT is((SELECT count(*) FROM hotswap.deployment), 1::bigint, 'there is one deployment');
SELECT hotswap.deploy('plain', '1', 'qa', repeat('ä', 255), metadata => '{"b": 1, "a": {"d": 1.0, "c": null}}') AS id2 \gset
SELECT is(hotswap.deploy('plain', '1', 'qa', repeat('ä', 255), metadata => '{"a": {"c": null, "d": 1.0}, "b": 1}'), :'id2',
	'neither the order of keys nor the length in bytes matters');
INSERT INTO hotswap.tenant (id, name, status) VALUES ('00000000-0000-7000-8000-0000000000aa', 'second', 'active'),
	('00000000-0000-7000-8000-0000000000bb', 'third', 'suspended');
SET hotswap.tenant = '00000000-0000-7000-8000-0000000000aa';
SELECT hotswap.publish_version('billing', '1', 'SELECT 1') \g /dev/null
SELECT hotswap.configure_environment('qa', 1) \g /dev/null
SELECT isnt(hotswap.deploy('billing', '1', 'qa', 'key'), :'id', 'the key of another tenant is another key');
SELECT throws_ok(format('SELECT hotswap.cancel(%L, ''x'')', :'id'), 'P0002', 'no such deployment: ' || :'id', 'another tenant''s deployment is not there: cancel()');
SELECT throws_ok(format('SELECT hotswap.retry(%L)', :'id'), 'P0002', 'no such deployment: ' || :'id', 'retry()');
SELECT throws_ok(format('SELECT hotswap.wait(%L)', :'id'), 'P0002', 'no such deployment: ' || :'id', 'wait()');
SELECT throws_ok(format('SELECT hotswap.explain(%L)', :'id'), 'P0002', 'no such deployment: ' || :'id', 'explain()');
RESET hotswap.tenant;
SELECT throws_ok($$SELECT hotswap.deploy('billing', '1', 'qa', tenant => '00000000-0000-7000-8000-0000000000bb')$$, 'YH003',
	'tenant 00000000-0000-7000-8000-0000000000bb is not active', 'a tenant that is not active');
UPDATE hotswap.idempotency_key SET expires_at = now() WHERE key = 'key';
SELECT hotswap.deploy('plain', '1', 'qa', 'key') AS id3 \gset
SELECT isnt(:'id3'::uuid, :'id', 'a key whose time is over is free');

-- Cancelling what has not started.
SELECT throws_ok(format('SELECT hotswap.cancel(%s)', args), code, message, args)
FROM (VALUES ('NULL, ''x''', '22023', 'deployment must not be null'), (quote_literal(:'id') || ', NULL', '22023', 'reason must not be null'),
	(quote_literal(:'id') || ', '' ''', '22023', 'reason must not be blank'),
	(quote_literal(:'id') || ', repeat(''r'', 10001)', '22023', 'reason is too long: "' || repeat('r', 100) || '..."'),
	('''00000000-0000-7000-8000-00000000dead'', ''x''', 'P0002', 'no such deployment: 00000000-0000-7000-8000-00000000dead')) a (args, code, message);
SELECT is(hotswap.cancel(:'id', 'not today'), 'cancelled', 'queued: cancelled at once');
SELECT results_eq(format('SELECT status::text, cancel_reason, message, finished_at IS NOT NULL FROM hotswap.deployment WHERE id = %L', :'id'),
	$$VALUES ('cancelled', 'not today', 'not today', true)$$, 'with its reason');
SELECT is((SELECT count(*) FROM hotswap.work_item WHERE deployment_id = :'id'), 0::bigint, 'and out of the queue');
SELECT throws_ok(format('SELECT hotswap.cancel(%L, ''again'')', :'id'), '55000', 'cannot cancel a deployment that is cancelled', 'twice');
SELECT is((pg_temp.refusal(format('SELECT hotswap.cancel(%L, ''again'')', :'id'))).detail, 'It is legal from: scheduled, pending_approval, queued, running, paused.',
	'the detail says when it is legal');
SELECT throws_ok(format('SELECT hotswap.retry(%L)', s), code, message, 'retry() of ' || coalesce(s, 'NULL'))
FROM (VALUES (NULL, '22023', 'deployment must not be null'), (:'id', '55000', 'cannot retry a deployment that is cancelled'),
	(:'id2', '55000', 'cannot retry a deployment that is queued')) a (s, code, message);
SELECT hotswap.deploy('plain', '1', 'qa', run_at => now() + '1 day') AS later \gset
SELECT results_eq(format('SELECT d.status::text, w.due_at = d.run_at FROM hotswap.deployment d JOIN hotswap.work_item w ON w.deployment_id = d.id WHERE id = %L', :'later'),
	$$VALUES ('scheduled', true)$$, 'run_at: scheduled');
SELECT is(hotswap.cancel(:'later', 'x'), 'cancelled', 'scheduled: cancelled at once');
SELECT hotswap.deploy('plain', '1', 'qa', start_by => now() - interval '1 s') AS late \gset

-- The pipeline, end to end.
SELECT hotswap.start_dispatching() \g /dev/null
SELECT is(hotswap.wait(:'late', '60 s'), 'expired', 'not started by start_by: expired');
SELECT is(hotswap.wait(:'id2', '60 s'), 'failed', 'the target has no nodes: failed');
SELECT is(hotswap.wait(:'id3', '60 s'), 'failed', 'so does the other one');
SELECT is((SELECT message FROM hotswap.deployment WHERE id = :'id2'), 'environment "qa" has no nodes', 'and says so');
SELECT hotswap.register_node('development', 'dev', run_as => 'hotswap_test_deploy_a', schema => 'a') AS node_a,
	hotswap.set_approval_policy('staging', 0), hotswap.register_node('staging', 'stage', run_as => 'hotswap_test_deploy_b', schema => 'b') AS node_b \gset
SELECT hotswap.deploy('billing', '1', 'staging') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'deployed');
SELECT results_eq(format('SELECT kind::text, environment, status::text, message LIKE ''sha256 %%'' FROM hotswap.stages WHERE deployment_id = %L ORDER BY ordinal', :'d'),
	$$VALUES ('build', NULL, 'succeeded', NULL), ('scan', NULL, 'succeeded', true), ('test', NULL, 'skipped', false), ('deploy', 'development', 'succeeded', NULL),
		('deploy', 'qa', 'skipped', false), ('deploy', 'staging', 'succeeded', NULL), ('validate', NULL, 'succeeded', NULL)$$, 'its stages, on the path up to the target');
SELECT results_eq(format('SELECT environment, kind::text, node, status::text, attempt FROM hotswap.tasks WHERE deployment_id = %L ORDER BY stage, ordinal', :'d'),
	$$VALUES ('development', 'swap', 'dev', 'succeeded', 1), ('staging', 'swap', 'stage', 'succeeded', 1), (NULL, 'verify', 'stage', 'succeeded', 1)$$, 'its tasks');
SELECT is(a.release() || b.release(), '11', 'it runs in both schemas');
SELECT is((SELECT pg_get_userbyid(proowner)::text FROM pg_proc WHERE oid = 'b.release'::regproc), 'hotswap_test_deploy_b', 'made by the role of the node');
SELECT results_eq('SELECT name, module, version FROM hotswap.nodes ORDER BY name', $$VALUES ('dev', 'billing', '1'), ('stage', 'billing', '1')$$, 'the nodes say so');
SELECT hotswap.deploy('billing', '2', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'another version to the first environment only');
SELECT is(a.release() || b.release(), '21', 'the other one is not touched');
SELECT hotswap.deploy('billing', '2', 'staging') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'and now to the next');
SELECT results_eq(format('SELECT environment, status::text, message FROM hotswap.stages WHERE deployment_id = %L AND kind = ''deploy'' ORDER BY ordinal', :'d'),
	$$VALUES ('development', 'skipped', 'every node already runs version "2"'), ('qa', 'skipped', 'the environment has no nodes'), ('staging', 'succeeded', NULL)$$,
	'a node that runs the version is skipped and says so');

-- A failure, and another go.
SELECT hotswap.deploy('billing', 'wrong', 'staging') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'failed', 'the verify script says no');
SELECT results_eq(format('SELECT sqlstate, message FROM hotswap.deployment WHERE id = %L', :'d'), $$VALUES ('P0004', 'verification returned false')$$, 'the deployment says why');
SELECT results_eq(format('SELECT status::text, sqlstate, script, position, detail FROM hotswap.tasks WHERE deployment_id = %L', :'d'),
	$$VALUES ('failed', 'P0004', 'verify', 1, 'Statement: SELECT false')$$, 'so does the task, with the place');
SELECT is(to_regclass('a.must_not_stay'), NULL, 'the swap is undone');
SELECT is((SELECT status::text FROM hotswap.stages WHERE deployment_id = :'d' AND environment = 'staging'), 'pending', 'the next environment was not reached');
SELECT results_eq($$SELECT name, version FROM hotswap.nodes ORDER BY name$$, $$VALUES ('dev', '2'), ('stage', '2')$$, 'the nodes are where they were');
SELECT is(hotswap.retry(:'d'), 'queued', 'retry() puts it back');
SELECT is(hotswap.wait(:'d', '60 s'), 'failed', 'it fails again');
SELECT is((SELECT count(*) FROM hotswap.audit_log WHERE subject_id = :'d' AND event = 'task.fail'), 2::bigint, 'both attempts are in the audit log');
SELECT throws_ok(format('SELECT hotswap.cancel(%L, ''x'')', :'d'), '55000', 'cannot cancel a deployment that is failed', 'what has ended cannot be cancelled');

-- Priority: the better one starts first, whatever the order of requests.
SELECT hotswap.stop_dispatching('for priorities') \g /dev/null
SELECT hotswap.deploy('billing', '1', 'development') AS low, hotswap.deploy('billing', '3', 'development', priority => 10) AS high \gset
SELECT hotswap.start_dispatching() \g /dev/null
SELECT is(hotswap.wait(:'low', '60 s'), 'succeeded', 'low');
SELECT is(hotswap.wait(:'high', '60 s'), 'succeeded', 'high');
SELECT ok((SELECT h.finished_at < l.started_at FROM hotswap.deployment h, hotswap.deployment l WHERE h.id = :'high' AND l.id = :'low'),
	'the higher priority went first, and the other one waited for its end');
SELECT is(a.release(), '1', 'the last one stays');
SELECT hotswap.deploy('billing', '2', 'development', run_at => now() + '300 ms') AS soon \gset
SELECT is(hotswap.wait(:'soon', '60 s'), 'succeeded', 'a scheduled one starts when its time has come');
SELECT ok((SELECT started_at >= run_at FROM hotswap.deployment WHERE id = :'soon'), 'and not before');

SELECT is((SELECT count(*) FROM hotswap.verify_audit()), 0::bigint, 'the audit log is whole');
SELECT is((SELECT count(*) FROM hotswap.work_item w JOIN hotswap.deployment USING (tenant_id) WHERE id = deployment_id AND status NOT IN ('scheduled', 'queued', 'running')),
	0::bigint, 'no work is left of what has ended');
SELECT * FROM finish();
