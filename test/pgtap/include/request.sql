-- Scripts that are deployed, each as a version of a module of its own.

-- Publishes scripts and requests their deployment; its end is awaited by the next statement, since
-- it cannot begin before this one has committed.
CREATE SEQUENCE pg_temp.version;
CREATE FUNCTION pg_temp.request(deploy_sql text, verify_sql text DEFAULT NULL,
	revert_sql text DEFAULT NULL) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
	version text = nextval('pg_temp.version');
BEGIN
	PERFORM hotswap.publish_version('m' || version, version, deploy_sql, verify_sql, revert_sql);
	RETURN hotswap.deploy('m' || version, version, 'development');
END $$;
CREATE FUNCTION pg_temp.swap_of(id uuid) RETURNS hotswap.tasks LANGUAGE sql AS
	'SELECT t FROM hotswap.tasks t WHERE deployment_id = id AND kind = ''swap''';
