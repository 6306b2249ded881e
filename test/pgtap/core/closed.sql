-- Default privileges of the installer give nothing of hotswap's away.
SELECT plan(6);

-- Given an installer who lets a role do everything with what he makes.
CREATE ROLE hotswap_test_closed LOGIN;
DROP EXTENSION hotswap;
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO hotswap_test_closed WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO hotswap_test_closed;
ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO hotswap_test_closed;
ALTER DEFAULT PRIVILEGES GRANT ALL ON TYPES TO hotswap_test_closed;
ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO hotswap_test_closed;
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

-- When the extension is made, and makes the first partitions of the audit log.
CREATE EXTENSION hotswap;
SELECT hotswap.grant_access('pg_monitor', 'viewer') \g /dev/null
CREATE VIEW given AS
	SELECT c.oid::regclass::text AS object FROM pg_class c, aclexplode(c.relacl) a
		WHERE c.relnamespace = 'hotswap'::regnamespace
		AND pg_get_userbyid(a.grantee) = 'hotswap_test_closed'
	UNION ALL SELECT p.oid::regprocedure::text FROM pg_proc p, aclexplode(p.proacl) a
		WHERE p.pronamespace = 'hotswap'::regnamespace
		AND pg_get_userbyid(a.grantee) = 'hotswap_test_closed'
	UNION ALL SELECT t.oid::regtype::text FROM pg_type t, aclexplode(t.typacl) a
		WHERE t.typnamespace = 'hotswap'::regnamespace
		AND pg_get_userbyid(a.grantee) = 'hotswap_test_closed'
	UNION ALL SELECT n.nspname FROM pg_namespace n, aclexplode(n.nspacl) a
		WHERE n.nspname = 'hotswap' AND pg_get_userbyid(a.grantee) = 'hotswap_test_closed';

-- Then the role has nothing but what everybody has.
SELECT is_empty('TABLE given', 'no right is anybody''s by default privileges');
SELECT cmp_ok((SELECT count(*) FROM pg_inherits WHERE inhparent = 'hotswap.audit_event'::regclass),
	'>', 1::bigint, 'not on partitions either');
SELECT is(as_role('hotswap_test_closed', 'SELECT count(*)::text FROM hotswap.tenants'), '0',
	'everybody may read the views');
SELECT is(as_role('hotswap_test_closed', 'SELECT hotswap.lock_key(''x'')::text') ~ '^-?\d+$', true,
	'and call the functions');
SELECT is((SELECT count(*) FROM pg_init_privs i CROSS JOIN LATERAL aclexplode(i.initprivs) a
	WHERE pg_get_userbyid(a.grantee) = 'hotswap_test_closed'), 0::bigint,
	'a dump does not bring it back');
SELECT throws_ok('SELECT hotswap.close_rights(NULL)', '55000', NULL,
	'later nobody takes away what administrators have granted');

ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM hotswap_test_closed;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON SEQUENCES FROM hotswap_test_closed;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON FUNCTIONS FROM hotswap_test_closed;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON TYPES FROM hotswap_test_closed;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON SCHEMAS FROM hotswap_test_closed;
SELECT * FROM finish();
