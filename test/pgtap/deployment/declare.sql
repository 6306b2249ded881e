-- What a node runs is declared: set_node_version() (src/deployment/declare.c,
-- src/core/plan_declaration.c).
SELECT plan(48);
\ir ../include/graph.sql
SELECT hotswap.set_approval_policy('staging', 0), hotswap.set_approval_policy('production', 0)
	\g /dev/null
SELECT logging_node('development', 'd') AS d \gset
SELECT publish_step('1', '{}'), publish_step('2', '{1}'), publish_step('2.1', '{1}'),
	publish_step('3', '{2}') \g /dev/null
CREATE PROCEDURE declare_to(node uuid, versions text[], INOUT said text DEFAULT NULL)
	LANGUAGE plpgsql AS $$
DECLARE
	d uuid = hotswap.set_node_version(node, 'm', versions, 'it was there');
BEGIN
	COMMIT;
	PERFORM hotswap.wait(d, '60 s');
	COMMIT;
	SELECT concat_ws(': ', status, message) INTO said FROM hotswap.deployment WHERE id = d;
END $$;

-- Nothing is run, and what comes next builds on it.
CALL declare_to(:'d', '{2}') \gset
SELECT is(:'said'::text, 'succeeded', 'declared to run 2');
SELECT is(log_of('d'), '', 'nothing was run');
SELECT results_eq($$SELECT h.step, h.direction::text, h.version, h.heads, d.kind::text
	FROM hotswap.node_history h JOIN hotswap.deployments d ON d.id = h.deployment_id$$,
	$$VALUES ('2', 'declared', '2', '{2}'::text[], 'declare')$$, 'it is in the history');
SELECT results_eq('SELECT module, version, environment, kind::text, heads, reason, nodes
	FROM hotswap.deployments', format($$VALUES ('m', '2', 'development', 'declare', '{2}'::text[],
	'it was there', ARRAY[%L::uuid])$$, :'d'), 'and a deployment of its own kind');
SELECT results_eq($$SELECT reason, detail FROM hotswap.audit_log WHERE event = 'request'$$,
	format($$VALUES ('it was there', jsonb_build_object('module', 'm', 'version', '2',
	'environment', 'development', 'node', %L, 'heads', '{2}'))$$, :'d'), 'the audit log says why');
SELECT results_eq($$SELECT kind::text FROM hotswap.stages$$, $$VALUES ('deploy')$$,
	'there is nothing to build or to test');
CALL deploy_to('3', 'development') \gset
SELECT is(:'said'::text || ' ' || log_of('d'), 'succeeded 3', 'a deployment of 3 runs 3 alone');

-- What it runs already, tags, several heads, and those that others build on.
CALL declare_to(:'d', '{3}') \gset
SELECT is(:'said'::text, 'succeeded', 'what it runs, again');
SELECT results_eq($$SELECT message FROM hotswap.tasks WHERE status = 'skipped'$$,
	$$VALUES ('node "d" already runs that')$$, 'is skipped');
SELECT hotswap.tag_version('m', 'side', '2.1') \g /dev/null
CALL declare_to(:'d', '{side,3,1,2.1}') \gset
SELECT is(heads_of('d'), '2.1 3', 'two heads; what they build on is in them');
SELECT is(steps_of('d'), 'declared 2, up 3, declared 2.1, declared 3', 'a row each');
SELECT is((SELECT version FROM hotswap.deployments WHERE heads = '{2.1,3}'), '3',
	'the newest of them is the version');
CALL declare_to(:'d', '{1}') \gset
SELECT is(heads_of('d') || ' ' || log_of('d'), '1 3', 'back, too, and nothing is run');

-- The verify script is run.
SELECT hotswap.publish_version('m', 'good', 'SELECT 1/0', $$INSERT INTO log (what) VALUES ('?');
	SELECT count(*) = 2 FROM log$$, parents => '{1}'), hotswap.publish_version('m', 'bad',
	'SELECT 1', 'SELECT count(*) = 7 FROM log', parents => '{1}') \g /dev/null
CALL declare_to(:'d', '{good}') \gset
SELECT is(:'said'::text || ' ' || heads_of('d') || ' ' || log_of('d'), 'succeeded good 3',
	'it is verified, and that leaves nothing');
CALL declare_to(:'d', '{bad,good}') \gset
SELECT is(:'said'::text, 'failed: verification returned false', 'what is not so');
SELECT is(heads_of('d'), 'good', 'is not recorded');

-- Complete versions.
SELECT hotswap.publish_version('c', '1', 'SELECT 1/0'), hotswap.publish_version('c', '2',
	'SELECT 2') \g /dev/null
SELECT hotswap.set_node_version(:'d', 'c', '{1}', 'x') AS c \gset
SELECT is(hotswap.wait(:'c', '60 s'), 'succeeded', 'a complete version');
SELECT results_eq($$SELECT step, direction::text, version, heads FROM hotswap.node_history
	WHERE module = 'c'$$, $$VALUES ('1', 'declared', '1', NULL::text[])$$, 'has no heads');
SELECT results_eq(format('SELECT code, message, detail FROM refusal(%L)',
	format($$SELECT hotswap.set_node_version(%L, 'c', '{1,2}', 'x')$$, :'d')),
	$$VALUES ('22023', '"version" must have one element',
		'The versions of module "c" are complete in themselves.')$$, 'a node runs one of them');

-- What is refused.
SELECT throws_ok(format('SELECT hotswap.set_node_version(%s)', format(arguments, :'d')), code, NULL,
	arguments)
FROM (VALUES ('gen_random_uuid(), ''m'', ''{1}'', ''x''', 'P0002'), ('%L, ''m'', ''{9}'', ''x''',
	'P0002'), ('%L, ''none'', ''{1}'', ''x''', 'P0002'), ('%L, ''m'', ''{}'', ''x''', '22023'),
	('%L, ''m'', NULL, ''x''', '22023'), ('%L, ''m'', ''{1}'', '' ''', '22023'),
	('NULL, ''m'', ''{1}'', ''x''', '22023')) a (arguments, code);
SELECT named('dora') AS dora, named('vera') AS vera \gset
CREATE ROLE :"dora" LOGIN;
SELECT hotswap.grant_access(:'dora'::regrole, 'deployer') \g /dev/null
SELECT is(as_role(:'dora', format('SELECT hotswap.set_node_version(%L, ''m'', ''{1}'', ''x'')',
	:'d')), '42501', 'a deployer does not declare');

-- While a deployment is in the lane.
SELECT hotswap.publish_version('m', 'slow', 'SELECT pg_advisory_xact_lock(7)', parents =>
	'{good}') \g /dev/null
SELECT pg_advisory_lock(7) \g /dev/null
SELECT hotswap.deploy('m', 'slow', 'development') AS slow \gset
CALL until('at_gate(7)');
SELECT results_eq(format('SELECT code, message, detail, hint FROM refusal(%L)',
	format($$SELECT hotswap.set_node_version(%L, 'm', '{1}', 'x')$$, :'d')),
	format($$VALUES ('55000', 'cannot declare what runs in environment "development" while a '
	'deployment of module "m" is running there', 'It is deployment "%s".', 'Wait for its end.')$$,
	:'slow'), 'a deployment is running there');
SELECT pg_advisory_unlock(7) \g /dev/null
SELECT hotswap.wait(:'slow', '60 s') \g /dev/null

-- It is about the node as it was then.
SELECT publish_step('5', '{slow}') \g /dev/null
SELECT hotswap.stop_dispatching('both are asked for first') \g /dev/null
SELECT hotswap.deploy('m', '5', 'development') AS five \gset
SELECT hotswap.set_node_version(:'d', 'm', '{3,2.1}', 'x') AS late \gset
SELECT throws_ok($$SELECT hotswap.withdraw_version('m', '2.1', 'x')$$, '55000', NULL,
	'what is going to be declared is not withdrawn');
SELECT hotswap.start_dispatching() \g /dev/null
SELECT is(hotswap.wait(:'five', '60 s'), 'succeeded', 'a deployment came before it');
SELECT is(hotswap.wait(:'late', '60 s'), 'failed', 'so it is not declared');
SELECT is((SELECT message FROM hotswap.deployments WHERE id = :'late'), 'version "3" cannot go to '
	'environment "development": node "d" has changed since it was asked to be declared', 'why');
SELECT is(heads_of('d'), '5', 'the node runs what came');

-- It brought nothing that could be taken back, and puts nothing right.
SELECT id AS declared FROM hotswap.deployments WHERE heads = '{2.1,3}' LIMIT 1 \gset
SELECT results_eq(format('SELECT code, detail FROM refusal(%L)',
	format($$SELECT hotswap.rollback(%L, 'x')$$, :'declared')),
	$$VALUES ('55000', 'It has declared what a node runs, and brought nothing.')$$,
	'it is not rolled back');
INSERT INTO hotswap.failed_rollback VALUES ('00000000-0000-7000-8000-000000000001', :'five', 'm',
	'development', now() - interval '1 day');
CALL declare_to(:'d', '{slow}') \gset
SELECT is((SELECT put_right_by FROM hotswap.failed_rollback), NULL,
	'a failed rollback is not put right by words');

-- Rules and signatures: of the verify script alone, and of each head.
SELECT hotswap.set_rule('development', 'truncate', 'deny') \g /dev/null
SELECT hotswap.publish_version('m', '6', 'TRUNCATE log', parents => '{slow}'),
	hotswap.publish_version('m', '7', 'SELECT 1', 'TRUNCATE log', parents => '{6}') \g /dev/null
CALL declare_to(:'d', '{6}') \gset
SELECT is(:'said'::text, 'succeeded', 'a deploy script that is denied is not run');
CALL declare_to(:'d', '{7}') \gset
SELECT matches(:'said'::text, '^failed: denied in version "7": TRUNCATE.*of the verify script',
	'a verify script is');
SELECT hotswap.configure_environment('development', require_signature => true) \g /dev/null
CALL declare_to(:'d', '{5}') \gset
SELECT is(:'said'::text, 'failed: environment "development" requires a signature, and version "5" '
	'of module "m" has none', 'a version that is not signed');

-- In a protected environment it is approved, and approvals from before are void.
CREATE ROLE :"vera" LOGIN;
SELECT hotswap.grant_access(:'vera'::regrole, 'approver'),
	hotswap.set_approval_policy('production', 1),
	hotswap.configure_environment('production', may_skip_environments => true) \g /dev/null
SELECT logging_node('production', 'p') AS p \gset
SELECT hotswap.stop_dispatching('both are approved first') \g /dev/null
SELECT hotswap.set_node_version(:'p', 'm', '{2}', 'it was there') AS word \gset
SELECT hotswap.deploy('m', '3', 'production', nodes => '{p}') AS three \gset
SELECT results_eq(format('SELECT version, steps FROM hotswap.approvals
	WHERE deployment_id = %L', :'word'),
	$$SELECT '2', jsonb_build_array(jsonb_build_object('module', 'm', 'version', '2', 'direction',
		'declared', 'digest', encode(digest, 'hex'), 'transactional', true))
		FROM hotswap.module_version
		WHERE module = 'm' AND version = '2'$$, 'the approval is about a declaration');
SELECT is(as_role(:'vera', format('SELECT hotswap.approve(%L)::text', d)), 'approved', 'approved')
	FROM unnest(ARRAY[:'word', :'three']::uuid[]) d;
SELECT hotswap.start_dispatching() \g /dev/null
SELECT is(hotswap.wait(:'word', '60 s'), 'succeeded', 'the one is declared');
CALL await(:'three', 'pending_approval');
SELECT results_eq(format('SELECT round, status::text, reason FROM hotswap.approvals
	WHERE deployment_id = %L ORDER BY round', :'three'), $$VALUES (1, 'void',
	'what node "p" runs was declared since'), (2, 'pending', NULL)$$,
	'the approval of the other is void');
SELECT is(as_role(:'vera', format('SELECT hotswap.approve(%L)::text', :'three')), 'approved',
	'approved again');
SELECT is(hotswap.wait(:'three', '60 s'), 'succeeded', 'it runs');
SELECT is(log_of('p'), '3', 'what the node lacks');

-- What was declared does not count as approved.
SELECT hotswap.rollback(:'three', 'x') AS back \gset
CALL await(:'back', 'pending_approval');
SELECT pass('to go back to what was declared has to be approved');
SELECT hotswap.cancel(:'back', 'end') \g /dev/null
SELECT is((SELECT count(*) FROM hotswap.verify_audit()), 0::bigint, 'the audit chain is whole');
SELECT * FROM finish();
DROP OWNED BY :"dora", :"vera";
DROP ROLE :"dora", :"vera";
