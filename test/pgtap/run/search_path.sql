-- Where scripts look for names: the node's schema, and others after it (src/run/record.c).
SELECT plan(4);

CREATE ROLE hotswap_test_path LOGIN;
CREATE SCHEMA "t 1" AUTHORIZATION hotswap_test_path;
CREATE SCHEMA "Extensions";
CREATE DOMAIN "Extensions".amount AS numeric;
GRANT USAGE ON SCHEMA "Extensions" TO hotswap_test_path;
SELECT hotswap.register_node('development', 't', run_as => 'hotswap_test_path', schema => 't 1',
	search_path => '{public, Extensions}') AS node \gset

-- Types of others are found, and what is made is the node's.
SELECT hotswap.publish_version('m', '1', 'CREATE TABLE price AS SELECT 1::amount AS a',
	'SELECT current_setting(''search_path'') = ''"t 1", public, "Extensions"''')
	\g /dev/null
SELECT hotswap.deploy('m', '1', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'a type of the last schema');
SELECT has_table('t 1', 'price', 'a table of the first one');

-- Without others only the node's.
SELECT hotswap.remove_node(:'node') \g /dev/null
SELECT hotswap.register_node('development', 't', run_as => 'hotswap_test_path', schema => 't 1')
	\g /dev/null
SELECT hotswap.publish_version('m', '2', 'SELECT 1::amount') \g /dev/null
SELECT hotswap.deploy('m', '2', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'failed', 'a node without others');
SELECT is((SELECT message FROM hotswap.tasks WHERE deployment_id = :'d' AND kind = 'swap'),
	'type "amount" does not exist', 'does not find it');

SELECT * FROM finish();
