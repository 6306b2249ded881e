-- What nodes run for a deployment of versions that build on each other (src/core/plan.c,
-- src/core/version_graph.c): each case from its request to what the scripts wrote.
SELECT plan(41);
\ir ../include/graph.sql
SELECT hotswap.set_approval_policy('production', 0) \g /dev/null
SELECT logging_node('development', 'd') \g /dev/null
SELECT logging_node('production', 'p') \g /dev/null
SELECT publish_step('1', '{}'), publish_step('2', '{1}'), publish_step('3', '{2}'),
	publish_step('4', '{3}'), publish_step('5', '{4}') \g /dev/null

-- Up: what is missing, in order, each once.
CALL deploy_to('2', 'production') \gset
SELECT is(:'said'::text, 'succeeded', 'from nothing to 2');
SELECT is(log_of('d') || ' / ' || log_of('p'), '1 2 / 1 2', 'both nodes run 1 and 2');
CALL deploy_to('5', 'development') \gset
SELECT is(:'said'::text, 'succeeded', 'from 2 to 5');
SELECT is(log_of('d'), '1 2 3 4 5', 'what is between runs, in order');
SELECT is(steps_of('d'), 'up 1, up 2, up 3, up 4, up 5', 'a row a step');
SELECT is(heads_of('d'), '5', 'the node runs 5');
SELECT results_eq($$SELECT version, encode(digest, 'hex') FROM hotswap.node_module WHERE step =
	'4'$$,
	$$SELECT version, encode(digest, 'hex') FROM hotswap.module_version WHERE version = '4'$$,
	'version and digest are those of what ran then');

-- A node on the way that has the version already is passed.
CALL deploy_to('3', 'production') \gset
SELECT is(:'said'::text, 'succeeded', 'production at 2 takes 3 while development is at 5');
SELECT is(log_of('d') || ' / ' || log_of('p'), '1 2 3 4 5 / 1 2 3', 'development stays');
SELECT results_eq($$SELECT s.message FROM hotswap.stage s JOIN hotswap.deployment d
	ON d.id = s.deployment_id WHERE d.version = '3' AND s.environment = 'development'$$,
	$$VALUES ('node "d" runs version "5", which builds on version "3"')$$,
	'and its stage says why');

-- In the target it is refused: nothing is taken back unasked.
CALL deploy_to('3', 'development') \gset
SELECT matches(:'said'::text, '^failed: version "3" cannot go to environment "development": .*"5"',
	'back to 3: refused');
SELECT is(log_of('d'), '1 2 3 4 5', 'nothing ran');
SELECT is(heads_of('d'), '5', 'the node runs what it ran');
CALL deploy_to('5', 'development') \gset
SELECT is(:'said'::text, 'succeeded', 'what it runs, again');
SELECT is(log_of('d'), '1 2 3 4 5', 'runs nothing');

-- A hotfix while development is ahead, and the merge that has both.
SELECT publish_step('3.1', '{3}') \g /dev/null
CALL deploy_to('3.1', 'production') \gset
SELECT is(:'said'::text, 'succeeded', 'a hotfix');
SELECT is(log_of('d') || ' / ' || log_of('p'), '1 2 3 4 5 / 1 2 3 3.1', 'goes past development');
SELECT publish_step('6', '{5,3.1}') \g /dev/null
CALL deploy_to('6', 'production') \gset
SELECT is(:'said'::text, 'succeeded', 'a merge of both');
SELECT is(log_of('d'), '1 2 3 4 5 3.1 6', 'development lacked the hotfix');
SELECT is(log_of('p'), '1 2 3 3.1 4 5 6', 'production lacked 4 and 5');
SELECT is(heads_of('d') || ' ' || heads_of('p'), '6 6', 'and both run 6');
SELECT results_eq($$SELECT heads FROM hotswap.node_module m JOIN hotswap.node n ON n.id = m.node_id
	WHERE n.name = 'd' AND m.step = '3.1'$$, $$VALUES ('{5,3.1}'::text[])$$,
	'between them development had two heads');

-- A failure leaves the node where it was: all steps are one transaction.
SELECT publish_step('7', '{6}') \g /dev/null
SELECT hotswap.publish_version('m', '8', 'SELECT 1/0', parents => '{7}') \g /dev/null
CALL deploy_to('8', 'development') \gset
SELECT is(:'said'::text, 'failed: division by zero', 'the second step fails');
SELECT is(log_of('d'), '1 2 3 4 5 3.1 6', 'the first is undone');
SELECT is(heads_of('d'), '6', 'the node runs what it ran');
SELECT results_eq($$SELECT step, script, t.sqlstate FROM hotswap.task t JOIN hotswap.deployment d
	ON d.id = t.deployment_id WHERE d.version = '8' AND t.kind = 'swap'$$,
	$$VALUES ('8', 'deploy', '22012')$$, 'the task says which version failed');
SELECT hotswap.publish_version('m', '9', 'SELECT 1', 'SELECT false', parents => '{7}') \g /dev/null
CALL deploy_to('9', 'development') \gset
SELECT is(:'said'::text, 'failed: verification returned false', 'each step is verified');
SELECT is(heads_of('d'), '6', 'within the transaction');

-- A deployment that fails after its swaps goes back along the same steps.
CREATE FUNCTION no(uuid) RETURNS void LANGUAGE plpgsql AS $$BEGIN RAISE 'no'; END$$;
SELECT hotswap.register_hook('validate', 'no(uuid)', 'm') \g /dev/null
SELECT publish_step('10', '{7}'), publish_step('11', '{10}') \g /dev/null
CALL deploy_to('11', 'development') \gset
SELECT is(:'said'::text, 'rolled_back: no', 'validation fails');
SELECT is(log_of('d'), '1 2 3 4 5 3.1 6 7 10 11 -11 -10 -7', 'the steps are taken back in reverse');
SELECT is(heads_of('d'), '6', 'the node runs what it ran');
SELECT matches(steps_of('d'), 'up 7, up 10, up 11, down 11, down 10, down 7$', 'each a row');
SELECT publish_step('12', '{6}', false), publish_step('13', '{12}') \g /dev/null
CALL deploy_to('13', 'development') \gset
SELECT is(:'said'::text, 'rollback_failed: no', 'a step without a revert script');
SELECT is((SELECT rollback_message FROM hotswap.deployment WHERE version = '13'),
	'version "12" of module "m" cannot be reverted', 'is named');
SELECT is(heads_of('d'), '13', 'and nothing is taken back by halves');
SELECT hotswap.remove_hook('validate', 'no(uuid)', 'm') \g /dev/null

-- A node that runs nothing while others of its environment run something does not belong to it.
SELECT logging_node('production', 'q') \g /dev/null
SELECT publish_step('14', '{13}') \g /dev/null
CALL deploy_to('14', 'production') \gset
SELECT is(:'said'::text, 'succeeded', 'the others go on');
SELECT is(log_of('q'), '', 'a new node is left out');

-- An installer is for nodes that run nothing, and what comes after it runs on top.
SELECT hotswap.configure_environment('fresh', 500) \g /dev/null
SELECT logging_node('fresh', 'f') \g /dev/null
SELECT publish_step('15', '{14}', true, true), publish_step('16', '{15}') \g /dev/null
CALL deploy_to('16', 'fresh') \gset
SELECT is(:'said'::text, 'succeeded', 'a squash');
SELECT is(log_of('f') || ' / ' || steps_of('f'), '=15 16 / install 15, up 16', 'from nothing');
SELECT is(heads_of('f'), '16', 'as if all had run');
SELECT matches(log_of('p'), '14 15 16$', 'where something runs, the scripts run');
