-- Signing keys (src/module/signing_key.c). Keys are made with the openssl command.
SELECT plan(42);
\ir ../include/openssl.sql

-- Adding.
SELECT is(hotswap.add_signing_key('ed', 'ed25519', pem('ed')),
	left(in_dir('openssl pkey -in ed.pem -pubout -outform DER | sha256sum'), 64),
	'an Ed25519 key: its fingerprint is returned');
SELECT is(hotswap.add_signing_key('rsa', 'rsa-pss-sha256', pem('rsa'),
	'[2020-01-01 00:00:00Z,infinity]'),
	left(in_dir('openssl pkey -in rsa.pem -pubout -outform DER | sha256sum'), 64),
	'an RSA key with a range');
SELECT results_eq('SELECT name, algorithm::text, public_key = pem(name),
	fingerprint = encode(sha256(decode(in_dir(format(
		''openssl pkey -in %s.pem -pubout -outform DER | base64 -w 0'', name)), ''base64'')),
		''hex''), valid, created_by = session_user, revoked_at IS NULL
	FROM hotswap.signing_keys ORDER BY name',
	$$VALUES ('ed', 'ed25519', true, true, '(,)'::tstzrange, true, true),
		('rsa', 'rsa-pss-sha256', true, true, '[2020-01-01 00:00:00Z,infinity]', true, true)$$,
	'both are stored');
SELECT results_eq($$SELECT detail - 'fingerprint' - 'valid' FROM hotswap.audit_log
	WHERE event = 'add_signing_key' ORDER BY seq$$,
	$$VALUES ('{"name": "ed", "algorithm": "ed25519"}'::jsonb),
		('{"name": "rsa", "algorithm": "rsa-pss-sha256"}')$$, 'audited');
CREATE TEMP TABLE before AS SELECT (SELECT count(*) FROM hotswap.audit_event) AS events,
	(SELECT xmin::text || audit_seq FROM hotswap.tenant) AS tenant;
SELECT is(hotswap.add_signing_key('ed', 'ed25519', E'\n' || replace(pem('ed'), E'\n', E'\r\n')),
	hotswap.add_signing_key('ed', 'ed25519', pem('ed'), '(,)'),
	'the same again, with other white space');
SELECT results_eq('SELECT (SELECT count(*) FROM hotswap.audit_event),
	(SELECT xmin::text || audit_seq FROM hotswap.tenant)', 'SELECT * FROM before',
	'writes nothing');

-- Bad arguments.
SELECT is((r).code || ' ' || (r).message, a.error,
	coalesce(name, 'NULL') || ' ' || coalesce(algorithm, 'NULL') || ' '
		|| coalesce(left(split_part(key, E'\n', 1), 30), 'NULL'))
FROM (VALUES (NULL, 'ed25519', pem('ed_2'), '22023 "name" must not be null'),
	('a b', 'ed25519', pem('ed_2'), '22023 invalid value for "name": "a b"'),
	('k', NULL, pem('ed_2'), '22023 "algorithm" must not be null'),
	('k', 'rsa', pem('ed_2'), '22023 invalid value for "algorithm": "rsa"'),
	('k', 'ed25519', NULL, '22023 "public_key" must not be null'),
	('k', 'ed25519', ' ', '22023 "public_key" must not be blank'),
	('k', 'ed25519', pem('rsa'),
		'22023 "public_key" is not a key for algorithm "ed25519": it is of type rsaEncryption'),
	('k', 'ed25519', pem('ec'),
		'22023 "public_key" is not a key for algorithm "ed25519": it is of type id-ecPublicKey'),
	('k', 'rsa-pss-sha256', pem('ed_2'),
		'22023 "public_key" is not a key for algorithm "rsa-pss-sha256": it is of type ED25519'),
	('k', 'rsa-pss-sha256', pem('rsa_small'),
		'22023 "public_key" is not a key for algorithm "rsa-pss-sha256": it has 1024 bits; '
		'at least 2048 are needed'),
	('k', 'ed25519', pem('ed_2') || pem('ed_3'), '22023 "public_key" holds more than one key'),
	('k', 'ed25519', (SELECT in_dir('cat ed_2.pem')), '22023 "public_key" is a private key'),
	('k', 'ed25519', (SELECT in_dir('openssl pkey -in ed_2.pem -aes256 -passout pass:x')),
		'22023 "public_key" is a private key')) a (name, algorithm, key, error),
	refusal(format('SELECT hotswap.add_signing_key(%L, %L, %L)', name, algorithm, key)) r;
SELECT matches((refusal(format('SELECT hotswap.add_signing_key(''k'', ''ed25519'', %L)',
	key))).message, '^"public_key" is not a key for algorithm "ed25519": \w', what)
FROM (VALUES ('garbage', 'garbage'),
	(E'-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----\n', 'cut short'),
	(E'-----BEGIN PUBLIC KEY-----\nProc-Type: 4,ENCRYPTED\n'
		'DEK-Info: AES-256-CBC,00000000000000000000000000000000\n\n'
		'MCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----\n',
		'an encrypted one: nobody is asked for a password'),
	(in_dir('openssl req -x509 -new -key ed_2.pem -subj /CN=x'), 'a certificate')) k (key, what);
SELECT throws_ok(format('SELECT hotswap.add_signing_key(''k'', ''ed25519'', %L)',
	repeat('x', 8192)), '22023', NULL, 'too long');
SELECT throws_ok(format('SELECT hotswap.add_signing_key(''k'', ''ed25519'', %L, ''empty'')',
	pem('ed_2')), '22023', '"valid" must not be empty', 'an empty range');
SELECT is((r).code || ' ' || (r).message || ' ' || coalesce((r).detail, ''), error, what)
FROM (VALUES ('ed', 'ed_2', NULL,
	'23505 signing key "ed" already exists and differs It is another key.',
	'a name is not used again'),
	('ed', 'ed', '[2020-01-01,)',
		'23505 signing key "ed" already exists and differs It is valid at other times.',
		'a range does not change'),
	('ed_too', 'ed', NULL, '23505 key already exists as signing key "ed" ',
		'a key has one name')) a (name, key, valid, error, what),
	refusal(format('SELECT hotswap.add_signing_key(%L, ''ed25519'', %L, %L)', name,
		pem(key), valid)) r;
SELECT throws_ok(format('SELECT hotswap.add_signing_key(''k'', ''ed25519'', %L,
	tenant => ''00000000-0000-7000-8000-00000000dead'')', pem('ed_2')),
	'P0002', NULL, 'an unknown tenant');

-- Rights.
CREATE ROLE module_signing_key_admin;
SET ROLE module_signing_key_admin;
SELECT throws_ok($$SELECT hotswap.add_signing_key('k', 'ed25519', '$$ || pem || $$')$$, '42501',
	'permission denied to add a signing key', 'only admins add keys')
FROM (SELECT '-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAIY0JSa4oieLQ77JMTZcHxBB+AvzdnWPfpRYRDuAaKP8=
-----END PUBLIC KEY-----' AS pem) p;
SELECT throws_ok($$SELECT hotswap.revoke_signing_key('nosuch', 'x')$$, '42501',
	'permission denied to revoke a signing key', 'nor do others learn which there are');
RESET ROLE;
SELECT hotswap.grant_access('module_signing_key_admin', 'admin') \g /dev/null
SET ROLE module_signing_key_admin;
SELECT lives_ok($$SELECT hotswap.add_signing_key('theirs', 'ed25519', '-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAIY0JSa4oieLQ77JMTZcHxBB+AvzdnWPfpRYRDuAaKP8=
-----END PUBLIC KEY-----')$$, 'an admin does');
RESET ROLE;

-- Revoking.
SELECT throws_ok(format('SELECT hotswap.revoke_signing_key(%L, %L)', name, reason), code, message,
	message)
FROM (VALUES (NULL, 'x', '22023', '"name" must not be null'),
	('ed', NULL, '22023', '"reason" must not be null'),
	('ed', ' ', '22023', '"reason" must not be blank'),
	('nosuch', 'x', 'P0002', 'signing key "nosuch" does not exist')) a (name, reason, code,
		message);
SELECT lives_ok($$SELECT hotswap.revoke_signing_key('theirs', 'only a try')$$, 'revoked');
SELECT results_eq($$SELECT revoked_at > now() - interval '1 minute', revoked_by = session_user,
	revoke_reason FROM hotswap.signing_keys WHERE name = 'theirs'$$,
	$$VALUES (true, true, 'only a try')$$, 'when, by whom and why');
SELECT results_eq($$SELECT reason, detail FROM hotswap.audit_log
	WHERE event = 'revoke_signing_key'$$, $$VALUES ('only a try', '{"name": "theirs"}'::jsonb)$$,
	'audited');
SELECT throws_ok($$SELECT hotswap.revoke_signing_key('theirs', 'again')$$, '55000',
	'signing key "theirs" is already revoked', 'only once');
SELECT throws_ok($$SELECT hotswap.add_signing_key('theirs', 'ed25519', '-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAIY0JSa4oieLQ77JMTZcHxBB+AvzdnWPfpRYRDuAaKP8=
-----END PUBLIC KEY-----')$$, '55000', 'signing key "theirs" is revoked', 'it does not come back');
SELECT throws_ok($$SELECT hotswap.add_signing_key('new_name', 'ed25519', '-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAIY0JSa4oieLQ77JMTZcHxBB+AvzdnWPfpRYRDuAaKP8=
-----END PUBLIC KEY-----')$$, '23505', 'key already exists as signing key "theirs"',
	'not under another name either');

SELECT shell('rm -rf ' || :'dir') \g /dev/null
SELECT * FROM finish();
