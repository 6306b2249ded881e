-- acknowledge(): who may, and of what (src/deployment/acknowledge.c). What it changes is tested in
-- test/pgtap/pipeline/rollback.sql.
SELECT plan(4);

SELECT hotswap.publish_version('m', '1', 'SELECT 1'),
	hotswap.stop_dispatching('so that nothing starts') \g /dev/null
SELECT hotswap.deploy('m', '1', 'qa') AS d, named('deployer') AS deployer,
	named('operator') AS operator \gset
CREATE ROLE :deployer LOGIN;
CREATE ROLE :operator LOGIN;
SELECT hotswap.grant_access(:'deployer', 'deployer'),
	hotswap.grant_access(:'operator', 'operator') \g /dev/null

SELECT is(as_role(who, format('SELECT hotswap.acknowledge(%s, ''x'')', what)), code,
	format('%s acknowledges %s', who, what))
FROM (VALUES (:'deployer', quote_literal(:'d'), '42501'),
	(:'operator', quote_literal(:'d'), '55000'),
	(:'operator', 'NULL', '22023'),
	(:'operator', quote_literal(gen_random_uuid()), 'P0002')) a (who, what, code);
SELECT * FROM finish();
