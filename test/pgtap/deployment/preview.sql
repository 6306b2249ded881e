-- What would be deployed: preview() (src/deployment/preview.c).
SELECT plan(18);
\ir ../include/graph.sql
SELECT hotswap.set_approval_policy('production', 0) \g /dev/null
SELECT logging_node('development', 'd') \g /dev/null
SELECT logging_node('production', 'p') \g /dev/null
SELECT publish_step('1', '{}'), publish_step('2', '{1}'), publish_step('3', '{2}'),
	publish_step('2.1', '{2}') \g /dev/null

-- On nodes that run nothing.
SELECT results_eq($$SELECT goes_to, node, step, step_module, step_version, direction, problem
	FROM hotswap.preview('m', '2', 'production')$$,
	$$VALUES ('development', 'd', 1, 'm', '1', 'up', NULL::text), ('development', 'd', 2, 'm', '2',
	'up', NULL), ('production', 'p', 1, 'm', '1', 'up', NULL), ('production', 'p', 2, 'm', '2',
	'up',
	NULL)$$, 'a row a step, on all nodes of the path');
SELECT results_eq($$SELECT digest FROM hotswap.preview('m', '2', 'development')$$,
	$$SELECT encode(digest, 'hex') FROM hotswap.module_version WHERE version IN ('1', '2')
	ORDER BY ordinal$$, 'with the digests of the versions');
SELECT is(log_of('d') || log_of('p'), '', 'nothing has run');

-- It is what then happens.
CALL deploy_to('2', 'development') \gset
CREATE TABLE foretold AS SELECT node, step, step_version, direction
	FROM hotswap.preview('m', '3', 'production');
CALL deploy_to('3', 'production') \gset
SELECT is(:'said'::text, 'succeeded', 'deployed');
SELECT results_eq($$SELECT f.node, f.step_version, f.direction FROM foretold f ORDER BY node,
	step$$,
	$$SELECT n.name, m.step, m.direction::text FROM hotswap.node_module m
	JOIN hotswap.node n ON n.id = m.node_id JOIN hotswap.deployment d ON d.id = m.deployment_id
	WHERE d.version = '3' ORDER BY n.name, m.swap$$, 'what was foretold has happened');

-- Nodes without steps.
SELECT results_eq($$SELECT node, step, problem FROM hotswap.preview('m', '3', 'development')$$,
	$$VALUES ('d', NULL::integer, 'skipped: node "d" already runs version "3" from deployment ' ||
	(SELECT id FROM hotswap.deployment WHERE version = '3'))$$, 'what runs already');
SELECT is_empty($$SELECT * FROM hotswap.preview('m', '2.1', 'production') WHERE goes_to =
	'development'
	AND problem !~ '^skipped: node "d" runs version "3", which'$$, 'what has no place on the way');
SELECT matches((SELECT problem FROM hotswap.preview('m', '2', 'development')),
	'^blocked: node "d" runs version "3"', 'what would have to be taken back');
SELECT hotswap.publish_version('complete', '1', 'SELECT 1') \g /dev/null
SELECT results_eq($$SELECT step_version, direction FROM hotswap.preview('complete', '1',
	'development')$$,
	$$VALUES ('1', 'up')$$, 'a version that is complete in itself');
SELECT is_empty($$SELECT * FROM hotswap.preview('m', '3', 'qa') WHERE goes_to = 'qa'$$,
	'an environment without nodes');

-- What there is to say of the scripts that would run.
SELECT hotswap.set_rule('production', 'drop_table', 'deny') \g /dev/null
SELECT hotswap.publish_version('bad', '1', E'DROP TABLE t;\nTRUNCATE t',
	'TRUNCATE v', 'DROP TABLE t CASCADE; TRUNCATE w', parents => '{}'),
	hotswap.publish_version('bad', '2', 'SELECT 1', NULL, NULL, parents => '{1}',
		install_sql => 'DROP TABLE i') \g /dev/null
SELECT results_eq($$SELECT DISTINCT goes_to, step_version, direction, findings, missing_revert
	FROM hotswap.preview('bad', '1', 'production') ORDER BY 1$$,
	$$VALUES ('development', '1', 'up', 'warning: DROP TABLE in line 1 of the deploy script '
		'(rule drop_table of development); TRUNCATE in line 2 of the deploy script '
		'(rule truncate of development); TRUNCATE in line 1 of the verify script '
		'(rule truncate of development)', false),
	('production', '1', 'up', 'denied: DROP TABLE in line 1 of the deploy script '
		'(rule drop_table of production); warning: TRUNCATE in line 2 of the deploy script '
		'(rule truncate of production); TRUNCATE in line 1 of the verify script '
		'(rule truncate of production)', false)$$, 'what the rules find, by environment');
SELECT results_eq($$SELECT goes_to, direction, findings, missing_revert
	FROM hotswap.preview('bad', '2', 'production') ORDER BY 1$$,
	$$VALUES ('development', 'install', 'warning: DROP TABLE in line 1 of the install script '
		'(rule drop_table of development)', true),
	('production', 'install', 'denied: DROP TABLE in line 1 of the install script '
		'(rule drop_table of production)', true)$$, 'of an installer, and what cannot go back');
SELECT is_empty($$SELECT * FROM hotswap.preview('complete', '1', 'development')
	WHERE findings IS NOT NULL OR NOT missing_revert$$, 'nothing to say');

-- The same of a revert script.
SELECT hotswap.publish_version('down', '1', 'SELECT 1', parents => '{}'),
	hotswap.publish_version('down', '2', 'SELECT 1', NULL,
		'SELECT 1; TRUNCATE w', parents => '{1}') \g /dev/null
SELECT hotswap.set_node_version((SELECT id FROM hotswap.node WHERE name = 'd'), 'down', '{2}',
	'it does') AS d \gset
SELECT hotswap.wait(:'d') \g /dev/null
SELECT results_eq($$SELECT step_version, direction, findings, missing_revert
	FROM hotswap.preview('down', '1', 'development', allow_revert => true)$$,
	$$VALUES ('2', 'down', 'warning: TRUNCATE in line 1 of the revert script '
		'(rule truncate of development)', false)$$, 'of a revert script');

-- What is not there, and who may look.
SELECT throws_ok($$SELECT hotswap.preview('m', 'no', 'qa')$$, 'P0002',
	'version "no" of module "m" does not exist', 'no such version');
SELECT throws_ok($$SELECT hotswap.preview('m', '1', 'no')$$, 'P0002',
	'environment "no" does not exist', 'no such environment');
SELECT throws_ok($$SELECT hotswap.preview(NULL, '1', 'qa')$$, '22023', NULL, 'no module');
SELECT format('CREATE ROLE %I LOGIN', named('nobody')) \gexec
SELECT is(as_role(named('nobody'), $$SELECT hotswap.preview('m', '1', 'qa')$$), '42501',
	'who has no right');
