-- State machines.

CREATE FUNCTION hotswap.state_diagram(machine text) RETURNS text
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'hotswap_state_diagram';
COMMENT ON FUNCTION hotswap.state_diagram(text) IS
'Returns the state machine of a deployment, stage, task, approval or tenant as a Mermaid diagram, printed from the table that the code obeys.';
GRANT EXECUTE ON FUNCTION hotswap.state_diagram TO PUBLIC;
