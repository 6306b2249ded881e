-- Rows that nobody could have foreseen: they cost their own deployment, and no other and no worker
-- (src/dispatch/batch.c, src/pipeline/pipeline.c).
SELECT plan(17);

CREATE ROLE hotswap_test_dispatch LOGIN;
CREATE SCHEMA d AUTHORIZATION hotswap_test_dispatch;
SELECT hotswap.register_node('development', 'd', run_as => 'hotswap_test_dispatch',
	schema => 'd') \g /dev/null
SELECT hotswap.publish_version(m, '1', format('CREATE TABLE %s ()', m))
	FROM unnest('{sound,missing,altered,broken,late,other}'::text[]) m \g /dev/null
SELECT hotswap.deploy('sound', '1', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'all is well');
CREATE TEMP VIEW worker AS SELECT kind, pid FROM hotswap.workers
	WHERE kind = 'launcher' OR kind = 'dispatcher' AND database = current_database();
CREATE TEMP TABLE worker_before AS SELECT * FROM worker;
SELECT is((SELECT count(*) FROM worker_before), 2::bigint, 'a launcher and a dispatcher');

SELECT hotswap.stop_dispatching('while rows are spoilt') \g /dev/null
SELECT hotswap.deploy('missing', '1', 'development') AS missing,
	hotswap.deploy('altered', '1', 'development') AS altered,
	hotswap.deploy('broken', '1', 'development', priority => 9) AS broken,
	hotswap.deploy('other', '1', 'development') AS other \gset
DELETE FROM hotswap.module_version WHERE module = 'missing';
UPDATE hotswap.module_version SET deploy_sql = 'DROP TABLE sound' WHERE module = 'altered';

-- The head of an audit chain that is no hash: neither success nor failure can be recorded.
CREATE TEMP TABLE head AS SELECT id, audit_hash FROM hotswap.deployment WHERE id = :'broken';
UPDATE hotswap.deployment SET audit_hash = '\x00' WHERE id = :'broken';
INSERT INTO hotswap.work_item VALUES ('00000000-0000-7000-8000-000000000001',
	'01a00000-0000-7000-8000-00000000dead', now(), 0);
SELECT hotswap.start_dispatching() \g /dev/null
SELECT is(hotswap.wait(:'other', '60 s'), 'succeeded', 'the sound one behind them is deployed');
SELECT is(hotswap.wait(:'missing', '60 s'), 'failed', 'a version that has disappeared');
SELECT is(hotswap.wait(:'altered', '60 s'), 'failed', 'scripts that were altered');
SELECT results_eq($$SELECT module, sqlstate, message FROM hotswap.deployment WHERE status = 'failed'
	ORDER BY module$$,
	$$VALUES ('altered', 'XX001',
		'scripts of version "1" of module "altered" are not those that were published'),
		('missing', 'XX000', 'version "1" of module "missing" has disappeared')$$, 'they say why');
SELECT is((SELECT status::text FROM hotswap.deployment WHERE id = :'broken'), 'queued',
	'one of which nothing can be recorded waits');
SELECT is(to_regclass('d.altered'), NULL, 'what was altered has not run');
SELECT ok(to_regclass('d.sound') IS NOT NULL, 'indeed not');
SELECT hotswap.deploy('late', '1', 'development') AS late \gset
SELECT is(hotswap.wait(:'late', '60 s'), 'succeeded', 'others go on while it waits');
UPDATE hotswap.deployment d SET audit_hash = h.audit_hash FROM head h WHERE d.id = h.id;
SELECT is(hotswap.wait(:'broken', '120 s'), 'succeeded', 'repaired, it is deployed');
DELETE FROM hotswap.work_item WHERE deployment_id = '01a00000-0000-7000-8000-00000000dead';
SELECT is((SELECT count(*) FROM hotswap.work_item), 0::bigint, 'the queue is empty');

-- With a task running.
SELECT hotswap.publish_version('running', '1',
	'SET LOCAL lock_timeout = 0; SELECT pg_advisory_xact_lock(79)') \g /dev/null
SELECT pg_advisory_lock(79) \g /dev/null
SELECT hotswap.deploy('running', '1', 'development') AS running \gset
DO $$
BEGIN
	FOR i IN 1 .. 3000 LOOP
		EXIT WHEN EXISTS (SELECT FROM pg_locks
			WHERE locktype = 'advisory' AND objid = 79 AND NOT granted
			AND database = (SELECT oid FROM pg_database WHERE datname = current_database()));
		PERFORM pg_sleep(0.01);
	END LOOP;
END $$;
UPDATE hotswap.deployment SET audit_hash = '\x00' WHERE id = :'running';
SELECT pg_advisory_unlock(79) \g /dev/null
SELECT hotswap.publish_version('other', '2', 'SELECT 1') \g /dev/null
SELECT hotswap.deploy('other', '2', 'development') AS other \gset
SELECT is(hotswap.wait(:'other', '60 s'), 'succeeded',
	'one that breaks while it runs harms no other either');
SELECT is((SELECT status::text FROM hotswap.deployment WHERE id = :'running'), 'running',
	'it does not go on, since its audit log cannot');
SELECT is((SELECT count(*) FROM hotswap.node_module WHERE module = 'running'), 1::bigint,
	'the swap that its executor has finished is kept, with its record');
SELECT results_eq('SELECT * FROM worker ORDER BY kind', 'SELECT * FROM worker_before ORDER BY kind',
	'launcher and dispatcher have lived through all of it');

-- Two in one lane.
CREATE TABLE seen (version text, status text, xact xid8);
CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO public.seen VALUES (NEW.version, NEW.status, pg_current_xact_id());
	RETURN NULL;
END $$;
SELECT hotswap.stop_dispatching('until both are there') \g /dev/null
SELECT hotswap.publish_version('two', v, 'SELECT ' || v) FROM unnest('{1,2}'::text[]) v \g /dev/null
SELECT hotswap.deploy('two', '1', 'development'),
	hotswap.deploy('two', '2', 'development') AS two \gset
CREATE TRIGGER see AFTER UPDATE OF status ON hotswap.deployment
	FOR EACH ROW WHEN (NEW.module = 'two') EXECUTE FUNCTION see();
SELECT hotswap.start_dispatching() \g /dev/null
SELECT hotswap.wait(:'two', '60 s') \g /dev/null
DROP TRIGGER see ON hotswap.deployment;
SELECT is((SELECT xact FROM seen WHERE version = '2' AND status = 'running'),
	(SELECT xact FROM seen WHERE version = '1' AND status = 'succeeded'),
	'the next one of a lane starts in the transaction in which the one before ends');
SELECT * FROM finish();
