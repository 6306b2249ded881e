-- A deployment waits for one that was requested before it and brings what it requires
-- (src/pipeline/gate.c).
SELECT plan(7);
\ir ../include/graph.sql
SELECT hotswap.register_node('development', 'n') \g /dev/null
SELECT hotswap.publish_version('zone', '1',
		'DO $$BEGIN PERFORM pg_advisory_xact_lock_shared(8); END$$'),
	hotswap.publish_version('app', '1', 'SELECT 1', requires => '{zone}') \g /dev/null

-- Nobody brings it.
SELECT hotswap.deploy('app', '1', 'development') AS d \gset
CALL ended(:'d') \gset
SELECT matches(:'said'::text, '^failed: version "1" cannot go to environment "development": ',
	'nobody brings what it requires');

-- One that was requested before, and takes its time.
SELECT pg_advisory_lock(8) \g /dev/null
BEGIN;
SELECT hotswap.deploy('zone', '1', 'development') AS zone,
	hotswap.deploy('app', '1', 'development') AS app \gset
COMMIT;
CALL await(:'app', 'pending_approval');
SELECT is((SELECT message FROM hotswap.stages WHERE deployment_id = :'app'
	AND status = 'waiting_approval'),
	format('waits for deployment %s, which brings what it requires', :'zone'), 'it waits');
SELECT results_eq(format('SELECT reason, detail FROM hotswap.explain(%L)', :'app'),
	format($$VALUES ('what it requires is still to come',
	'It waits for deployment %s, which brings what it requires.')$$, :'zone'), 'as explain() says');
SELECT pg_advisory_unlock(8) \g /dev/null
CALL ended(:'app') \gset
SELECT is(:'said'::text, 'succeeded', 'then it goes on');
SELECT is((SELECT status::text FROM hotswap.deployment WHERE id = :'zone'), 'succeeded',
	'behind the other one');

-- One that fails, and one that is not due.
SELECT hotswap.publish_version('late', '1', 'SELECT 1', requires => '{base}'),
	hotswap.publish_version('base', 'broken',
		'DO $$BEGIN PERFORM pg_advisory_xact_lock_shared(8); RAISE division_by_zero; END$$'),
	hotswap.publish_version('base', '1', 'SELECT 1') \g /dev/null
SELECT pg_advisory_lock(8) \g /dev/null
BEGIN;
SELECT hotswap.deploy('base', 'broken', 'development') AS base,
	hotswap.deploy('late', '1', 'development') AS late \gset
COMMIT;
CALL await(:'late', 'pending_approval');
SELECT pg_advisory_unlock(8) \g /dev/null
CALL ended(:'late') \gset
SELECT matches(:'said'::text, '^failed: version "1" cannot go to',
	'it has failed: so does this one');
SELECT hotswap.deploy('base', '1', 'development', run_at => now() + '1 d') AS base,
	hotswap.deploy('late', '1', 'development') AS late \gset
CALL ended(:'late') \gset
SELECT matches(:'said'::text, '^failed: version "1" cannot go to',
	'what is not due is not waited for');
SELECT * FROM finish();
