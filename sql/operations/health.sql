-- How hotswap is, and which processes it has.

CREATE FUNCTION hotswap.worker_list(OUT kind text, OUT pid integer, OUT database name, OUT role name,
		OUT state text, OUT deployment_id uuid, OUT since timestamptz) RETURNS SETOF record
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_worker_list';
COMMENT ON FUNCTION hotswap.worker_list() IS
'Returns the background processes of hotswap in the whole cluster; empty without shared_preload_libraries. See the view workers.';
GRANT EXECUTE ON FUNCTION hotswap.worker_list TO PUBLIC;

CREATE FUNCTION hotswap.health(OUT component text, OUT status text, OUT detail text) RETURNS SETOF record
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_health';
COMMENT ON FUNCTION hotswap.health() IS
'Returns the state of each part of hotswap in this database: status is ok, warning or critical, detail says why.';
GRANT EXECUTE ON FUNCTION hotswap.health TO PUBLIC;

CREATE VIEW hotswap.workers WITH (security_barrier) AS
SELECT w.kind, w.pid, w.database, w.role, w.state, w.deployment_id, w.since
FROM hotswap.worker_list() w;
COMMENT ON VIEW hotswap.workers IS 'launcher, dispatchers and executors of the whole cluster; for members of pg_monitor and those who have viewer for all tenants';
GRANT SELECT ON hotswap.workers TO PUBLIC;
