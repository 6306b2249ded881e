-- What a deployment would run.

CREATE FUNCTION hotswap.preview(module text, version text, environment text,
		nodes text[] DEFAULT NULL, allow_revert boolean DEFAULT false, only_target boolean DEFAULT false,
		reapply boolean DEFAULT false, tenant uuid DEFAULT NULL,
		OUT goes_to text, OUT node text, OUT step integer, OUT step_module text, OUT step_version text,
		OUT direction text, OUT digest text, OUT problem text, OUT transactional boolean,
		OUT routing text, OUT findings text, OUT missing_revert boolean, OUT strategy text, OUT wave integer,
		OUT wave_sizes integer[], OUT bakes interval[])
	RETURNS SETOF record
	LANGUAGE c STABLE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_preview';
COMMENT ON FUNCTION hotswap.preview(text, text, text, text[], boolean, boolean, boolean, uuid) IS
'Returns what deploy() would run on each node now, a row a step, or why a node would run nothing; nothing is run.';
GRANT EXECUTE ON FUNCTION hotswap.preview TO PUBLIC;

CREATE FUNCTION hotswap.preview_release(release text, environment text,
		nodes text[] DEFAULT NULL, allow_revert boolean DEFAULT false, only_target boolean DEFAULT false,
		reapply boolean DEFAULT false, tenant uuid DEFAULT NULL,
		OUT goes_to text, OUT node text, OUT step integer, OUT step_module text, OUT step_version text,
		OUT direction text, OUT digest text, OUT problem text, OUT transactional boolean,
		OUT routing text, OUT findings text, OUT missing_revert boolean, OUT strategy text, OUT wave integer,
		OUT wave_sizes integer[], OUT bakes interval[])
	RETURNS SETOF record
	LANGUAGE c STABLE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_preview_release';
COMMENT ON FUNCTION hotswap.preview_release(text, text, text[], boolean, boolean, boolean, uuid) IS
'Returns what deploy_release() would run on each node now, a row a step, or why a node would run nothing; nothing is run.';
GRANT EXECUTE ON FUNCTION hotswap.preview_release TO PUBLIC;
