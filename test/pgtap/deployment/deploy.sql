-- Requests of deployments: deploy() (src/deployment/deploy.c). The same request twice at once is
-- tested in test/specs/deployment/deploy.spec.
SELECT plan(53);

SELECT hotswap.publish_version('billing', v, 'SELECT 1') FROM unnest('{1,2}'::text[]) v,
	hotswap.publish_version('plain', '1', 'SELECT 1') \g /dev/null

-- Bad arguments.
SELECT throws_ok(format('SELECT hotswap.deploy(%s)', args), code, message, args)
FROM (VALUES
	($$NULL, '1', 'qa'$$, '22023', '"module" must not be null'),
	($$'', '1', 'qa'$$, '22023', '"module" must not be blank'),
	($$'a b', '1', 'qa'$$, '22023', 'invalid value for "module": "a b"'),
	($$repeat('m', 129), '1', 'qa'$$, '22023',
		'"module" is too long: "' || repeat('m', 100) || '..."'),
	($$'billing', NULL, 'qa'$$, '22023', '"version" must not be null'),
	($$'billing', ' ', 'qa'$$, '22023', '"version" must not be blank'),
	($$'billing', '1', NULL$$, '22023', '"environment" must not be null'),
	($$'billing', '1', ''$$, '22023', '"environment" must not be blank'),
	($$'billing', '1', 'qa', ''$$, '22023', '"idempotency_key" must not be blank'),
	($$'billing', '1', 'qa', repeat('k', 256)$$, '22023',
		'"idempotency_key" is too long: "' || repeat('k', 100) || '..."'),
	($$'billing', '1', 'qa', priority => NULL$$, '22023', '"priority" must not be null'),
	($$'billing', '1', 'qa', priority => 1001$$, '22023', '"priority" is out of range: 1001'),
	($$'billing', '1', 'qa', priority => -1001$$, '22023', '"priority" is out of range: -1001'),
	($$'billing', '1', 'qa', run_at => 'infinity'$$, '22023', '"run_at" must be finite'),
	($$'billing', '1', 'qa', start_by => '-infinity'$$, '22023', '"start_by" must be finite'),
	($$'billing', '1', 'qa', run_at => '2100-01-02', start_by => '2100-01-02'$$, '22023',
		'"start_by" must be later than "run_at"'),
	($$'billing', '1', 'qa', metadata => NULL$$, '22023', '"metadata" must not be null'),
	($$'billing', '1', 'qa', metadata => '[1]'$$, '22023', '"metadata" must be a JSON object'),
	($$'billing', '1', 'qa', metadata => jsonb_build_object('a', repeat('b', 65536))$$, '22023',
		'"metadata" is too large: 65545 bytes'),
	($$'billing', '1', 'qa', on_behalf_of => ''$$, '22023', '"on_behalf_of" must not be blank'),
	($$'billing', '1', 'qa', on_behalf_of => repeat('p', 201)$$, '22023',
		'"on_behalf_of" is too long: "' || repeat('p', 100) || '..."'),
	($$'billing', '9', 'qa'$$, 'P0002', 'version "9" of module "billing" does not exist'),
	($$'other', '1', 'qa'$$, 'P0002', 'version "1" of module "other" does not exist'),
	($$'billing', '1', 'moon'$$, 'P0002', 'environment "moon" does not exist'),
	($$'billing', '1', 'qa', tenant => '00000000-0000-7000-8000-00000000dead'$$, 'P0002',
		'tenant "00000000-0000-7000-8000-00000000dead" does not exist'))
	a (args, code, message);
SELECT is((SELECT count(*) FROM hotswap.deployment), 0::bigint, 'nothing of it was requested');
SELECT is((refusal($$SELECT hotswap.deploy('billing', '1', 'moon')$$)).hint, 'Environments '
	|| string_agg('"' || name || '"', ', ' ORDER BY rank) || ' exist.', 'what there is instead')
FROM hotswap.environments;
BEGIN;
SELECT hotswap.configure_environment('e' || n, 100 + n) FROM generate_series(1, 20) n \g /dev/null
SELECT is(regexp_count((refusal($$SELECT hotswap.deploy('billing', '1', 'moon')$$)).hint, '"'), 20,
	'at most ten of them');
ROLLBACK;
SELECT throws_ok($$SET hotswap.tenant = 'x'$$, '22023',
	'invalid value for parameter "hotswap.tenant": "x"', 'the setting is checked');

-- What is written, and that it is the caller's transaction.
SELECT hotswap.stop_dispatching('the tests of requests') \g /dev/null
BEGIN;
SELECT hotswap.deploy('plain', '1', 'qa') \g /dev/null
ROLLBACK;
SELECT is((SELECT count(*) FROM hotswap.deployment), 0::bigint,
	'rolled back with the caller''s transaction');
SELECT is((SELECT count(*) FROM hotswap.work_item), 0::bigint, 'its work item too');
SELECT hotswap.deploy('billing', '1', 'qa', 'key', 7, metadata => '{"ticket": 42}',
	on_behalf_of => 'Ärger') AS id \gset
SELECT results_eq(format($$SELECT module, version, environment, status::text, priority,
	requested_by, run_by_role, idempotency_key, metadata,
		run_at, start_by, started_at, finished_at FROM hotswap.deployment WHERE id = %L$$, :'id'),
	$$VALUES ('billing', '1', 'qa', 'queued', 7, 'Ärger', current_user, 'key',
		'{"ticket": 42}'::jsonb,
		NULL::timestamptz, NULL::timestamptz, NULL::timestamptz, NULL::timestamptz)$$,
	'the deployment');
SELECT results_eq($$SELECT deployment_id, priority, due_at <= clock_timestamp()
	FROM hotswap.work_item$$,
	format('VALUES (%L::uuid, 7, true)', :'id'), 'its work item');
SELECT results_eq(format($$SELECT seq, event, before, after, person, role::text COLLATE "default",
	detail FROM hotswap.audit_log WHERE subject_id = %L$$, :'id'),
	$$VALUES (1, 'request', NULL, 'queued', 'Ärger', current_user::text COLLATE "default",
		'{"module": "billing", "version": "1", "environment": "qa"}'::jsonb)$$,
	'its audit event');

-- The same key.
SELECT is(hotswap.deploy('billing', '1', 'qa', 'key', 7, metadata => '{"ticket":42}',
	on_behalf_of => 'Ärger'), :'id', 'the same request returns the same id');
SELECT throws_ok(format('SELECT hotswap.deploy(%s)', args), 'YH001',
	'idempotency key "key" was used with another request', args)
FROM (VALUES ($$'billing', '2', 'qa', 'key', 7,
		metadata => '{"ticket": 42}', on_behalf_of => 'Ärger'$$),
	($$'plain', '1', 'qa', 'key', 7,
		metadata => '{"ticket": 42}', on_behalf_of => 'Ärger'$$),
	($$'billing', '1', 'staging', 'key', 7,
		metadata => '{"ticket": 42}', on_behalf_of => 'Ärger'$$),
	($$'billing', '1', 'qa', 'key', 8,
		metadata => '{"ticket": 42}', on_behalf_of => 'Ärger'$$),
	($$'billing', '1', 'qa', 'key', 7, '2100-01-01',
		metadata => '{"ticket": 42}', on_behalf_of => 'Ärger'$$),
	($$'billing', '1', 'qa', 'key', 7, NULL, '2100-01-01',
		metadata => '{"ticket": 42}', on_behalf_of => 'Ärger'$$),
	($$'billing', '1', 'qa', 'key', 7, metadata => '{"ticket": "42"}', on_behalf_of => 'Ärger'$$),
	($$'billing', '1', 'qa', 'key', 7, metadata => '{"ticket": 42}'$$)) a (args);
SELECT matches((refusal($$SELECT hotswap.deploy('plain', '1', 'qa', 'key')$$)).detail,
	:'id', 'the detail names the deployment');
SELECT is((SELECT count(*) FROM hotswap.deployment), 1::bigint, 'there is one deployment');

-- What counts as the same.
SELECT hotswap.deploy('plain', '1', 'qa', repeat('ä', 255),
	metadata => '{"b": 1, "a": {"d": 1.0, "c": null}}') AS id2 \gset
SELECT is(hotswap.deploy('plain', '1', 'qa', repeat('ä', 255),
	metadata => '{"a": {"c": null, "d": 1.0}, "b": 1}'), :'id2',
	'neither the order of keys nor the length in bytes matters');

-- Another tenant.
INSERT INTO hotswap.tenant (id, name, status)
	VALUES ('00000000-0000-7000-8000-0000000000aa', 'second', 'active'),
	('00000000-0000-7000-8000-0000000000bb', 'third', 'suspended');
SET hotswap.tenant = '00000000-0000-7000-8000-0000000000aa';
SELECT hotswap.publish_version('billing', '1', 'SELECT 1') \g /dev/null
SELECT hotswap.configure_environment('qa', 1) \g /dev/null
SELECT isnt(hotswap.deploy('billing', '1', 'qa', 'key'), :'id',
	'the key of another tenant is another key');
SELECT throws_ok(format('SELECT hotswap.cancel(%L, ''x'')', :'id'), 'P0002',
	'deployment "' || :'id' || '" does not exist',
		'another tenant''s deployment is not there: cancel()');
SELECT throws_ok(format('SELECT hotswap.retry(%L)', :'id'), 'P0002',
	'deployment "' || :'id' || '" does not exist', 'retry()');
SELECT throws_ok(format('SELECT hotswap.wait(%L)', :'id'), 'P0002',
	'deployment "' || :'id' || '" does not exist',
	'wait()');
SELECT throws_ok(format('SELECT hotswap.explain(%L)', :'id'), 'P0002',
	'deployment "' || :'id' || '" does not exist', 'explain()');
RESET hotswap.tenant;
SELECT throws_ok($$SELECT hotswap.deploy('billing', '1', 'qa',
	tenant => '00000000-0000-7000-8000-0000000000bb')$$, 'YH003',
	'tenant "00000000-0000-7000-8000-0000000000bb" is not active', 'a tenant that is not active');

-- Its time is over.
UPDATE hotswap.idempotency_key SET expires_at = now() WHERE key = 'key';
SELECT hotswap.deploy('plain', '1', 'qa', 'key') AS id3 \gset
SELECT isnt(:'id3'::uuid, :'id', 'a key whose time is over is free');
SELECT * FROM finish();
