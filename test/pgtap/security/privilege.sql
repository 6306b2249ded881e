-- Who may do what, and tricks that must not work.
SELECT plan(124);

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
SELECT is(pg_temp.code_of(call), '42501', 'not granted: ' || call)
FROM unnest(ARRAY['SELECT hotswap.deploy(''m'', ''1'', ''qa'')',
	'SELECT hotswap.deploy_release(''r'', ''qa'')',
	'SELECT hotswap.preview_release(''r'', ''qa'')',
	'SELECT hotswap.rollback(gen_random_uuid(), ''x'')',
	'SELECT hotswap.bring_up(gen_random_uuid())',
	'SELECT hotswap.release_version(''qa'', ''m'', ''1'', ''x'')',
	'SELECT hotswap.configure_rollout(''qa'')',
	'SELECT hotswap.pause(gen_random_uuid(), ''x'')',
	'SELECT hotswap.resume(gen_random_uuid(), ''x'')',
	'SELECT hotswap.promote(gen_random_uuid(), ''x'')',
	'SELECT hotswap.skip_node(gen_random_uuid(), gen_random_uuid(), ''x'')',
	'SELECT hotswap.cancel(gen_random_uuid(), ''x'')', 'SELECT hotswap.retry(gen_random_uuid())',
	'SELECT hotswap.wait(gen_random_uuid())',
	'CALL hotswap.await(gen_random_uuid())', 'SELECT hotswap.wait_for_approval(gen_random_uuid())',
	'SELECT hotswap.approve(gen_random_uuid())',
	'SELECT hotswap.reject(gen_random_uuid(), comment => ''x'')',
	'SELECT hotswap.retract_vote(gen_random_uuid())',
	'SELECT hotswap.bypass_approval(gen_random_uuid(), ''qa'', ''x'', ''x'')',
	'SELECT hotswap.override_freeze(gen_random_uuid(), ''qa'', ''x'', ''x'')',
	'SELECT hotswap.set_window(''qa'', ''x'', ''deny'', during => ''(,)'')',
	'SELECT hotswap.set_window(''qa'', ''x'', ''deny'', during => ''(,)'', all_tenants => true)',
	'SELECT hotswap.set_analysis_policy(''qa'')',
	'SELECT hotswap.set_health_policy(''qa'')', 'SELECT hotswap.heartbeat(gen_random_uuid())',
	'SELECT * FROM hotswap.node_levels(''qa'', ''yesterday'')',
	'SELECT hotswap.remove_window(''qa'', ''x'')', 'SELECT hotswap.next_opening(''qa'')',
	'SELECT hotswap.close_bypass_review(gen_random_uuid(), ''qa'', ''x'')',
	'SELECT hotswap.delegate_approval(''pg_monitor'', now() + interval ''1 day'', ''x'')',
	'SELECT hotswap.revoke_delegation(gen_random_uuid())',
	'SELECT hotswap.set_approval_policy(''qa'', 0)',
	'SELECT hotswap.approval_state(''00000000-0000-7000-8000-000000000001'', gen_random_uuid(),
		''qa'', 1)', 'SELECT hotswap.grant_access(''hotswap_test_privilege'', ''viewer'')',
	'SELECT hotswap.revoke_access(''hotswap_test_privilege'', ''viewer'')',
	'SELECT hotswap.grant_access(''hotswap_test_privilege'', ''viewer'', all_tenants => true)',
	'SELECT hotswap.publish_version(''m'', ''2'', ''SELECT 1'')',
	'SELECT hotswap.publish_artifact(''m'', ''2'', ''x'')',
	'SELECT hotswap.read_artifact(''m'', ''1'')', 'SELECT hotswap.configure_agents(''qa'')',
	'SELECT hotswap.publish_release(''r'', ''{m=1}'')',
	'SELECT hotswap.tag_version(''m'', ''x'', ''1'')',
	'SELECT hotswap.set_node_version(gen_random_uuid(), ''m'', ''{1}'', ''x'')',
	'SELECT hotswap.publish_installer(''m'', ''1'', ''SELECT 1'')',
	'SELECT hotswap.installer_signing_payload(''m'', ''1'', ''SELECT 1'')',
	'SELECT hotswap.withdraw_version(''m'', ''1'', ''x'')',
	'SELECT hotswap.register_node(''qa'', ''x'')', 'SELECT hotswap.remove_node(gen_random_uuid())',
	'SELECT hotswap.pin_node(gen_random_uuid(), ''m'', ''1'', now() + interval ''1 d'', ''x'')',
	'SELECT hotswap.unpin_node(gen_random_uuid(), ''m'', ''x'')',
	'SELECT hotswap.remove_gate(''qa'', ''x'')', 'SELECT hotswap.remove_hook(''test'', ''x'')',
	'SELECT hotswap.configure_environment(''qa'')',
	'SELECT hotswap.configure_module(''m'')', 'SELECT hotswap.unroute(''m'')',
	'SELECT hotswap.set_route(''m'', ''1'', 1)',
	'SELECT * FROM hotswap.take_notifications()',
	'SELECT hotswap.claim_idempotency_key(''s'', ''k'', ''1'')',
	'SELECT hotswap.store_idempotent_response(''s'', ''k'', ''1'')',
	'SELECT hotswap.acquire_lock(''x'')', 'SELECT hotswap.acquire_xact_lock(''x'')',
	'SELECT hotswap.acquire_locks(''{x}'')', 'SELECT hotswap.check_token(''x'', 1)',
	'CALL hotswap.await_lock(''x'')', 'CALL hotswap.await_lease(''x'', ''1 s'')',
	'SELECT hotswap.lease_lock(''x'', ''1 s'')', 'SELECT hotswap.renew_lease(''x'', 1, ''1 s'')',
	'SELECT hotswap.release_lease(''x'', 1)',
	'SELECT hotswap.stop_dispatching(''x'')', 'SELECT hotswap.start_dispatching()',
	'SELECT hotswap.adopt()', 'SELECT * FROM hotswap.explain(gen_random_uuid())',
	'SELECT * FROM hotswap.lint_version(''m'', ''1'', ''qa'')',
	'SELECT hotswap.diff_versions(''m'', ''1'', ''1'')',
	'SELECT * FROM hotswap.diff_environments(''m'', ''qa'', ''staging'')',
	'SELECT hotswap.set_rule(''qa'', ''truncate'', ''off'')',
	'SELECT hotswap.revoke_signing_key(''k'', ''x'')',
	'SELECT hotswap.add_signing_key(''k'', ''ed25519'',
		E''-----BEGIN PUBLIC KEY-----\n''
			''MCowBQYDK2VwAyEAIY0JSa4oieLQ77JMTZcHxBB+AvzdnWPfpRYRDuAaKP8=\n''
			''-----END PUBLIC KEY-----'')',
	'SELECT * FROM hotswap.verify_audit()', 'SELECT hotswap.audit_head()',
	'SELECT hotswap.check_audit_head(now(), now(), 1, ''0'')',
	'SELECT * FROM hotswap.verify_audit(''00000000-0000-7000-8000-000000000001'')',
	'SELECT * FROM hotswap.health()',
	'SELECT * FROM hotswap.deployment', 'SELECT * FROM hotswap.audit_event_default',
	'TRUNCATE hotswap.task', 'SELECT nextval(''hotswap.swap_seq'')']) call;
SELECT is_empty('SELECT FROM hotswap.' || v, 'sees nothing in ' || v)
	FROM unnest('{deployments,stages,tasks,queue,environments,signing_keys,signatures,releases,
		rules,hooks,nodes,routes,entries,node_history,modules,versions,audit_log,workers,approvals,
		bypass_reviews,delegations,notifications}'::text[]) v;
SELECT is_empty('SELECT hotswap.visible_tenants()', 'nor any tenant');
SELECT is(pg_temp.code_of('CALL hotswap.work()'), '2D000', 'work() looks at the call first');
RESET SESSION AUTHORIZATION;

-- Granted deploy(): what the function does for its caller it does as the owner, and only that.
SELECT hotswap.grant_access('hotswap_test_privilege', 'operator') \g /dev/null
GRANT CREATE ON SCHEMA public TO hotswap_test_privilege;
SET SESSION AUTHORIZATION hotswap_test_privilege;

-- Operators and functions that would run as the owner, if search_path were the caller's.
CREATE TABLE trap.caught (who name);
GRANT INSERT ON trap.caught TO PUBLIC;
CREATE FUNCTION trap.spring(text, text) RETURNS boolean
	LANGUAGE plpgsql AS $$BEGIN INSERT INTO trap.caught VALUES (current_user); RETURN true; END$$;
CREATE OPERATOR trap.= (LEFTARG = text, RIGHTARG = text, FUNCTION = trap.spring);
CREATE FUNCTION trap.now() RETURNS timestamptz
	LANGUAGE plpgsql AS $$BEGIN INSERT INTO trap.caught VALUES (current_user); RETURN '2000-01-01';
		END$$;
CREATE FUNCTION trap.count(text) RETURNS bigint LANGUAGE sql AS 'SELECT 0::bigint';
SET search_path = trap, pg_catalog;
SELECT hotswap.deploy('m', '1', 'qa', run_at => '2100-01-01') AS d \gset
SELECT hotswap.cancel(:'d', 'x') \g /dev/null
RESET search_path;
SELECT is((SELECT count(*) FROM trap.caught), 0::bigint, 'operators of the caller are not used');
SELECT is(current_user, 'hotswap_test_privilege', 'who the caller is comes back');
SELECT is(pg_temp.code_of('SELECT hotswap.deploy(''none'', ''1'', ''qa'')'), 'P0002',
	'after an error');
SELECT is(current_user, 'hotswap_test_privilege', 'too');
SELECT is(pg_temp.code_of('SELECT hotswap.deploy(''m'', ''1'', ''qa'', on_behalf_of => ''boss'')'),
	'42501', 'speaking for others is a capability of its own');
SELECT is(pg_temp.code_of('SELECT hotswap.register_node(''qa'', ''x'',
	run_as => ''hotswap_test_privilege_node'')'), '42501',
	'a node runs as a role that the caller is a member of');
RESET SESSION AUTHORIZATION;
SELECT results_eq(format('SELECT requested_by, run_by_role::text COLLATE "default"
	FROM hotswap.deployment WHERE id = %L', :'d'),
	$$VALUES ('hotswap_test_privilege', 'hotswap_test_privilege')$$,
	'the person is the login role');
GRANT hotswap_test_privilege TO hotswap_test_privilege_node;
SET SESSION AUTHORIZATION hotswap_test_privilege_node;
SET ROLE hotswap_test_privilege;
SELECT hotswap.deploy('m', '1', 'qa', run_at => '2100-01-01') AS d \gset
RESET ROLE;
RESET SESSION AUTHORIZATION;
SELECT results_eq(format('SELECT requested_by, run_by_role::text COLLATE "default"
	FROM hotswap.deployment WHERE id = %L', :'d'),
	$$VALUES ('hotswap_test_privilege_node', 'hotswap_test_privilege')$$,
	'with SET ROLE it is still who logged in, and the role is recorded');

-- A script runs as the role of its node, and can be nobody else.
SELECT hotswap.register_node('qa', 'n', run_as => 'hotswap_test_privilege_node',
	schema => 'n') \g /dev/null
SELECT hotswap.publish_version('evil', '1',
	'RESET ROLE; RESET SESSION AUTHORIZATION;
		ALTER ROLE hotswap_test_privilege_node SUPERUSER') \g /dev/null
SELECT hotswap.deploy('evil', '1', 'qa') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'failed', 'RESET ROLE gains nothing');
SELECT is((SELECT sqlstate FROM hotswap.deployment WHERE id = :'d'), '42501', 'no right to it');
SELECT hotswap.publish_version('evil', '2',
	'CREATE FUNCTION f() RETURNS trigger
		LANGUAGE plpgsql AS $$BEGIN DELETE FROM hotswap.task; RETURN NULL; END$$;
	CREATE TABLE x (); CREATE CONSTRAINT TRIGGER t AFTER INSERT ON x DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION f(); INSERT INTO x DEFAULT VALUES') \g /dev/null
SELECT hotswap.deploy('evil', '2', 'qa') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'failed', 'a deferred trigger does not run as the owner');
SELECT is((SELECT status::text || ' ' || sqlstate FROM hotswap.tasks WHERE deployment_id = :'d'),
	'failed 42501', 'but as the role of the node');
SELECT * FROM finish();
