-- Which tenants a role sees, and the triggers that tell all sessions when that has changed.

CREATE FUNCTION hotswap.access_changed() RETURNS trigger
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_access_changed';
COMMENT ON FUNCTION hotswap.access_changed() IS
'Trigger that tells all sessions, at commit, to ask the tables again who may do what.';

CREATE FUNCTION hotswap.visible_tenants_support(internal) RETURNS internal
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_visible_tenants_support';
COMMENT ON FUNCTION hotswap.visible_tenants_support(internal) IS
'Tells the planner how many rows visible_tenants() returns.';

CREATE FUNCTION hotswap.visible_tenants() RETURNS SETOF uuid
	LANGUAGE c STABLE PARALLEL UNSAFE SUPPORT hotswap.visible_tenants_support
	AS 'MODULE_PATHNAME', 'hotswap_visible_tenants';
COMMENT ON FUNCTION hotswap.visible_tenants() IS
'Returns the tenants that the current role sees: those in which it has a capability, may vote, or was lent a vote. Every view joins it.';
GRANT EXECUTE ON FUNCTION hotswap.visible_tenants TO PUBLIC;

-- ALWAYS, and a row at a time, since a session with session_replication_role = replica fires nothing else,
-- and a subscription nothing else for rows.

CREATE TRIGGER access_changed AFTER INSERT OR UPDATE OR DELETE ON hotswap.access
	FOR EACH ROW EXECUTE FUNCTION hotswap.access_changed();
ALTER TABLE hotswap.access ENABLE ALWAYS TRIGGER access_changed;
COMMENT ON TRIGGER access_changed ON hotswap.access IS 'a capability is given or taken';

CREATE TRIGGER access_changed_truncate AFTER TRUNCATE ON hotswap.access
	FOR EACH STATEMENT EXECUTE FUNCTION hotswap.access_changed();
ALTER TABLE hotswap.access ENABLE ALWAYS TRIGGER access_changed_truncate;
COMMENT ON TRIGGER access_changed_truncate ON hotswap.access IS 'a capability is given or taken';

CREATE TRIGGER access_changed AFTER INSERT OR DELETE ON hotswap.tenant
	FOR EACH ROW EXECUTE FUNCTION hotswap.access_changed();
ALTER TABLE hotswap.tenant ENABLE ALWAYS TRIGGER access_changed;
COMMENT ON TRIGGER access_changed ON hotswap.tenant IS 'those who have something in all tenants see one more';

CREATE TRIGGER access_changed_truncate AFTER TRUNCATE ON hotswap.tenant
	FOR EACH STATEMENT EXECUTE FUNCTION hotswap.access_changed();
ALTER TABLE hotswap.tenant ENABLE ALWAYS TRIGGER access_changed_truncate;
COMMENT ON TRIGGER access_changed_truncate ON hotswap.tenant IS 'those who have something in all tenants see one more';

CREATE TRIGGER access_changed AFTER INSERT OR UPDATE OF approvers OR DELETE ON hotswap.environment
	FOR EACH ROW EXECUTE FUNCTION hotswap.access_changed();
ALTER TABLE hotswap.environment ENABLE ALWAYS TRIGGER access_changed;
COMMENT ON TRIGGER access_changed ON hotswap.environment IS 'who may vote sees the tenant';

CREATE TRIGGER access_changed_truncate AFTER TRUNCATE ON hotswap.environment
	FOR EACH STATEMENT EXECUTE FUNCTION hotswap.access_changed();
ALTER TABLE hotswap.environment ENABLE ALWAYS TRIGGER access_changed_truncate;
COMMENT ON TRIGGER access_changed_truncate ON hotswap.environment IS 'who may vote sees the tenant';

CREATE TRIGGER access_changed AFTER INSERT OR UPDATE OR DELETE ON hotswap.approval_delegation
	FOR EACH ROW EXECUTE FUNCTION hotswap.access_changed();
ALTER TABLE hotswap.approval_delegation ENABLE ALWAYS TRIGGER access_changed;
COMMENT ON TRIGGER access_changed ON hotswap.approval_delegation IS 'a vote that is lent lets the role see the tenant';

CREATE TRIGGER access_changed_truncate AFTER TRUNCATE ON hotswap.approval_delegation
	FOR EACH STATEMENT EXECUTE FUNCTION hotswap.access_changed();
ALTER TABLE hotswap.approval_delegation ENABLE ALWAYS TRIGGER access_changed_truncate;
COMMENT ON TRIGGER access_changed_truncate ON hotswap.approval_delegation IS 'a vote that is lent lets the role see the tenant';
