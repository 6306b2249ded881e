-- Is a node healthy, and is an environment, by what was reported.

CREATE FUNCTION hotswap.node_problems(tenant uuid, node uuid) RETURNS text[]
	LANGUAGE c STABLE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_node_problems';
COMMENT ON FUNCTION hotswap.node_problems(uuid, uuid) IS
'Returns why a node is unhealthy, an empty array where it is healthy, NULL where nobody reports of it; see the view nodes.';
GRANT EXECUTE ON FUNCTION hotswap.node_problems TO PUBLIC;

CREATE FUNCTION hotswap.environment_health(tenant uuid, environment text) RETURNS text
	LANGUAGE c STABLE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_environment_health';
COMMENT ON FUNCTION hotswap.environment_health(uuid, text) IS
'Returns healthy or unhealthy, by how many of its nodes are, or unknown, where nobody reports of any; see the view environments.';
GRANT EXECUTE ON FUNCTION hotswap.environment_health TO PUBLIC;
