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

CREATE TRIGGER access_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON hotswap.access
	FOR EACH STATEMENT EXECUTE FUNCTION hotswap.access_changed();
COMMENT ON TRIGGER access_changed ON hotswap.access IS 'a capability is given or taken';

CREATE TRIGGER access_changed AFTER INSERT OR DELETE OR TRUNCATE ON hotswap.tenant
	FOR EACH STATEMENT EXECUTE FUNCTION hotswap.access_changed();
COMMENT ON TRIGGER access_changed ON hotswap.tenant IS 'those who have something in all tenants see one more';

CREATE TRIGGER access_changed AFTER INSERT OR UPDATE OF approvers OR DELETE ON hotswap.environment
	FOR EACH STATEMENT EXECUTE FUNCTION hotswap.access_changed();
COMMENT ON TRIGGER access_changed ON hotswap.environment IS 'who may vote sees the tenant';

CREATE TRIGGER access_changed_truncate AFTER TRUNCATE ON hotswap.environment
	FOR EACH STATEMENT EXECUTE FUNCTION hotswap.access_changed();
COMMENT ON TRIGGER access_changed_truncate ON hotswap.environment IS 'who may vote sees the tenant';

CREATE TRIGGER access_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON hotswap.approval_delegation
	FOR EACH STATEMENT EXECUTE FUNCTION hotswap.access_changed();
COMMENT ON TRIGGER access_changed ON hotswap.approval_delegation IS 'a vote that is lent lets the role see the tenant';
