-- How far a statement of a task is (src/core/progress.c), and who is in its way: a session that
-- waits in acquire_lock() keeps its snapshot.
SELECT plan(10);

SELECT named('node') AS node \gset
CREATE ROLE :"node" LOGIN;
CREATE SCHEMA t AUTHORIZATION :"node";
CREATE TABLE t.t (x int);
ALTER TABLE t.t OWNER TO :"node";
SELECT hotswap.register_node('development', 't', run_as => :'node', schema => 't') \g /dev/null
SELECT hotswap.publish_version('m', '1', 'CREATE INDEX CONCURRENTLY t_x ON t (x)',
	transactional => false) \g /dev/null
SELECT format('CREATE ROLE %1$I LOGIN; CREATE ROLE %2$I LOGIN;
	SELECT hotswap.grant_access(%1$L, ''viewer'')', named('viewer'), named('nobody')) AS roles \gset
:roles \g /dev/null
CREATE FUNCTION progress(d uuid) RETURNS text LANGUAGE sql AS
	'SELECT progress FROM hotswap.tasks WHERE deployment_id = d AND kind = ''swap''';
-- until() keeps its snapshot, and an index build could wait for that.
CREATE PROCEDURE comes_to(d uuid, way text) LANGUAGE plpgsql AS $$
DECLARE
	deadline timestamptz = clock_timestamp() + interval '60 s';
	now_at text;
BEGIN
	LOOP
		now_at = progress(d);
		COMMIT;
		EXIT WHEN now_at LIKE way;
		IF clock_timestamp() > deadline THEN
			RAISE 'not within 60 s: %, but %', way, now_at;
		END IF;
		PERFORM pg_sleep(0.01);
	END LOOP;
END $$;
SELECT dblink_connect(name, connection_of('postgres'))
FROM unnest('{writer,holder,waiter}'::text[]) name \g /dev/null
SELECT pid AS writer FROM dblink('writer', 'SELECT pg_backend_pid()') p (pid integer) \gset
SELECT pid AS waiter FROM dblink('waiter', 'SELECT pg_backend_pid()') p (pid integer) \gset

-- Given somebody who writes, and somebody who waits for a named lock.
SELECT FROM dblink('holder', 'SELECT hotswap.acquire_lock(''r'')') l (token bigint) \g /dev/null
SELECT dblink_send_query('waiter', 'SELECT hotswap.acquire_lock(''r'')') \g /dev/null
CALL until(format('EXISTS (SELECT FROM pg_locks WHERE pid = %s AND NOT granted)', :'waiter'));
SELECT dblink_exec('writer', 'BEGIN') \g /dev/null
SELECT dblink_exec('writer', 'INSERT INTO t.t VALUES (1)') \g /dev/null

-- When an index is built: it waits for the one, and then for the other.
SELECT hotswap.deploy('m', '1', 'development') AS d \gset
CALL comes_to(:'d', '%for process%');
SELECT is(progress(:'d'), format('CREATE INDEX CONCURRENTLY: waiting for writers before build,'
	' for process %s, 0 of 1 are gone', :'writer'), 'it waits for who writes');
SELECT is(as_role(named('viewer'), format('SELECT progress FROM hotswap.tasks
	WHERE deployment_id = %L AND kind = ''swap''', :'d')), progress(:'d'), 'a viewer sees it');
SELECT is(as_role(named('nobody'), format('SELECT hotswap.task_progress(deployment_id, stage,
	ordinal, tenant_id) FROM hotswap.tasks WHERE deployment_id = %L', :'d')), NULL,
	'nobody else sees the task');
SELECT is(as_role(named('nobody'), format('SELECT hotswap.task_progress(%L, %s, %s)', :'d', stage,
	ordinal)), NULL, 'or how far it is')
FROM hotswap.tasks WHERE deployment_id = :'d' AND kind = 'swap';
SELECT dblink_exec('writer', 'COMMIT') \g /dev/null
CALL comes_to(:'d', format('%%for process %s,%%', :'waiter'));
SELECT matches(progress(:'d'),
	'^CREATE INDEX CONCURRENTLY: waiting for old snapshots, .* blocks, for',
	'it waits for who waits for a lock');
SELECT matches((SELECT string_agg(detail, ' ') FROM hotswap.explain(:'d')),
	'is blocked by process ' || :'waiter' || ' .*: SELECT hotswap.acquire_lock',
	'explain() names that one');

-- Then it comes to its end when the lock is there.
SELECT FROM dblink('holder', 'SELECT hotswap.release_lock(''r'')') l (done boolean) \g /dev/null
CALL hotswap.await(:'d', '60 s') \g /dev/null
SELECT is(status_of(:'d'), 'succeeded', 'it goes on');
SELECT is(progress(:'d'), NULL, 'what has ended is no way along');
SELECT throws_ok(format('SELECT hotswap.task_progress(%L, NULL, 1)', :'d'), '22023',
	'"stage" must not be null', 'of which stage must be said');

-- A statement whose progress the server does not tell.
SELECT pg_advisory_lock(7) \g /dev/null
SELECT hotswap.publish_version('m', '2', 'SET LOCAL lock_timeout = 0;
	SELECT pg_advisory_xact_lock_shared(7)') \g /dev/null
SELECT hotswap.deploy('m', '2', 'development') AS d \gset
CALL until('at_gate(7)');
SELECT is(progress(:'d'), NULL, 'others have no progress');
SELECT pg_advisory_unlock(7) \g /dev/null
CALL hotswap.await(:'d', '60 s') \g /dev/null
SELECT * FROM finish();
