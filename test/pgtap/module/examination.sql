-- What is found in scripts is kept with them, and counts as long as it fits
-- (src/module/examination.c, src/module/version.c).
SELECT plan(31);

CREATE ROLE module_examination_node LOGIN;
CREATE SCHEMA n AUTHORIZATION module_examination_node;
SELECT hotswap.register_node('development', 'n', run_as => 'module_examination_node',
	schema => 'n') \g /dev/null
CREATE TABLE written (module text, version text, by_xid xid);
CREATE FUNCTION kept(name text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(concat_ws(':', f ->> 'rule', f ->> 'script', f ->> 'line', f ->> 'language'),
		' ' ORDER BY ordinality) FROM hotswap.module_version, json_array_elements(findings)
		WITH ORDINALITY AS e (f, ordinality) WHERE version = name $$;
CREATE FUNCTION scanned(d uuid) RETURNS text LANGUAGE sql AS $$
	SELECT regexp_replace(message, '(sha256 \w+(; )?|warning: )', '', 'g') FROM hotswap.stages
	WHERE deployment_id = d AND kind = 'scan' $$;
CREATE FUNCTION outcome(d uuid) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(kind || ' ' || status, ', ' ORDER BY ordinal) FROM hotswap.stages
	WHERE deployment_id = d AND status IN ('succeeded', 'failed') $$;

-- Kept when it is published.
SELECT hotswap.publish_version('m', 'kept', E'DROP TABLE IF EXISTS a;\nTRUNCATE b', 'SELECT true',
	E'\nDROP TABLE c; TRUNCATE "d\n\\"') \g /dev/null
SELECT is(kept('kept'), 'drop_table:0:1 truncate:0:2 truncate:2:2', 'of all scripts, with lines');
SELECT hotswap.publish_version('m', 'none', 'SELECT 1') \g /dev/null
SELECT is((SELECT findings::text FROM hotswap.module_version WHERE version = 'none'), '[]',
	'nothing is kept as nothing');
SELECT hotswap.publish_version('m', 'odd', 'CREATE EXTENSION "a""\ü' || E'\n"') \g /dev/null
SELECT is((SELECT findings -> 0 ->> 'message' FROM hotswap.module_version WHERE version = 'odd'),
	'CREATE EXTENSION a"\ü' || E'\n', 'words of any kind');
SELECT hotswap.publish_version('m', 'languages', '
	CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$$$;
	CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$BEGIN RETURN 1; END$$;
	CREATE FUNCTION f() RETURNS int LANGUAGE c AS $$$$;
	CREATE FUNCTION f() RETURNS int LANGUAGE ''' || repeat('x', 64) || ''' AS $$$$') \g /dev/null
SELECT is(kept('languages'), 'untrusted_language:0:4:c untrusted_language:0:5',
	'languages that may be trusted when the version is scanned');

-- Not more than is of use.
SELECT hotswap.publish_version('m', 'many', repeat('DROP TABLE IF EXISTS e;', 250) || 'TRUNCATE t',
	repeat('TRUNCATE t;', 300)) \g /dev/null
SELECT results_eq($$SELECT f ->> 'rule', f ->> 'script', count(*) FROM hotswap.module_version,
	json_array_elements(findings) f WHERE version = 'many' GROUP BY 1, 2 ORDER BY 1, 2$$,
	$$VALUES ('drop_table', '0', 100::bigint), ('truncate', '0', 1), ('truncate', '1', 100)$$,
	'a hundred of a rule in a script');
DO $$BEGIN
	FOR i IN 1 .. 120 LOOP
		EXECUTE format('CREATE TRUSTED LANGUAGE l%s HANDLER plpgsql_call_handler', i);
	END LOOP;
END$$;
SELECT hotswap.publish_version('m', 'hidden', (SELECT string_agg(
	'CREATE FUNCTION f() RETURNS int LANGUAGE l' || i || ' AS $$$$', ';')
	FROM generate_series(1, 120) i) || ';CREATE FUNCTION f() RETURNS int LANGUAGE c AS $$$$')
	\g /dev/null
SELECT hotswap.set_rule('development', 'untrusted_language', 'deny') \g /dev/null
SELECT hotswap.deploy('m', 'hidden', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'failed', 'many languages hide nothing');
SELECT is((SELECT sqlstate FROM hotswap.deployments WHERE id = :'d'), 'YH011', 'it is denied');
SELECT hotswap.publish_version('m', 'trusted',
	'CREATE FUNCTION f() RETURNS int LANGUAGE l1 AS $$BEGIN RETURN 1; END$$') \g /dev/null
SELECT hotswap.deploy('m', 'trusted', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'a language that is trusted');
DROP FUNCTION n.f();
DROP LANGUAGE l1;
SELECT hotswap.publish_version('o', 'trusted',
	'CREATE FUNCTION f() RETURNS int LANGUAGE l1 AS $$BEGIN RETURN 1; END$$') \g /dev/null
SELECT hotswap.deploy('o', 'trusted', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'failed', 'and is not any more');

-- What counts is used as it is.
INSERT INTO written SELECT module, version, xmin FROM hotswap.module_version;
SELECT hotswap.deploy('m', 'many', 'development') AS d \gset
SELECT hotswap.wait(:'d', '60 s') \g /dev/null
SELECT matches(scanned(:'d'), '^DROP TABLE in line 1 of the deploy script .* and 191 more$',
	'what was kept is what is said');
SELECT is_empty($$SELECT v.version FROM hotswap.module_version v
	JOIN written USING (module, version)
	WHERE v.xmin <> by_xid$$, 'and no row was written');

-- What does not fit is found again by deploy().
SELECT hotswap.set_rule('development', 'truncate', 'deny') \g /dev/null
UPDATE hotswap.module_version SET findings = '[]' WHERE version = 'kept';
SELECT hotswap.deploy('m', 'kept', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'failed', 'altered findings');
SELECT matches((SELECT message FROM hotswap.deployments WHERE id = :'d'), '^denied: TRUNCATE',
	'do not count');
SELECT is(kept('kept'), 'drop_table:0:1 truncate:0:2 truncate:2:2', 'and are found again');
UPDATE hotswap.module_version SET findings = NULL, findings_digest = NULL WHERE version = 'kept';
SELECT hotswap.retry(:'d') \g /dev/null
SELECT is(kept('kept'), 'drop_table:0:1 truncate:0:2 truncate:2:2', 'retry() finds them as well');
SELECT hotswap.wait(:'d', '60 s'),
	hotswap.stop_dispatching('while they are taken away') \g /dev/null
SELECT hotswap.retry(:'d') \g /dev/null
UPDATE hotswap.module_version SET findings = NULL, findings_digest = NULL WHERE version = 'kept';
SELECT hotswap.start_dispatching() \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'failed', 'missing ones');
SELECT matches((SELECT message FROM hotswap.deployments WHERE id = :'d'), '^denied: TRUNCATE',
	'are found again by the stage');
SELECT hotswap.deploy('m', 'kept', 'development') AS d \gset
SELECT is(kept('kept'), 'drop_table:0:1 truncate:0:2 truncate:2:2', 'or by the next deploy()');
UPDATE hotswap.module_version SET findings = NULL WHERE version = 'none';
SELECT dblink_connect('other', connection_of(current_user)),
	dblink_exec('other', 'BEGIN'), dblink_exec('other', 'UPDATE hotswap.module_version
		SET published_by = ''x'' WHERE version = ''none''') \g /dev/null
SET lock_timeout = '10 s';
SELECT lives_ok($$SELECT hotswap.deploy('m', 'none', 'development')$$, 'which waits for nobody');
RESET lock_timeout;
SELECT dblink_disconnect('other') \g /dev/null

-- Scripts that were altered do not run, whether the dispatcher reads them or not.
SELECT hotswap.publish_version('m', 'small', 'CREATE TABLE ok ()'),
	hotswap.publish_version('m', 'large', 'CREATE TABLE ok () --' || repeat('x', 100000)),
	hotswap.publish_version('m', 'unknown', 'CREATE TABLE ok () --' || repeat('x', 100000))
	\g /dev/null
UPDATE hotswap.module_version SET deploy_sql = 'CREATE TABLE altered () -- ' || repeat('x', 100000)
	WHERE version IN ('large', 'unknown');
UPDATE hotswap.module_version SET deploy_sql = 'CREATE TABLE altered ()' WHERE version = 'small';
UPDATE hotswap.module_version SET findings = NULL WHERE version = 'unknown';
CREATE TABLE altered AS SELECT version, hotswap.deploy('m', version, 'development') AS id
	FROM unnest('{small,large,unknown}'::text[]) version;
SELECT is(hotswap.wait(id, '60 s'), 'failed', version || ', altered') FROM altered;
SELECT results_eq($$SELECT version, sqlstate, outcome(id) FROM altered
	JOIN hotswap.deployments USING (id, version) ORDER BY version$$,
	$$VALUES ('large', 'XX001', 'build succeeded, scan succeeded, deploy failed'),
		('small', 'XX001', 'build succeeded, scan failed'),
		('unknown', 'XX001', 'build succeeded, scan failed')$$, 'where it was seen');
SELECT hasnt_table('n', 'altered', 'nothing of it ran');

-- The dispatcher reads no large script that was examined: it could not parse this one.
UPDATE hotswap.module_version SET deploy_sql = rpad('SELEC', 100000) WHERE version = 'large';
SELECT hotswap.deploy('m', 'large', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'failed', 'altered into what does not parse');
SELECT is(outcome(:'d'), 'build succeeded, scan succeeded, deploy failed', 'nobody has tried');
SELECT is((SELECT left(message, 18) FROM hotswap.tasks WHERE deployment_id = :'d'),
	'scripts of version', 'and the executor compares before it parses');

-- What a revert would run is compared as well.
CREATE SCHEMA z AUTHORIZATION module_examination_node;
SELECT hotswap.publish_version('r', '1', 'CREATE TABLE IF NOT EXISTS r ()'),
	hotswap.publish_version('r', '2', 'DO $$BEGIN
		IF current_schema = ''z'' THEN RAISE ''no''; END IF; END$$') \g /dev/null
SELECT hotswap.deploy('r', '1', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'a version without a revert script');
UPDATE hotswap.module_version SET deploy_sql = 'CREATE TABLE altered ()'
	WHERE module = 'r' AND version = '1';
SELECT hotswap.register_node('development', 'z', run_as => 'module_examination_node',
	schema => 'z') \g /dev/null
SELECT hotswap.deploy('r', '2', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'rollback_failed', 'altered, is no way back');
SELECT is((SELECT sqlstate FROM hotswap.tasks WHERE deployment_id = :'d' AND kind = 'revert'),
	'XX001', 'and says so');
SELECT is((SELECT count(*) FROM hotswap.verify_audit()), 0::bigint, 'the audit chain is whole');
SELECT * FROM finish();
