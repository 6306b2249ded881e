-- A rollback goes before all that waits in its lane, whatever its priority, and what it holds does
-- not come with that (src/deployment/rollback.c, src/pipeline/held.c).
SELECT plan(8);
\ir ../include/graph.sql
SELECT logging_node('development', 'n'), publish_step('1', '{}'), publish_step('2', '{1}'),
	publish_step('3', '{2}'), publish_step('1.1', '{1}') \g /dev/null
CALL deploy_to('1', 'development') \gset
SELECT hotswap.deploy('m', '2', 'development') AS second \gset
CALL ended(:'second') \gset
SELECT is(:'said'::text || ' ' || log_of('n'), 'succeeded 1 2', 'a version that is wrong');

-- The next ones are in the queue already, at the head of it.
SELECT hotswap.stop_dispatching('to fill the queue') \g /dev/null
SELECT hotswap.deploy('m', '3', 'development', priority => 1000) AS third,
	hotswap.deploy('m', '1.1', 'development', priority => 1000, start_by => now() + '1 h') AS fix
	\gset
SELECT hotswap.rollback(:'second', 'it is wrong') AS back \gset
SELECT hotswap.start_dispatching() \g /dev/null
CALL ended(:'back') \gset
SELECT is(:'said'::text, 'succeeded', 'it is rolled back');
CALL ended(:'third') \gset
SELECT matches(:'said'::text, '^failed: .* would run version "2", which is held',
	'what contains it does not come');
CALL ended(:'fix') \gset
SELECT is(:'said'::text, 'succeeded', 'what does not, does');
SELECT is(log_of('n'), '1 2 -2 1.1', 'in this order');

-- One that was queued and is released in between comes.
SELECT hotswap.stop_dispatching('to fill the queue') \g /dev/null
SELECT hotswap.deploy('m', '3', 'development', allow_revert => true) AS third \gset
SELECT hotswap.release_version('development', 'm', '2', 'it was something else') \g /dev/null
SELECT hotswap.start_dispatching() \g /dev/null
CALL ended(:'third') \gset
SELECT is(:'said'::text || ' ' || log_of('n'), 'succeeded 1 2 -2 1.1 -1.1 2 3',
	'unless it is released');
SELECT is(heads_of('n'), '3', 'what contains it runs');
SELECT is_empty('SELECT * FROM hotswap.verify_audit()', 'the audit log is whole');

SELECT * FROM finish();
