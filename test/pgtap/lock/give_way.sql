-- Whoever waits for a lock, a lease or a key while an index is built does not hold it up for ever:
-- who has the lock may wait for the very deployment (src/shm/give_way.c).
SELECT plan(15);

SELECT named('node') AS node \gset
CREATE ROLE :"node" LOGIN;
CREATE SCHEMA t AUTHORIZATION :"node";
CREATE TABLE t.t (x int);
ALTER TABLE t.t OWNER TO :"node";
SELECT hotswap.register_node('development', 't', run_as => :'node', schema => 't') \g /dev/null
SELECT hotswap.publish_version('m', '1', 'DO $$BEGIN PERFORM pg_advisory_xact_lock_shared(7); END$$;
	CREATE INDEX CONCURRENTLY t_x ON t (x)', transactional => false) \g /dev/null
SELECT hotswap.publish_version('other', '1', 'SELECT') \g /dev/null
CREATE TABLE waiter (name text, query text);
INSERT INTO waiter VALUES
	('lock', 'SELECT hotswap.acquire_lock(''l'')'),
	('limited', 'SELECT hotswap.acquire_lock(''l'', ''1 h'')'),
	('many', 'SELECT hotswap.acquire_locks(''{a,b,l}'')'),
	('in a transaction', 'SELECT hotswap.acquire_xact_lock(''l'')'),
	('lease', 'SELECT hotswap.lease_lock(''e'', ''1 h'')'),
	('key', 'SELECT hotswap.claim_idempotency_key(''pay'', ''k'', ''{}'')'),
	('deployment', 'SELECT hotswap.deploy(''other'', ''1'', ''development'','
		' idempotency_key => ''k'')'),
	('patient', 'CALL hotswap.await_lock(''l'')'),
	('patient for a while', 'CALL hotswap.await_lock(''m'', ''1 h'')'),
	('patient for a lease', 'CALL hotswap.await_lease(''e'', ''1 h'')');
SELECT dblink_connect(name, connection_of('postgres', '-c application_name=' || name))
FROM (SELECT replace(name, ' ', '_') FROM waiter UNION SELECT unnest('{holder,gate}'::text[]))
	w (name)
\g /dev/null
UPDATE waiter SET name = replace(name, ' ', '_');
CREATE FUNCTION all_wait() RETURNS boolean LANGUAGE sql AS $$
	SELECT count(*) = (SELECT count(*) FROM waiter)
	FROM pg_stat_activity a JOIN waiter w ON w.name = a.application_name
	WHERE a.datname = current_database() AND a.state = 'active'
		AND a.wait_event_type IN ('Lock', 'Extension')
$$;
CREATE FUNCTION result_of(waiter text) RETURNS text LANGUAGE sql AS $$
	SELECT attempt(format('SELECT r FROM dblink_get_result(%L) r (r text)', waiter))
$$;

-- Given somebody who has all that others wait for, and an index that is about to be built.
SELECT FROM dblink('holder', 'SELECT hotswap.acquire_locks(''{l,m}'')::text') h (x text)
\g /dev/null
SELECT FROM dblink('holder', 'SELECT hotswap.lease_lock(''e'', ''1 h'')') h (x bigint) \g /dev/null
SELECT dblink_exec('holder', 'BEGIN') \g /dev/null
SELECT FROM dblink('holder', 'SELECT hotswap.claim_idempotency_key(''pay'', ''k'', ''{}'')::text')
	h (x text) \g /dev/null
SELECT FROM dblink('holder', (SELECT query FROM waiter WHERE name = 'deployment')) h (x uuid)
\g /dev/null
SELECT dblink_exec('gate', 'BEGIN') \g /dev/null
SELECT FROM dblink('gate', 'SELECT pg_advisory_xact_lock(7)::text') g (x text) \g /dev/null
SELECT hotswap.deploy('m', '1', 'development') AS d \gset
CALL until('at_gate(7)');
SELECT dblink_send_query(name, query) FROM waiter \g /dev/null
CALL until('all_wait()');

-- When it begins, then it comes to its end all the same.
SELECT dblink_exec('gate', 'COMMIT') \g /dev/null
CALL hotswap.await(:'d', '120 s') \gset
SELECT is(:'status'::text, 'succeeded', 'an index is built beside all who wait');
SELECT is(result_of(name), '55P03', 'given up: ' || query) FROM waiter
WHERE query LIKE 'SELECT%' ORDER BY name;
SELECT is((SELECT count(*) FROM hotswap.locks WHERE kind = 'lock' AND resource IN ('a', 'b')),
	0::bigint, 'none of many is kept');

-- Those who have no snapshot wait until they get it.
SELECT is((SELECT count(*) FROM waiter WHERE query LIKE 'CALL%' AND dblink_is_busy(name) = 1),
	3::bigint, 'who waits by CALL stays');
SELECT dblink_exec('holder', 'COMMIT') \g /dev/null
SELECT FROM dblink('holder', 'SELECT hotswap.release_lease(resource, token) FROM hotswap.locks
	WHERE kind = ''lease'' AND state = ''held''') h (x boolean) \g /dev/null
SELECT dblink_disconnect('holder') \g /dev/null
SELECT ok(result_of('patient_for_a_lease')::bigint > 0, 'and gets the lease,');
SELECT ok(result_of('patient')::bigint > 0, 'and the lock,');
SELECT ok(result_of('patient_for_a_while')::bigint > 0, 'with a limit, too');

-- Those who find what they want free do not wait, and get it.
SELECT is(hotswap.acquire_lock('l', '0'), NULL, 'it is the lock of acquire_lock()');
CALL hotswap.await_lock('free') \gset
SELECT hotswap.check_token('free', :token) \g /dev/null
CALL hotswap.await_lease('free', '1 h') \gset
SELECT is(hotswap.release_lease('free', :token), true, 'which is there at once');
SELECT * FROM finish();
