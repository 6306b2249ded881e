-- Breaking the glass; the reviews afterwards are in review.sql.

CREATE FUNCTION hotswap.bypass_approval(deployment uuid, environment text, reason text, ticket text,
		on_behalf_of text DEFAULT NULL) RETURNS hotswap.approval_status
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_bypass_approval';
COMMENT ON FUNCTION hotswap.bypass_approval(uuid, text, text, text, text) IS
'Breaks the glass: lets a deployment go to an environment without the missing votes, and returns the status of the approval; the view bypass_reviews lists it.';
GRANT EXECUTE ON FUNCTION hotswap.bypass_approval TO PUBLIC;
