-- wait() beside an index that is being built: it keeps a snapshot, which CONCURRENTLY waits for,
-- maybe on the way to the very end that is waited for (src/shm/wait.c, src/run/toplevel.c).
SELECT plan(9);

SELECT named('node') AS node \gset
CREATE ROLE :"node" LOGIN;
CREATE SCHEMA t AUTHORIZATION :"node";
CREATE TABLE t.t (x int);
ALTER TABLE t.t OWNER TO :"node";
SELECT hotswap.register_node('development', 't', run_as => :'node', schema => 't') \g /dev/null
SELECT hotswap.publish_version('m', '1', 'DO $$BEGIN PERFORM pg_advisory_xact_lock_shared(7); END$$;
	CREATE INDEX CONCURRENTLY t_x ON t (x)', transactional => false) \g /dev/null
CREATE FUNCTION waits(what text) RETURNS boolean LANGUAGE sql AS $$
	SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()
		AND query LIKE what AND state = 'active' AND wait_event_type = 'Extension')
$$;
SELECT dblink_connect(name, connection_of('postgres'))
FROM unnest('{waiter,awaiter,gate,writer}'::text[]) name \g /dev/null
CREATE FUNCTION transaction_of(what text) RETURNS text LANGUAGE sql AS $$
	SELECT virtualtransaction FROM pg_locks JOIN pg_stat_activity USING (pid)
	WHERE locktype = 'virtualxid' AND query LIKE what AND state = 'active'
$$;

-- Given two who wait for a deployment, before its index begins.
SELECT dblink_exec('gate', 'BEGIN') \g /dev/null
SELECT FROM dblink('gate', 'SELECT pg_advisory_xact_lock(7)::text') g (x text) \g /dev/null
SELECT hotswap.deploy('m', '1', 'development') AS d \gset
CALL until('at_gate(7)');
SELECT dblink_send_query('waiter', format('SELECT hotswap.wait(%L, ''1 h'')', :'d')) \g /dev/null
SELECT dblink_send_query('awaiter', format('CALL hotswap.await(%L, ''1 h'')', :'d')) \g /dev/null
CALL until('waits(''SELECT hotswap.wait%'') AND waits(''CALL hotswap.await%'')');

SELECT transaction_of('CALL hotswap.await%') AS before \gset

-- When it begins, and somebody else is in its way.
SELECT dblink_exec('writer', 'BEGIN') \g /dev/null
SELECT dblink_exec('writer', 'INSERT INTO t.t VALUES (1)') \g /dev/null
SELECT dblink_exec('gate', 'COMMIT') \g /dev/null
SELECT is(status, 'running', 'wait() returns before the end')
FROM dblink_get_result('waiter') w (status text);
CALL until('EXISTS (SELECT FROM pg_index WHERE NOT indisvalid)');
SELECT is(hotswap.wait(:'d', '1 h'), 'running', 'and is short meanwhile');
SELECT is(dblink_is_busy('awaiter'), 1, 'await() waits');
-- it has been woken; whoever saw a snapshot then waits for that transaction
CALL until(format('transaction_of(''CALL hotswap.await%%'') <> %L', :'before'));
SELECT pass('but not in the transaction that it has looked in');
SELECT matches((SELECT string_agg(detail, ' ') FROM hotswap.explain(:'d')),
	'is blocked by process ' || pid || ' \(postgres, .*, for .*: SELECT pg_backend_pid',
	'explain() says who is in the way')
FROM dblink('writer', 'SELECT pg_backend_pid()') p (pid integer);

-- Then it comes to its end when they are gone.
SELECT dblink_exec('writer', 'COMMIT') \g /dev/null
-- a query that waited for the result would be in its way
CALL hotswap.await(:'d', '60 s') \g /dev/null
SELECT is(status, 'succeeded', 'to the end')
FROM dblink_get_result('awaiter') w (status text);
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'the index is built');

-- Others who look do not see what is run.
SELECT named('viewer') AS viewer \gset
CREATE ROLE :"viewer" LOGIN;
SELECT hotswap.grant_access(:'viewer', 'viewer') \g /dev/null
SELECT hotswap.publish_version('m', '2', 'DROP INDEX CONCURRENTLY t_x', transactional => false)
	\g /dev/null
SELECT dblink_exec('writer', 'BEGIN') \g /dev/null
SELECT dblink_exec('writer', 'INSERT INTO t.t VALUES (1)') \g /dev/null
SELECT hotswap.deploy('m', '2', 'development') AS d \gset
CALL until(format('EXISTS (SELECT FROM hotswap.explain(%L) WHERE detail ~ ''blocked by'')', :'d'));
SELECT is(as_role(:'viewer', format('SELECT count(*)::text FROM hotswap.explain(%L)
	WHERE detail ~ ''blocked by process'' AND detail !~ ''INSERT|SELECT''', :'d')), '1',
	'a viewer does not see the statements of others');
SELECT is(as_role(:'viewer', format('SELECT reason FROM hotswap.explain(%L)
	WHERE reason ~ ''not all or nothing''', :'d')), 'it is not all or nothing',
	'that not everything goes back is said plainly');
SELECT dblink_exec('writer', 'COMMIT') \g /dev/null
CALL hotswap.await(:'d', '60 s') \g /dev/null
SELECT * FROM finish();
