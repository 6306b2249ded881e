-- Scripts of comments or blanks do nothing (src/module/script.c, src/run/script.c).
SELECT plan(7);

CREATE ROLE hotswap_test_nothing LOGIN;
CREATE SCHEMA t AUTHORIZATION hotswap_test_nothing;
SELECT hotswap.register_node('development', 't', run_as => 'hotswap_test_nothing',
	schema => 't') AS node \gset

-- Deployed and verified.
SELECT hotswap.publish_version('m', '1', E'\n', '/* to be verified */;') \g /dev/null
SELECT hotswap.deploy('m', '1', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'nothing to deploy');
SELECT is((SELECT version FROM hotswap.nodes), '1', 'is deployed');

-- Reverted: the verify script is true in the swap, and false in the stage validate.
CREATE SEQUENCE t.calls;
GRANT ALL ON t.calls TO hotswap_test_nothing;
SELECT hotswap.publish_version('m', '2', 'CREATE TABLE stays ()', 'SELECT nextval(''calls'') = 1',
	'-- nothing to undo') \g /dev/null
SELECT hotswap.deploy('m', '2', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'rolled_back', 'nothing to undo');
SELECT is((SELECT version FROM hotswap.nodes), '1', 'is undone');
SELECT has_table('t', 'stays', 'by doing nothing');

-- Installed.
SELECT hotswap.publish_version('n', '1', 'CREATE TABLE nobody ()', parents => '{}',
	install_sql => '-- made by hand') \g /dev/null
SELECT hotswap.deploy('n', '1', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'nothing to install');
SELECT hasnt_table('t', 'nobody', 'is installed');

SELECT * FROM finish();
