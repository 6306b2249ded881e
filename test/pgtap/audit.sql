-- The audit log: append-only, chained, verified, and cut by retention only (src/core/audit*.c, src/operations/retention.c).
SELECT plan(46);

CREATE FUNCTION pg_temp.problems() RETURNS SETOF text LANGUAGE sql AS
	$$SELECT seq || ': ' || problem FROM hotswap.verify_audit() ORDER BY 1$$;
SELECT hotswap.publish_version('m', v, 'SELECT ' || v) FROM unnest('{1,2,3}'::text[]) v \g /dev/null
SELECT hotswap.deploy('m', '1', 'qa', run_at => '2100-01-01') AS d \gset
SELECT hotswap.cancel(:'d', 'Grund mit ä') \g /dev/null

SELECT is((SELECT count(*) FROM hotswap.audit_event_default), 0::bigint, 'the month has its own partition from the first event on');
SELECT results_eq(format('SELECT seq, event, before, after, reason, person, application_name, pid = pg_backend_pid() FROM hotswap.audit_log WHERE subject_id = %L ORDER BY seq', :'d'),
	$$VALUES (1, 'request', NULL, 'scheduled', NULL, session_user::text COLLATE "default", 'psql', true), (2, 'cancel', 'scheduled', 'cancelled', 'Grund mit ä', session_user::text COLLATE "default", 'psql', true)$$, 'who, what, why');
SELECT is_empty('SELECT pg_temp.problems()', 'as written, it is whole');
SELECT is_empty($$SELECT * FROM hotswap.verify_audit('00000000-0000-7000-8000-000000000001')$$, 'asked for one tenant too');

-- Append-only, for the owner too, and for each partition.
SELECT throws_ok(q, '55000', 'the audit log is append-only', q)
FROM unnest(ARRAY['UPDATE hotswap.audit_event SET reason = NULL', 'DELETE FROM hotswap.audit_event', 'TRUNCATE hotswap.audit_event',
	'TRUNCATE hotswap.audit_event_default', format('TRUNCATE hotswap.audit_event_%s', to_char(now() AT TIME ZONE 'UTC', 'YYYYMM')),
	format('DELETE FROM hotswap.audit_event_%s', to_char(now() AT TIME ZONE 'UTC', 'YYYYMM'))]) q;
SELECT throws_ok('SELECT hotswap.audit_guard()', '39P01', 'audit_guard() must be called as a trigger', 'the guard is a trigger only');

-- What somebody who gets past the triggers cannot hide. Each is undone.
CREATE FUNCTION pg_temp.tampered(change text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	SET LOCAL session_replication_role = replica;
	BEGIN
		EXECUTE change;
		result := (SELECT string_agg(p, '; ') FROM pg_temp.problems() p);
		RAISE no_data_found;
	EXCEPTION WHEN no_data_found THEN
	END;
	RETURN result;
END $$;
SELECT is(pg_temp.tampered(format('UPDATE hotswap.audit_event SET %s WHERE subject_id = %L AND seq = 1', set, :'d')), '1: the event was altered: its hash does not fit', 'altered: ' || set)
FROM unnest(ARRAY['reason = ''x''', 'person = ''x''', 'role = ''x''', 'event = ''x''', 'before = ''x''', 'after = NULL', 'pid = 1', 'client_addr = ''10.0.0.1''',
	'application_name = ''''', 'detail = NULL', 'at = at + interval ''1 us''', 'subject = ''tenant''', 'hash = decode(repeat(''00'', 32), ''hex'')']) set;
SELECT is(pg_temp.tampered(change), problem, change)
FROM (VALUES
	(format('UPDATE hotswap.audit_event SET previous_hash = decode(repeat(''00'', 32), ''hex'') WHERE subject_id = %L AND seq = 2', :'d'), '2: the event or the one before it was altered: they are not linked'),
	(format('UPDATE hotswap.audit_event SET previous_hash = NULL WHERE subject_id = %L AND seq = 2', :'d'), '2: the event was altered: it is not linked to the one before it'),
	(format('DELETE FROM hotswap.audit_event WHERE subject_id = %L AND seq = 1', :'d'), '1: the event was removed'),
	(format('DELETE FROM hotswap.audit_event WHERE subject_id = %L AND seq = 2', :'d'), '2: the event was removed'),
	(format('DELETE FROM hotswap.audit_event WHERE subject_id = %L', :'d'), '1: the event was removed'),
	('DELETE FROM hotswap.audit_event WHERE subject = ''tenant'' AND seq = 2', '2: the event was removed'),
	('DELETE FROM hotswap.audit_event WHERE subject = ''tenant'' AND seq = 3', '3: the event was removed'),
	('DELETE FROM hotswap.audit_event WHERE subject = ''tenant''', '1: the event was removed'),
	(format('UPDATE hotswap.deployment SET audit_hash = decode(repeat(''00'', 32), ''hex'') WHERE id = %L', :'d'), '2: the event was altered: its hash is not the one that its subject keeps'),
	(format('INSERT INTO hotswap.audit_event SELECT tenant_id, subject_id, 3, at, subject, event, before, after, person, role, pid, client_addr, application_name, reason, detail, hash, hash
		FROM hotswap.audit_event WHERE subject_id = %L AND seq = 2', :'d'), '3: the event was altered: its hash does not fit'))
	v (change, problem);
SELECT is_empty('SELECT pg_temp.problems()', 'it is whole again');

-- Retention: a month that is too old goes as a whole, and is not missed afterwards.
CREATE PROCEDURE pg_temp.keep_house() LANGUAGE plpgsql AS $$
BEGIN
	-- a dispatcher keeps house when it starts
	PERFORM pg_terminate_backend(pid) FROM hotswap.workers WHERE kind = 'dispatcher' AND database = current_database();
	COMMIT;
	FOR i IN 1 .. 3000 LOOP
		-- it does so last, and gives up on a lock soon: this look takes none
		EXIT WHEN to_regclass('hotswap.audit_event_202001') IS NULL;
		COMMIT;
		PERFORM pg_sleep(0.01);
	END LOOP;
END $$;
CREATE TABLE hotswap.audit_event_202001 (LIKE hotswap.audit_event INCLUDING ALL);
ALTER TABLE hotswap.audit_event ATTACH PARTITION hotswap.audit_event_202001 FOR VALUES FROM ('2020-01-01 00:00:00+00') TO ('2020-02-01 00:00:00+00');
-- the tenant's first event becomes one of January 2020, its second one of a month without a partition; a deployment and a key of then
SET session_replication_role = replica;
UPDATE hotswap.audit_event SET at = '2020-01-15' WHERE subject = 'tenant' AND seq = 1;
UPDATE hotswap.audit_event SET at = '2020-02-15' WHERE subject = 'tenant' AND seq = 2;
RESET session_replication_role;
SELECT is((SELECT count(*) FROM hotswap.audit_event_202001), 1::bigint, 'an old partition');
SELECT is((SELECT count(*) FROM hotswap.audit_event_default), 1::bigint, 'and an old event in the default partition');
INSERT INTO hotswap.deployment (tenant_id, id, status, priority, audit_seq, requested_at, finished_at, audit_hash, module, version, environment, requested_by, run_by_role, login, metadata, idempotency_key)
	VALUES ('00000000-0000-7000-8000-000000000001', '016f0000-0000-7000-8000-000000000001', 'succeeded', 0, 1, '2020-01-01', '2020-01-01', decode(repeat('00', 32), 'hex'), 'm', '1', 'qa', 'x', 'x', 'x', '{}', 'old');
INSERT INTO hotswap.stage (tenant_id, deployment_id, ordinal, kind, status) VALUES ('00000000-0000-7000-8000-000000000001', '016f0000-0000-7000-8000-000000000001', 1, 'build', 'succeeded');
INSERT INTO hotswap.task (tenant_id, deployment_id, stage, ordinal, kind, status, wave, attempt, node_id)
	VALUES ('00000000-0000-7000-8000-000000000001', '016f0000-0000-7000-8000-000000000001', 1, 1, 'swap', 'succeeded', 1, 1, '016f0000-0000-7000-8000-00000000000a');
INSERT INTO hotswap.node_module (tenant_id, node_id, module, deployment_id, version, swapped_at)
	SELECT '00000000-0000-7000-8000-000000000001', '016f0000-0000-7000-8000-00000000000a', 'm', '016f0000-0000-7000-8000-000000000001', v, at
	FROM (VALUES ('1', '2020-01-01'::timestamptz), ('2', now())) r (v, at) ORDER BY v;
INSERT INTO hotswap.idempotency_key VALUES
	('00000000-0000-7000-8000-000000000001', 'deploy', 'expired', '', '016f0000-0000-7000-8000-000000000002', now() - interval '1 s'),
	('00000000-0000-7000-8000-000000000001', 'deploy', 'old', '', '016f0000-0000-7000-8000-000000000001', now() + interval '1 day');
-- more of an application than one batch removes, and one that lives
INSERT INTO hotswap.idempotency_key SELECT '00000000-0000-7000-8000-000000000001', 'orders', 'expired ' || n, '', NULL, now() - interval '1 s', '{}'
	FROM generate_series(1, 2500) n;
SELECT hotswap.claim_idempotency_key('orders', 'living', '{}') \g /dev/null
INSERT INTO hotswap.approval (tenant_id, deployment_id, environment, round, status, extra, opened_at, expires_at, digest)
	VALUES ('00000000-0000-7000-8000-000000000001', '016f0000-0000-7000-8000-000000000001', 'qa', 1, 'approved', false, '2020-01-01', '2020-01-02', decode(repeat('00', 32), 'hex'));
INSERT INTO hotswap.approval_vote (tenant_id, deployment_id, environment, round, person_key, right_key, decision, at, role, login, person)
	VALUES ('00000000-0000-7000-8000-000000000001', '016f0000-0000-7000-8000-000000000001', 'qa', 1, 'x', 'x', 'approve', '2020-01-01', 'pg_monitor', 'x', 'x');
INSERT INTO hotswap.notification (tenant_id, deployment_id, id, event, at, environment, concerns)
	VALUES ('00000000-0000-7000-8000-000000000001', '016f0000-0000-7000-8000-000000000001', '016f0000-0000-7000-8000-000000000001', 'approved', '2020-01-01', 'qa', '{x}');
CALL pg_temp.keep_house();
SELECT is((SELECT count(*) FROM hotswap.approval) + (SELECT count(*) FROM hotswap.approval_vote) + (SELECT count(*) FROM hotswap.notification), 0::bigint,
	'approvals, votes and notices of the old deployment are gone');
SELECT is(to_regclass('hotswap.audit_event_202001'), NULL, 'the old partition is dropped');
SELECT is((SELECT count(*) FROM hotswap.audit_event_default), 0::bigint, 'the old event is gone from the default partition');
SELECT ok(audit_horizon > '2020-02-15', 'the horizon tells how far the log goes back') FROM hotswap.installation;
SELECT is((SELECT count(*) FROM hotswap.deployment), 1::bigint, 'the old deployment is gone');
SELECT is((SELECT count(*) FROM hotswap.stage) + (SELECT count(*) FROM hotswap.task), 0::bigint, 'with its stages and tasks');
SELECT results_eq('SELECT version FROM hotswap.node_module', $$VALUES ('2')$$, 'and what ran before what runs now');
SELECT is((SELECT string_agg(key, ', ') FROM hotswap.idempotency_key), 'living', 'so are the expired keys and the one of the deployment');
SELECT is_empty($$SELECT p FROM pg_temp.problems() p WHERE p NOT LIKE '3: the event was altered%'$$, 'events that retention has removed are not missed');
SELECT * FROM finish();
