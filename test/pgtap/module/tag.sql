-- Tags: tag_version(), and that a tag is accepted wherever a version is (src/module/tag.c).
SELECT plan(38);
\ir ../include/graph.sql
SELECT logging_node('development', 'd') \g /dev/null
SELECT publish_step('1', '{}'), publish_step('2', '{1}') \g /dev/null
SELECT hotswap.publish_version('c', '1', 'SELECT 1') \g /dev/null

-- A tag.
SELECT lives_ok($$SELECT hotswap.tag_version('m', 'v1.0', '1')$$, 'a version is tagged');
SELECT results_eq('SELECT module, tag, version, tagged_by, tagged_at <= now()
	FROM hotswap.version_tag', $$VALUES ('m', 'v1.0', '1', session_user::text COLLATE "default",
	true)$$, 'by whom and when');
SELECT results_eq($$SELECT subject, person, detail FROM hotswap.audit_event
	WHERE event = 'tag_version'$$, $$VALUES ('tenant', session_user::text COLLATE "default",
	'{"module": "m", "tag": "v1.0", "version": "1"}'::jsonb)$$, 'it is in the audit log');
SELECT is((SELECT tags FROM hotswap.versions WHERE module = 'm' AND version = '1'), '{v1.0}',
	'the view shows it');
SELECT lives_ok($$SELECT hotswap.tag_version('m', 'v1.0', '1')$$, 'the same again');
SELECT lives_ok($$SELECT hotswap.tag_version('m', 'first', 'v1.0')$$,
	'a tag may be given by a tag');
SELECT results_eq($$SELECT tag, version FROM hotswap.version_tag ORDER BY tag COLLATE "C"$$,
	$$VALUES ('first', '1'), ('v1.0', '1')$$, 'what it stands for is stored');
SELECT is((SELECT tags FROM hotswap.versions WHERE module = 'm' AND version = '1'), '{first,v1.0}',
	'a version may have several');
SELECT is((SELECT count(*) FROM hotswap.audit_event WHERE event = 'tag_version'), 2::bigint,
	'the same again was no event');
SELECT lives_ok($$SELECT hotswap.tag_version('c', 'v1.0', '1')$$, 'another module has its own');

-- It never changes, and a name is that of a version or of a tag.
SELECT results_eq($$SELECT code, message, detail, hint
	FROM refusal('SELECT hotswap.tag_version(''m'', ''v1.0'', ''2'')')$$,
	$$VALUES ('23505', 'tag "v1.0" of module "m" already exists', 'It stands for version "1".',
		'A tag never changes; use another name.')$$, 'another version');
SELECT results_eq($$SELECT code, message, detail
	FROM refusal('SELECT hotswap.tag_version(''m'', ''2'', ''1'')')$$,
	$$VALUES ('23505', 'version "2" of module "m" already exists',
		'A name is that of a version or of a tag.')$$, 'the name of a version');
SELECT throws_ok($$SELECT hotswap.tag_version('m', '1', '1')$$, '23505', NULL, 'its own');
SELECT results_eq($$SELECT code, message, detail FROM refusal(
	'SELECT hotswap.publish_version(''m'', ''v1.0'', ''SELECT 1'', parents => ''{}'')')$$,
	$$VALUES ('23505', 'tag "v1.0" of module "m" already exists',
		'A name is that of a version or of a tag.')$$, 'the name of a tag is none for a version');
SELECT lives_ok($$SELECT hotswap.publish_version('x', 'v1.0', 'SELECT 1')$$,
	'but in another module');

-- Arguments and rights.
SELECT throws_ok(format('SELECT hotswap.tag_version(%L, %L, %L)', module, tag, version), code,
	message, coalesce(message, code))
FROM (VALUES ('m', NULL, '1', '22023', '"tag" must not be null'),
	('m', ' a', '1', '22023', 'invalid value for "tag": " a"'),
	('m', repeat('x', 256), '1', '22023', NULL),
	('m', 'a', NULL, '22023', '"version" must not be null'),
	('m', 'a', '9', 'P0002', 'version "9" of module "m" does not exist'),
	('none', 'a', '1', 'P0002', 'version "1" of module "none" does not exist')) a
		(module, tag, version, code, message);
SELECT throws_ok($$SELECT hotswap.tag_version('m', 'a', '1',
	'00000000-0000-7000-8000-00000000dead')$$, 'P0002', NULL, 'no such tenant');
SELECT named('nora') AS nora \gset
CREATE ROLE :"nora" LOGIN;
SET ROLE :"nora";
SELECT throws_ok($$SELECT hotswap.tag_version('m', 'a', '1')$$, '42501', NULL, 'not granted');
RESET ROLE;

-- Accepted wherever a version is.
SELECT lives_ok($$SELECT publish_step('3', '{v1.0,first,1}')$$, 'as a parent');
SELECT is((SELECT parents FROM hotswap.versions WHERE version = '3'), '{1}',
	'the version is recorded, once');
SELECT is(publish_step('3', '{1}'), publish_step('3', '{v1.0}'), 'it is the same version');
SELECT is(hotswap.module_signing_payload('m', '3', 'SELECT 1', parents => '{v1.0}'),
	hotswap.module_signing_payload('m', '3', 'SELECT 1', parents => '{1}'), 'for what is signed');
SELECT hotswap.tag_version('m', 'latest', '2') \g /dev/null
SELECT results_eq($$SELECT step_version FROM hotswap.preview('m', 'latest', 'development')$$,
	$$VALUES ('1'), ('2')$$, 'for preview()');
CALL deploy_to('latest', 'development') \gset
SELECT is(:'said'::text, 'succeeded', 'for deploy()');
SELECT is(log_of('d'), '1 2', 'what it stands for has run');
SELECT results_eq($$SELECT d.version, e.detail->>'version', e.detail->>'tag'
	FROM hotswap.deployment d JOIN hotswap.audit_event e ON e.subject_id = d.id
	WHERE e.event = 'request'$$, $$VALUES ('2', '2', 'latest')$$,
	'the version is recorded at the request, and by which tag it was named');
SELECT hotswap.deploy('m', 'latest', 'development', idempotency_key => 'k') AS d \gset
SELECT is(hotswap.deploy('m', 'latest', 'development', idempotency_key => 'k'), :'d',
	'a request by a tag can be repeated');
SELECT hotswap.publish_version('m', '4', 'TRUNCATE log', parents => '{latest}'),
	hotswap.tag_version('m', 'bad', '4') \g /dev/null
SELECT results_eq($$SELECT rule::text FROM hotswap.lint_version('m', 'bad', 'development')$$,
	$$SELECT rule::text FROM hotswap.lint_version('m', '4', 'development')$$,
	'for lint_version()');
SELECT is(hotswap.publish_release('r', '{m=latest}'), hotswap.publish_release('r', '{m=2}'),
	'for a release');
SELECT results_eq($$SELECT code, message, detail
	FROM refusal('SELECT hotswap.withdraw_version(''m'', ''bad'', ''x'')')$$,
	$$VALUES ('55000', 'cannot withdraw version "4" of module "m"', 'It is tagged: "bad".')$$,
	'for withdraw_version(), which refuses it');
SELECT throws_ok(format('SELECT %s', call), 'P0002', 'version "none" of module "m" does not exist',
	split_part(call, '(', 1) || ': what is neither')
FROM (VALUES ('hotswap.deploy(''m'', ''none'', ''development'')'),
	('hotswap.withdraw_version(''m'', ''none'', ''x'')'),
	('hotswap.publish_version(''m'', ''5'', ''SELECT 1'', parents => ''{none}'')')) c (call);
SELECT * FROM finish();
DROP ROLE :"nora";
