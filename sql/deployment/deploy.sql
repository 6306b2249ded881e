-- Requests of deployments.

CREATE FUNCTION hotswap.deploy(module text, version text, environment text,
		idempotency_key text DEFAULT NULL, priority integer DEFAULT 0,
		run_at timestamptz DEFAULT NULL, start_by timestamptz DEFAULT NULL,
		metadata jsonb DEFAULT '{}', on_behalf_of text DEFAULT NULL,
		require_approval text[] DEFAULT NULL, nodes text[] DEFAULT NULL,
		allow_revert boolean DEFAULT false, only_target boolean DEFAULT false,
		reapply boolean DEFAULT false, overtake boolean DEFAULT false,
		on_failure text DEFAULT NULL, supersede boolean DEFAULT false,
		rehearse boolean DEFAULT false, tenant uuid DEFAULT NULL) RETURNS uuid
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_deploy';
COMMENT ON FUNCTION hotswap.deploy(text, text, text, text, integer, timestamptz, timestamptz, jsonb, text, text[], text[], boolean, boolean, boolean, boolean, text, boolean, boolean, uuid) IS
'Requests a deployment of a version to an environment, or its rehearsal, in the caller''s transaction and returns its id; it starts after the commit.';
GRANT EXECUTE ON FUNCTION hotswap.deploy TO PUBLIC;

CREATE FUNCTION hotswap.deploy_release(release text, environment text,
		idempotency_key text DEFAULT NULL, priority integer DEFAULT 0,
		run_at timestamptz DEFAULT NULL, start_by timestamptz DEFAULT NULL,
		metadata jsonb DEFAULT '{}', on_behalf_of text DEFAULT NULL,
		require_approval text[] DEFAULT NULL, nodes text[] DEFAULT NULL,
		allow_revert boolean DEFAULT false, only_target boolean DEFAULT false,
		reapply boolean DEFAULT false, overtake boolean DEFAULT false,
		on_failure text DEFAULT NULL, supersede boolean DEFAULT false,
		rehearse boolean DEFAULT false, tenant uuid DEFAULT NULL) RETURNS uuid
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_deploy_release';
COMMENT ON FUNCTION hotswap.deploy_release(text, text, text, integer, timestamptz, timestamptz, jsonb, text, text[], text[], boolean, boolean, boolean, boolean, text, boolean, boolean, uuid) IS
'Requests that a release goes to an environment, the versions that a node does not run in one transaction, and returns the id of the deployment.';
GRANT EXECUTE ON FUNCTION hotswap.deploy_release TO PUBLIC;
