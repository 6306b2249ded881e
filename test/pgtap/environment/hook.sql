-- Hooks: register_hook(), remove_hook() (src/environment/hook.c).
SELECT plan(58);

CREATE ROLE hotswap_test_hook LOGIN;
CREATE ROLE hotswap_test_hook_other LOGIN;
CREATE ROLE hotswap_test_hook_nologin;
CREATE SCHEMA "My Hooks";
CREATE FUNCTION public.smoke(uuid) RETURNS boolean LANGUAGE sql AS 'SELECT true';
CREATE FUNCTION "My Hooks"."Smoke Test"(deployment uuid) RETURNS void LANGUAGE sql AS '';

-- Registered.
SELECT lives_ok($$SELECT hotswap.register_hook('test', 'smoke(uuid)')$$, 'for every module');
SELECT lives_ok($$SELECT hotswap.register_hook('validate', '"My Hooks"."Smoke Test"(uuid)',
	'billing')$$,
	'for one module, which need not exist yet');
SELECT results_eq('SELECT stage, module, function FROM hotswap.hook ORDER BY stage',
	$$VALUES ('test', '', 'public.smoke'), ('validate', 'billing', '"My Hooks"."Smoke Test"')$$,
	'stored under the qualified name');
SELECT results_eq($$SELECT person, role::text COLLATE "default", detail FROM hotswap.audit_event
	WHERE event = 'register_hook' ORDER BY seq$$,
	$$VALUES (session_user::text COLLATE "default", current_user::text COLLATE "default",
		'{"stage": "test", "module": null, "function": "public.smoke"}'::jsonb),
	(session_user::text COLLATE "default", current_user::text COLLATE "default",
		'{"stage": "validate", "module": "billing",
			"function": "\"My Hooks\".\"Smoke Test\""}'::jsonb)$$, 'audited');
SELECT lives_ok($$SELECT hotswap.register_hook('validate', 'smoke(uuid)')$$,
	'the same function in the other stage');
SELECT lives_ok($$SELECT hotswap.register_hook('test', 'smoke(uuid)', 'billing')$$,
	'and for a module besides');
SELECT throws_ok($$SELECT hotswap.register_hook('test', 'smoke(uuid)')$$, '23505',
	'hook "public.smoke" is already registered', 'twice');
SELECT throws_ok($$SELECT hotswap.register_hook('test', 'smoke(uuid)', 'billing')$$, '23505',
	'hook "public.smoke" is already registered', 'twice for a module');
SELECT is((refusal($$SELECT hotswap.register_hook('test', 'smoke(uuid)')$$)).detail,
	'It is called in stage "test" of every module.', 'the detail says where');
SELECT is((refusal($$SELECT hotswap.register_hook('test', 'smoke(uuid)',
	'billing')$$)).detail,
	'It is called in stage "test" of module "billing".', 'and for which module');

-- Bad arguments, for both functions.
SELECT throws_ok(format('SELECT hotswap.%s(%s)', f, args), '22023', message,
	format('%s: %s', f, args))
FROM (VALUES
	($$NULL, 'smoke(uuid)'$$, '"stage" must not be null'),
	($$'', 'smoke(uuid)'$$, '"stage" must not be blank'),
	($$'build', 'smoke(uuid)'$$, 'stage "build" cannot have hooks'),
	($$'Test', 'smoke(uuid)'$$, 'stage "Test" cannot have hooks'),
	($$'test', NULL$$, '"function" must not be null'),
	($$'test', 'smoke(uuid)', ''$$, '"module" must not be blank'),
	($$'test', 'smoke(uuid)', 'a b'$$, 'invalid value for "module": "a b"'))
	a (args, message), (VALUES ('register_hook'), ('remove_hook')) f (f);
SELECT is((refusal($$SELECT hotswap.register_hook('deploy', 'smoke(uuid)')$$)).detail,
	'It must be "test" or "validate".',
	'which stages have hooks');
SELECT throws_ok($$SELECT hotswap.register_hook('test', 4000000000)$$, 'P0002',
	'function with OID 4000000000 does not exist',
	'a number that is no function');
SELECT throws_ok($$SELECT hotswap.remove_hook('test', 'no_such_function(uuid)')$$, 'P0002',
	'hook "no_such_function(uuid)" does not exist',
	'nor is what does not exist a hook to be removed');

-- Signatures.
CREATE FUNCTION public.no_argument() RETURNS boolean LANGUAGE sql AS 'SELECT true';
CREATE FUNCTION public.two_arguments(uuid, int DEFAULT 1) RETURNS boolean
	LANGUAGE sql AS 'SELECT true';
CREATE FUNCTION public.a_text(text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
CREATE FUNCTION public.many(VARIADIC uuid[]) RETURNS boolean LANGUAGE sql AS 'SELECT true';
CREATE FUNCTION public.a_number(uuid) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION public.a_set(uuid) RETURNS SETOF boolean LANGUAGE sql AS 'SELECT true';
CREATE PROCEDURE public.a_procedure(uuid) LANGUAGE sql AS '';
CREATE FUNCTION public.step(boolean, uuid) RETURNS boolean LANGUAGE sql AS 'SELECT true';
CREATE AGGREGATE public.an_aggregate(uuid) (SFUNC = public.step, STYPE = boolean);
SELECT throws_ok(format('SELECT hotswap.register_hook(''test'', %L)', f), '22023',
	format('function "public.%s" cannot be a hook', split_part(f, '(', 1)), f)
FROM (VALUES ('no_argument()'), ('two_arguments(uuid,int)'), ('a_text(text)'), ('many(uuid[])'),
	('a_number(uuid)'),
	('a_set(uuid)'), ('a_procedure(uuid)'), ('an_aggregate(uuid)')) f (f);
CREATE FUNCTION pg_temp.temporary(uuid) RETURNS boolean LANGUAGE sql AS 'SELECT true';
SELECT is((refusal($$SELECT hotswap.register_hook('test',
	'pg_temp.temporary(uuid)')$$)).detail, 'It is temporary.',
	'a temporary function');

-- Owners.
CREATE FUNCTION public.others(uuid) RETURNS boolean LANGUAGE sql AS 'SELECT true';
ALTER FUNCTION public.others(uuid) OWNER TO hotswap_test_hook_other;
CREATE FUNCTION public.sleeper(uuid) RETURNS boolean LANGUAGE sql AS 'SELECT true';
ALTER FUNCTION public.sleeper(uuid) OWNER TO hotswap_test_hook_nologin;
SELECT throws_ok($$SELECT hotswap.register_hook('test', 'sleeper(uuid)')$$, '22023',
	'role "hotswap_test_hook_nologin" is not permitted to log in',
	'an owner that cannot log in');
SELECT is((refusal($$SELECT hotswap.register_hook('test', 'sleeper(uuid)')$$)).hint,
	'Use ALTER ROLE hotswap_test_hook_nologin LOGIN, or give the function another owner.',
	'what to do about it');
SELECT is((refusal($$SELECT hotswap.register_hook('test', 'sleeper(uuid)')$$)).detail,
	'It owns function "public.sleeper"; a hook runs in a session logged in as its owner.', 'why');
REVOKE CONNECT ON DATABASE :DBNAME FROM PUBLIC;
SELECT throws_ok($$SELECT hotswap.register_hook('test', 'others(uuid)')$$, '22023',
	format('role "hotswap_test_hook_other" does not have CONNECT privilege on database "%s"',
		current_database()),
	'an owner that may not connect');
GRANT CONNECT ON DATABASE :DBNAME TO PUBLIC;
SET ROLE hotswap_test_hook;
SELECT throws_ok($$SELECT hotswap.register_hook('test', 'others(uuid)')$$, '42501', NULL,
	'not granted');
RESET ROLE;
SELECT hotswap.grant_access('hotswap_test_hook', 'operator') \g /dev/null
SET ROLE hotswap_test_hook;
SELECT throws_ok($$SELECT hotswap.register_hook('test', 'others(uuid)')$$, '42501',
	'must be owner of function "public.others"',
	'somebody else''s function');
RESET ROLE;
GRANT hotswap_test_hook_other TO hotswap_test_hook;
SET ROLE hotswap_test_hook;
SELECT lives_ok($$SELECT hotswap.register_hook('test', 'others(uuid)')$$,
	'the function of a role that the caller is a member of');
RESET ROLE;

-- Removal.
SELECT lives_ok($$SELECT hotswap.remove_hook('test', 'smoke(uuid)')$$, 'removed');
SELECT results_eq($$SELECT stage, module FROM hotswap.hook WHERE function = 'public.smoke'
	ORDER BY stage, module$$,
	$$VALUES ('test', 'billing'), ('validate', '')$$, 'those of other stages and modules stay');
SELECT results_eq($$SELECT detail FROM hotswap.audit_event WHERE event = 'remove_hook'$$,
	$$VALUES ('{"stage": "test", "module": null, "function": "public.smoke"}'::jsonb)$$, 'audited');
SELECT throws_ok($$SELECT hotswap.remove_hook('test', 'smoke(uuid)')$$, 'P0002',
	'hook "public.smoke" does not exist', 'removed once');
SELECT throws_ok($$SELECT hotswap.remove_hook('validate', 'smoke(uuid)', 'shipping')$$, 'P0002',
	'hook "public.smoke" does not exist',
	'another module');
SELECT lives_ok($$SELECT hotswap.register_hook('test', 'smoke(uuid)')$$, 'and registered again');

-- Tenants.
SELECT throws_ok(format('SELECT hotswap.%s(''test'', ''smoke(uuid)'',
	tenant => ''00000000-0000-7000-8000-00000000dead'')', f),
	'P0002', 'tenant "00000000-0000-7000-8000-00000000dead" does not exist',
		f || ': an unknown tenant')
FROM (VALUES ('register_hook'), ('remove_hook')) f (f);
INSERT INTO hotswap.tenant (id, name, status)
	VALUES ('00000000-0000-7000-8000-0000000000aa', 'second', 'active');
SELECT throws_ok($$SELECT hotswap.remove_hook('test', 'smoke(uuid)',
	tenant => '00000000-0000-7000-8000-0000000000aa')$$, 'P0002',
	'hook "public.smoke" does not exist', 'another tenant has hooks of its own');
SELECT lives_ok($$SELECT hotswap.register_hook('test', 'smoke(uuid)',
	tenant => '00000000-0000-7000-8000-0000000000aa')$$,
	'and may register the same function');
UPDATE hotswap.tenant SET status = 'suspended' WHERE name = 'second';
SELECT throws_ok($$SELECT hotswap.remove_hook('test', 'smoke(uuid)',
	tenant => '00000000-0000-7000-8000-0000000000aa')$$, 'YH003',
	'tenant "00000000-0000-7000-8000-0000000000aa" is not active', 'a suspended tenant');

-- A name that somebody else has taken: the owner of a function is who agreed to its being called.
CREATE TABLE called (who name);
GRANT INSERT ON called TO PUBLIC;
CREATE FUNCTION mine(uuid) RETURNS void LANGUAGE sql AS 'INSERT INTO called VALUES (current_user)';
ALTER FUNCTION mine(uuid) OWNER TO hotswap_test_hook;
SELECT hotswap.register_hook('test', 'mine(uuid)', 'taken') \g /dev/null
SELECT is((SELECT owner::text COLLATE "default" FROM hotswap.hook WHERE module = 'taken'),
	'hotswap_test_hook', 'the owner is remembered');
DELETE FROM hotswap.hook WHERE module = '';
ALTER FUNCTION mine(uuid) OWNER TO hotswap_test_hook_other;
SELECT hotswap.publish_version('taken', '1', 'SELECT 1') \g /dev/null
SELECT hotswap.deploy('taken', '1', 'development') AS taken \gset
SELECT is(hotswap.wait(:'taken', '60 s'), 'failed', 'the stage fails');
SELECT is(sqlstate || ': ' || message,
	'42501: function public.mine(uuid) belongs to role "hotswap_test_hook_other" '
	'and is not registered as that role''s', 'and says why')
FROM hotswap.tasks WHERE deployment_id = :'taken';
SELECT is_empty('SELECT FROM called', 'it was not called');

DROP OWNED BY hotswap_test_hook, hotswap_test_hook_other, hotswap_test_hook_nologin CASCADE;
DROP ROLE hotswap_test_hook, hotswap_test_hook_other, hotswap_test_hook_nologin;
SELECT * FROM finish();
