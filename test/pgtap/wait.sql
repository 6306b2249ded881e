-- Waiting and being told why: wait(), explain(), health(), stop_dispatching() (src/deployment/wait.c, explain.c, health.c, tenant.c).
SELECT plan(33);

CREATE ROLE hotswap_test_wait LOGIN;
CREATE SCHEMA w AUTHORIZATION hotswap_test_wait;
CREATE FUNCTION pg_temp.why(d uuid) RETURNS text LANGUAGE sql AS $$SELECT string_agg(reason, '; ') FROM hotswap.explain(d)$$;
SELECT is((SELECT status || ': ' || detail FROM hotswap.health() WHERE component = 'dispatching'), 'ok: nothing has been published yet', 'before the first use');
SELECT is(hotswap.adopt()::text, '', 'adopt() without need does nothing');
SELECT is((SELECT count(*) FROM hotswap.audit_log), 0::bigint, 'nothing at all');
SELECT throws_ok('SELECT hotswap.start_dispatching()', '55000', 'dispatching is not stopped in this database', 'start_dispatching() without need');
SELECT hotswap.publish_version('m', '1', 'SELECT 1') \g /dev/null
SELECT hotswap.register_node('development', 'w', run_as => 'hotswap_test_wait', schema => 'w') \g /dev/null
SELECT throws_ok(q, '22023', m, q) FROM (VALUES ('SELECT hotswap.stop_dispatching(NULL)', 'reason must not be null'), ('SELECT hotswap.stop_dispatching('''')', 'reason must not be blank'),
	('SELECT hotswap.wait(NULL)', 'deployment must not be null'), ('SELECT hotswap.explain(NULL)', 'deployment must not be null')) v (q, m);

-- The line is stopped: nothing new starts, and everybody can see why.
SELECT hotswap.stop_dispatching('maintenance of the rack') \g /dev/null
SELECT hotswap.deploy('m', '1', 'development') AS d \gset
SELECT results_eq(format('SELECT reason, detail LIKE ''by %%: maintenance of the rack'', unblocked_by FROM hotswap.explain(%L)', :'d'),
	$$VALUES ('dispatching is stopped', true, 'hotswap.start_dispatching()')$$, 'explain() says so');
SELECT matches((SELECT status || ': ' || detail FROM hotswap.health() WHERE component = 'dispatching'), '^warning: stopped by .*: maintenance of the rack$', 'health() too');
SELECT is(hotswap.wait(:'d', '0'), 'queued', 'wait() with zero does not wait');
SELECT is(hotswap.wait(:'d', '20 ms'), 'queued', 'at the timeout it returns the current status');
SELECT throws_ok(format('SELECT hotswap.wait(%L, ''-1 s'')', :'d'), '22023', 'timeout must not be negative', 'a negative timeout');
SELECT throws_ok($$SELECT hotswap.wait('00000000-0000-7000-8000-00000000dead')$$, 'P0002', 'no such deployment: 00000000-0000-7000-8000-00000000dead', 'an unknown deployment');
SELECT throws_ok($$SELECT * FROM hotswap.explain('00000000-0000-7000-8000-00000000dead')$$, 'P0002', 'no such deployment: 00000000-0000-7000-8000-00000000dead', 'explain() of it');
SELECT throws_like('SELECT hotswap.wait(hotswap.deploy(''m'', ''1'', ''development''))', 'cannot wait for deployment % which this transaction has requested or changed', 'one of the own transaction');
BEGIN;
SELECT hotswap.cancel(:'d', 'x') \g /dev/null
SELECT is(hotswap.wait(:'d'), 'cancelled', 'one that the own transaction has ended: nothing to wait for');
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT throws_ok(format('SELECT hotswap.wait(%L)', :'d'), '55000', 'cannot wait in a transaction of this isolation level', 'REPEATABLE READ');
ROLLBACK;
CREATE FUNCTION pg_temp.cancelled(d uuid) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	PERFORM hotswap.wait(d);
	RETURN false;
EXCEPTION WHEN query_canceled THEN
	RETURN true;
END $$;
-- long enough to get there on a busy machine
SET statement_timeout = '1s';
SELECT ok(pg_temp.cancelled(:'d'), 'it can be cancelled');
RESET statement_timeout;
SELECT is(hotswap.deploy('m', '1', 'development', run_at => '2100-01-01')::text <> '', true, 'a scheduled one');
SELECT is(pg_temp.why(id), 'its time has not come; dispatching is stopped', 'both reasons') FROM hotswap.deployment WHERE status = 'scheduled';
SELECT hotswap.deploy('m', '1', 'qa') AS second \gset
SELECT is(pg_temp.why(:'second'), 'dispatching is stopped; another deployment goes first', 'who goes first');
SELECT is((SELECT unblocked_by FROM hotswap.explain(:'second') WHERE reason LIKE 'another%'), 'the end of deployment ' || :'d', 'its id');
SELECT matches((SELECT detail FROM hotswap.health() WHERE component = 'queue'), '^3 waiting or scheduled, 0 running, the oldest queued since ', 'the queue in health()');
SELECT results_eq('SELECT deployment_id, status::text FROM hotswap.queue WHERE status = ''queued'' ORDER BY requested_at', format('VALUES (%L::uuid, ''queued''), (%L, ''queued'')', :'d', :'second'), 'the queue');
SELECT hotswap.start_dispatching() \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'the line goes on');
SELECT is(hotswap.wait(:'second', '60 s'), 'failed', 'for all');
SELECT results_eq(format('SELECT reason, detail, unblocked_by FROM hotswap.explain(%L)', :'d'), $$VALUES ('it has ended', 'It is succeeded.', NULL)$$, 'explain() of what has ended');
SELECT results_eq(format('SELECT detail, unblocked_by FROM hotswap.explain(%L)', :'second'), $$VALUES ('It is failed: environment "qa" has no nodes.', 'hotswap.retry()')$$, 'and of what can be retried');

-- Everything else in health() and workers.
SELECT set_eq($$SELECT component, status FROM hotswap.health()$$, $$VALUES ('preload', 'ok'), ('launcher', 'ok'), ('dispatcher', 'ok'), ('executors', 'ok'), ('dispatching', 'ok'), ('queue', 'ok'), ('approvals', 'ok'), ('audit', 'ok')$$, 'all is well');
SELECT results_eq($$SELECT kind, role::text COLLATE "default" FROM hotswap.workers WHERE kind = 'launcher' OR database = current_database() ORDER BY kind$$,
	$$VALUES ('dispatcher', NULL), ('executor', 'hotswap_test_wait' COLLATE "default"), ('launcher', NULL)$$, 'the workers');
SELECT results_eq($$SELECT backend_type, usename::text COLLATE "default" FROM pg_stat_activity WHERE datname = current_database() AND backend_type LIKE 'hotswap%' ORDER BY 1$$,
	$$SELECT 'hotswap dispatcher', rolname::text COLLATE "default" FROM pg_roles WHERE oid = 10 UNION ALL SELECT 'hotswap executor', 'hotswap_test_wait'$$, 'and in pg_stat_activity');
SELECT throws_ok('CALL hotswap.work()', '2D000', 'work() cannot be called inside a transaction block', 'CALL work() inside a transaction');
SELECT * FROM finish();
