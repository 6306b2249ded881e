-- The triggers that tell all processes to ask a table again: results that come from it are kept.

CREATE FUNCTION hotswap.kept_changed() RETURNS trigger
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_kept_changed';
COMMENT ON FUNCTION hotswap.kept_changed() IS
'Trigger that tells all processes, at commit, to ask the table again.';

-- ALWAYS, and a row at a time, as those of core/access.sql.

CREATE TRIGGER kept_changed AFTER INSERT OR UPDATE OR DELETE ON hotswap.environment
	FOR EACH ROW EXECUTE FUNCTION hotswap.kept_changed();
ALTER TABLE hotswap.environment ENABLE ALWAYS TRIGGER kept_changed;
COMMENT ON TRIGGER kept_changed ON hotswap.environment IS 'stages ask for its policy and its rules';

CREATE TRIGGER kept_changed_truncate AFTER TRUNCATE ON hotswap.environment
	FOR EACH STATEMENT EXECUTE FUNCTION hotswap.kept_changed();
ALTER TABLE hotswap.environment ENABLE ALWAYS TRIGGER kept_changed_truncate;
COMMENT ON TRIGGER kept_changed_truncate ON hotswap.environment IS 'stages ask for its policy and its rules';

CREATE TRIGGER kept_changed AFTER INSERT OR UPDATE OR DELETE ON hotswap.environment_rule
	FOR EACH ROW EXECUTE FUNCTION hotswap.kept_changed();
ALTER TABLE hotswap.environment_rule ENABLE ALWAYS TRIGGER kept_changed;
COMMENT ON TRIGGER kept_changed ON hotswap.environment_rule IS 'stages ask for it';

CREATE TRIGGER kept_changed_truncate AFTER TRUNCATE ON hotswap.environment_rule
	FOR EACH STATEMENT EXECUTE FUNCTION hotswap.kept_changed();
ALTER TABLE hotswap.environment_rule ENABLE ALWAYS TRIGGER kept_changed_truncate;
COMMENT ON TRIGGER kept_changed_truncate ON hotswap.environment_rule IS 'stages ask for it';

CREATE TRIGGER kept_changed AFTER INSERT OR UPDATE OR DELETE ON hotswap.failed_rollback
	FOR EACH ROW EXECUTE FUNCTION hotswap.kept_changed();
ALTER TABLE hotswap.failed_rollback ENABLE ALWAYS TRIGGER kept_changed;
COMMENT ON TRIGGER kept_changed ON hotswap.failed_rollback IS 'the end of a deployment asks whether there is any';

CREATE TRIGGER kept_changed_truncate AFTER TRUNCATE ON hotswap.failed_rollback
	FOR EACH STATEMENT EXECUTE FUNCTION hotswap.kept_changed();
ALTER TABLE hotswap.failed_rollback ENABLE ALWAYS TRIGGER kept_changed_truncate;
COMMENT ON TRIGGER kept_changed_truncate ON hotswap.failed_rollback IS 'the end of a deployment asks whether there is any';

CREATE TRIGGER kept_changed AFTER INSERT OR UPDATE OR DELETE ON hotswap.hook
	FOR EACH ROW EXECUTE FUNCTION hotswap.kept_changed();
ALTER TABLE hotswap.hook ENABLE ALWAYS TRIGGER kept_changed;
COMMENT ON TRIGGER kept_changed ON hotswap.hook IS 'stages ask for it';

CREATE TRIGGER kept_changed_truncate AFTER TRUNCATE ON hotswap.hook
	FOR EACH STATEMENT EXECUTE FUNCTION hotswap.kept_changed();
ALTER TABLE hotswap.hook ENABLE ALWAYS TRIGGER kept_changed_truncate;
COMMENT ON TRIGGER kept_changed_truncate ON hotswap.hook IS 'stages ask for it';

CREATE TRIGGER kept_changed AFTER INSERT OR UPDATE OR DELETE ON hotswap.installation
	FOR EACH ROW EXECUTE FUNCTION hotswap.kept_changed();
ALTER TABLE hotswap.installation ENABLE ALWAYS TRIGGER kept_changed;
COMMENT ON TRIGGER kept_changed ON hotswap.installation IS 'the dispatcher asks whether it may work';

CREATE TRIGGER kept_changed_truncate AFTER TRUNCATE ON hotswap.installation
	FOR EACH STATEMENT EXECUTE FUNCTION hotswap.kept_changed();
ALTER TABLE hotswap.installation ENABLE ALWAYS TRIGGER kept_changed_truncate;
COMMENT ON TRIGGER kept_changed_truncate ON hotswap.installation IS 'the dispatcher asks whether it may work';

CREATE TRIGGER kept_changed AFTER INSERT OR UPDATE OR DELETE ON hotswap.quota
	FOR EACH ROW EXECUTE FUNCTION hotswap.kept_changed();
ALTER TABLE hotswap.quota ENABLE ALWAYS TRIGGER kept_changed;
COMMENT ON TRIGGER kept_changed ON hotswap.quota IS 'the dispatcher asks what a tenant may do';

CREATE TRIGGER kept_changed_truncate AFTER TRUNCATE ON hotswap.quota
	FOR EACH STATEMENT EXECUTE FUNCTION hotswap.kept_changed();
ALTER TABLE hotswap.quota ENABLE ALWAYS TRIGGER kept_changed_truncate;
COMMENT ON TRIGGER kept_changed_truncate ON hotswap.quota IS 'the dispatcher asks what a tenant may do';

CREATE TRIGGER kept_changed AFTER INSERT OR UPDATE OF status, tier OR DELETE ON hotswap.tenant
	FOR EACH ROW EXECUTE FUNCTION hotswap.kept_changed();
ALTER TABLE hotswap.tenant ENABLE ALWAYS TRIGGER kept_changed;
COMMENT ON TRIGGER kept_changed ON hotswap.tenant IS 'the dispatcher asks what it may do';

CREATE TRIGGER kept_changed_truncate AFTER TRUNCATE ON hotswap.tenant
	FOR EACH STATEMENT EXECUTE FUNCTION hotswap.kept_changed();
ALTER TABLE hotswap.tenant ENABLE ALWAYS TRIGGER kept_changed_truncate;
COMMENT ON TRIGGER kept_changed_truncate ON hotswap.tenant IS 'the dispatcher asks what it may do';

CREATE TRIGGER kept_changed AFTER INSERT OR UPDATE OR DELETE ON hotswap.tier
	FOR EACH ROW EXECUTE FUNCTION hotswap.kept_changed();
ALTER TABLE hotswap.tier ENABLE ALWAYS TRIGGER kept_changed;
COMMENT ON TRIGGER kept_changed ON hotswap.tier IS 'the dispatcher asks what a tenant may do';

CREATE TRIGGER kept_changed_truncate AFTER TRUNCATE ON hotswap.tier
	FOR EACH STATEMENT EXECUTE FUNCTION hotswap.kept_changed();
ALTER TABLE hotswap.tier ENABLE ALWAYS TRIGGER kept_changed_truncate;
COMMENT ON TRIGGER kept_changed_truncate ON hotswap.tier IS 'the dispatcher asks what a tenant may do';

CREATE TRIGGER kept_changed AFTER INSERT OR UPDATE OR DELETE ON hotswap.tier_quota
	FOR EACH ROW EXECUTE FUNCTION hotswap.kept_changed();
ALTER TABLE hotswap.tier_quota ENABLE ALWAYS TRIGGER kept_changed;
COMMENT ON TRIGGER kept_changed ON hotswap.tier_quota IS 'the dispatcher asks what a tenant may do';

CREATE TRIGGER kept_changed_truncate AFTER TRUNCATE ON hotswap.tier_quota
	FOR EACH STATEMENT EXECUTE FUNCTION hotswap.kept_changed();
ALTER TABLE hotswap.tier_quota ENABLE ALWAYS TRIGGER kept_changed_truncate;
COMMENT ON TRIGGER kept_changed_truncate ON hotswap.tier_quota IS 'the dispatcher asks what a tenant may do';
