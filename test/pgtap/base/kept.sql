-- What is kept of tables that hardly change is as they are, whoever changes them and however
-- (src/base/kept.c).  The dispatcher has kept each of the results before it is changed.
SELECT plan(20);

CREATE ROLE hotswap_test_kept LOGIN;
CREATE SCHEMA kept AUTHORIZATION hotswap_test_kept;
CREATE FUNCTION kept.hook(uuid) RETURNS void LANGUAGE sql AS '';
SELECT hotswap.register_node('development', 'kept', run_as => 'hotswap_test_kept',
	schema => 'kept') \g /dev/null
SELECT hotswap.publish_version('m', '1', 'CREATE TABLE IF NOT EXISTS t ()'),
	hotswap.publish_version('m', '2', 'TRUNCATE t') \g /dev/null
SELECT id AS tenant FROM hotswap.tenant \gset

-- How two deployments end, and how many hooks each has called.
CREATE TABLE seen (result text);
CREATE PROCEDURE look() LANGUAGE plpgsql AS $$
DECLARE
	d uuid;
	result text := '';
BEGIN
	FOR version IN 1 .. 2 LOOP
		d := hotswap.deploy('m', version::text, 'development');
		COMMIT;
		result := result || hotswap.wait(d, '60 s') || ' ';
		result := result || (SELECT count(*) FROM hotswap.task
			WHERE deployment_id = d AND kind = 'hook') || ' ';
	END LOOP;
	TRUNCATE public.seen;
	INSERT INTO public.seen VALUES (result);
END $$;

CALL look();
SELECT is((SELECT result FROM seen), 'succeeded 0 succeeded 0 ', 'as it is');

-- Hooks.
INSERT INTO hotswap.hook
	VALUES (:'tenant', 'test', '', 'kept.hook', current_user::regrole);
CALL look();
SELECT is((SELECT result FROM seen), 'succeeded 1 succeeded 1 ', 'INSERT');
UPDATE hotswap.hook SET module = 'other';
CALL look();
SELECT is((SELECT result FROM seen), 'succeeded 0 succeeded 0 ', 'UPDATE');
UPDATE hotswap.hook SET module = '';
CALL look();
SELECT is((SELECT result FROM seen), 'succeeded 1 succeeded 1 ', 'and back');
BEGIN;
DELETE FROM hotswap.hook;
ROLLBACK;
CALL look();
SELECT is((SELECT result FROM seen), 'succeeded 1 succeeded 1 ', 'DELETE that is rolled back');
SET session_replication_role = replica;
DELETE FROM hotswap.hook;
RESET session_replication_role;
CALL look();
SELECT is((SELECT result FROM seen), 'succeeded 0 succeeded 0 ',
	'DELETE in a session that fires no ordinary triggers');
INSERT INTO hotswap.hook
	VALUES (:'tenant', 'test', '', 'kept.hook', current_user::regrole);
CALL look();
SELECT is((SELECT result FROM seen), 'succeeded 1 succeeded 1 ', 'a hook again');
TRUNCATE hotswap.hook;
CALL look();
SELECT is((SELECT result FROM seen), 'succeeded 0 succeeded 0 ', 'TRUNCATE');
SELECT hotswap.register_hook('test', 'kept.hook(uuid)') \g /dev/null
CALL look();
SELECT is((SELECT result FROM seen), 'succeeded 1 succeeded 1 ', 'register_hook()');
SELECT hotswap.remove_hook('test', 'kept.hook(uuid)') \g /dev/null

-- Rules.
INSERT INTO hotswap.environment_rule (tenant_id, environment, rule, action)
	VALUES (:'tenant', 'development', 'truncate', 'deny');
CALL look();
SELECT is((SELECT result FROM seen), 'succeeded 0 failed 0 ', 'a rule');
TRUNCATE hotswap.environment_rule;
CALL look();
SELECT is((SELECT result FROM seen), 'succeeded 0 succeeded 0 ', 'none');
SELECT hotswap.stop_dispatching('until the environment wants signatures') \g /dev/null
SELECT hotswap.deploy('m', '1', 'development') AS d \gset
UPDATE hotswap.environment SET require_signature = true WHERE name = 'development';
SELECT hotswap.start_dispatching() \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'failed', 'an environment that wants signatures');
UPDATE hotswap.environment SET require_signature = false WHERE name = 'development';
CALL look();
SELECT is((SELECT result FROM seen), 'succeeded 0 succeeded 0 ', 'and one that does not');

-- What a tenant may do.
SELECT hotswap.set_quota(:'tenant', 'concurrent_deployments', 0) \g /dev/null
SELECT hotswap.deploy('m', '1', 'development') AS d \gset
SELECT hotswap.wait(:'d', '300 ms') \g /dev/null
SELECT is(status_of(:'d'), 'queued', 'a quota of no deployments at a time');
SELECT hotswap.set_quota(:'tenant', 'concurrent_deployments', 1) \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'another one');
SELECT hotswap.set_quota(:'tenant', 'concurrent_deployments', NULL) \g /dev/null
CALL look();
SELECT is((SELECT result FROM seen), 'succeeded 0 succeeded 0 ', 'and no limit');

-- Whether anything may be done.
UPDATE hotswap.installation SET stop_reason = 'by hand';
SELECT hotswap.deploy('m', '1', 'development') AS d \gset
SELECT hotswap.wait(:'d', '300 ms') \g /dev/null
SELECT is(status_of(:'d'), 'queued', 'the line is stopped');
UPDATE hotswap.installation SET stop_reason = NULL;
SELECT hotswap.deploy('m', '2', 'development') AS e \gset
SELECT is(hotswap.wait(:'e', '60 s'), 'succeeded', 'and starts');

-- A session that keeps its snapshot keeps nothing else.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT hotswap.deploy('m', '1', 'development') AS d \gset
COMMIT;
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'at another level of isolation');
SELECT throws_ok('SELECT hotswap.kept_changed()', '39P01', NULL,
	'the trigger is no function to call');
SELECT * FROM finish();
