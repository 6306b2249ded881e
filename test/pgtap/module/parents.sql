-- Versions that build on each other: what publish_version() makes of parents and installers
-- (src/module/module.c, src/module/version.c).
SELECT plan(34);
SELECT hotswap.set_approval_policy('production', 0) \g /dev/null

-- The digest as the manual says it: with the marker, the installer, and the parents' digests in
-- order.
CREATE FUNCTION pg_temp.field(s text) RETURNS bytea LANGUAGE sql AS
	$$SELECT int8send(coalesce(octet_length(s), -1)) || coalesce(convert_to(s, 'UTF8'), '')$$;
CREATE FUNCTION pg_temp.digest(deploy text, verify text, revert text, install text, over text[])
		RETURNS text LANGUAGE sql AS $$
	SELECT encode(sha256(pg_temp.field('hotswap-version-v2') || pg_temp.field(deploy)
		|| pg_temp.field(verify) || pg_temp.field(revert) || pg_temp.field(install)
		|| int8send(1) || int8send(0) || int8send(cardinality(over))
		|| coalesce((SELECT string_agg(int8send(32) || digest, '' ORDER BY digest)
			FROM hotswap.module_version WHERE module = 'm' AND version = ANY (over)), '')), 'hex')
$$;
SELECT is(hotswap.publish_version('m', '1', 'SELECT 1', parents => '{}'),
	pg_temp.digest('SELECT 1', NULL, NULL, NULL, '{}'), 'the first of a chain');
SELECT isnt(hotswap.publish_version('complete', '1', 'SELECT 1'),
	pg_temp.digest('SELECT 1', NULL, NULL, NULL, '{}'), 'is not one that is complete in itself');
SELECT is(hotswap.publish_version('m', '2', 'SELECT 2', 'SELECT true', 'SELECT 3', parents =>
	'{1}'),
	pg_temp.digest('SELECT 2', 'SELECT true', 'SELECT 3', NULL, '{1}'), 'one with a parent');
SELECT is(hotswap.publish_version('m', '2.1', 'SELECT 21', parents => '{1}', install_sql =>
	'SELECT 4'),
	pg_temp.digest('SELECT 21', NULL, NULL, 'SELECT 4', '{1}'), 'one with an installer');
SELECT is(hotswap.publish_version('m', '3', 'SELECT 3', parents => '{2.1,2}'),
	pg_temp.digest('SELECT 3', NULL, NULL, NULL, '{2,2.1}'), 'a merge');
SELECT is(hotswap.publish_version('m', '3', 'SELECT 3', parents => '{2,2.1,2}', metadata =>
	'{"a": 1}'),
	pg_temp.digest('SELECT 3', NULL, NULL, NULL, '{2,2.1}'),
	'the same parents in another order, and other metadata: the same version');
SELECT is((SELECT metadata FROM hotswap.module_version WHERE module = 'm' AND version = '3'), '{}',
	'whose metadata stay');
SELECT hotswap.publish_version('m', '4', 'SELECT 4', parents => '{3}', metadata => '{"a": 1}')
	\g /dev/null
SELECT results_eq($$SELECT version, ordinal, parents, metadata FROM hotswap.module_version
	WHERE module = 'm' ORDER BY ordinal$$, $$VALUES ('1', 1, '{}'::text[], '{}'::jsonb),
	('2', 2, '{1}', '{}'), ('2.1', 3, '{1}', '{}'), ('3', 4, '{2,2.1}', '{}'),
	('4', 5, '{3}', '{"a": 1}')$$, 'in the order of their publication');
SELECT results_eq($$SELECT name, is_graph, versions FROM hotswap.module ORDER BY name$$,
	$$VALUES ('complete', false, 1), ('m', true, 5)$$, 'the modules count them');
SELECT is((SELECT encode(install_digest, 'hex') FROM hotswap.module_version WHERE version = '2.1'),
	(SELECT encode(sha256(int8send(32) || digest || pg_temp.field('SELECT 4')), 'hex')
		FROM hotswap.module_version WHERE version = '2.1'),
	'the installer has a digest of its own');

-- The history of the module is that of its digests.
CREATE FUNCTION pg_temp.history(name text) RETURNS bytea LANGUAGE plpgsql AS $$
DECLARE
	history bytea = '';
	next bytea;
BEGIN
	FOR next IN SELECT digest FROM hotswap.module_version WHERE module = name ORDER BY ordinal LOOP
		history = sha256(history || next);
	END LOOP;
	RETURN history;
END $$;
SELECT is((SELECT history FROM hotswap.module WHERE name = 'm'), pg_temp.history('m'),
	'its history');
SELECT throws_ok($$DO 'BEGIN
	PERFORM hotswap.publish_version(''m'', ''5'', ''SELECT 5'', parents => ''{4}'');
	RAISE division_by_zero; END'$$, '22012', NULL, 'a publication that is rolled back');
SELECT is((SELECT history FROM hotswap.module WHERE name = 'm'), pg_temp.history('m'),
	'has not happened');

-- What is refused.
SELECT throws_ok($$SELECT hotswap.publish_version('m', '3', 'SELECT 3', parents => '{2}')$$,
	'23505',
	'version "3" of module "m" already exists with other content',
	'other parents are other content');
SELECT throws_ok($$SELECT hotswap.publish_version('m', '4', 'SELECT 4', parents => '{3}',
	install_sql => 'SELECT 1')$$, '23505', NULL, 'so is an installer');
SELECT results_eq($$SELECT code, message FROM refusal(
	'SELECT hotswap.publish_version(''m'', ''9'', ''SELECT 1'', parents => ''{1,no}'')')$$,
	$$VALUES ('P0002', 'version "no" of module "m" does not exist')$$,
	'a parent that is not there');
SELECT throws_ok($$SELECT hotswap.publish_version('m', '9', 'SELECT 1', parents => '{9}')$$,
	'P0002',
	NULL, 'itself as a parent');
SELECT throws_ok($$SELECT hotswap.publish_version('new', '1', 'SELECT 1', parents => '{1}')$$,
	'P0002',
	NULL, 'a parent in a module that is new');
SELECT is((SELECT count(*) FROM hotswap.module WHERE name = 'new'), 0::bigint, 'which is not made');
SELECT results_eq($$SELECT code, message, hint FROM refusal(
	'SELECT hotswap.publish_version(''m'', ''9'', ''SELECT 1'')')$$,
	$$VALUES ('55000', 'the versions of module "m" build on each other',
	'Say in "parents" which versions it builds on.')$$, 'a complete version in a graph');
SELECT results_eq($$SELECT code, message, hint FROM refusal(
	'SELECT hotswap.publish_version(''complete'', ''2'', ''SELECT 1'', parents => ''{}'')')$$,
	$$VALUES ('55000', 'the versions of module "complete" are complete in themselves',
	'Publish it without "parents", or under a new module.')$$, 'parents among complete versions');
SELECT results_eq($$SELECT code, message FROM refusal(
	'SELECT hotswap.publish_version(''complete'', ''2'', ''SELECT 1'',
	install_sql => ''SELECT 1'')')$$,
	$$VALUES ('22023', '"install_sql" must not be given without "parents"')$$,
	'an installer of a complete version');
SELECT throws_ok($$SELECT hotswap.publish_version('m', '9', 'SELECT 1', parents => '{NULL}')$$,
	'22023',
	NULL, 'a parent that is NULL');
SELECT throws_ok($$SELECT hotswap.publish_version('m', '9', 'SELECT 1', parents => '{1}',
	metadata => '[]')$$, '22023', '"metadata" must be a JSON object',
	'metadata that are no object');
SELECT throws_ok($$SELECT hotswap.publish_version('m', '9', 'SELECT 1', parents => '{1}',
	metadata => NULL)$$, '22023', NULL, 'metadata that are NULL');
SELECT throws_ok($$SELECT hotswap.publish_version('m', '9', 'SELECT 1', parents => '{1}',
	install_sql => 'SELEC')$$, '42601', NULL, 'an installer that does not parse');
SELECT throws_ok($$SELECT hotswap.publish_version('m', '9', 'SELECT 1', parents => '{1}',
	install_sql => 'COMMIT')$$, '0A000', NULL, 'or has what a script may not have');
SELECT is((SELECT versions FROM hotswap.module WHERE name = 'm'), 5, 'nothing of it was published');

-- What is signed.
SELECT format('CREATE ROLE %I LOGIN', named('nobody')) \gexec
SELECT is(hotswap.module_signing_payload('m', '5', 'SELECT 5', parents => '{4}'),
	(SELECT replace(hotswap.module_signing_payload('m', '5', 'x'), encode(sha256(
		pg_temp.field('x') || pg_temp.field(NULL) || pg_temp.field(NULL)), 'hex'),
		pg_temp.digest('SELECT 5', NULL, NULL, NULL, '{4}'))), 'the payload has the digest');
SELECT throws_ok($$SELECT hotswap.module_signing_payload('m', '5', 'SELECT 5', parents => '{no}')$$,
	'P0002', NULL, 'the payload of a version whose parents are not there');
SELECT is(as_role(named('nobody'), $$SELECT hotswap.module_signing_payload('m', '5', 'SELECT 5',
	parents => '{4}')$$), '42501', 'parents are looked up for who may publish');

-- A graph is what was published: what was altered does not run.
SELECT hotswap.register_node('development', 'n') \g /dev/null
UPDATE hotswap.module_version SET parents = '{2}' WHERE module = 'm' AND version = '3';
SELECT hotswap.deploy('m', '3', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'failed', 'parents that were altered');
SELECT is((SELECT message FROM hotswap.deployment WHERE id = :'d'),
	'scripts of version "3" of module "m" are not those that were published', 'are found out');
SELECT is((SELECT count(*) FROM hotswap.node_module), 0::bigint, 'before anything ran');
