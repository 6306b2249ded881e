-- The dispatcher in a session.

CREATE PROCEDURE hotswap.work()
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'hotswap_work';
COMMENT ON PROCEDURE hotswap.work() IS
'Runs the dispatcher in this session until nothing is due, with the tasks whose role is the login role; commits as it goes.';
GRANT EXECUTE ON PROCEDURE hotswap.work TO PUBLIC;
