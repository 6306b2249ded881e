-- Who has to agree before a deployment goes to an environment.

CREATE FUNCTION hotswap.set_approval_policy(environment text, min_approvals integer,
		approvers regrole[] DEFAULT NULL, expires_after interval DEFAULT '24 h',
		allow_self_approval boolean DEFAULT false, require_comment boolean DEFAULT false,
		max_open_reviews integer DEFAULT NULL, tenant uuid DEFAULT NULL) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_set_approval_policy';
COMMENT ON FUNCTION hotswap.set_approval_policy(text, integer, regrole[], interval, boolean, boolean, integer, uuid) IS
'Says who has to agree before a deployment goes to an environment: how many persons, members of which roles, within what time. min_approvals 0 opens it.';
GRANT EXECUTE ON FUNCTION hotswap.set_approval_policy TO PUBLIC;
