-- Waiting for the end of a deployment.

CREATE FUNCTION hotswap.wait(deployment uuid, timeout interval DEFAULT NULL) RETURNS hotswap.deployment_status
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_wait';
COMMENT ON FUNCTION hotswap.wait(uuid, interval) IS
'Blocks until a deployment has ended, or the time is over (NULL: no limit, zero: does not wait), and returns its status.';
GRANT EXECUTE ON FUNCTION hotswap.wait TO PUBLIC;

CREATE PROCEDURE hotswap.await(deployment uuid, timeout interval DEFAULT NULL,
		INOUT status hotswap.deployment_status DEFAULT NULL)
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'hotswap_await';
COMMENT ON PROCEDURE hotswap.await(uuid, interval, hotswap.deployment_status) IS
'Like wait(), as a procedure: ends the transaction and holds no snapshot while it waits. status: what is given is ignored; the result is the status.';
GRANT EXECUTE ON PROCEDURE hotswap.await TO PUBLIC;
