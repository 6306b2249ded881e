-- The trigger that tells all sessions that the route has changed. ALWAYS, and a row at a time, as in
-- sql/core/access.sql.

CREATE FUNCTION hotswap.route_changed() RETURNS trigger
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_route_changed';
COMMENT ON FUNCTION hotswap.route_changed() IS
'Trigger that tells all sessions, at commit, to read the route again.';

CREATE TRIGGER route_changed AFTER INSERT OR UPDATE OR DELETE ON hotswap.route
	FOR EACH ROW EXECUTE FUNCTION hotswap.route_changed();
ALTER TABLE hotswap.route ENABLE ALWAYS TRIGGER route_changed;
COMMENT ON TRIGGER route_changed ON hotswap.route IS 'callers get another version';

CREATE TRIGGER route_changed_truncate AFTER TRUNCATE ON hotswap.route
	FOR EACH STATEMENT EXECUTE FUNCTION hotswap.route_changed();
ALTER TABLE hotswap.route ENABLE ALWAYS TRIGGER route_changed_truncate;
COMMENT ON TRIGGER route_changed_truncate ON hotswap.route IS 'callers get another version';
