-- Retention: what is too old goes as a whole, and is not missed afterwards
-- (src/operations/retention.c).
SELECT plan(12);

CREATE FUNCTION pg_temp.problems() RETURNS SETOF text LANGUAGE sql AS
	$$SELECT seq || ': ' || problem FROM hotswap.verify_audit() ORDER BY 1$$;
SELECT hotswap.publish_version('m', v, 'SELECT ' || v) FROM unnest('{1,2,3}'::text[]) v \g /dev/null
SELECT hotswap.deploy('m', '1', 'qa', run_at => '2100-01-01') AS d \gset
SELECT hotswap.cancel(:'d', 'Grund mit ä') \g /dev/null

-- A month of long ago, and what there was in it.
CREATE TABLE hotswap.audit_event_202001 (LIKE hotswap.audit_event INCLUDING ALL);
ALTER TABLE hotswap.audit_event ATTACH PARTITION hotswap.audit_event_202001
	FOR VALUES FROM ('2020-01-01 00:00:00+00') TO ('2020-02-01 00:00:00+00');

-- The tenant's first event becomes one of January 2020, its second one of a month without a
-- partition; a deployment and a key of then
ALTER TABLE hotswap.audit_event DISABLE TRIGGER audit_guard;
UPDATE hotswap.audit_event SET at = '2020-01-15' WHERE subject = 'tenant' AND seq = 1;
UPDATE hotswap.audit_event SET at = '2020-02-15' WHERE subject = 'tenant' AND seq = 2;
ALTER TABLE hotswap.audit_event ENABLE ALWAYS TRIGGER audit_guard;
SELECT is((SELECT count(*) FROM hotswap.audit_event_202001), 1::bigint, 'an old partition');
SELECT is((SELECT count(*) FROM hotswap.audit_event_default), 1::bigint,
	'and an old event in the default partition');
INSERT INTO hotswap.deployment (tenant_id, id, status, priority, audit_seq, requested_at,
	finished_at, audit_hash, module, version, environment, requested_by, run_by_role, login,
	metadata, idempotency_key)
	VALUES ('00000000-0000-7000-8000-000000000001', '016f0000-0000-7000-8000-000000000001',
		'succeeded', 0, 1, '2020-01-01', '2020-01-01', decode(repeat('00', 32), 'hex'), 'm', '1',
		'qa', 'x', 'x', 'x', '{}', 'old');
INSERT INTO hotswap.stage (tenant_id, deployment_id, ordinal, kind, status)
	VALUES ('00000000-0000-7000-8000-000000000001', '016f0000-0000-7000-8000-000000000001', 1,
		'build', 'succeeded');
INSERT INTO hotswap.task (tenant_id, deployment_id, stage, ordinal, kind, status, wave, attempt,
	node_id)
	VALUES ('00000000-0000-7000-8000-000000000001', '016f0000-0000-7000-8000-000000000001', 1, 1,
		'swap', 'succeeded', 1, 1, '016f0000-0000-7000-8000-00000000000a');
INSERT INTO hotswap.node_module (tenant_id, node_id, module, deployment_id, version, swapped_at)
	SELECT '00000000-0000-7000-8000-000000000001', '016f0000-0000-7000-8000-00000000000a', 'm',
	'016f0000-0000-7000-8000-000000000001', v, at
	FROM (VALUES ('1', '2019-01-01'::timestamptz), ('2', '2020-01-01'), ('3', now())) r (v, at)
	ORDER BY v;
INSERT INTO hotswap.idempotency_key VALUES
	('00000000-0000-7000-8000-000000000001', 'deploy', 'expired', '',
		'016f0000-0000-7000-8000-000000000002', now() - interval '1 s'),
	('00000000-0000-7000-8000-000000000001', 'deploy', 'old', '',
		'016f0000-0000-7000-8000-000000000001', now() + interval '1 day');

-- More of an application than one batch removes, and one that lives.
INSERT INTO hotswap.idempotency_key SELECT '00000000-0000-7000-8000-000000000001', 'orders',
	'expired ' || n, '', NULL, now() - interval '1 s', '{}'
	FROM generate_series(1, 2500) n;
SELECT hotswap.claim_idempotency_key('orders', 'living', '{}') \g /dev/null
INSERT INTO hotswap.approval (tenant_id, deployment_id, environment, round, status, extra,
	opened_at, expires_at, digest)
	VALUES ('00000000-0000-7000-8000-000000000001', '016f0000-0000-7000-8000-000000000001', 'qa', 1,
		'approved', false, '2020-01-01', '2020-01-02', decode(repeat('00', 32), 'hex'));
INSERT INTO hotswap.approval_vote (tenant_id, deployment_id, environment, round, person_key,
	right_key, decision, at, role, login, person)
	VALUES ('00000000-0000-7000-8000-000000000001', '016f0000-0000-7000-8000-000000000001', 'qa', 1,
		'x', 'x', 'approve', '2020-01-01', 'pg_monitor', 'x', 'x');
INSERT INTO hotswap.notification (tenant_id, deployment_id, id, event, at, environment, concerns)
	VALUES ('00000000-0000-7000-8000-000000000001', '016f0000-0000-7000-8000-000000000001',
		'016f0000-0000-7000-8000-000000000001', 'approved', '2020-01-01', 'qa', '{x}');

INSERT INTO hotswap.freeze_override (tenant_id, deployment_id, id, environment, windows, reason,
	ticket, overridden_at, overridden_by, until)
	VALUES ('00000000-0000-7000-8000-000000000001', '016f0000-0000-7000-8000-000000000001',
		'016f0000-0000-7000-8000-000000000001', 'qa', '{}', 'x', 'x', '2020-01-01', 'x',
		'2020-01-01');

-- Windows that are over or were removed long ago, and others.
SELECT hotswap.set_window('qa', 'over', 'deny', during => '[2020-01-01, 2020-01-02)'),
	hotswap.set_window('qa', 'removed', 'deny', during => '[2020-01-01,)'),
	hotswap.set_window('qa', 'weekly', 'deny', starts => '10:00', ends => '11:00',
		time_zone => 'UTC'), hotswap.remove_window('qa', 'removed'),
	hotswap.set_window('qa', 'ever', 'allow', during => '(,)'),
	hotswap.set_window('qa', 'just removed', 'allow', during => '(,)'),
	hotswap.remove_window('qa', 'just removed') \g /dev/null
UPDATE hotswap.environment_window SET removed_at = '2020-01-03' WHERE name = 'removed';

-- A dispatcher keeps house when it starts; the partition goes last.
SELECT pg_terminate_backend(pid) FROM hotswap.workers
	WHERE kind = 'dispatcher' AND database = current_database() \g /dev/null
CALL until($$NOT EXISTS (SELECT FROM pg_class WHERE relname = 'audit_event_202001')$$);
SELECT is((SELECT count(*) FROM hotswap.approval) + (SELECT count(*)
	FROM hotswap.approval_vote) + (SELECT count(*) FROM hotswap.notification
	WHERE at < '2021-01-01') + (SELECT count(*)
	FROM hotswap.freeze_override), 0::bigint,
	'approvals, votes and notices of the old deployment are gone');
SELECT is(to_regclass('hotswap.audit_event_202001'), NULL, 'the old partition is dropped');
SELECT is((SELECT count(*) FROM hotswap.audit_event_default), 0::bigint,
	'the old event is gone from the default partition');
SELECT ok(audit_horizon > '2020-02-15', 'the horizon tells how far the log goes back')
	FROM hotswap.installation;
SELECT is((SELECT count(*) FROM hotswap.deployment), 1::bigint, 'the old deployment is gone');
SELECT is((SELECT count(*) FROM hotswap.stage) + (SELECT count(*) FROM hotswap.task), 0::bigint,
	'with its stages and tasks');
SELECT results_eq('SELECT version FROM hotswap.node_module ORDER BY swap',
	$$VALUES ('2'), ('3')$$, 'and what ran before what a swap that stays came upon');
SELECT is((SELECT string_agg(name, ', ' ORDER BY name) FROM hotswap.environment_window),
	'ever, just removed, weekly', 'so are windows that are over');
SELECT is((SELECT string_agg(key, ', ') FROM hotswap.idempotency_key), 'living',
	'so are the expired keys and the one of the deployment');
SELECT is_empty($$SELECT p FROM pg_temp.problems() p WHERE p NOT LIKE '3: the event was altered%'$$,
	'events that retention has removed are not missed');
SELECT * FROM finish();
