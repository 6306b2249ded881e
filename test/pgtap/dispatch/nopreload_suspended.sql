-- What a suspended or leaving tenant starts, and what goes on (src/dispatch/batch.c,
-- src/pipeline/gate.c).
-- CALL work() admits as the background dispatcher does, and at most eight tasks at a time, so what
-- is first is not a matter of luck.
SELECT plan(42);
\ir ../include/admission.sql

-- A tenant with one at a time, and another one.
SELECT hotswap.configure_environment('development', 10) \g /dev/null
SELECT make('b', 'custom') AS b, make('limited', 'free') AS t \gset
SET hotswap.tenant = :'t';
SELECT add_node('two', 'n', :'t') \g /dev/null
SELECT hotswap.publish_version('m' || i, '2', 'SELECT 1') FROM generate_series(2, 3) i \g /dev/null
CREATE SCHEMA paused;

-- ---- a suspended tenant ----

SELECT set_status(:'t', 'suspended', 'unpaid bills') \g /dev/null
SELECT hotswap.publish_version('m' || i, '3', 'SELECT 1', tenant => :'b')
	FROM generate_series(1, 3) i \g /dev/null
SELECT set_status(:'t', 'active') \g /dev/null
SELECT hotswap.publish_version('m1', '6', 'SELECT 1') \g /dev/null
SELECT hotswap.deploy('m1', '6', 'one', priority => 5) AS d,
	hotswap.deploy('m2', '2', 'one', run_at => now() + interval '1 ms') AS later,
	hotswap.deploy('m3', '2', 'one', run_at => now() + interval '1 ms',
		start_by => now() + interval '2 ms') AS late \gset
SELECT set_status(:'t', 'suspended', 'unpaid bills') \g /dev/null
SELECT hotswap.deploy('m' || i, '3', 'one', tenant => :'b')
	FROM generate_series(1, 3) i \g /dev/null
SELECT pg_sleep(0.01) \g /dev/null
CALL hotswap.work();
SELECT results_eq(format('SELECT status::text FROM hotswap.deployment WHERE id IN (%L, %L, %L)
	ORDER BY id', :'d', :'later', :'late'), $$VALUES ('queued'), ('queued'), ('expired')$$,
	'a suspended tenant starts nothing, but time goes on');
SELECT is((SELECT count(*) FROM hotswap.deployment
	WHERE tenant_id = :'b' AND version = '3' AND status = 'succeeded'), 3::bigint,
	'the others go on');
SELECT results_eq(format('SELECT reason, detail, unblocked_by FROM hotswap.explain(%L)
	WHERE reason <> ''no dispatcher is running''', :'d'),
	$$VALUES ('the tenant is suspended', 'unpaid bills', 'hotswap.resume_tenant()')$$,
	'explain() says so');
SELECT set_status(:'t', 'active') \g /dev/null
CALL hotswap.work();
SELECT results_eq(format('SELECT status::text FROM hotswap.deployment WHERE id IN (%L, %L)
	ORDER BY id', :'d', :'later'), $$VALUES ('succeeded'), ('succeeded')$$,
	'when it is resumed, they are deployed');

-- Suspended while a batch is on its way: the next one has seen it.
INSERT INTO hotswap.quota VALUES (:'t', 'concurrent_deployments', 1);
SELECT hotswap.publish_version('suspends', '1',
	format('UPDATE hotswap.tenant SET status = ''suspended'', status_reason = ''by itself''
		WHERE id = %L', :'t')) \g /dev/null
SELECT hotswap.publish_version('m1', '7', 'SELECT 1') \g /dev/null
SELECT hotswap.deploy('suspends', '1', 'one') AS d, hotswap.deploy('m1', '7', 'one') AS next \gset
CALL hotswap.work();
SELECT results_eq(format('SELECT status::text FROM hotswap.deployment WHERE id IN (%L, %L)
	ORDER BY id', :'d', :'next'), $$VALUES ('paused'), ('queued')$$,
	'suspended by what runs: that is paused before its next stage, and nothing starts');
SELECT results_eq(format('SELECT s.kind::text, s.status::text FROM hotswap.stage s
	WHERE s.deployment_id = %L ORDER BY s.ordinal', :'d'),
	$$VALUES ('build', 'succeeded'), ('scan', 'succeeded'), ('test', 'skipped'),
		('deploy', 'succeeded'), ('validate', 'pending')$$, 'what was begun is done and recorded');
SELECT is((SELECT message FROM hotswap.deployments WHERE id = :'d'), 'the tenant is suspended',
	'it says why');
SELECT results_eq(format('SELECT before, after, reason FROM hotswap.audit_log
	WHERE subject_id = %L AND event = ''pause''', :'d'),
	$$VALUES ('running', 'paused', 'the tenant is suspended')$$, 'in the audit log too');
SELECT results_eq(format('SELECT reason, detail, unblocked_by FROM hotswap.explain(%L)
	WHERE reason <> ''no dispatcher is running''', :'d'),
	$$VALUES ('the tenant is suspended', 'by itself', 'hotswap.resume_tenant()')$$,
	'and explain()');
SELECT is((SELECT detail FROM hotswap.health() WHERE component = 'queue'),
	'1 waiting or scheduled, 0 running, 1 paused, the oldest queued since ' || requested_at,
	'health() counts it')
FROM hotswap.deployments WHERE id = :'next';
CALL hotswap.work();
SELECT is((SELECT count(*) FROM hotswap.audit_log
	WHERE subject_id = :'d' AND event IN ('pause', 'resume')), 1::bigint, 'it stays so');
SELECT set_status(:'t', 'active') \g /dev/null
SELECT hotswap.publish_version('m2', '7', 'SELECT 1') \g /dev/null
SELECT hotswap.deploy('m2', '7', 'one', priority => 5) AS urgent \gset
CALL hotswap.work();
SELECT results_eq(format('SELECT status::text, message FROM hotswap.deployment WHERE id IN (%L, %L)
	ORDER BY id', :'d', :'next'), $$VALUES ('succeeded', NULL::text), ('succeeded', NULL)$$,
	'when the tenant is resumed, both go on by themselves');
SELECT results_eq(format('SELECT before, after FROM hotswap.audit_log
	WHERE subject_id = %L AND event = ''resume''', :'d'), $$VALUES ('paused', 'running')$$,
	'the audit log has that too');
SELECT cmp_ok((SELECT min(started_at) FROM hotswap.deployment WHERE id IN (:'next', :'urgent')),
	'>', (SELECT finished_at FROM hotswap.deployment WHERE id = :'d'),
	'a paused one counts, so the others waited for its end, a more urgent one as well');
DELETE FROM hotswap.quota WHERE tenant_id = :'t';

-- A paused one keeps its lanes.
INSERT INTO hotswap.quota VALUES (:'t', 'concurrent_deployments', NULL);
SELECT hotswap.publish_version('suspends', v,
	format('UPDATE hotswap.tenant SET status = ''suspended'' WHERE id = %L', :'t'))
	FROM unnest('{2,3}'::text[]) v \g /dev/null
SELECT hotswap.deploy('suspends', '2', 'two') AS d,
	hotswap.deploy('suspends', '3', 'two', priority => -1) AS next \gset
CALL hotswap.work();
SELECT is((SELECT status::text FROM hotswap.deployment WHERE id = :'d'), 'paused',
	'paused between two environments');
SELECT results_eq(format('SELECT reason, detail, unblocked_by FROM hotswap.explain(%L)
	WHERE reason LIKE ''another%%''', :'next'),
	format('VALUES (''another deployment is in the lane'', ''Version "2" to two is paused.'',
		''the end of deployment %s'')', :'d'), 'explain() names it as the one in the lane');

-- Cancelled there, nothing of this environment has to be taken back.
SELECT is(hotswap.cancel(:'d', 'enough'), 'running', 'cancel() of a paused one');
SELECT throws_ok(format('SELECT hotswap.cancel(%L, ''again'')', :'d'), '55000',
	'deployment "' || :'d' || '" is already being cancelled', 'a second time');
CALL hotswap.work();
SELECT results_eq(format('SELECT status::text, message FROM hotswap.deployment WHERE id = %L',
	:'d'), $$VALUES ('cancelled', 'enough')$$, 'it ends while the tenant is suspended');
SELECT is((SELECT version FROM hotswap.nodes
	WHERE tenant_id = :'t' AND environment = 'one' AND module = 'suspends'), '2',
	'the environment that it has passed keeps the version');
SELECT is((SELECT status::text FROM hotswap.deployment WHERE id = :'next'), 'queued',
	'the next one waits for the tenant');
SELECT hotswap.cancel(:'next', 'enough') \g /dev/null

-- Paused between the swaps of the target and their validation: a cancel takes them back.
SELECT set_status(:'t', 'active') \g /dev/null
SELECT hotswap.publish_version('undo', '1',
	format('CREATE TABLE paused.undo (); UPDATE hotswap.tenant SET status = ''suspended''
		WHERE id = %L', :'t'), 'SELECT 1', 'DROP TABLE paused.undo') \g /dev/null
SELECT hotswap.deploy('undo', '1', 'one') AS d \gset
CALL hotswap.work();
SELECT is((SELECT status::text FROM hotswap.deployment WHERE id = :'d'), 'paused',
	'paused before it was validated');
SELECT ok(to_regclass('paused.undo') IS NOT NULL, 'it is swapped in');
SELECT hotswap.cancel(:'d', 'enough') \g /dev/null
CALL hotswap.work();
SELECT is((SELECT status::text FROM hotswap.deployment WHERE id = :'d'), 'cancelled', 'cancelled');
SELECT ok(to_regclass('paused.undo') IS NULL, 'it is taken back');

-- One that fails in a suspended tenant is rolled back at once.
SELECT set_status(:'t', 'active') \g /dev/null
SELECT hotswap.publish_version('undo', '2',
	format('UPDATE hotswap.tenant SET status = ''suspended'' WHERE id = %L', :'t'), 'SELECT 1',
	'CREATE TABLE paused.undone ()') \g /dev/null
SELECT add_node('one', 'nowhere', :'t') AS o \gset
SELECT hotswap.publish_version('undo', '3',
	format($$UPDATE hotswap.tenant SET status = 'suspended' WHERE id = %L;
		DO 'BEGIN IF current_setting(''search_path'') ~ ''nowhere'' THEN RAISE ''here it fails'';
			END IF; END'$$, :'t'), NULL, 'CREATE TABLE paused.undone ()') \g /dev/null
SELECT hotswap.deploy('undo', '3', 'one') AS d \gset
CALL hotswap.work();
SELECT results_eq(format('SELECT status::text, message FROM hotswap.deployment WHERE id = %L',
	:'d'), $$VALUES ('rolled_back', 'here it fails')$$,
	'a failure in a suspended tenant: rolled back');
SELECT ok(to_regclass('paused.undone') IS NOT NULL, 'indeed');

-- A wave that was begun is finished, also by tasks that had no executor yet; the next one waits.
SELECT set_status(:'t', 'active') \g /dev/null
SELECT hotswap.remove_node(:'o') \g /dev/null
SELECT hotswap.configure_environment('wide', 3) \g /dev/null
SELECT add_node('wide', 'w' || to_char(i, 'FM00'), :'t')
	FROM generate_series(1, 10) i \g /dev/null
SELECT hotswap.publish_version('waves', v,
	format('UPDATE hotswap.tenant SET status = ''suspended'' WHERE id = %L', :'t'), 'SELECT ' || v)
	FROM unnest('{1,2}'::text[]) v \g /dev/null
SELECT hotswap.publish_version('waves', '0', 'SELECT 1') \g /dev/null
SELECT hotswap.deploy('waves', '0', 'two') \g /dev/null
CALL hotswap.work();
CREATE FUNCTION pg_temp.tasks(d uuid) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(n || ' of wave ' || wave || ' ' || status, ', ' ORDER BY wave, status) FROM (
		SELECT t.wave, t.status, count(*) AS n FROM hotswap.tasks t
		WHERE t.deployment_id = d AND t.environment = 'wide' GROUP BY 1, 2) s
$$;

-- The earlier environments run it already, so that nothing is done before.
DELETE FROM hotswap.node WHERE tenant_id = :'t' AND environment IN ('one', 'two');
SELECT hotswap.deploy('waves', '1', 'wide') AS d \gset
CALL hotswap.work();
SELECT is((SELECT status::text FROM hotswap.deployment WHERE id = :'d'), 'paused',
	'more tasks than can run at once: paused');
SELECT is(pg_temp.tasks(:'d'), '10 of wave 1 succeeded', 'after all of the wave');
SELECT set_status(:'t', 'active') \g /dev/null
CALL hotswap.work();
SELECT is((SELECT status::text FROM hotswap.deployment WHERE id = :'d'), 'succeeded', 'then done');

-- What has no executor at first becomes a second wave.
CREATE FUNCTION pg_temp.make_wave() RETURNS trigger
	LANGUAGE plpgsql AS $$BEGIN NEW.status := 'pending'; NEW.wave := 2; RETURN NEW; END$$;
CREATE TRIGGER make_wave BEFORE INSERT ON hotswap.task
	FOR EACH ROW WHEN (NEW.status = 'ready' AND NEW.kind = 'swap')
	EXECUTE FUNCTION pg_temp.make_wave();
SELECT hotswap.deploy('waves', '2', 'wide') AS d \gset
CALL hotswap.work();
SELECT is((SELECT status::text FROM hotswap.deployment WHERE id = :'d'), 'paused',
	'two waves: paused');
SELECT is(pg_temp.tasks(:'d'), '8 of wave 1 succeeded, 2 of wave 2 pending', 'between them');
SELECT is((SELECT status::text FROM hotswap.stages
	WHERE deployment_id = :'d' AND environment = 'wide'), 'running', 'in the middle of a stage');
CALL hotswap.work();
SELECT is(pg_temp.tasks(:'d'), '8 of wave 1 succeeded, 2 of wave 2 pending', 'it stays there');
SELECT set_status(:'t', 'active') \g /dev/null
CALL hotswap.work();
SELECT is(pg_temp.tasks(:'d'), '8 of wave 1 succeeded, 2 of wave 2 succeeded',
	'and goes on with the second wave');
DROP TRIGGER make_wave ON hotswap.task;

-- ---- a tenant that is leaving ----

SELECT set_status(:'t', 'active') \g /dev/null
SELECT hotswap.set_approval_policy('wide', 1) \g /dev/null
SELECT hotswap.publish_version('leave', v, 'SELECT 1') FROM unnest('{1,2,3}'::text[]) v \g /dev/null
SELECT hotswap.deploy('leave', '1', 'wide') AS parked \gset
CALL hotswap.work();
SELECT hotswap.publish_version('leaves', v,
	format('UPDATE hotswap.tenant SET status = ''deprovisioning'' WHERE id = %L', :'t'))
	FROM unnest('{1,2}'::text[]) v \g /dev/null
SELECT hotswap.configure_environment('last', 4) \g /dev/null
SELECT add_node('last', 'last', :'t') \g /dev/null
SELECT hotswap.set_approval_policy('wide', 0) \g /dev/null
SELECT hotswap.deploy('leaves', '1', 'last', priority => 1) AS d,
	hotswap.deploy('leaves', '2', 'last') AS queued,
	hotswap.deploy('leave', '3', 'last', run_at => 'tomorrow') AS later \gset
CALL hotswap.work();
SELECT is((SELECT status::text FROM hotswap.deployment WHERE id = :'d'), 'succeeded',
	'what runs in a tenant that is leaving goes on to its end');
SELECT is((SELECT count(*) FROM hotswap.stage WHERE deployment_id = :'queued'), 0::bigint,
	'nothing new starts');
CALL hotswap.work();
SELECT results_eq(format('SELECT status::text, message FROM hotswap.deployment
	WHERE id IN (%L, %L, %L)', :'parked', :'queued', :'later'),
	$$SELECT 'cancelled', 'the tenant is being deprovisioned' FROM generate_series(1, 3)$$,
	'what waits there is cancelled');
SELECT is((SELECT status::text FROM hotswap.approval WHERE deployment_id = :'parked'), 'void',
	'with its approval');
SELECT is((SELECT count(*) FROM hotswap.stage
	WHERE deployment_id = :'parked' AND status = 'waiting_approval'), 0::bigint, 'and its stages');
SELECT is((SELECT count(*) FROM hotswap.work_item), 0::bigint, 'the queue is empty');
SELECT is_empty('SELECT * FROM hotswap.verify_audit()', 'the audit log is whole');
SELECT * FROM finish();
