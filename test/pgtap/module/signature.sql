-- Signatures of versions (src/module/signature.c). They are made with the openssl command.
SELECT plan(39);
\ir ../include/openssl.sql

SELECT is(octet_length(sign('ed', 'x')) || ' ' || octet_length(sign('rsa', 'x')), '64 256',
	'openssl signs');

-- Two keys.
SELECT hotswap.add_signing_key('ed', 'ed25519', pem('ed')),
	hotswap.add_signing_key('rsa', 'rsa-pss-sha256', pem('rsa')) \g /dev/null

-- What is signed.
SELECT is(hotswap.module_signing_payload('billing', '1.0', 'SELECT 1', revert_sql => 'SELECT 2'),
	format(E'hotswap-module-v1\n00000000-0000-7000-8000-000000000001\nbilling\n1.0\n%s\n',
		encode(sha256(int8send(8) || 'SELECT 1' || int8send(-1) || int8send(8) || 'SELECT 2'),
			'hex')), 'the payload');
SELECT is(split_part(hotswap.module_signing_payload('billing', '1.0', 'SELECT 1',
	tenant => '00000000-0000-7000-8000-0000000000aa'), E'\n', 2),
	'00000000-0000-7000-8000-0000000000aa', 'the tenant is in it');
SELECT throws_ok($$SELECT hotswap.module_signing_payload(E'a\nb', '1.0', 'SELECT 1')$$, '22023',
	NULL, 'a name cannot pretend to be two lines');

-- What verifies.
SELECT is(publish('ed', 'm', '1'), hotswap.publish_version('m', '1', 'SELECT 1'),
	'a version signed with Ed25519');
SELECT is(publish('rsa', 'm', '2'), hotswap.publish_version('m', '2', 'SELECT 1'),
	'one signed with RSA-PSS');
SELECT isnt(publish('rsa', 'm', '3', options => '-sigopt rsa_pss_saltlen:-1'), NULL,
	'with a salt as long as the hash');
SELECT results_eq('SELECT module, version, signing_key, counts, signed_by = session_user
	FROM hotswap.signatures ORDER BY version',
	$$VALUES ('m', '1', 'ed', true, true), ('m', '2', 'rsa', true, true),
		('m', '3', 'rsa', true, true)$$, 'they are stored');
SELECT results_eq($$SELECT detail - 'digest' FROM hotswap.audit_log WHERE event = 'sign_version'
	ORDER BY seq LIMIT 1$$,
	$$VALUES ('{"module": "m", "version": "1", "signing_key": "ed"}'::jsonb)$$, 'audited');
CREATE TEMP TABLE before AS SELECT (SELECT count(*) FROM hotswap.audit_event) AS events,
	(SELECT xmin::text || audit_seq FROM hotswap.tenant) AS tenant;
CREATE TEMP TABLE signature_before AS SELECT * FROM hotswap.version_signature;
SELECT isnt(publish('rsa', 'm', '2') || publish('ed', 'm', '1'), NULL,
	'signed again by the same key');
SELECT results_eq('SELECT (SELECT count(*) FROM hotswap.audit_event),
	(SELECT xmin::text || audit_seq FROM hotswap.tenant)', 'SELECT * FROM before',
	'writes nothing');
SELECT set_eq('SELECT * FROM hotswap.version_signature', 'SELECT * FROM signature_before',
	'the first signature stays');
SELECT isnt(publish('rsa', 'm', '1'), NULL, 'by another key it is added');
SELECT isnt(hotswap.publish_version('m', 'unsigned', 'SELECT 1'), NULL, 'a version without');
SELECT isnt(publish('ed', 'm', 'unsigned'), NULL, 'is signed later');
SELECT results_eq($$SELECT version, signing_key FROM hotswap.signatures
	WHERE version IN ('1', 'unsigned') ORDER BY 1, 2$$,
	$$VALUES ('1', 'ed'), ('1', 'rsa'), ('unsigned', 'ed')$$, 'all are there');

-- What does not verify.
SELECT hotswap.add_signing_key('ed_2', 'ed25519', pem('ed_2')),
	hotswap.add_signing_key('ed_3', 'ed25519', pem('ed_3'), '[2999-01-01,)'),
	hotswap.add_signing_key('ed_4', 'ed25519', pem('ed_4'), '[,2020-01-01)') \g /dev/null
SELECT throws_ok('SELECT publish(''ed'', ''w'', ''1'', ' || a.args || ')', 'YH010', NULL, a.args)
FROM (VALUES ($$key => 'ed_2'$$), ($$key => 'rsa'$$), ($$signed_module => 'm'$$),
	($$signed_version => '2'$$), ($$signed_deploy => 'SELECT 2'$$),
	($$signed_tenant => '00000000-0000-7000-8000-0000000000aa'$$)) a (args);
SELECT throws_ok(format('SELECT hotswap.publish_version(''w'', ''1'', ''SELECT 1'', signature => %L,
	signing_key => %L)', s, k), code, message, message)
FROM (VALUES ('\x'::bytea, 'ed', 'YH010',
	'signature of version "1" of module "w" by key "ed" does not verify'),
	(substr(sign('ed', hotswap.module_signing_payload('w', '1', 'SELECT 1')), 1, 63), 'ed', 'YH010',
		NULL),
	(sign('ed', hotswap.module_signing_payload('w', '1', 'SELECT 1')) || '\x00', 'ed', 'YH010',
		NULL),
	(sign('ed', rtrim(hotswap.module_signing_payload('w', '1', 'SELECT 1'), E'\n')), 'ed', 'YH010',
		NULL),
	(decode(repeat('00', 2049), 'hex'), 'ed', '22023', '"signature" is too large: 2049 bytes'),
	(NULL, 'ed', '22023', '"signature" and "signing_key" must be given together'),
	('\x00', NULL, '22023', '"signature" and "signing_key" must be given together'),
	('\x00', 'nosuch', 'P0002', 'signing key "nosuch" does not exist')) a (s, k, code, message);
SELECT matches((refusal(format('SELECT publish(%L, ''w'', ''1'')', k))).code || ' '
	|| (refusal(format('SELECT publish(%L, ''w'', ''1'')', k))).message, message, k)
FROM (VALUES ('ed_3', '^55000 signing key "ed_3" is valid in \["?2999-01-01.* only$'),
	('ed_4', '^55000 signing key "ed_4" is valid in \(,"?2020-01-01.* only$')) a (k, message);
SELECT is_empty($$SELECT FROM hotswap.module WHERE name = 'w'$$, 'nothing of it is published');

-- An artifact: its digest and its place are signed, not only the scripts.
CREATE FUNCTION publish_artifact(v text, uri text, signed_digest bytea, signed_uri text)
	RETURNS text LANGUAGE sql AS $$
	SELECT hotswap.publish_artifact('site', v, CASE WHEN uri IS NULL THEN '\x01'::bytea END, uri,
		encode(sha256('\x01'), 'hex'), signing_key => 'ed', signature => sign('ed',
		hotswap.module_signing_payload('site', v, digest => encode(sha256(signed_digest), 'hex'),
			uri => signed_uri)))
$$;
SELECT isnt(publish_artifact('1', NULL, '\x01', NULL), NULL, 'stored');
SELECT isnt(publish_artifact('2', 'https://a', '\x01', 'https://a'), NULL, 'elsewhere');
SELECT throws_ok($$SELECT publish_artifact('3', NULL, '\x02', NULL)$$, 'YH010', NULL,
	'signed was another artifact');
SELECT throws_ok($$SELECT publish_artifact('3', 'https://b', '\x01', 'https://a')$$, 'YH010', NULL,
	'or another place');
SELECT throws_ok($$SELECT hotswap.module_signing_payload('site', '3', uri => 'https://a')$$,
	'22023', '"digest" must not be null', 'a place says nothing of what is there');

-- RSA with the old padding is something else.
SELECT throws_ok(format('SELECT hotswap.publish_version(''w'', ''1'', ''SELECT 1'', signature => %L,
	signing_key => ''rsa'')',
	sign('rsa', hotswap.module_signing_payload('w', '1', 'SELECT 1'),
		'-sigopt rsa_padding_mode:pkcs1')), 'YH010', NULL, 'PKCS #1 v1.5');

SELECT shell('rm -rf ' || :'dir') \g /dev/null
SELECT * FROM finish();
