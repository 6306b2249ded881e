-- How an agent gets its tasks.

CREATE PROCEDURE hotswap.await_task(node uuid, timeout interval DEFAULT NULL, INOUT ready boolean DEFAULT NULL)
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'hotswap_await_task';
COMMENT ON PROCEDURE hotswap.await_task(uuid, interval, boolean) IS
'Blocks until there is a task for the agent of a node, or the time is over (NULL: no limit): then ready is false. It holds no snapshot while it waits.';
GRANT EXECUTE ON PROCEDURE hotswap.await_task TO PUBLIC;

CREATE FUNCTION hotswap.claim_tasks(node uuid, max integer DEFAULT 1,
		OUT task text, OUT token text, OUT lease_until timestamptz, OUT action text, OUT module text,
		OUT version text, OUT previous_version text, OUT digest text, OUT uri text, OUT size bigint,
		OUT settings jsonb)
	RETURNS SETOF record
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_claim_tasks';
COMMENT ON FUNCTION hotswap.claim_tasks(uuid, integer) IS
'Returns what the agent of a node has to do now, each task with a token that is the right to it until its lease ends; never waits.';
GRANT EXECUTE ON FUNCTION hotswap.claim_tasks TO PUBLIC;
