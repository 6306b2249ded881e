-- Environments: where modules are deployed to, in rank order.

CREATE TYPE hotswap.strategy AS ENUM ('direct');
COMMENT ON TYPE hotswap.strategy IS 'how the nodes of an environment are taken: direct = all at once';

CREATE TABLE hotswap.environment (
	tenant_id uuid NOT NULL REFERENCES hotswap.tenant,
	name text NOT NULL,
	rank integer NOT NULL CHECK (rank BETWEEN 1 AND 1000),
	strategy hotswap.strategy NOT NULL,
	revert_on_failure boolean NOT NULL,
	require_signature boolean NOT NULL DEFAULT false,
	min_approvals integer NOT NULL DEFAULT 0 CHECK (min_approvals BETWEEN 0 AND 20),
	approvers regrole[],
	expires_after interval NOT NULL DEFAULT '24 h',
	allow_self_approval boolean NOT NULL DEFAULT false,
	require_comment boolean NOT NULL DEFAULT false,
	max_open_reviews integer,
	PRIMARY KEY (tenant_id, name),
	UNIQUE (tenant_id, rank)
);
CREATE TRIGGER access_changed AFTER INSERT OR UPDATE OF approvers OR DELETE ON hotswap.environment
	FOR EACH STATEMENT EXECUTE FUNCTION hotswap.access_changed();
CREATE TRIGGER access_changed_truncate AFTER TRUNCATE ON hotswap.environment
	FOR EACH STATEMENT EXECUTE FUNCTION hotswap.access_changed();
COMMENT ON TRIGGER access_changed ON hotswap.environment IS 'who may vote sees the tenant';
COMMENT ON TRIGGER access_changed_truncate ON hotswap.environment IS 'who may vote sees the tenant';
COMMENT ON TABLE hotswap.environment IS 'environments of a tenant; a deployment passes through those of lower rank on its way';
COMMENT ON COLUMN hotswap.environment.min_approvals IS 'distinct persons that must agree before a deployment goes here; 0: open';
COMMENT ON COLUMN hotswap.environment.approvers IS 'roles whose members may vote; NULL: those with the capability approver';
COMMENT ON COLUMN hotswap.environment.max_open_reviews IS 'bypasses that may await their review; NULL: any number';
COMMENT ON COLUMN hotswap.environment.revert_on_failure IS 'nodes already swapped go back when a deployment fails here';
COMMENT ON COLUMN hotswap.environment.require_signature IS 'only versions with a signature that counts may go here';

CREATE FUNCTION hotswap.configure_environment(name text, rank integer DEFAULT NULL,
		strategy text DEFAULT NULL, revert_on_failure boolean DEFAULT NULL,
		require_signature boolean DEFAULT NULL,
		tenant uuid DEFAULT NULL) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_configure_environment';
COMMENT ON FUNCTION hotswap.configure_environment(text, integer, text, boolean, boolean, uuid) IS
'Changes an environment, or makes it when rank is given and it does not exist. name: 1 to 63 characters; rank: 1 to 1000, unique in the tenant, sets its place on the path; strategy: direct; revert_on_failure: default true; require_signature: default false; NULL leaves what is there. Deployments already started keep their path. Errors: 22023 bad argument, P0002 no such tenant, or no such environment and no rank given, 23505 rank taken, YH003 tenant not active. Locks the environment and the tenant row; audited with before and after.';
