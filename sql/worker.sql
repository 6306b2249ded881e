-- What works in the background, and how it is.

CREATE PROCEDURE hotswap.work()
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'hotswap_work';
COMMENT ON PROCEDURE hotswap.work() IS
'Runs the dispatcher in this session until nothing is due, without executors: it runs itself the tasks whose role is the login role of the session and names in a notice those it left. Commits as it goes, so it cannot be called inside a transaction block. A cancel of the session fails the task that runs and ends the call. Errors: 57014 cancelled; 55000 the session acts as another role than the one that logged in, a dispatcher works in this database already, or the tables of this database were written for another one (see adopt()); 2D000 inside a transaction block.';

CREATE FUNCTION hotswap.worker_list(OUT kind text, OUT pid integer, OUT database name, OUT role name,
		OUT state text, OUT deployment_id uuid, OUT since timestamptz) RETURNS SETOF record
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_worker_list';
COMMENT ON FUNCTION hotswap.worker_list() IS
'Background processes of hotswap in the whole cluster; empty without shared_preload_libraries. See the view workers.';

CREATE FUNCTION hotswap.health(OUT component text, OUT status text, OUT detail text) RETURNS SETOF record
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_health';
COMMENT ON FUNCTION hotswap.health() IS
'State of each part of hotswap in this database: status is ok, warning or critical, detail says why. Locks nothing.';
