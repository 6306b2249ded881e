-- Nodes: register_node(), remove_node() (src/environment/node.c).
SELECT plan(84);

CREATE TEMP TABLE node (name text, id uuid);

CREATE ROLE hotswap_test_node_a LOGIN;
CREATE ROLE hotswap_test_node_b LOGIN;
CREATE ROLE "hotswap test node nologin";
CREATE SCHEMA customer1 AUTHORIZATION hotswap_test_node_a;
CREATE SCHEMA customer2 AUTHORIZATION hotswap_test_node_a;
CREATE SCHEMA "Customer 3";
CREATE SCHEMA private;

-- Registered: with everything, and with the defaults.
INSERT INTO node SELECT 'n1', hotswap.register_node('qa', 'n1', 'database', 'hotswap_test_node_a',
	'customer1', '{"zone": "eu"}');
SELECT results_eq(
	$$SELECT n.tenant_id, n.environment, n.kind::text, n.run_as, n.schema, n.labels, n.removed_at,
		n.created_at > now() - interval '1 minute' FROM hotswap.node n JOIN node USING (id)$$,
	$$SELECT t.id, 'qa', 'database', 'hotswap_test_node_a'::regrole, 'customer1',
		'{"zone": "eu"}'::jsonb, NULL::timestamptz, true
		FROM hotswap.tenant t$$, 'the node is stored');
SELECT matches((SELECT id::text FROM node), '^\w{8}-\w{4}-7', 'its id is a UUID of version 7');
SELECT results_eq(
	$$SELECT person, role::text COLLATE "default", detail FROM hotswap.audit_event
		WHERE event = 'register_node'$$,
	$$SELECT session_user::text COLLATE "default", current_user::text COLLATE "default",
		jsonb_build_object('node', id, 'environment', 'qa', 'name', 'n1',
		'kind', 'database', 'run_as', 'hotswap_test_node_a', 'schema', 'customer1',
		'search_path', NULL) FROM node$$,
	'audited');
INSERT INTO node SELECT 'n2', hotswap.register_node('qa', 'n2');
SELECT results_eq(
	$$SELECT n.kind::text, n.run_as, n.schema, n.labels FROM hotswap.node n JOIN node USING (id)
		WHERE n.name = 'n2'$$,
	$$VALUES ('database', current_user::regrole, NULL::text, '{}'::jsonb)$$,
	'by default it runs as the caller, with the search_path of the role');

SELECT results_eq('SELECT name, superuser FROM hotswap.nodes ORDER BY name',
	$$VALUES ('n1', false), ('n2', true)$$, 'the view tells which scripts run as a superuser');

SET hotswap.superuser_nodes = off;
SELECT throws_ok('SELECT hotswap.register_node(''qa'', ''n3'')', '42501',
	format('scripts of nodes cannot run as superuser "%s"', current_user),
	'which a setting refuses');
RESET hotswap.superuser_nodes;

-- Bad arguments.
SELECT throws_ok(format('SELECT hotswap.register_node(%s)', args), '22023', message, args)
FROM (VALUES
	($$NULL, 'x'$$, '"environment" must not be null'), ($$'', 'x'$$,
		'"environment" must not be blank'),
	($$'qa', NULL$$, '"name" must not be null'), ($$'qa', ' '$$, '"name" must not be blank'),
	($$'qa', repeat('ä', 64)$$, '"name" is too long: "' || repeat('ä', 50) || '..."'),
	($$'qa', 'x', NULL$$, '"kind" must not be null'),
	($$'qa', 'x', 'device'$$, 'invalid value for "kind": "device"'),
	($$'qa', 'x', 'agent', schema => 'public'$$,
		'"schema" and "search_path" must not be given for an agent'),
	($$'qa', 'x', 'agent', search_path => '{public}'$$,
		'"schema" and "search_path" must not be given for an agent'),
	($$'qa', 'x', shared_role => true$$,
		'"shared_role" must not be given for kind "database"'),
	($$'qa', 'x', 'agent', shared_role => NULL$$, '"shared_role" must not be null'),
	($$'qa', 'x', schema => ''$$, '"schema" must not be blank'),
	($$'qa', 'x', schema => repeat('s', 64)$$,
		'"schema" is too long: "' || repeat('s', 64) || '..."'),
	($$'qa', 'x', labels => NULL$$, '"labels" must not be null'),
	($$'qa', 'x', labels => '[]'$$, '"labels" must be a JSON object'),
	($$'qa', 'x', labels => '"a"'$$, '"labels" must be a JSON object'),
	($$'qa', 'x', labels => jsonb_build_object('a', repeat('b', 65536))$$,
		'"labels" is too large: 65545 bytes'))
	a (args, message);
SELECT is((refusal($$SELECT hotswap.register_node('qa', 'x', 'device')$$)).detail,
	'It must be "database" or "agent".',
	'which kinds there are');
SELECT ok(hotswap.register_node('qa', repeat('ä', 63), run_as => 'hotswap_test_node_b',
	schema => 'public',
	labels => jsonb_build_object('a', repeat('b', 65527))) IS NOT NULL,
	'63 characters of two bytes, labels of 64 kB');
SELECT throws_ok($$SELECT hotswap.register_node('no where', 'x')$$, 'P0002',
	'environment "no where" does not exist',
	'an unknown environment');
SELECT throws_ok($$SELECT hotswap.register_node('qa', 'x',
	tenant => '00000000-0000-7000-8000-00000000dead')$$,
	'P0002', 'tenant "00000000-0000-7000-8000-00000000dead" does not exist', 'an unknown tenant');

-- The role.
SELECT throws_ok($$SELECT hotswap.register_node('qa', 'x', run_as => 4000000000)$$, 'P0002',
	'role with OID 4000000000 does not exist',
	'a number that is no role');
SELECT throws_ok($$SELECT hotswap.register_node('qa', 'x',
	run_as => '"hotswap test node nologin"')$$, '22023',
	'role "hotswap test node nologin" is not permitted to log in', 'a role that cannot log in');
SELECT is((refusal($$SELECT hotswap.register_node('qa', 'x',
	run_as => '"hotswap test node nologin"')$$)).hint,
	'Use ALTER ROLE "hotswap test node nologin" LOGIN.', 'what to do about it');
SELECT throws_ok($$SELECT hotswap.register_node('qa', 'x', run_as => 'pg_monitor')$$, '22023',
	'role "pg_monitor" is not permitted to log in', 'a predefined role');
REVOKE CONNECT ON DATABASE :DBNAME FROM PUBLIC;
SELECT throws_ok($$SELECT hotswap.register_node('qa', 'x', run_as => 'hotswap_test_node_a')$$,
	'22023', format('role "hotswap_test_node_a" does not have CONNECT privilege on database "%s"',
		current_database()), 'a role that may not connect');
GRANT CONNECT ON DATABASE :DBNAME TO PUBLIC;

-- Membership: as a role that has the capability.
SET ROLE hotswap_test_node_a;
SELECT throws_ok($$SELECT hotswap.register_node('qa', 'x')$$, '42501', NULL, 'not granted');
SELECT throws_ok($$SELECT hotswap.remove_node('00000000-0000-7000-8000-00000000dead')$$, '42501',
	NULL, 'not granted');
RESET ROLE;
SELECT hotswap.grant_access('hotswap_test_node_a', 'operator') \g /dev/null
SET ROLE hotswap_test_node_a;
SELECT throws_ok($$SELECT hotswap.register_node('staging', 'a', run_as => 'hotswap_test_node_b')$$,
	'42501',
	'permission denied to run scripts as role "hotswap_test_node_b"', 'not a member');
SELECT throws_ok(format('SELECT hotswap.register_node(''staging'', ''a'', run_as => %s)',
	session_user::regrole::oid), '42501',
	format('permission denied to run scripts as role "%s"', session_user),
	'the login role of the session does not count');
SELECT lives_ok($$SELECT hotswap.register_node('staging', 'a', schema => 'customer2')$$,
	'as itself');
RESET ROLE;
GRANT hotswap_test_node_b TO hotswap_test_node_a;
SET ROLE hotswap_test_node_a;
SELECT lives_ok($$SELECT hotswap.register_node('staging', 'b', run_as => 'hotswap_test_node_b')$$,
	'as a role it is a member of');
RESET ROLE;
SELECT results_eq($$SELECT name, run_as::text COLLATE "default" FROM hotswap.node
	WHERE environment = 'staging' ORDER BY name$$,
	$$VALUES ('a', 'hotswap_test_node_a'), ('b', 'hotswap_test_node_b')$$, 'they run as those');

-- The schema.
SELECT throws_ok($$SELECT hotswap.register_node('qa', 'x', run_as => 'hotswap_test_node_a',
	schema => 'nowhere')$$, 'P0002',
	'schema "nowhere" does not exist', 'an unknown schema');
SELECT throws_ok($$SELECT hotswap.register_node('qa', 'x', run_as => 'hotswap_test_node_a',
	schema => '"Customer 3"')$$, 'P0002',
	'schema ""Customer 3"" does not exist', 'the plain name is wanted');
SELECT throws_ok(format('SELECT hotswap.register_node(''qa'', ''x'', schema => %L)',
	pg_my_temp_schema()::regnamespace), '22023',
	format('schema "%s" is temporary', pg_my_temp_schema()::regnamespace), 'a temporary schema');
SELECT throws_ok($$SELECT hotswap.register_node('qa', 'x', run_as => 'hotswap_test_node_a',
	schema => 'Customer 3')$$, '22023',
	'role "hotswap_test_node_a" does not have USAGE privilege on schema "Customer 3"',
	'a schema that the role may not use');
SELECT is((refusal($$SELECT hotswap.register_node('qa', 'x',
	run_as => 'hotswap_test_node_a', schema => 'Customer 3')$$)).hint,
	'Use GRANT USAGE ON SCHEMA "Customer 3" TO hotswap_test_node_a.', 'what to do about it');
GRANT USAGE ON SCHEMA "Customer 3" TO hotswap_test_node_a, hotswap_test_node_b;
SELECT lives_ok($$SELECT hotswap.register_node('qa', 'n3', run_as => 'hotswap_test_node_a',
	schema => 'Customer 3')$$, 'now it may');

-- Schemas behind it.
SELECT lives_ok($$SELECT hotswap.register_node('qa', 'n4', run_as => 'hotswap_test_node_b',
	schema => 'Customer 3', search_path => '{public, pg_catalog, public}')$$, 'with others');
SELECT results_eq('SELECT search_path FROM hotswap.nodes WHERE name = ''n4''',
	$$VALUES ('{public,pg_catalog,public}'::text[])$$, 'which are kept in their order');
SELECT is((SELECT detail->>'search_path' FROM hotswap.audit_event WHERE detail->>'name' = 'n4'),
	'{public,pg_catalog,public}', 'and audited');
SELECT throws_ok(format($$SELECT hotswap.register_node('qa', 'x', run_as => 'hotswap_test_node_a',
	schema => %L, search_path => %L)$$, schema, path), code, message, path)
FROM (VALUES ('public', '{public,nowhere}', 'P0002', 'schema "nowhere" does not exist'),
	('public', '{private}', '22023',
		'role "hotswap_test_node_a" does not have USAGE privilege on schema "private"'),
	('public', '{NULL}', '22023', 'element of "search_path" must not be null'),
	('public', '{""}', '22023', '"search_path" must not be blank'),
	('public', array_fill('public'::text, '{21}')::text, '22023',
		'"search_path" has too many elements: 21'),
	(NULL, '{public}', '22023', '"search_path" must not be given without "schema"'))
	v (schema, path, code, message);

-- Names and targets are used once.
SELECT throws_ok($$SELECT hotswap.register_node('qa', 'n1', run_as => 'hotswap_test_node_a')$$,
	'23505',
	'node "n1" already exists in environment "qa"', 'the name is taken');
SELECT throws_ok($$SELECT hotswap.register_node('qa', 'x', run_as => 'hotswap_test_node_a',
	schema => 'customer1')$$, '23505',
	'node with role "hotswap_test_node_a" and schema "customer1" already exists',
	'the target is taken');
SELECT throws_ok($$SELECT hotswap.register_node('production', 'x', run_as => 'hotswap_test_node_a',
	schema => 'customer1')$$, '23505',
	'node with role "hotswap_test_node_a" and schema "customer1" already exists',
	'in another environment too');
SELECT is((refusal($$SELECT hotswap.register_node('production', 'x',
	run_as => 'hotswap_test_node_a', schema => 'customer1')$$)).detail,
	'It is node "n1" of environment "qa"; the two would overwrite each other.',
	'the detail says by whom');
SELECT throws_ok($$SELECT hotswap.register_node('production', 'x')$$, '23505',
	format('node with role "%s" and no schema already exists', current_user),
	'no schema is a target as well');
INSERT INTO hotswap.tenant (id, name, status)
	VALUES ('00000000-0000-7000-8000-0000000000aa', 'second', 'active');
SELECT throws_ok($$SELECT hotswap.register_node('qa', 'n1',
	tenant => '00000000-0000-7000-8000-0000000000aa')$$, 'P0002',
	'environment "qa" does not exist', 'a tenant has environments of its own');
SELECT hotswap.configure_environment('qa', 1,
	tenant => '00000000-0000-7000-8000-0000000000aa') \g /dev/null
SELECT throws_ok($$SELECT hotswap.register_node('qa', 'n1',
	tenant => '00000000-0000-7000-8000-0000000000aa')$$, '23505',
	format('node with role "%s" and no schema already exists', current_user),
	'tenants do not share a target');
SELECT throws_ok($$SELECT hotswap.register_node('qa', x, schema => 'customer2')
	FROM (VALUES ('x'), ('y')) v (x)$$, '23505',
	format('node with role "%s" and schema "customer2" already exists', current_user),
	'twice in one statement');

-- Agents: no script runs here, so the caller needs no right to the role, which may be a superuser.
CREATE ROLE hotswap_test_node_agent LOGIN;
SET ROLE hotswap_test_node_a;
SELECT hotswap.register_node('staging', 'web', 'agent', 'hotswap_test_node_agent') AS web \gset
RESET ROLE;
SELECT ok(:'web' <> '', 'an agent of a role that the caller is no member of');
SET hotswap.superuser_nodes = off;
SELECT lives_ok($$SELECT hotswap.register_node('staging', 'root', 'agent')$$,
	'or of a superuser');
RESET hotswap.superuser_nodes;
SELECT results_eq($$SELECT kind::text, schema FROM hotswap.nodes WHERE name = 'web'$$,
	$$VALUES ('agent', NULL::text)$$, 'it has no schema');
SELECT lives_ok($$SELECT hotswap.register_node('staging', 'b-agent', 'agent',
	'hotswap_test_node_b')$$, 'of a role that scripts run as, too');
SELECT throws_ok($$SELECT hotswap.register_node('staging', 'x', 'agent',
	'"hotswap test node nologin"')$$, '22023',
	'role "hotswap test node nologin" is not permitted to log in',
	'an agent has to log in');

-- One role a node, unless it is asked for.
SELECT results_eq($$SELECT * FROM refusal($q$SELECT hotswap.register_node('qa', 'web', 'agent',
	'hotswap_test_node_agent')$q$)$$,
	$$VALUES ('23505', 'node with an agent of role "hotswap_test_node_agent" already exists',
		'It is node "web" of environment "staging"; the two would see each other''s tasks.',
		'Give each agent a role of its own, or use "shared_role".')$$, 'a role has one agent');
SELECT throws_ok($$SELECT hotswap.register_node('qa', 'web', 'agent', 'hotswap_test_node_agent',
	tenant => '00000000-0000-7000-8000-0000000000aa')$$, '23505', NULL, 'in all tenants');
SELECT lives_ok($$SELECT hotswap.register_node('qa', 'web', 'agent', 'hotswap_test_node_agent',
	shared_role => true)$$, 'more where that is said');
SELECT is((SELECT string_agg(detail->>'shared_role', ',') FROM hotswap.audit_event
	WHERE event = 'register_node'), 'true', 'which is audited');
SELECT hotswap.remove_node(:'web') \g /dev/null
SELECT throws_ok($$SELECT hotswap.register_node('qa', 'y', 'agent', 'hotswap_test_node_agent')$$,
	'23505', NULL, 'the other one is still there');

-- Removal.
SELECT throws_ok('SELECT hotswap.remove_node(NULL)', '22023', '"node" must not be null', 'no id');
SELECT throws_ok($$SELECT hotswap.remove_node('00000000-0000-7000-8000-00000000dead')$$, 'P0002',
	'node "00000000-0000-7000-8000-00000000dead" does not exist', 'an unknown node');
SET hotswap.tenant = '00000000-0000-7000-8000-0000000000aa';
SELECT throws_ok(format('SELECT hotswap.remove_node(%L)', id), 'P0002',
	'node "' || id || '" does not exist',
	'the node of another tenant')
FROM node WHERE name = 'n1';
RESET hotswap.tenant;

-- Work that is not done: every state of a task, with and without a work item.
CREATE FUNCTION pg_temp.removable(state text, queued boolean) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	t uuid = '00000000-0000-7000-8000-000000000001';
	n uuid = (SELECT id FROM node WHERE name = 'n1');
	result text;
BEGIN
	INSERT INTO hotswap.task (tenant_id, deployment_id, stage, ordinal, kind, status, wave, attempt,
		node_id)
		VALUES (t, '00000000-0000-7000-8000-00000000dddd', 1, 1, 'swap', state::hotswap.task_status,
			1, 0, n);
	IF queued THEN
		INSERT INTO hotswap.work_item
			VALUES (t, '00000000-0000-7000-8000-00000000dddd', 'infinity', 0);
	END IF;
	BEGIN
		PERFORM hotswap.remove_node(n);
		result := 'removed';
		RAISE no_data_found;
	EXCEPTION WHEN no_data_found THEN
	WHEN object_not_in_prerequisite_state THEN
		result := sqlerrm;
	END;
	DELETE FROM hotswap.task;
	DELETE FROM hotswap.work_item;
	RETURN result;
END $$;
SELECT results_eq(
	'SELECT u.state::text, pg_temp.removable(u.state::text, true)
		FROM unnest(enum_range(NULL::hotswap.task_status)) u (state) ORDER BY u.state',
	$$VALUES ('pending', 'node "n1" has unfinished work'),
		('ready', 'node "n1" has unfinished work'),
	('running', 'node "n1" has unfinished work'), ('retry_wait', 'node "n1" has unfinished work'),
	('succeeded', 'removed'), ('failed', 'removed'), ('skipped', 'removed'),
	('cancelled', 'removed'),
	('reverting', 'node "n1" has unfinished work'), ('reverted', 'removed')$$,
	'not while a deployment has work on it');
SELECT is(pg_temp.removable('pending', false), 'removed',
	'the tasks of a deployment that has ended do not count');

SELECT lives_ok(format('SELECT hotswap.remove_node(%L)', id), 'removed') FROM node
	WHERE name = 'n1';
SELECT results_eq($$SELECT name, removed_at IS NOT NULL FROM hotswap.node JOIN node USING (id, name)
	ORDER BY name$$,
	$$VALUES ('n1', true), ('n2', false)$$, 'its row stays for the history');
SELECT results_eq($$SELECT detail FROM hotswap.audit_event WHERE event = 'remove_node'
		AND detail->>'environment' = 'qa'$$,
	$$SELECT jsonb_build_object('node', id, 'environment', 'qa', 'name', 'n1') FROM node
		WHERE name = 'n1'$$, 'audited');
SELECT throws_ok(format('SELECT hotswap.remove_node(%L)', id), 'P0002',
	'node "' || id || '" does not exist',
	'removed once')
FROM node WHERE name = 'n1';
SELECT lives_ok($$SELECT hotswap.register_node('qa', 'n1', run_as => 'hotswap_test_node_a',
	schema => 'customer1')$$,
	'its name and target are free again');

-- At every isolation level.
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT throws_ok($$SELECT hotswap.register_node('production', 'x', run_as => 'hotswap_test_node_a',
	schema => 'customer1')$$, '23505',
	NULL, 'SERIALIZABLE: the target is taken');
COMMIT;
UPDATE hotswap.tenant SET status = 'suspended' WHERE name = 'second';
SELECT throws_ok($$SELECT hotswap.register_node('qa', 'x',
	tenant => '00000000-0000-7000-8000-0000000000aa')$$, 'YH003',
	'tenant "00000000-0000-7000-8000-0000000000aa" is not active', 'a suspended tenant');

DROP OWNED BY hotswap_test_node_a, hotswap_test_node_b CASCADE;
DROP ROLE hotswap_test_node_a, hotswap_test_node_b, hotswap_test_node_agent,
	"hotswap test node nologin";
SELECT * FROM finish();
