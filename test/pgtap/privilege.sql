-- Who may do what, and tricks that must not work.
SELECT plan(37);

CREATE FUNCTION pg_temp.code_of(query text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE query;
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END $$;
CREATE ROLE hotswap_test_privilege LOGIN;
CREATE ROLE hotswap_test_privilege_node LOGIN;
CREATE SCHEMA n AUTHORIZATION hotswap_test_privilege_node;
CREATE SCHEMA trap AUTHORIZATION hotswap_test_privilege;
SELECT hotswap.publish_version('m', '1', 'SELECT 1') \g /dev/null

-- A role that has been granted nothing.
SET SESSION AUTHORIZATION hotswap_test_privilege;
SELECT is(pg_temp.code_of('SELECT hotswap.' || call), '42501', 'not granted: ' || call)
FROM unnest(ARRAY['deploy(''m'', ''1'', ''qa'')', 'health()']) call;
RESET SESSION AUTHORIZATION;
GRANT USAGE ON SCHEMA hotswap TO hotswap_test_privilege;
SET SESSION AUTHORIZATION hotswap_test_privilege;
SELECT is(pg_temp.code_of(call), '42501', 'not granted: ' || call)
FROM unnest(ARRAY['SELECT hotswap.deploy(''m'', ''1'', ''qa'')', 'SELECT hotswap.cancel(NULL, NULL)', 'SELECT hotswap.retry(NULL)', 'SELECT hotswap.wait(NULL)',
	'SELECT hotswap.publish_version(''m'', ''2'', ''SELECT 1'')', 'SELECT hotswap.register_node(''qa'', ''x'')', 'SELECT hotswap.remove_node(NULL)',
	'SELECT hotswap.register_hook(''test'', 0)', 'SELECT hotswap.remove_hook(''test'', ''x'')', 'SELECT hotswap.configure_environment(''qa'')',
	'SELECT hotswap.stop_dispatching(''x'')', 'SELECT hotswap.start_dispatching()', 'SELECT hotswap.adopt()', 'SELECT * FROM hotswap.explain(NULL)',
	'SELECT * FROM hotswap.verify_audit()', 'SELECT * FROM hotswap.health()', 'SELECT hotswap.state_diagram(''task'')', 'CALL hotswap.work()',
	'SELECT * FROM hotswap.deployments', 'SELECT * FROM hotswap.deployment', 'SELECT * FROM hotswap.audit_event_default', 'TRUNCATE hotswap.task', 'SELECT nextval(''hotswap.swap_seq'')']) call;
RESET SESSION AUTHORIZATION;

-- Granted deploy(): what the function does for its caller it does as the owner, and only that.
GRANT EXECUTE ON FUNCTION hotswap.deploy, hotswap.register_node, hotswap.cancel TO hotswap_test_privilege;
GRANT CREATE ON SCHEMA public TO hotswap_test_privilege;
SET SESSION AUTHORIZATION hotswap_test_privilege;
-- operators and functions that would run as the owner, if search_path were the caller's
CREATE TABLE trap.caught (who name);
GRANT INSERT ON trap.caught TO PUBLIC;
CREATE FUNCTION trap.spring(text, text) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN INSERT INTO trap.caught VALUES (current_user); RETURN true; END$$;
CREATE OPERATOR trap.= (LEFTARG = text, RIGHTARG = text, FUNCTION = trap.spring);
CREATE FUNCTION trap.now() RETURNS timestamptz LANGUAGE plpgsql AS $$BEGIN INSERT INTO trap.caught VALUES (current_user); RETURN '2000-01-01'; END$$;
CREATE FUNCTION trap.count(text) RETURNS bigint LANGUAGE sql AS 'SELECT 0::bigint';
SET search_path = trap, pg_catalog;
SELECT hotswap.deploy('m', '1', 'qa', run_at => '2100-01-01') AS d \gset
SELECT hotswap.cancel(:'d', 'x') \g /dev/null
RESET search_path;
SELECT is((SELECT count(*) FROM trap.caught), 0::bigint, 'operators of the caller are not used');
SELECT is(current_user, 'hotswap_test_privilege', 'who the caller is comes back');
SELECT is(pg_temp.code_of('SELECT hotswap.deploy(''none'', ''1'', ''qa'')'), 'P0002', 'after an error');
SELECT is(current_user, 'hotswap_test_privilege', 'too');
SELECT is(pg_temp.code_of('SELECT hotswap.deploy(''m'', ''1'', ''qa'', on_behalf_of => ''boss'')'), '42501', 'speaking for others is for the owner''s members');
SELECT is(pg_temp.code_of('SELECT hotswap.register_node(''qa'', ''x'', run_as => ''hotswap_test_privilege_node'')'), '42501', 'a node runs as a role that the caller is a member of');
RESET SESSION AUTHORIZATION;
SELECT results_eq(format('SELECT requested_by, run_by_role::text COLLATE "default" FROM hotswap.deployment WHERE id = %L', :'d'), $$VALUES ('hotswap_test_privilege', 'hotswap_test_privilege')$$,
	'the person is the login role');
GRANT hotswap_test_privilege TO hotswap_test_privilege_node;
SET SESSION AUTHORIZATION hotswap_test_privilege_node;
SET ROLE hotswap_test_privilege;
SELECT hotswap.deploy('m', '1', 'qa', run_at => '2100-01-01') AS d \gset
RESET ROLE;
RESET SESSION AUTHORIZATION;
SELECT results_eq(format('SELECT requested_by, run_by_role::text COLLATE "default" FROM hotswap.deployment WHERE id = %L', :'d'), $$VALUES ('hotswap_test_privilege_node', 'hotswap_test_privilege')$$,
	'with SET ROLE it is still who logged in, and the role is recorded');

-- A script runs as the role of its node, and can be nobody else.
SELECT hotswap.register_node('qa', 'n', run_as => 'hotswap_test_privilege_node', schema => 'n') \g /dev/null
SELECT hotswap.publish_version('evil', '1', 'RESET ROLE; RESET SESSION AUTHORIZATION; ALTER ROLE hotswap_test_privilege_node SUPERUSER') \g /dev/null
SELECT hotswap.deploy('evil', '1', 'qa') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'failed', 'RESET ROLE gains nothing');
SELECT is((SELECT sqlstate FROM hotswap.deployment WHERE id = :'d'), '42501', 'no right to it');
SELECT hotswap.publish_version('evil', '2', 'CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN DELETE FROM hotswap.task; RETURN NULL; END$$;
	CREATE TABLE x (); CREATE CONSTRAINT TRIGGER t AFTER INSERT ON x DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION f(); INSERT INTO x DEFAULT VALUES') \g /dev/null
SELECT hotswap.deploy('evil', '2', 'qa') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'failed', 'a deferred trigger does not run as the owner');
SELECT is((SELECT status::text || ' ' || sqlstate FROM hotswap.tasks WHERE deployment_id = :'d'), 'failed 42501', 'but as the role of the node');
SELECT * FROM finish();
