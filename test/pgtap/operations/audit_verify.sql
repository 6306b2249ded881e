-- verify_audit(): what somebody who alters the audit log cannot hide
-- (src/operations/audit_verify.c).
SELECT plan(26);

CREATE FUNCTION pg_temp.problems() RETURNS SETOF text LANGUAGE sql AS
	$$SELECT seq || ': ' || problem FROM hotswap.verify_audit() ORDER BY 1$$;
SELECT hotswap.publish_version('m', v, 'SELECT ' || v) FROM unnest('{1,2,3}'::text[]) v \g /dev/null
SELECT hotswap.deploy('m', '1', 'qa', run_at => '2100-01-01') AS d \gset
SELECT hotswap.cancel(:'d', 'Grund mit ä') \g /dev/null

SELECT is_empty('SELECT pg_temp.problems()', 'as written, it is whole');
SELECT is_empty($$SELECT * FROM hotswap.verify_audit('00000000-0000-7000-8000-000000000001')$$,
	'asked for one tenant too');

-- What somebody who gets past the triggers cannot hide. Each is undone.
CREATE FUNCTION pg_temp.tampered(change text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	BEGIN
		ALTER TABLE hotswap.audit_event DISABLE TRIGGER audit_guard;
		EXECUTE change;
		result := (SELECT string_agg(p, '; ') FROM pg_temp.problems() p);
		RAISE no_data_found;
	EXCEPTION WHEN no_data_found THEN
	END;
	RETURN result;
END $$;
SELECT is(pg_temp.tampered(format('UPDATE hotswap.audit_event SET %s
	WHERE subject_id = %L AND seq = 1', set, :'d')),
	'1: the event was altered: its hash does not fit', 'altered: ' || set)
FROM unnest(ARRAY['reason = ''x''', 'person = ''x''', 'role = ''x''', 'event = ''x''',
	'before = ''x''', 'after = NULL', 'pid = 1', 'client_addr = ''10.0.0.1''',
	'application_name = ''''', 'detail = NULL', 'at = at + interval ''1 us''',
	'subject = ''tenant''', 'hash = decode(repeat(''00'', 32), ''hex'')']) set;
SELECT is(pg_temp.tampered(change), problem, change)
FROM (VALUES
	(format('UPDATE hotswap.audit_event SET previous_hash = decode(repeat(''00'', 32), ''hex'')
		WHERE subject_id = %L AND seq = 2', :'d'),
	'2: the event or the one before it was altered: they are not linked'),
	(format('UPDATE hotswap.audit_event SET previous_hash = NULL WHERE subject_id = %L AND seq = 2',
		:'d'), '2: the event was altered: it is not linked to the one before it'),
	(format('DELETE FROM hotswap.audit_event WHERE subject_id = %L AND seq = 1', :'d'),
		'1: the event was removed'),
	(format('DELETE FROM hotswap.audit_event WHERE subject_id = %L AND seq = 2', :'d'),
		'2: the event was removed'),
	(format('DELETE FROM hotswap.audit_event WHERE subject_id = %L', :'d'),
		'1: the event was removed'),
	('DELETE FROM hotswap.audit_event WHERE subject = ''tenant'' AND seq = 2',
		'2: the event was removed'),
	('DELETE FROM hotswap.audit_event WHERE subject = ''tenant'' AND seq = 3',
		'3: the event was removed'),
	('DELETE FROM hotswap.audit_event WHERE subject = ''tenant''', '1: the event was removed'),
	(format('UPDATE hotswap.deployment SET audit_hash = decode(repeat(''00'', 32), ''hex'')
		WHERE id = %L', :'d'),
	'2: the event was altered: its hash is not the one that its subject keeps'),
	(format('INSERT INTO hotswap.audit_event SELECT tenant_id, subject_id, 3, at, subject, event,
		before, after, person, role, pid, client_addr, application_name, reason, detail, hash, hash
		FROM hotswap.audit_event WHERE subject_id = %L AND seq = 2', :'d'),
	'3: the event was altered: its hash does not fit'))
	v (change, problem);
SELECT is_empty('SELECT pg_temp.problems()', 'it is whole again');
SELECT * FROM finish();
