-- How far the statements of tasks are.

CREATE FUNCTION hotswap.task_progress(deployment uuid, stage integer, ordinal integer,
		tenant uuid DEFAULT NULL) RETURNS text
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_task_progress';
COMMENT ON FUNCTION hotswap.task_progress(uuid, integer, integer, uuid) IS
'Returns how far the statement of a running task is, in words, or NULL where the server does not know it.';
GRANT EXECUTE ON FUNCTION hotswap.task_progress TO PUBLIC;
