-- What becomes of a task that has failed, and what is checked before it runs (src/run/record.c).
SELECT plan(18);

SELECT named('app') AS app \gset
CREATE ROLE :"app" LOGIN;
CREATE SCHEMA t AUTHORIZATION :"app";
CREATE SCHEMA shared AUTHORIZATION :"app";
GRANT CREATE ON DATABASE :"DBNAME" TO :"app";
SELECT hotswap.register_node('development', 'n', run_as => :'app'::regrole, schema => 't')
	\g /dev/null
CREATE FUNCTION pg_temp.request(module text, version text, deploy_sql text,
	revert_sql text DEFAULT NULL) RETURNS uuid LANGUAGE plpgsql AS $$
BEGIN
	PERFORM hotswap.publish_version(module, version, deploy_sql, NULL, revert_sql);
	RETURN hotswap.deploy(module, version, 'development');
END $$;
CREATE FUNCTION pg_temp.task(d uuid, task_kind text) RETURNS text LANGUAGE sql AS
	$$SELECT concat_ws(' ', status, attempt, sqlstate) FROM hotswap.tasks
		WHERE deployment_id = d AND kind = task_kind::hotswap.task_kind
		ORDER BY ordinal DESC LIMIT 1$$;

-- Somebody else changes the same object of the catalog, and commits while the script waits for him.
CREATE FUNCTION shared.f() RETURNS integer LANGUAGE sql AS 'SELECT 0';
ALTER FUNCTION shared.f() OWNER TO :"app";
CREATE TABLE shared.country (name text PRIMARY KEY);
ALTER TABLE shared.country OWNER TO :"app";
SELECT dblink_connect('other', connection_of('postgres')) \g /dev/null
CREATE PROCEDURE pg_temp.collide(ordinal integer, script text) LANGUAGE plpgsql AS $$
DECLARE
	d uuid;
	pid integer = (SELECT p FROM dblink('other', 'SELECT pg_backend_pid()') t (p integer));
BEGIN
	PERFORM dblink_exec('other', 'BEGIN'), dblink_exec('other', script);
	d = pg_temp.request('collision' || ordinal, '1', script);
	COMMIT;
	CALL until(format('EXISTS (SELECT FROM pg_stat_activity
		WHERE backend_type = ''hotswap executor'' AND %s = ANY (pg_blocking_pids(pid)))', pid));
	PERFORM dblink_exec('other', 'COMMIT');
	INSERT INTO collision VALUES (ordinal, d);
END $$;
CREATE TEMP TABLE collision (ordinal integer, id uuid);
CALL pg_temp.collide(1, $$CREATE OR REPLACE FUNCTION shared.f() RETURNS integer LANGUAGE sql
	AS 'SELECT 1'$$);
CALL pg_temp.collide(2, 'GRANT SELECT ON shared.country TO PUBLIC');
CALL pg_temp.collide(3, 'CREATE SCHEMA IF NOT EXISTS made');
CALL pg_temp.collide(4, 'INSERT INTO shared.country VALUES (''x'')');
SELECT is(hotswap.wait(id, '60 s'),
	CASE ordinal WHEN 4 THEN 'failed' ELSE 'succeeded' END::hotswap.deployment_status,
	format('collision %s', ordinal)) FROM collision ORDER BY ordinal;
SELECT results_eq('SELECT pg_temp.task(id, ''swap'') FROM collision ORDER BY ordinal',
	$$VALUES ('succeeded 2'), ('succeeded 2'), ('succeeded 2'), ('failed 1 23505')$$,
	'on an object of the catalog it is tried again, on a row of a table it is not');

-- A revert that lacks what the server has not got now is tried again; a deploy script is not.
CREATE SEQUENCE shared.tries;
ALTER SEQUENCE shared.tries OWNER TO :"app";
CREATE FUNCTION pg_temp.until_try(n integer, code text) RETURNS text LANGUAGE sql AS $f$
	SELECT format($s$DO $$BEGIN IF nextval('shared.tries') < %s THEN
		RAISE 'not yet' USING ERRCODE = %L; END IF; END$$$s$, n, code) $f$;
SELECT pg_temp.request('full', '1', pg_temp.until_try(2, '53100')) AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'failed', 'a full disk in a deploy script');
SELECT is(pg_temp.task(:'d', 'swap'), 'failed 1 53100', 'is no reason to wait');
CREATE FUNCTION public.no(uuid) RETURNS boolean LANGUAGE sql AS 'SELECT false';
SELECT hotswap.register_hook('validate', 'public.no(uuid)') \g /dev/null
ALTER SEQUENCE shared.tries RESTART;
SELECT pg_temp.request('back', '1', 'SELECT 1', pg_temp.until_try(3, '53100')) AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'rolled_back', 'a full disk during the revert');
SELECT is(pg_temp.task(:'d', 'revert'), 'succeeded 3', 'is waited for');
ALTER SEQUENCE shared.tries RESTART;
SELECT pg_temp.request('wrong', '1', 'SELECT 1', pg_temp.until_try(3, '22012')) AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'rollback_failed', 'another error during the revert');
SELECT is(pg_temp.task(:'d', 'revert'), 'failed 1 22012', 'is not');
SELECT hotswap.remove_hook('validate', 'public.no(uuid)') \g /dev/null

-- The way back by the deploy script of the version before: that is compared with its digest, too.
SELECT pg_temp.request('m', '1', 'CREATE TABLE IF NOT EXISTS first ()') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'version 1');
UPDATE hotswap.module_version SET deploy_sql = 'CREATE TABLE forged ()' WHERE module = 'm';
SELECT pg_temp.request('m', '2', 'SELECT 1') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'version 2 does not need version 1');
SELECT hotswap.register_hook('validate', 'public.no(uuid)') \g /dev/null
SELECT pg_temp.request('m', '3', 'CREATE TABLE third ()', 'DROP TABLE third') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'rolled_back', 'a revert by a revert script does not either');
UPDATE hotswap.module_version SET deploy_sql = 'CREATE TABLE forged ()'
	WHERE module = 'm' AND version = '2';
SELECT pg_temp.request('m', '4', 'SELECT 4') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'rollback_failed', 'a revert to scripts that were altered');
SELECT is((SELECT rollback_message FROM hotswap.deployment WHERE id = :'d'), 'scripts'
	' of version "2" of module "m" are not those that were published', 'fails and says so');
SELECT is(to_regclass('t.forged'), NULL, 'and runs nothing');

SELECT is((SELECT count(*) FROM hotswap.verify_audit()), 0::bigint, 'the audit log is whole');
SELECT * FROM finish();
