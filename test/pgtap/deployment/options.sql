-- What deploy() does not do unasked: some nodes alone, environments skipped, versions taken back
-- (src/deployment/deploy.c, src/deployment/target_nodes.c).
SELECT plan(43);
\ir ../include/graph.sql
SELECT hotswap.set_approval_policy('production', 0) \g /dev/null
SELECT logging_node('development', 'd') \g /dev/null
SELECT logging_node('production', 'p1') AS p1, logging_node('production', 'p2') AS p2 \gset
SELECT publish_step('1', '{}'), publish_step('2', '{1}'), publish_step('3', '{2}'),
	publish_step('2.1', '{2}') \g /dev/null
CREATE FUNCTION pg_temp.running() RETURNS text LANGUAGE sql AS
	$$SELECT concat_ws(' ', heads_of('d'), heads_of('p1'), heads_of('p2'))$$;

-- Some nodes.
SELECT throws_ok($$SELECT hotswap.deploy('m', '2', 'production', nodes => '{p1}')$$, '55000',
	'environment "development" must not be skipped on the way to "production"',
	'what development has not seen does not come to production');
SELECT is((refusal($$SELECT hotswap.deploy('m', '2', 'production', nodes => '{p1}')$$)).detail,
	'Version "2" has not come to node "d" there.', 'as it says');
SELECT hotswap.deploy('m', '2', 'development') AS d \gset
CALL ended(:'d') \gset
SELECT hotswap.deploy('m', '2', 'production', nodes => '{p1,p1}') AS d \gset
CALL ended(:'d') \gset
SELECT is(:'said'::text || ' ' || pg_temp.running(), 'succeeded 2 2', 'one node by its name');
SELECT results_eq(format('SELECT nodes, only_target FROM hotswap.deployments WHERE id = %L', :'d'),
	format('VALUES (ARRAY[%L]::uuid[], true)', :'p1'), 'shown');
SELECT is((SELECT detail ->> 'nodes' FROM hotswap.audit_log WHERE subject_id = :'d'
	AND event = 'request'), format('{%s}', :'p1'), 'and audited');
SELECT is((SELECT string_agg(environment, ' ') FROM hotswap.stages WHERE deployment_id = :'d'
	AND kind = 'deploy'), 'production', 'other environments are not passed through');
SELECT hotswap.deploy('m', '3', 'production') AS d \gset
CALL ended(:'d') \gset
SELECT is(:'said'::text || ' ' || pg_temp.running(), 'succeeded 3 3',
	'a node that runs nothing, while others do, is left out');
SELECT is((SELECT message FROM hotswap.tasks WHERE deployment_id = :'d' AND node = 'p2'),
	'node "p2" runs nothing of module "m", and is not named', 'as its task says');
SELECT hotswap.deploy('m', '3', 'production', nodes => ARRAY[upper(:'p2')]) AS d \gset
CALL ended(:'d') \gset
SELECT is(:'said'::text || ' ' || pg_temp.running(), 'succeeded 3 3 3', 'one node by its id');
SELECT is(log_of('p2'), '1 2 3', 'with all that it lacked');
SELECT throws_ok($$SELECT hotswap.deploy('m', '3', 'production', nodes => '{p1,d}')$$, 'P0002',
	'environment "production" has no node "d"', 'a node of another environment');
SELECT throws_ok($$SELECT hotswap.deploy('m', '3', 'production', nodes => '{}')$$, '22023',
	'"nodes" must not be empty', 'no nodes');
SELECT throws_ok($$SELECT hotswap.deploy('m', '3', 'production', nodes => '{p1,NULL}')$$, '22023',
	'element of "nodes" must not be null', 'a node that is NULL');
SELECT throws_ok($$SELECT hotswap.deploy('m', '3', 'production', nodes => array_fill('p1'::text,
	'{10001}'))$$, '22023', '"nodes" has too many elements: 10001', 'too many');

-- The target alone.
SELECT publish_step('4', '{3}') \g /dev/null
SELECT throws_ok($$SELECT hotswap.deploy('m', '4', 'production', only_target => true)$$, '55000',
	'environment "development" must not be skipped on the way to "production"', 'it must not skip');
SELECT hotswap.configure_environment('production', may_skip_environments => true) \g /dev/null
SELECT hotswap.deploy('m', '4', 'production', only_target => true) AS d \gset
CALL ended(:'d') \gset
SELECT is(:'said'::text || ' ' || pg_temp.running(), 'succeeded 3 4 4', 'it may');
SELECT throws_ok($$SELECT hotswap.deploy('m', '4', 'production', only_target => true,
	require_approval => '{development}')$$, '22023', NULL, 'nothing else is on its path');

-- Its lane is that of the target alone.
BEGIN;
SELECT hotswap.deploy('m', '4', 'production', only_target => true, priority => 5) AS first,
	hotswap.deploy('m', '4', 'development') AS second,
	hotswap.deploy('m', '4', 'production', only_target => true) AS third \gset
SELECT is_empty(format($$SELECT reason FROM hotswap.explain(%L) WHERE unblocked_by ~ %L$$,
	:'second',
	:'first'), 'a lower environment is free');
SELECT isnt_empty(format($$SELECT reason FROM hotswap.explain(%L) WHERE unblocked_by ~ %L$$,
	:'third',
	:'first'), 'the target is not');
ROLLBACK;

-- Taking back.
SELECT matches((SELECT problem FROM hotswap.preview('m', '2', 'development')),
	'^blocked: node "d" runs version "3", which builds on version "2"', 'not unasked');
SELECT results_eq($$SELECT step_version, direction FROM hotswap.preview('m', '2', 'development',
	allow_revert => true)$$, $$VALUES ('3', 'down')$$, 'preview() shows what would go');
SELECT hotswap.deploy('m', '2', 'development', allow_revert => true) AS d \gset
CALL ended(:'d') \gset
SELECT is(:'said'::text || ' ' || log_of('d'), 'succeeded 1 2 3 -3', 'asked');
SELECT hotswap.deploy('m', '2.1', 'production', allow_revert => true) AS d \gset
CALL ended(:'d') \gset
SELECT is(:'said'::text || ' ' || pg_temp.running() || ' ' || log_of('p1'),
	'succeeded 2.1 2.1 2.1 1 2 3 4 -4 -3 2.1', 'to another branch');
SELECT hotswap.deploy('m', '3', 'production', allow_revert => true) AS d \gset
CALL ended(:'d') \gset
SELECT is(:'said'::text || ' ' || pg_temp.running(), 'succeeded 2.1 3 3',
	'in the target alone: on the way to it nothing is taken back');
SELECT format('CREATE ROLE %1$I LOGIN; SELECT hotswap.grant_access(%1$L, ''deployer'')',
	named('dan')) AS roles \gset
:roles \g /dev/null
SELECT is(as_role(named('dan'), $$SELECT hotswap.deploy('m', '1', 'production',
	allow_revert => true)$$), '42501', 'an operator may');
SELECT hotswap.configure_environment('production', allow_revert => 'anyone') \g /dev/null
SELECT matches(as_role(named('dan'), $$SELECT hotswap.deploy('m', '1', 'production',
	allow_revert => true, run_at => now() + '1 d')$$), '^\w{8}-', 'or anyone');
SELECT hotswap.configure_environment('production', allow_revert => 'no') \g /dev/null
SELECT throws_ok($$SELECT hotswap.deploy('m', '1', 'production', allow_revert => true)$$, '55000',
	'environment "production" does not allow reverts', 'or nobody');
SELECT hotswap.configure_environment('production', allow_revert => 'approval') \g /dev/null
BEGIN;
SELECT hotswap.deploy('m', '1', 'production', allow_revert => true) AS d \gset
SELECT is((SELECT string_agg((e ->> 'direction') || ' ' || (e ->> 'version'), ', ')
	FROM hotswap.approvals a, jsonb_array_elements(steps) e WHERE deployment_id = :'d'),
	'down 3, down 2', 'or who has an approval, which is about what goes');
ROLLBACK;
SELECT throws_ok($$SELECT hotswap.deploy('m', '1', 'staging', allow_revert => true)$$, '55000',
	'environment "staging" does not allow reverts', 'at first nobody, where it is protected');

-- They are part of what a key stands for.
SELECT hotswap.deploy('m', '4', 'development', 'k', run_at => '2100-01-01') AS d \gset
SELECT is(hotswap.deploy('m', '4', 'development', 'k', run_at => '2100-01-01'), :'d', 'the same');
SELECT throws_ok(format($$SELECT hotswap.deploy('m', '4', 'development', 'k',
	run_at => '2100-01-01', %s)$$, option), 'YH001', NULL, 'another request: ' || option)
FROM unnest(ARRAY['nodes => ''{d}''', 'allow_revert => true', 'only_target => true',
	'reapply => true', 'overtake => true', 'on_failure => ''stay''']) option;

-- What must not be NULL.
SELECT throws_ok(format($$SELECT hotswap.deploy('m', '4', 'development', %s => NULL)$$, option),
	'22023', format('"%s" must not be null', option), option || ' NULL')
FROM unnest(ARRAY['allow_revert', 'only_target', 'reapply', 'overtake']) option;
SELECT is((refusal($$SELECT hotswap.deploy('m', '4', 'development', on_failure => 'no')$$)).detail,
	'It must be one of back, stay.', 'nor be anything');
SELECT throws_ok($$SELECT hotswap.preview('m', '4', 'development', '{no}')$$, 'P0002', NULL,
	'preview() of a node that is not there');

-- By what a query of the nodes returns, a row for each of their modules: those of a ring.
SELECT logging_node('development', 'e') \g /dev/null
UPDATE hotswap.node SET labels = '{"ring": "beta"}' WHERE name = 'e';
SELECT hotswap.deploy('m', '4', 'development', nodes => ARRAY(SELECT id::text FROM hotswap.nodes
	WHERE environment = 'development' AND labels @> '{"ring": "beta"}')) AS d \gset
CALL ended(:'d') \gset
SELECT is(:'said'::text || ' ' || log_of('e') || ', ' || heads_of('d'), 'succeeded 1 2 3 4, 2.1',
	'by their labels');
SELECT * FROM finish();
