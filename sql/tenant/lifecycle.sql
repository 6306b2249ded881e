-- The life of a tenant.

CREATE FUNCTION hotswap.create_tenant(name text, subdomain text, contact_email text, tier text DEFAULT 'free',
		metadata jsonb DEFAULT '{}') RETURNS uuid
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_create_tenant';
COMMENT ON FUNCTION hotswap.create_tenant(text, text, text, text, jsonb) IS
'Makes a tenant, provisioning until activate_tenant(), with the environments development, qa, staging and production, and returns its id.';
GRANT EXECUTE ON FUNCTION hotswap.create_tenant TO PUBLIC;

CREATE FUNCTION hotswap.activate_tenant(tenant uuid) RETURNS hotswap.tenant_status
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_activate_tenant';
COMMENT ON FUNCTION hotswap.activate_tenant(uuid) IS
'Lets a tenant that is provisioning request deployments, and returns its status.';
GRANT EXECUTE ON FUNCTION hotswap.activate_tenant TO PUBLIC;

CREATE FUNCTION hotswap.suspend_tenant(tenant uuid, reason text) RETURNS hotswap.tenant_status
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_suspend_tenant';
COMMENT ON FUNCTION hotswap.suspend_tenant(uuid, text) IS
'Suspends an active tenant with a reason, and returns its status: nothing new starts, what runs pauses, until resume_tenant().';
GRANT EXECUTE ON FUNCTION hotswap.suspend_tenant TO PUBLIC;

CREATE FUNCTION hotswap.resume_tenant(tenant uuid) RETURNS hotswap.tenant_status
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_resume_tenant';
COMMENT ON FUNCTION hotswap.resume_tenant(uuid) IS
'Makes a suspended tenant active again, and returns its status; its deployments go on.';
GRANT EXECUTE ON FUNCTION hotswap.resume_tenant TO PUBLIC;

CREATE FUNCTION hotswap.deprovision_tenant(tenant uuid, reason text, cancel_running boolean DEFAULT false) RETURNS hotswap.tenant_status
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_deprovision_tenant';
COMMENT ON FUNCTION hotswap.deprovision_tenant(uuid, text, boolean) IS
'Ends the activity of a tenant for good, and returns its status: what has not started is cancelled, what runs goes on to its end or, with cancel_running, is cancelled too.';
GRANT EXECUTE ON FUNCTION hotswap.deprovision_tenant TO PUBLIC;

CREATE FUNCTION hotswap.delete_tenant(tenant uuid) RETURNS hotswap.tenant_status
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_delete_tenant';
COMMENT ON FUNCTION hotswap.delete_tenant(uuid) IS
'Removes what belongs to a tenant that is deprovisioning, and returns its status; deployments and the audit log stay until retention removes them.';
GRANT EXECUTE ON FUNCTION hotswap.delete_tenant TO PUBLIC;
