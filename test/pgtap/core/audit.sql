-- The audit log: what is written, and that it is only added to (src/core/audit.c).
SELECT plan(9);

SELECT hotswap.publish_version('m', v, 'SELECT ' || v) FROM unnest('{1,2,3}'::text[]) v \g /dev/null
SELECT hotswap.deploy('m', '1', 'qa', run_at => '2100-01-01') AS d \gset
SELECT hotswap.cancel(:'d', 'Grund mit ä') \g /dev/null

-- What an event says.
SELECT is((SELECT count(*) FROM hotswap.audit_event_default), 0::bigint,
	'the month has its own partition from the first event on');
SELECT results_eq(format('SELECT seq, event, before, after, reason, person, application_name,
	pid = pg_backend_pid() FROM hotswap.audit_log WHERE subject_id = %L ORDER BY seq', :'d'),
	$$VALUES (1, 'request', NULL, 'scheduled', NULL, session_user::text COLLATE "default", 'psql',
		true), (2, 'cancel', 'scheduled', 'cancelled', 'Grund mit ä',
		session_user::text COLLATE "default", 'psql', true)$$, 'who, what, why');

-- Append-only, for the owner too, and for each partition.
SELECT throws_ok(q, '55000', 'the audit log is append-only', q)
FROM unnest(ARRAY['UPDATE hotswap.audit_event SET reason = NULL', 'DELETE FROM hotswap.audit_event',
	'TRUNCATE hotswap.audit_event',
	'TRUNCATE hotswap.audit_event_default',
	format('TRUNCATE hotswap.audit_event_%s', to_char(now() AT TIME ZONE 'UTC', 'YYYYMM')),
	format('DELETE FROM hotswap.audit_event_%s', to_char(now() AT TIME ZONE 'UTC', 'YYYYMM'))]) q;
SELECT throws_ok('SELECT hotswap.audit_guard()', '39P01',
	'function "audit_guard" was not called by trigger manager', 'the guard is a trigger only');
SELECT * FROM finish();
