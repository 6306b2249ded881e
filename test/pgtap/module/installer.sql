-- Installers that come after their versions: publish_installer() (src/module/installer.c).
SELECT plan(47);
\ir ../include/graph.sql
\ir ../include/openssl.sql
SELECT hotswap.set_approval_policy('staging', 0), hotswap.set_approval_policy('production', 0)
	\g /dev/null
SELECT publish_step('1', '{}'), publish_step('2', '{1}'), publish_step('3', '{2}') \g /dev/null
CREATE FUNCTION pg_temp.field(s bytea) RETURNS bytea LANGUAGE sql AS
	'SELECT int8send(octet_length(s)) || s';
CREATE FUNCTION pg_temp.digest(of_version text, script text) RETURNS text LANGUAGE sql AS $$
	SELECT encode(sha256(pg_temp.field(digest) || pg_temp.field(convert_to(script, 'UTF8'))), 'hex')
	FROM hotswap.module_version WHERE module = 'm' AND version = of_version
$$;
CREATE FUNCTION pg_temp.adds(version text, what text) RETURNS text LANGUAGE sql AS
	$$SELECT hotswap.publish_installer('m', version, format('INSERT INTO log (what) VALUES (%L)',
		what))$$;

-- The version stays what it is.
CREATE TEMP TABLE before AS SELECT version, digest, findings::text FROM hotswap.module_version;
SELECT is(pg_temp.adds('2', '=2'), pg_temp.digest('2', $$INSERT INTO log (what) VALUES ('=2')$$),
	'the digest is over the version''s digest and the script');
SELECT results_eq('SELECT version, digest FROM hotswap.module_version ORDER BY version',
	'SELECT version, digest FROM before ORDER BY version', 'the digests of versions stay');
SELECT results_eq($$SELECT install_sql, install_digest, install_published_at <= now(),
		install_published_by FROM hotswap.versions WHERE version = '2'$$,
	$$VALUES ('INSERT INTO log (what) VALUES (''=2'')', pg_temp.digest('2',
		'INSERT INTO log (what) VALUES (''=2'')'), true, session_user::text COLLATE "default")$$,
	'the view shows it');
SELECT results_eq($$SELECT subject, person, detail FROM hotswap.audit_event
	WHERE event = 'publish_installer'$$, $$VALUES ('tenant', session_user::text COLLATE "default",
	jsonb_build_object('module', 'm', 'version', '2', 'digest', pg_temp.digest('2',
		'INSERT INTO log (what) VALUES (''=2'')')))$$, 'it is in the audit log');
SELECT is(publish_step('2', '{1}'), (SELECT encode(digest, 'hex') FROM before WHERE version = '2'),
	'the version may be published again as it was');
SELECT throws_ok($$SELECT publish_step('2', '{1}', install => true)$$, '23505', NULL,
	'with an installer it would be another version');

-- The same again, and another one.
SELECT is(pg_temp.adds('2', '=2'), pg_temp.digest('2', $$INSERT INTO log (what) VALUES ('=2')$$),
	'the same again');
SELECT is((SELECT count(*) FROM hotswap.audit_event WHERE event = 'publish_installer'), 1::bigint,
	'writes nothing');
SELECT results_eq($$SELECT code, message, detail, hint FROM refusal('SELECT
		pg_temp.adds(''2'', ''other'')')$$,
	$$VALUES ('23505', 'version "2" of module "m" already has another installer',
		format('The SHA-256 of that installer is %s, that of what was given is %s.',
			pg_temp.digest('2', 'INSERT INTO log (what) VALUES (''=2'')'),
			pg_temp.digest('2', 'INSERT INTO log (what) VALUES (''other'')')),
		'An installer never changes; add one to another version.')$$, 'another one is refused');
SELECT publish_step('4', '{3}', install => true) \g /dev/null
SELECT is(pg_temp.adds('4', '=4'), (SELECT install_digest FROM hotswap.versions
	WHERE version = '4'), 'the one that came with the version, again');
SELECT throws_ok($$SELECT pg_temp.adds('4', 'other')$$, '23505', NULL, 'is not replaced');
SELECT is((SELECT install_published_at FROM hotswap.versions WHERE version = '4'), NULL,
	'nor does it come later');

-- It takes nothing to its version, and nothing else there.
SELECT logging_node('development', 'd') \g /dev/null
CALL deploy_to('3', 'development') \gset
SELECT is(:'said'::text, 'succeeded', 'deployed from nothing');
SELECT is(log_of('d'), '=2 3', 'it began with the installer');
SELECT is(steps_of('d'), 'install 2, up 3', 'which the history says');
SELECT results_eq($$SELECT direction, digest FROM hotswap.preview('m', '4', 'development')$$,
	$$SELECT 'up', encode(digest, 'hex') FROM hotswap.module_version WHERE version = '4'$$,
	'a node that runs something needs none');

-- A tag stands for its version.
SELECT hotswap.tag_version('m', 'base', '1') \g /dev/null
SELECT is(pg_temp.adds('base', '=1'),
	pg_temp.digest('1', $$INSERT INTO log (what) VALUES ('=1')$$), 'by a tag');

-- Arguments and states.
SELECT hotswap.publish_version('c', '1', 'SELECT 1') \g /dev/null
SELECT results_eq($$SELECT code, message, detail FROM refusal('SELECT
		hotswap.publish_installer(''c'', ''1'', ''SELECT 1'')')$$,
	$$VALUES ('55000', 'the versions of module "c" are complete in themselves',
		'A version that is complete in itself is its own installer.')$$, 'a complete version');
SELECT throws_ok(format('SELECT hotswap.publish_installer(%s)', arguments), code, NULL, arguments)
FROM (VALUES ('''m'', ''9'', ''SELECT 1''', 'P0002'), ('''x'', ''1'', ''SELECT 1''', 'P0002'),
	('''m'', ''3'', NULL', '22023'), ('''m'', ''3'', ''SELEC''', '42601'),
	('''m'', ''3'', ''COMMIT''', '0A000'), ('''m'', ''3'', ''SELECT 1'', ''\x00''', '22023'),
	('''m'', ''3'', ''SELECT 1'', tenant => ''00000000-0000-7000-8000-00000000dead''', 'P0002')) a
		(arguments, code);
SELECT hotswap.set_quota('00000000-0000-7000-8000-000000000001', 'stored_bytes', 600) \g /dev/null
SELECT throws_ok(format($$SELECT hotswap.publish_installer('m', '3', %L)$$,
	rpad('SELECT 1 --', 600, 'x')), '53400', NULL, 'its bytes are counted');
SELECT hotswap.clear_quota('00000000-0000-7000-8000-000000000001', 'stored_bytes') \g /dev/null

-- The rules are about it.
SELECT hotswap.publish_version('m', '5', 'TRUNCATE log', parents => '{4}') \g /dev/null
SELECT hotswap.publish_installer('m', '5', 'SELECT 1; DROP TABLE log') \g /dev/null
SELECT results_eq($$SELECT script, rule::text FROM hotswap.lint_version('m', '5', 'development')$$,
	$$VALUES ('deploy script', 'truncate'), ('install script', 'drop_table')$$,
	'lint_version() finds what is in it');
SELECT results_eq($$SELECT f ->> 'rule' FROM hotswap.module_version v,
		json_array_elements(v.findings) f WHERE version = '5'$$,
	$$VALUES ('truncate'), ('drop_table')$$, 'so does what is kept');
SELECT hotswap.publish_version('m', '6', 'TRUNCATE log', parents => '{5}') \g /dev/null
UPDATE hotswap.module_version SET findings_digest = sha256('') WHERE version = '6';
SELECT hotswap.publish_installer('m', '6', 'DROP TABLE log') \g /dev/null
SELECT results_eq($$SELECT f ->> 'rule' FROM hotswap.module_version v,
		json_array_elements(v.findings) f WHERE version = '6'$$,
	$$VALUES ('truncate'), ('drop_table')$$, 'where it does not count, it is made anew');
SELECT hotswap.set_rule('development', 'drop_table', 'deny') \g /dev/null
SELECT logging_node('qa', 'q') \g /dev/null
SELECT hotswap.set_rule('qa', 'drop_table', 'deny') \g /dev/null
CALL deploy_to('5', 'qa') \gset
SELECT matches(:'said'::text, '^failed: denied: DROP TABLE in line 1 of the install script',
	'what is denied does not run');

-- What is not what was published.
UPDATE hotswap.module_version SET install_sql = 'SELECT 7' WHERE version = '2';
SELECT hotswap.remove_node(id) FROM hotswap.nodes WHERE name = 'd' \g /dev/null
SELECT logging_node('development', 'e') \g /dev/null
CALL deploy_to('2', 'development') \gset
SELECT matches(:'said'::text, '^failed: installer of version "2" of module "m" is not the one that',
	'an installer that was altered');
UPDATE hotswap.module_version SET install_sql = NULL, install_digest = NULL,
	install_published_at = NULL WHERE version = '2';
SELECT is((SELECT sqlstate FROM hotswap.deployments WHERE version = '2'), 'XX001', 'is corrupt');

-- Where a signature is required, an installer that came later has one of its own.
SELECT hotswap.add_signing_key('ed', 'ed25519', pem('ed')),
	hotswap.add_signing_key('ed_2', 'ed25519', pem('ed_2')) \g /dev/null
SELECT is(hotswap.installer_signing_payload('m', '2', 'SELECT 2'), format(E'hotswap-installer-v1\n'
	'00000000-0000-7000-8000-000000000001\nm\n2\n%s\n', pg_temp.digest('2', 'SELECT 2')),
	'what is signed');
SELECT hotswap.publish_version('m', '2', format('INSERT INTO log (what) VALUES (%L)', '2'),
	revert_sql => format('INSERT INTO log (what) VALUES (%L)', '-2'), parents => '{1}',
	signing_key => 'ed', signature => sign('ed', hotswap.module_signing_payload('m', '2',
		format('INSERT INTO log (what) VALUES (%L)', '2'),
		revert_sql => format('INSERT INTO log (what) VALUES (%L)', '-2'), parents => '{1}')))
	\g /dev/null
SELECT hotswap.publish_installer('m', '2', 'SELECT 2') \g /dev/null
SELECT hotswap.configure_environment('development', require_signature => true) \g /dev/null
CALL deploy_to('2', 'development') \gset
SELECT is(:'said'::text, 'failed: environment "development" requires a signature, and the '
	'installer of version "2" of module "m" has none', 'it has none');
SELECT is((SELECT s.kind::text FROM hotswap.stages s JOIN hotswap.deployments d
	ON d.id = s.deployment_id WHERE d.version = '2' AND s.status = 'failed'
	ORDER BY d.requested_at DESC LIMIT 1), 'scan', 'which the stage scan finds out');
SELECT results_eq($$SELECT code, message, hint FROM refusal('SELECT hotswap.publish_installer(
		''m'', ''2'', ''SELECT 2'', ''\x00'', ''ed'')')$$,
	$$VALUES ('YH010', 'signature of the installer of version "2" of module "m" by key "ed" does '
		'not verify', 'What has to be signed is returned by '
		'hotswap.installer_signing_payload().')$$,
	'a signature of something else');
SELECT throws_ok($$SELECT hotswap.publish_installer('m', '2', 'SELECT 2', sign('ed',
	hotswap.module_signing_payload('m', '2', 'SELECT 2')), 'ed')$$, 'YH010', NULL,
	'or of a version');
SELECT throws_ok($$SELECT hotswap.publish_installer('m', '2', 'SELECT 2', '\x00', 'none')$$,
	'P0002', NULL, 'no such key');
SELECT lives_ok(format($$SELECT hotswap.publish_installer('m', '2', 'SELECT 2', sign(%L,
	hotswap.installer_signing_payload('m', '2', 'SELECT 2')), %1$L)$$, key), 'signed by ' || key)
FROM unnest('{ed_2,ed_2,ed}'::text[]) key;
SELECT is((SELECT install_signatures FROM hotswap.versions WHERE module = 'm' AND version = '2'),
	'{ed,ed_2}', 'the view shows by whom');
SELECT results_eq($$SELECT detail ->> 'signing_key' FROM hotswap.audit_event
	WHERE event = 'sign_version' AND detail ->> 'script' = 'installer' ORDER BY seq$$,
	$$VALUES ('ed_2'), ('ed')$$, 'each is an event, once');
SELECT hotswap.revoke_signing_key('ed_2', 'lost') \g /dev/null
CALL deploy_to('2', 'development') \gset
SELECT is(:'said'::text, 'succeeded', 'one that counts is enough');
SELECT is(steps_of('e'), 'install 2', 'and it ran');
SELECT hotswap.publish_version('w', '1', 'SELECT 1', parents => '{}') \g /dev/null
SELECT hotswap.publish_installer('w', '1', 'SELECT 2', sign('ed',
	hotswap.installer_signing_payload('w', '1', 'SELECT 2')), 'ed') \g /dev/null
SELECT hotswap.withdraw_version('w', '1', 'x') \g /dev/null
SELECT is_empty($$SELECT FROM hotswap.installer_signature WHERE module = 'w'$$,
	'a version that is withdrawn takes them with it');
SELECT is((SELECT count(*) FROM hotswap.verify_audit()), 0::bigint, 'the audit chain is whole');
SELECT shell('rm -rf ' || :'dir') \g /dev/null
SELECT * FROM finish();
