-- Tenants, and what hotswap knows of the installation itself.

CREATE TYPE hotswap.tenant_status AS ENUM
	('provisioning', 'active', 'suspended', 'deprovisioning', 'deleted');
COMMENT ON TYPE hotswap.tenant_status IS 'life of a tenant; only an active tenant may request deployments';

CREATE TABLE hotswap.tenant (
	id uuid NOT NULL PRIMARY KEY,
	name text NOT NULL,
	status hotswap.tenant_status NOT NULL,
	created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
	audit_seq integer NOT NULL DEFAULT 0,
	audit_hash bytea,
	tier text NOT NULL DEFAULT 'free' REFERENCES hotswap.tier,
	subdomain text UNIQUE,
	contact_email text,
	metadata jsonb NOT NULL DEFAULT '{}',
	status_reason text,
	status_changed_at timestamptz NOT NULL DEFAULT pg_catalog.now()
) WITH (fillfactor = 70);
COMMENT ON TABLE hotswap.tenant IS 'owners of modules, environments, nodes and deployments; the tenant "default" is made at the first use';
COMMENT ON COLUMN hotswap.tenant.subdomain IS 'lower case; NULL: it has none, as the tenant "default" and those that are deleted';
COMMENT ON COLUMN hotswap.tenant.status_reason IS 'why it is suspended or was deprovisioned';
COMMENT ON COLUMN hotswap.tenant.audit_seq IS 'number of the last audit event about the tenant itself';
COMMENT ON COLUMN hotswap.tenant.audit_hash IS 'hash of that event: the head of its chain';

CREATE FUNCTION hotswap.create_tenant(name text, subdomain text, contact_email text, tier text DEFAULT 'free',
		metadata jsonb DEFAULT '{}') RETURNS uuid
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_create_tenant';
COMMENT ON FUNCTION hotswap.create_tenant(text, text, text, text, jsonb) IS
'Makes a tenant, provisioning until activate_tenant(), with the environments development, qa, staging and production, and returns its id. name: 1 to 200 characters; subdomain: made lower case, 1 to 63 letters a to z, digits and hyphens, no hyphen at either end, not reserved, used by no other tenant that is not deleted; contact_email: what can be an address, at most 254 characters; tier: an existing one; metadata: an object of at most 64 kB. Only for those who have admin everywhere. Errors: 22023 bad argument or reserved subdomain, 42501 not allowed, P0002 no such tier, 23505 subdomain taken. Waits for a concurrent call with the same subdomain; audited, without name and address.';

CREATE FUNCTION hotswap.activate_tenant(tenant uuid) RETURNS hotswap.tenant_status
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_activate_tenant';
COMMENT ON FUNCTION hotswap.activate_tenant(uuid) IS
'Lets a tenant that is provisioning request deployments, and returns its status. Only for those who have admin everywhere. Errors: 22023 NULL, 42501 not allowed, P0002 no such tenant, 55000 not provisioning. Locks the tenant row; audited.';

CREATE FUNCTION hotswap.suspend_tenant(tenant uuid, reason text) RETURNS hotswap.tenant_status
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_suspend_tenant';
COMMENT ON FUNCTION hotswap.suspend_tenant(uuid, text) IS
'Suspends an active tenant and returns its status: it can request nothing, what is queued waits, and what runs pauses after its current wave, until resume_tenant(). reason: 1 to 10,000 characters. Only for those who have admin everywhere. Errors: 22023 bad argument, 42501 not allowed, P0002 no such tenant, 55000 not active. Locks the tenant row; audited with the reason.';

CREATE FUNCTION hotswap.resume_tenant(tenant uuid) RETURNS hotswap.tenant_status
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_resume_tenant';
COMMENT ON FUNCTION hotswap.resume_tenant(uuid) IS
'Makes a suspended tenant active again and returns its status; its deployments go on. Only for those who have admin everywhere. Errors: 22023 NULL, 42501 not allowed, P0002 no such tenant, 55000 not suspended. Locks the tenant row; audited.';

CREATE FUNCTION hotswap.deprovision_tenant(tenant uuid, reason text, cancel_running boolean DEFAULT false) RETURNS hotswap.tenant_status
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_deprovision_tenant';
COMMENT ON FUNCTION hotswap.deprovision_tenant(uuid, text, boolean) IS
'Ends the activity of an active or suspended tenant for good and returns its status: deployments that have not started are cancelled, as cancel() does it; running ones go on to their end, or are cancelled too with cancel_running. reason: 1 to 10,000 characters. Waits for transactions that have requested something of the tenant and not ended yet. Only for those who have admin everywhere. Errors: 22023 bad argument, 42501 not allowed, P0002 no such tenant, 55000 neither active nor suspended, or the tenant "default"; 40001 REPEATABLE READ and something changed after the snapshot. Locks the tenant row and the deployments in the order of their ids; all audited with the reason.';

CREATE FUNCTION hotswap.delete_tenant(tenant uuid) RETURNS hotswap.tenant_status
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_delete_tenant';
COMMENT ON FUNCTION hotswap.delete_tenant(uuid) IS
'Removes a tenant that is deprovisioning and returns its status: modules with their scripts, nodes, hooks, environments, keys, leases, notifications, delegations, grants and quotas are deleted, name, contact address and metadata forgotten, and the subdomain is free. Its deployments stay until retention removes them, the audit log as long as any. What was swapped in stays in the database. Only for those who have admin everywhere. Errors: 22023 NULL, 42501 not allowed, P0002 no such tenant, 55000 not deprovisioning, or a deployment has not ended (it is named). Locks the tenant row; audited.';

CREATE TABLE hotswap.installation (
	singleton boolean NOT NULL PRIMARY KEY DEFAULT true CHECK (singleton),
	system_identifier bigint NOT NULL,
	database_oid oid NOT NULL,
	stop_reason text,
	stopped_by text,
	stopped_at timestamptz,
	audit_horizon timestamptz
);
COMMENT ON TABLE hotswap.installation IS 'which cluster and database these rows were written for (a restored copy does not dispatch until adopt()), and whether the line is stopped';
COMMENT ON COLUMN hotswap.installation.audit_horizon IS 'audit events before this time were removed by retention';

CREATE FUNCTION hotswap.adopt() RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_adopt';
COMMENT ON FUNCTION hotswap.adopt() IS
'Declares that this database may dispatch the deployments it contains. Needed once after a restore into another database or cluster and after pg_upgrade; without need it changes nothing. Writes installation and the audit log; wakes the dispatcher at commit.';

CREATE FUNCTION hotswap.stop_dispatching(reason text) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_stop_dispatching';
COMMENT ON FUNCTION hotswap.stop_dispatching(text) IS
'Stops the line in this database at commit: nothing new starts, what runs ends. Survives a restart; shown by health() and explain(). reason: 1 to 10,000 characters. Errors: 22023 reason blank or NULL.';

CREATE FUNCTION hotswap.start_dispatching() RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_start_dispatching';
COMMENT ON FUNCTION hotswap.start_dispatching() IS
'Lets the line go on after stop_dispatching(). Errors: 55000 if it was not stopped.';
