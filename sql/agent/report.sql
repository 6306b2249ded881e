-- How an agent says how far it is.

CREATE FUNCTION hotswap.extend_task(task text, token text, OUT lease_until timestamptz, OUT cancelled boolean)
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_extend_task';
COMMENT ON FUNCTION hotswap.extend_task(text, text) IS
'Extends the lease of a task and returns its end; cancelled: the agent is to stop, and the lease stays as it is.';
GRANT EXECUTE ON FUNCTION hotswap.extend_task TO PUBLIC;

CREATE FUNCTION hotswap.report_progress(task text, token text, percent integer, message text DEFAULT NULL,
		OUT lease_until timestamptz, OUT cancelled boolean)
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_report_progress';
COMMENT ON FUNCTION hotswap.report_progress(text, text, integer, text) IS
'Like extend_task(), and says how far the agent is.';
GRANT EXECUTE ON FUNCTION hotswap.report_progress TO PUBLIC;

CREATE FUNCTION hotswap.complete_task(task text, token text, success boolean, digest text DEFAULT NULL,
		message text DEFAULT NULL, details jsonb DEFAULT NULL) RETURNS text
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_complete_task';
COMMENT ON FUNCTION hotswap.complete_task(text, text, boolean, text, text, jsonb) IS
'Ends a task and returns its status. A success counts with the SHA-256, in hex, of the artifact that was to be installed; else the task has failed.';
GRANT EXECUTE ON FUNCTION hotswap.complete_task TO PUBLIC;
