-- audit_head() and check_audit_head(): what verify_audit() cannot notice
-- (src/operations/audit_head.c). Who writes meanwhile: test/specs/operations/audit_head.spec.
SELECT plan(17);

SELECT hotswap.publish_version('m', v, 'SELECT ' || v) FROM unnest('{1,2,3}'::text[]) v \g /dev/null
SELECT hotswap.deploy('m', '1', 'qa', run_at => '2100-01-01') AS d \gset
SELECT hotswap.cancel(:'d', 'no more') \g /dev/null
SELECT '00000000-0000-7000-8000-000000000001' AS t \gset
-- Whoever works here (autovacuum) may have begun before the last event.
DO $$ BEGIN
	WHILE (SELECT events FROM hotswap.audit_head()) < (SELECT count(*) FROM hotswap.audit_event)
	LOOP
		COMMIT;
	END LOOP;
END $$;
CREATE TEMP TABLE kept AS SELECT t AS tenant, h.* FROM unnest(ARRAY[NULL, :'t']::uuid[]) t,
	hotswap.audit_head(t) h;
CREATE FUNCTION pg_temp.check_kept(of uuid DEFAULT NULL) RETURNS text LANGUAGE sql AS
	$$SELECT hotswap.check_audit_head(starts_at, ends_at, events, head, of) FROM kept
		WHERE tenant IS NOT DISTINCT FROM of$$;

SELECT is(events, (SELECT count(*) FROM hotswap.audit_event), 'all events that are there')
FROM kept WHERE tenant IS NULL;
SELECT matches(head, '^[0-9a-f]{64}$', 'and a SHA-256') FROM kept WHERE tenant IS NULL;
SELECT is(starts_at, '-infinity', 'from the beginning on') FROM kept WHERE tenant IS NULL;
SELECT is(pg_temp.check_kept(), NULL, 'it is as it was');
SELECT is(pg_temp.check_kept(:'t'), NULL, 'for one tenant too');
SELECT is((SELECT events FROM hotswap.audit_head(since => ends_at)), 0::bigint,
	'a later beginning leaves out what was before') FROM kept WHERE tenant IS NULL;

-- What is written later does not matter.
SELECT hotswap.publish_version('m', '4', 'SELECT 4') \g /dev/null
SELECT is(pg_temp.check_kept(), NULL, 'what was written since is not in it');
BEGIN;
SELECT hotswap.publish_version('m', '5', 'SELECT 5') \g /dev/null
SELECT ok((SELECT events FROM hotswap.audit_head()) < (SELECT count(*) FROM hotswap.audit_event),
	'nor is what its own transaction wrote');
ROLLBACK;

-- Each is undone.
CREATE FUNCTION pg_temp.tampered(change text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	BEGIN
		ALTER TABLE hotswap.audit_event DISABLE TRIGGER audit_guard;
		EXECUTE change;
		result := concat_ws('; ', (SELECT string_agg(problem, '; ') FROM hotswap.verify_audit()),
			regexp_replace(pg_temp.check_kept(), ':.*', ''));
		RAISE no_data_found;
	EXCEPTION WHEN no_data_found THEN
	END;
	RETURN result;
END $$;
SELECT is(pg_temp.tampered(change), problem, change)
FROM (VALUES
	(format('WITH cut AS (DELETE FROM hotswap.audit_event WHERE subject_id = %L AND seq = 2
		RETURNING previous_hash) UPDATE hotswap.deployment
		SET audit_seq = 1, audit_hash = previous_hash FROM cut WHERE id = %1$L', :'d'),
		'events were removed'),
	(format('WITH cut AS (DELETE FROM hotswap.audit_event WHERE subject_id = %L)
		DELETE FROM hotswap.deployment WHERE id = %1$L', :'d'), 'events were removed'),
	(format('WITH put AS (UPDATE hotswap.audit_event SET hash = decode(repeat(''00'', 32), ''hex'')
		WHERE subject_id = %L AND seq = 2) UPDATE hotswap.deployment
		SET audit_hash = decode(repeat(''00'', 32), ''hex'') WHERE id = %1$L', :'d'),
		'the event was altered: its hash does not fit; events were altered or replaced'),
	(format('INSERT INTO hotswap.audit_event SELECT tenant_id, gen_random_uuid(), seq, at, subject,
		event, before, after, person, role, pid, client_addr, application_name, reason, detail,
		previous_hash, hash FROM hotswap.audit_event WHERE subject_id = %L AND seq = 1', :'d'),
		'the event was altered: its hash does not fit; events were added'))
	v (change, problem);

-- Retention is not a cut.
BEGIN;
UPDATE hotswap.installation SET audit_horizon = '2001-02-03 00:00:00+00';
SET LOCAL timezone = 'UTC';
SELECT is(pg_temp.check_kept(), 'cannot be checked: events of before 2001-02-03 00:00:00+00 '
	|| 'have been removed by retention', 'retention has removed some of it');
SELECT is((SELECT hotswap.check_audit_head(h.starts_at, ends_at, events, head)
	FROM hotswap.audit_head(since => '2000-01-01') h), NULL, 'a new one begins where it ended');
ROLLBACK;
SELECT is((SELECT code FROM refusal('SELECT hotswap.check_audit_head(NULL, now(), 1, ''0'')')),
	'22023', 'nothing to check');
SELECT results_eq($$SELECT DISTINCT hotswap.check_audit_head(starts_at, ends_at, events + 1, head)
	~ '^events were removed' FROM kept WHERE tenant IS NULL$$, 'VALUES (true)',
	'a number that is too high');
SELECT is(pg_temp.check_kept(), NULL, 'it is whole again');
SELECT * FROM finish();
