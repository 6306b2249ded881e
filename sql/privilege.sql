-- Nobody has anything until granted; and pg_dump carries what users made.

REVOKE ALL ON ALL ROUTINES IN SCHEMA hotswap FROM PUBLIC;

-- These look for a capability of the caller themselves, or tell and change nothing of others.
GRANT USAGE ON SCHEMA hotswap TO PUBLIC;
GRANT EXECUTE ON FUNCTION hotswap.grant_access, hotswap.revoke_access, hotswap.visible_tenants,
	hotswap.adopt, hotswap.stop_dispatching, hotswap.start_dispatching, hotswap.health,
	hotswap.worker_list, hotswap.configure_environment, hotswap.publish_version,
	hotswap.register_node, hotswap.remove_node, hotswap.register_hook, hotswap.remove_hook,
	hotswap.deploy, hotswap.cancel, hotswap.retry, hotswap.wait, hotswap.explain,
	hotswap.set_approval_policy, hotswap.approve, hotswap.reject, hotswap.retract_vote,
	hotswap.bypass_approval, hotswap.close_bypass_review, hotswap.delegate_approval,
	hotswap.revoke_delegation, hotswap.wait_for_approval, hotswap.approval_state,
	hotswap.take_notifications, hotswap.claim_idempotency_key, hotswap.store_idempotent_response,
	hotswap.lock_key, hotswap.acquire_lock, hotswap.acquire_xact_lock, hotswap.acquire_locks,
	hotswap.release_lock, hotswap.release_all_locks, hotswap.check_token, hotswap.lock_list,
	hotswap.lease_lock, hotswap.renew_lease, hotswap.release_lease, hotswap.verify_audit,
	hotswap.state_diagram, hotswap.module_signing_payload, hotswap.add_signing_key,
	hotswap.revoke_signing_key, hotswap.set_rule, hotswap.rule_list, hotswap.lint_version,
	hotswap.create_tenant, hotswap.activate_tenant, hotswap.suspend_tenant, hotswap.resume_tenant,
	hotswap.deprovision_tenant, hotswap.delete_tenant, hotswap.find_tenant, hotswap.configure_tier,
	hotswap.set_tier_quota, hotswap.define_resource, hotswap.upgrade_tier, hotswap.downgrade_tier,
	hotswap.reserve_subdomain, hotswap.unreserve_subdomain, hotswap.set_quota, hotswap.clear_quota,
	hotswap.consume_quota, hotswap.release_quota TO PUBLIC;
GRANT EXECUTE ON PROCEDURE hotswap.work, hotswap.await TO PUBLIC;

-- What a view shows depends on who looks.
GRANT SELECT ON hotswap.deployments, hotswap.stages, hotswap.tasks, hotswap.queue,
	hotswap.environments, hotswap.hooks, hotswap.nodes, hotswap.audit_log, hotswap.workers,
	hotswap.approvals, hotswap.bypass_reviews, hotswap.delegations, hotswap.notifications,
	hotswap.locks, hotswap.signing_keys, hotswap.signatures, hotswap.rules, hotswap.tenants,
	hotswap.tiers, hotswap.quotas TO PUBLIC;

SELECT pg_catalog.pg_extension_config_dump('hotswap.tier', '');
SELECT pg_catalog.pg_extension_config_dump('hotswap.resource', '');
SELECT pg_catalog.pg_extension_config_dump('hotswap.tier_quota', '');
SELECT pg_catalog.pg_extension_config_dump('hotswap.reserved_subdomain', '');
SELECT pg_catalog.pg_extension_config_dump('hotswap.tenant', '');
SELECT pg_catalog.pg_extension_config_dump('hotswap.quota', '');
SELECT pg_catalog.pg_extension_config_dump('hotswap.quota_usage', '');
SELECT pg_catalog.pg_extension_config_dump('hotswap.installation', '');
SELECT pg_catalog.pg_extension_config_dump('hotswap.access', '');
SELECT pg_catalog.pg_extension_config_dump('hotswap.environment', '');
SELECT pg_catalog.pg_extension_config_dump('hotswap.module', '');
SELECT pg_catalog.pg_extension_config_dump('hotswap.module_version', '');
SELECT pg_catalog.pg_extension_config_dump('hotswap.signing_key', '');
SELECT pg_catalog.pg_extension_config_dump('hotswap.version_signature', '');
SELECT pg_catalog.pg_extension_config_dump('hotswap.environment_rule', '');
SELECT pg_catalog.pg_extension_config_dump('hotswap.node', '');
SELECT pg_catalog.pg_extension_config_dump('hotswap.swap_seq', '');
SELECT pg_catalog.pg_extension_config_dump('hotswap.node_module', '');
SELECT pg_catalog.pg_extension_config_dump('hotswap.hook', '');
SELECT pg_catalog.pg_extension_config_dump('hotswap.deployment', '');
SELECT pg_catalog.pg_extension_config_dump('hotswap.stage', '');
SELECT pg_catalog.pg_extension_config_dump('hotswap.task', '');
SELECT pg_catalog.pg_extension_config_dump('hotswap.work_item', '');
SELECT pg_catalog.pg_extension_config_dump('hotswap.approval', '');
SELECT pg_catalog.pg_extension_config_dump('hotswap.approval_vote', '');
SELECT pg_catalog.pg_extension_config_dump('hotswap.approval_delegation', '');
SELECT pg_catalog.pg_extension_config_dump('hotswap.notification', '');
SELECT pg_catalog.pg_extension_config_dump('hotswap.idempotency_key', '');
SELECT pg_catalog.pg_extension_config_dump('hotswap.token_seq', '');
SELECT pg_catalog.pg_extension_config_dump('hotswap.lease', '');
SELECT pg_catalog.pg_extension_config_dump('hotswap.audit_event_default', '');
