-- The views modules and versions (sql/module/module.sql): what was published, and who may read it.
SELECT plan(13);
\ir ../include/openssl.sql
SELECT hotswap.add_signing_key('good', 'ed25519', pem('ed')) \g /dev/null
SELECT hotswap.publish_version('m', '1', 'SELECT ''ä''', parents => '{}',
	metadata => '{"ticket": 7}') \g /dev/null
SELECT hotswap.publish_version('m', '2', 'SELECT 2', 'SELECT true', 'SELECT 3', parents => '{1}',
	install_sql => 'SELECT 4') \g /dev/null
SELECT hotswap.publish_version('c', '9', 'SELECT 9') \g /dev/null
SELECT hotswap.withdraw_version('c', '9', 'x'), hotswap.publish_version('c', '8', 'SELECT 8'),
	hotswap.publish_version('c', '7', 'SELECT 7') \g /dev/null

-- Modules.
SELECT results_eq('SELECT name, is_graph, versions, latest, created_at <= now()
	FROM hotswap.modules ORDER BY name COLLATE "C"',
	$$VALUES ('c', false, 2, '7', true), ('m', true, 2, '2', true)$$,
	'modules, the versions that are there, and the newest');

-- Versions.
SELECT results_eq($$SELECT version, ordinal, parents, deploy_sql, verify_sql, revert_sql,
		install_sql, transactional, requires, metadata, published_by, published_at <= now()
	FROM hotswap.versions WHERE module = 'm' ORDER BY ordinal$$,
	$$VALUES ('1', 1, '{}'::text[], 'SELECT ''ä''', NULL::text, NULL::text, NULL::text, true,
		NULL::text[], '{"ticket": 7}'::jsonb, session_user::text COLLATE "default", true),
	('2', 2, '{1}', 'SELECT 2', 'SELECT true', 'SELECT 3', 'SELECT 4', true, NULL, '{}',
		session_user::text, true)$$, 'versions with their scripts');
SELECT results_eq('SELECT module, version, digest, install_digest, size FROM hotswap.versions
	ORDER BY module COLLATE "C", ordinal',
	$$SELECT module, version, encode(digest, 'hex'), encode(install_digest, 'hex'),
		octet_length(concat(deploy_sql, verify_sql, revert_sql, install_sql))::bigint
		FROM hotswap.module_version ORDER BY module COLLATE "C", ordinal$$,
	'digests in hex, as publish_version() returns them, and the size in bytes');
SELECT is((SELECT parents FROM hotswap.versions WHERE module = 'c' AND version = '7'), NULL,
	'a complete version has no parents');

-- Signatures that count.
SELECT is((SELECT signatures FROM hotswap.versions WHERE module = 'c' AND version = '7'), '{}',
	'nobody has signed it');
SELECT hotswap.publish_version('c', '7', 'SELECT 7', signing_key => 'good', signature =>
	sign('ed', hotswap.module_signing_payload('c', '7', 'SELECT 7'))) \g /dev/null
SELECT is((SELECT signatures FROM hotswap.versions WHERE module = 'c' AND version = '7'), '{good}',
	'who has');
SELECT hotswap.revoke_signing_key('good', 'lost') \g /dev/null
SELECT is((SELECT signatures FROM hotswap.versions WHERE module = 'c' AND version = '7'), '{}',
	'a key that is revoked does not count');

-- Who sees a deployment sees its scripts, and nobody else: viewers, and who may vote.
SELECT named('nobody') AS nobody, named('viewer') AS viewer, named('voter') AS voter \gset
CREATE ROLE :"nobody" LOGIN;
CREATE ROLE :"viewer" LOGIN;
CREATE ROLE :"voter" LOGIN;
SELECT hotswap.grant_access(:'viewer'::regrole, 'viewer'),
	hotswap.set_approval_policy('production', 1, ARRAY[:'voter']::regrole[]) \g /dev/null
SELECT is(as_role(:'nobody', 'SELECT count(deploy_sql)::text FROM hotswap.versions'), '0',
	'who has nothing sees no script');
SELECT is(as_role(:'nobody', 'SELECT count(*)::text FROM hotswap.modules'), '0', 'and no module');
SELECT is(as_role(:'viewer', 'SELECT count(deploy_sql)::text FROM hotswap.versions'), '4',
	'a viewer sees scripts');
SELECT is(as_role(:'voter', 'SELECT count(deploy_sql)::text FROM hotswap.versions'), '4',
	'so does who may vote');
SELECT is(as_role(:'voter', 'SELECT count(*)::text FROM hotswap.deployments'), '0',
	'which is who sees deployments, of which there are none');

-- One version is looked for by its key, however many there are.
SET enable_seqscan = off;
CREATE FUNCTION pg_temp.conditions(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
		IF line ~ 'Index Cond.*version = ''7''' THEN
			RETURN NEXT btrim(line);
		END IF;
	END LOOP;
END $$;
SELECT results_eq($$SELECT pg_temp.conditions('SELECT deploy_sql FROM hotswap.versions
	WHERE module = ''c'' AND version = ''7''')$$, $$VALUES ('Index Cond: ((tenant_id = '
		|| 'v.tenant_id) AND (module = ''c''::text) AND (version = ''7''::text))')$$,
	'by its key');
SELECT * FROM finish();
SELECT shell(format('rm -rf %s', :'dir')) \g /dev/null
SELECT shell('rm -rf ' || :'dir') \g /dev/null
DROP OWNED BY :"viewer";
SELECT hotswap.set_approval_policy('production', 0) \g /dev/null
DROP ROLE :"nobody", :"viewer", :"voter";
