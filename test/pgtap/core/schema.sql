-- What the install script makes: documented, closed, and proof against the objects of others.
SELECT plan(25);
\ir ../../dependencies.sql

-- Documented.
SELECT is_empty($$SELECT objid::regprocedure FROM member
	WHERE classid = 'pg_proc'::regclass AND obj_description(objid, 'pg_proc') IS NULL$$,
	'every function has a comment');
SELECT is_empty($$SELECT objid::regprocedure FROM member
	WHERE classid = 'pg_proc'::regclass AND length(obj_description(objid, 'pg_proc')) > 200$$,
	'that is no longer than \df+ can show');
SELECT is_empty($$SELECT objid::regclass FROM member m
	JOIN pg_class c ON c.oid = objid AND classid = 'pg_class'::regclass
	WHERE c.relkind IN ('r', 'p', 'v', 'S') AND obj_description(objid, 'pg_class') IS NULL$$,
	'every table, view and sequence has one');
SELECT is_empty($$SELECT objid::regtype FROM member m
	JOIN pg_type t ON t.oid = objid AND classid = 'pg_type'::regclass
	WHERE t.typtype = 'e' AND obj_description(objid, 'pg_type') IS NULL$$, 'every enum has one');

-- Functions.
SELECT is_empty($$SELECT objid::regprocedure FROM member
	JOIN pg_proc p ON p.oid = objid AND classid = 'pg_proc'::regclass
	WHERE p.pronamespace <> 'hotswap'::regnamespace$$, 'every function is in the schema');
SELECT is_empty($$SELECT objid::regprocedure FROM member
	JOIN pg_proc p ON p.oid = objid AND classid = 'pg_proc'::regclass
	WHERE p.prolang <> (SELECT oid FROM pg_language WHERE lanname = 'c') OR p.prosecdef$$,
	'logic is C, and nothing is SECURITY DEFINER');
SELECT is_empty($$SELECT objid::regprocedure FROM member
	JOIN pg_proc p ON p.oid = objid AND classid = 'pg_proc'::regclass
	WHERE p.prosrc <> 'hotswap_' || p.proname$$, 'the C function of each is named after it');
SELECT set_eq($$SELECT p.proname FROM member
	JOIN pg_proc p ON p.oid = objid AND classid = 'pg_proc'::regclass
	WHERE NOT EXISTS (SELECT FROM aclexplode(p.proacl) a WHERE a.grantee = 0)$$,
	'{audit_guard,access_changed,kept_changed,visible_tenants_support,sees_all_tenants_support,
	sees_tenant_support,close_rights,route_changed,call_entry,check_entry}'::name[],
	'everybody may call what looks for a capability itself: all but what is not to be called');

-- Tables and views.
SELECT is_empty($$SELECT objid::regclass FROM member
	JOIN pg_class c ON c.oid = objid AND classid = 'pg_class'::regclass
	CROSS JOIN LATERAL aclexplode(c.relacl) a
	WHERE a.grantee <> c.relowner AND NOT (c.relkind = 'v' AND a.privilege_type = 'SELECT')$$,
	'nothing may be read or written but through views');
SELECT is_empty($$SELECT objid::regclass FROM member
	JOIN pg_class c ON c.oid = objid AND classid = 'pg_class'::regclass
	WHERE c.relkind = 'v' AND pg_get_viewdef(c.oid) NOT LIKE '%visible_tenants()%' AND c.relname
		NOT IN ('workers', 'quota_limits', 'usual_environments', 'deployments')$$,
	'every view of tenants'' rows looks who is looking; worker_list() does it itself');
SELECT ok(NOT EXISTS (SELECT FROM pg_namespace n, aclexplode(n.nspacl) a
	WHERE n.nspname = 'hotswap' AND a.grantee <> n.nspowner AND a.privilege_type <> 'USAGE'),
	'nor make anything in the schema');
SELECT is_empty($$SELECT objid::regclass FROM member
	JOIN pg_class c ON c.oid = objid AND classid = 'pg_class'::regclass
	WHERE c.relkind = 'v' AND NOT coalesce(c.reloptions @> '{security_barrier=true}', false)
		AND c.relname <> 'deployments'$$,
	'every view is a security barrier, but one that stands on another');

-- Keys, and what a dump carries.
SELECT is_empty($$SELECT c.oid::regclass FROM member
	JOIN pg_class c ON c.oid = objid AND classid = 'pg_class'::regclass
	WHERE c.relkind = 'r' AND c.relname NOT IN ('tenant', 'installation', 'tier', 'resource',
		'tier_quota', 'reserved_subdomain') AND
	(SELECT a.attname FROM pg_index i
		JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
		WHERE i.indrelid = c.oid AND i.indisprimary) <> 'tenant_id'$$,
	'every key starts with tenant_id');
SELECT is_empty($$SELECT c.oid::regclass FROM pg_class c
	WHERE c.relnamespace = 'hotswap'::regnamespace AND c.relkind = 'r' AND c.relreplident <> 'f'
	AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)$$,
	'every table has a key, or is its own replica identity');
SELECT is_empty($$SELECT conrelid::regclass, conname FROM pg_constraint
	WHERE connamespace = 'hotswap'::regnamespace AND contype = 'f'$$,
	'no foreign keys: pg_restore may load the tables in any order');
SELECT is_empty($$SELECT tgrelid::regclass, tgname FROM pg_trigger t
	JOIN pg_class c ON c.oid = tgrelid
	WHERE c.relnamespace = 'hotswap'::regnamespace AND tgenabled <> 'A'$$,
	'no setting of a session keeps a trigger from firing');
SELECT set_eq($$SELECT c.oid::regclass::text FROM member
	JOIN pg_class c ON c.oid = objid AND classid = 'pg_class'::regclass
	WHERE c.relkind IN ('r', 'S')$$,
	$$SELECT unnest(extconfig)::regclass::text FROM pg_extension WHERE extname = 'hotswap'$$,
	'pg_dump carries every table and sequence');

-- Nothing of others is used.
SELECT cmp_ok((SELECT count(*) FROM inner_member
	WHERE classid IN ('pg_rewrite'::regclass, 'pg_attrdef'::regclass, 'pg_constraint'::regclass)),
	'>', 50::bigint, 'expressions are among them');
SELECT is_empty('SELECT * FROM foreign_dependency', 'nothing depends on what somebody else made');
SELECT is_empty($$SELECT objid::regclass FROM inner_member
	JOIN pg_class c ON c.oid = objid AND classid = 'pg_class'::regclass
	CROSS JOIN LATERAL aclexplode(c.relacl) a
	WHERE a.grantee <> c.relowner AND (c.relkind <> 'v' OR a.privilege_type <> 'SELECT')
	UNION ALL SELECT attrelid::regclass FROM pg_attribute
	JOIN inner_member ON attrelid = objid AND classid = 'pg_class'::regclass
	WHERE attacl IS NOT NULL$$, 'tables and sequences are closed to everybody');
SELECT is_empty($$SELECT objid::regclass FROM member
	JOIN pg_class c ON c.oid = objid AND classid = 'pg_class'::regclass
	WHERE c.relnamespace <> 'hotswap'::regnamespace UNION ALL
	SELECT objid::regtype::oid::regclass FROM member
	JOIN pg_type t ON t.oid = objid AND classid = 'pg_type'::regclass
	WHERE t.typnamespace <> 'hotswap'::regnamespace$$, 'every table and type is in the schema');

-- A fresh installation.
SELECT is((SELECT count(*) FROM hotswap.installation), 0::bigint,
	'nothing is in the tables before the first use: a restore brings it');
SELECT is((SELECT extversion FROM pg_extension WHERE extname = 'hotswap'),
	(SELECT default_version FROM pg_available_extensions WHERE name = 'hotswap'),
	'the version is that of the control file');

-- Who replicates everything does not keep hotswap from deleting.
SET client_min_messages = error;
CREATE PUBLICATION everything FOR ALL TABLES;
RESET client_min_messages;
SELECT hotswap.grant_access('pg_monitor', 'viewer') \g /dev/null
SELECT lives_ok($$SELECT hotswap.revoke_access('pg_monitor', 'viewer')$$,
	'a publication of all tables does not stand in the way of a DELETE');
DROP PUBLICATION everything;

-- Somebody got there first: the installation fails rather than build on foreign ground.
DROP EXTENSION hotswap;
CREATE SCHEMA hotswap;
SELECT throws_ok('CREATE EXTENSION hotswap', '42P06', 'schema "hotswap" already exists',
	'a schema that is already there');
SELECT * FROM finish();
