-- Cancelling.

CREATE FUNCTION hotswap.cancel(deployment uuid, reason text) RETURNS hotswap.deployment_status
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_cancel';
COMMENT ON FUNCTION hotswap.cancel(uuid, text) IS
'Cancels a deployment, with a reason, and returns its status: cancelled, or what it is until what runs is broken off and reverted.';
GRANT EXECUTE ON FUNCTION hotswap.cancel TO PUBLIC;
