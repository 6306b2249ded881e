-- Static rules: what environments do about them (src/module/rule.c). What they find is tested in
-- test/pgtap/module/scan.sql.
SELECT plan(23);

SELECT hotswap.publish_version('three', '1', 'DROP TABLE a', 'TRUNCATE b',
	'TRUNCATE c') \g /dev/null

-- What holds from the start.
SELECT results_eq('SELECT l.rule, l.action::text FROM hotswap.rule_list() l ORDER BY 1',
	$$SELECT r, CASE WHEN r IN ('alter_system', 'copy_program',
		'secret_in_script') THEN 'deny' ELSE 'warn' END
		FROM unnest(enum_range(NULL::hotswap.static_rule)) r$$, 'the usual actions');
SELECT results_eq('SELECT environment, count(*), bool_or(is_set) FROM hotswap.rules GROUP BY 1
	ORDER BY 1',
	$$VALUES ('development', 12::bigint, false), ('production', 12, false), ('qa', 12, false),
		('staging', 12, false)$$, 'hold everywhere');

-- Set.
SELECT lives_ok($$SELECT hotswap.set_rule('production', 'drop_table', 'deny')$$, 'set');
SELECT lives_ok($$SELECT hotswap.set_rule('development', 'drop_table', 'off')$$,
	'elsewhere to something else');
SELECT results_eq($$SELECT environment, action::text, is_set FROM hotswap.rules
	WHERE rule = 'drop_table' ORDER BY 1$$,
	$$VALUES ('development', 'off', true), ('production', 'deny', true), ('qa', 'warn', false),
		('staging', 'warn', false)$$, 'the view shows it');
SELECT results_eq($$SELECT rule::text FROM hotswap.lint_version('three', '1', 'development')$$,
	$$VALUES ('truncate'), ('truncate')$$, 'off, it is not found');
SELECT results_eq($$SELECT rule::text, action::text, strictest
	FROM hotswap.lint_version('three', '1', 'production')$$,
	$$VALUES ('drop_table', 'deny', 'production'), ('truncate', 'warn', 'development'),
		('truncate', 'warn', 'development')$$, 'on the way to production the strictest decides');

-- Changed, and as usual again.
SELECT lives_ok($$SELECT hotswap.set_rule('production', 'drop_table', 'warn')$$, 'changed');
SELECT lives_ok($$SELECT hotswap.set_rule('production', 'drop_table', 'warn')$$, 'the same again');
SELECT lives_ok($$SELECT hotswap.set_rule('production', 'drop_table', NULL)$$, 'as usual');
SELECT lives_ok($$SELECT hotswap.set_rule('production', 'drop_table', NULL)$$, 'and again');
SELECT results_eq($$SELECT before, after, detail, person FROM hotswap.audit_log
	WHERE event = 'set_rule' AND detail ->> 'environment' = 'production' ORDER BY seq$$,
	$$SELECT b, a, '{"environment": "production", "rule": "drop_table"}'::jsonb,
		session_user::text COLLATE "default"
		FROM (VALUES (NULL, 'deny'), ('deny', 'warn'), ('warn', NULL)) v (b, a)$$,
	'audited with before and after, when something changed');
SELECT is((SELECT count(*) FROM hotswap.environment_rule WHERE environment = 'production'),
	0::bigint, 'no row is left');

-- Arguments.
SELECT throws_ok('SELECT hotswap.set_rule(' || args || ')', code, message, message)
FROM (VALUES ($$NULL, 'truncate', 'off'$$, '22023', '"environment" must not be null'),
	($$'qa', NULL, 'off'$$, '22023', '"rule" must not be null'),
	($$'qa', 'nosuch', 'off'$$, '22023', 'invalid value for "rule": "nosuch"'),
	($$'qa', 'truncate', 'forbid'$$, '22023', 'invalid value for "action": "forbid"'),
	($$'nosuch', 'truncate', 'off'$$, 'P0002', 'environment "nosuch" does not exist'),
	($$'qa', 'truncate', 'off', '00000000-0000-7000-8000-00000000dead'$$, 'P0002',
		'tenant "00000000-0000-7000-8000-00000000dead" does not exist')) a (args, code, message);
SELECT is((refusal($$SELECT hotswap.set_rule('qa', 'truncate', 'forbid')$$)).detail,
	'It must be one of off, warn, deny.', 'the detail lists the legal ones');

-- Rights.
CREATE ROLE module_rule_admin;
SET ROLE module_rule_admin;
SELECT throws_ok($$SELECT hotswap.set_rule('qa', 'truncate', 'off')$$, '42501',
	'permission denied to set a rule', 'only admins');
SELECT throws_ok($$SELECT hotswap.lint_version('nosuch', '1', 'qa')$$, '42501',
	'permission denied to look at a version', 'viewers lint');
RESET ROLE;
SELECT hotswap.grant_access('module_rule_admin', 'admin') \g /dev/null
SET ROLE module_rule_admin;
SELECT lives_ok($$SELECT hotswap.set_rule('qa', 'truncate', 'off')$$, 'an admin');
RESET ROLE;
SELECT * FROM finish();
