-- What an environment grants to agents.

CREATE FUNCTION hotswap.configure_agents(environment text, lease interval DEFAULT NULL,
		attempts integer DEFAULT NULL, claim_within interval DEFAULT NULL, tenant uuid DEFAULT NULL) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_configure_agents';
COMMENT ON FUNCTION hotswap.configure_agents(text, interval, integer, interval, uuid) IS
'Says how long a task of an environment belongs to an agent, how often it is given out, and by when it has to be claimed; NULL leaves what is there.';
GRANT EXECUTE ON FUNCTION hotswap.configure_agents TO PUBLIC;
