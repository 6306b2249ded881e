-- A new enum value that is used before it is committed: what to do (src/run/task.c).
SELECT plan(9);

CREATE ROLE hotswap_test_enum LOGIN;
CREATE SCHEMA t AUTHORIZATION hotswap_test_enum;
CREATE TYPE t.mood AS ENUM ('glad');
ALTER TYPE t.mood OWNER TO hotswap_test_enum;
SELECT hotswap.register_node('development', 't', run_as => 'hotswap_test_enum', schema => 't')
	\g /dev/null
CREATE FUNCTION pg_temp.failure(d uuid) RETURNS text LANGUAGE sql AS
	$$SELECT concat_ws(' | ', sqlstate, script, hint) FROM hotswap.tasks
		WHERE deployment_id = d AND kind = 'swap'$$;
\set hint '''New enum values must be committed before they can be used. '
\set hint :hint 'Add the value in an earlier version that is deployed by itself, '
\set hint :hint 'or published with transactional => false.'''

-- In the deploy script, and in the verify script.
SELECT hotswap.publish_version('one', '1',
	'ALTER TYPE mood ADD VALUE ''sad''; CREATE TABLE x (m mood DEFAULT ''sad'')') \g /dev/null
SELECT hotswap.deploy('one', '1', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'failed', 'a script that uses the value that it adds');
SELECT is(pg_temp.failure(:'d'), '55P04 | deploy | ' || :hint, 'is told what to do');
SELECT hotswap.publish_version('one', '2', 'ALTER TYPE mood ADD VALUE ''sad''',
	'SELECT ''sad''::mood = ''sad''') \g /dev/null
SELECT hotswap.deploy('one', '2', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'failed', 'a verify script that uses it');
SELECT is(pg_temp.failure(:'d'), '55P04 | verify | ' || :hint, 'as well');

-- In another version of the same transaction, and then by itself.
SELECT hotswap.publish_version('m', '1', 'ALTER TYPE mood ADD VALUE ''sad''',
	'SELECT count(*) = 1 FROM pg_enum WHERE enumlabel = ''sad''', parents => '{}'),
	hotswap.publish_version('m', '2', 'CREATE TABLE x (m mood DEFAULT ''sad'')',
		parents => '{1}') \g /dev/null
SELECT hotswap.deploy('m', '2', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'failed',
	'a version that uses it, with the one that adds it');
SELECT is(pg_temp.failure(:'d'), '55P04 | deploy | ' || :hint, 'too');
SELECT hotswap.deploy('m', '1', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'the one that adds it, by itself');
SELECT hotswap.deploy('m', '2', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'and the other one after it');
SELECT has_table('t', 'x', 'which has used it');

SELECT * FROM finish();
