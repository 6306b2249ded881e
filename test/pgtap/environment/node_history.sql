-- The view node_history (sql/environment/node.sql): what came to nodes and went.
SELECT plan(7);
\ir ../include/graph.sql
SELECT hotswap.set_approval_policy('staging', 0) \g /dev/null
SELECT logging_node('development', 'd') AS d \gset
SELECT publish_step('1', '{}'), publish_step('2', '{1}'), publish_step('3', '{2}') \g /dev/null
CALL deploy_to('2', 'development') \gset
CREATE FUNCTION no(uuid) RETURNS void LANGUAGE plpgsql AS $$BEGIN RAISE 'no'; END$$;
SELECT hotswap.register_hook('validate', 'no(uuid)', 'm') \g /dev/null
CALL deploy_to('3', 'development') \gset
SELECT hotswap.publish_version('c', '1', 'SELECT 1'), hotswap.deploy('c', '1', 'development') AS c
	\gset
SELECT hotswap.wait(:'c', '60 s') \g /dev/null

-- A row a step, in their order.
SELECT results_eq($$SELECT environment, node, step, direction::text, version, heads
	FROM hotswap.node_history WHERE module = 'm' ORDER BY swap$$,
	$$VALUES ('development', 'd', '1', 'up', '1', '{1}'::text[]),
	('development', 'd', '2', 'up', '2', '{2}'), ('development', 'd', '3', 'up', '3', '{3}'),
	('development', 'd', '3', 'down', '2', '{2}')$$, 'what came and went');
SELECT results_eq($$SELECT step, version, heads FROM hotswap.node_history WHERE module = 'c'$$,
	$$VALUES ('1', '1', NULL::text[])$$, 'a complete version has no heads');
SELECT results_eq($$SELECT DISTINCT d.version, h.node_id FROM hotswap.node_history h
		JOIN hotswap.deployments d ON d.id = h.deployment_id WHERE h.module = 'm'
	ORDER BY d.version$$, format('VALUES (''2'', %1$L::uuid), (''3'', %1$L)', :'d'),
	'by which deployment, on which node');
SELECT ok(bool_and(at <= now()), 'and when') FROM hotswap.node_history;

-- A removed node keeps its history.
SELECT hotswap.remove_node(:'d') \g /dev/null
SELECT is((SELECT count(*) FROM hotswap.node_history), 5::bigint, 'a node that was removed');

-- Who sees it.
SELECT named('nora') AS nora \gset
CREATE ROLE :"nora" LOGIN;
SELECT is(as_role(:'nora', 'SELECT count(*)::text FROM hotswap.node_history'), '0',
	'who has nothing sees none of it');
SELECT hotswap.grant_access(:'nora'::regrole, 'viewer') \g /dev/null
SELECT is(as_role(:'nora', 'SELECT count(*)::text FROM hotswap.node_history'), '5',
	'a viewer sees it');
SELECT * FROM finish();
DROP OWNED BY :"nora";
DROP ROLE :"nora";
