-- Whether this database dispatches.

CREATE FUNCTION hotswap.adopt() RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_adopt';
COMMENT ON FUNCTION hotswap.adopt() IS
'Declares that this database may dispatch the deployments it contains: needed once after a restore into another database or cluster and after pg_upgrade.';
GRANT EXECUTE ON FUNCTION hotswap.adopt TO PUBLIC;

CREATE FUNCTION hotswap.stop_dispatching(reason text) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_stop_dispatching';
COMMENT ON FUNCTION hotswap.stop_dispatching(text) IS
'Stops the line in this database at commit, with a reason: nothing new starts, what runs ends. Survives a restart.';
GRANT EXECUTE ON FUNCTION hotswap.stop_dispatching TO PUBLIC;

CREATE FUNCTION hotswap.start_dispatching() RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_start_dispatching';
COMMENT ON FUNCTION hotswap.start_dispatching() IS
'Lets the line go on after stop_dispatching().';
GRANT EXECUTE ON FUNCTION hotswap.start_dispatching TO PUBLIC;
