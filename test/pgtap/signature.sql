-- Signatures: signing keys, signed versions, environments that require them (src/module/signing_key.c,
-- src/module/signature.c, src/module/scan.c). Keys and signatures are made with the openssl command.
SELECT plan(108);
\ir include/refusal.psql

-- ---- openssl ----

CREATE TABLE output (line text);
-- what a command of the shell prints
CREATE FUNCTION shell(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	DELETE FROM output;
	EXECUTE format('COPY output FROM PROGRAM %L (DELIMITER E''\x01'')', command);
	SELECT string_agg(line, E'\n') INTO result FROM output;
	RETURN result;
END $$;
SELECT shell('mktemp -d') AS dir \gset
CREATE TABLE dir AS SELECT :'dir' AS name;
CREATE FUNCTION in_dir(command text) RETURNS text LANGUAGE sql AS $$SELECT shell('cd ' || name || ' && ' || command) FROM dir$$;
CREATE TABLE key (name text PRIMARY KEY, algorithm text, options text, pem text);
INSERT INTO key VALUES ('ed', 'ed25519', '-algorithm ed25519'), ('ed_2', 'ed25519', '-algorithm ed25519'), ('ed_3', 'ed25519', '-algorithm ed25519'),
	('ed_4', 'ed25519', '-algorithm ed25519'), ('rsa', 'rsa-pss-sha256', '-algorithm RSA -pkeyopt rsa_keygen_bits:2048'),
	('rsa_small', 'rsa-pss-sha256', '-algorithm RSA -pkeyopt rsa_keygen_bits:1024'),
	('ec', 'ed25519', '-algorithm EC -pkeyopt ec_paramgen_curve:P-256');
UPDATE key SET pem = in_dir(format('openssl genpkey %s -out %s.pem 2> /dev/null && openssl pkey -in %2$s.pem -pubout', options, name));
CREATE FUNCTION pem(n text) RETURNS text LANGUAGE sql AS 'SELECT pem || E''\n'' FROM key WHERE name = n';
-- the signature of a payload, made as the manual says
CREATE FUNCTION sign(n text, payload text, options text DEFAULT '') RETURNS bytea LANGUAGE sql AS $$
SELECT decode(in_dir(format('printf %%s %s | base64 -d > payload && openssl %s %s.pem %s | od -An -v -tx1 | tr -d '' \n''',
	replace(encode(convert_to(payload, 'UTF8'), 'base64'), E'\n', ''),
	CASE algorithm WHEN 'ed25519' THEN 'pkeyutl -sign -rawin -inkey' ELSE 'dgst -sha256 -sigopt rsa_padding_mode:pss -sign' END,
	name, sign.options || CASE algorithm WHEN 'ed25519' THEN ' -in payload' ELSE ' payload' END)), 'hex') FROM key WHERE name = n
$$;
SELECT is(octet_length(sign('ed', 'x')) || ' ' || octet_length(sign('rsa', 'x')), '64 256', 'openssl signs');

-- ---- keys ----

SELECT is(hotswap.add_signing_key('ed', 'ed25519', pem('ed')),
	left(in_dir('openssl pkey -in ed.pem -pubout -outform DER | sha256sum'), 64), 'an Ed25519 key: its fingerprint is returned');
SELECT is(hotswap.add_signing_key('rsa', 'rsa-pss-sha256', pem('rsa'), '[2020-01-01 00:00:00Z,infinity]'),
	left(in_dir('openssl pkey -in rsa.pem -pubout -outform DER | sha256sum'), 64), 'an RSA key with a range');
SELECT results_eq('SELECT name, algorithm::text, public_key = pem(name), fingerprint = encode(sha256(decode(in_dir(format(''openssl pkey -in %s.pem -pubout -outform DER | base64 -w 0'', name)), ''base64'')), ''hex''), valid, created_by = session_user, revoked_at IS NULL FROM hotswap.signing_keys ORDER BY name',
	$$VALUES ('ed', 'ed25519', true, true, '(,)'::tstzrange, true, true), ('rsa', 'rsa-pss-sha256', true, true, '[2020-01-01 00:00:00Z,infinity]', true, true)$$,
	'both are stored');
SELECT results_eq($$SELECT detail - 'fingerprint' - 'valid' FROM hotswap.audit_log WHERE event = 'add_signing_key' ORDER BY seq$$,
	$$VALUES ('{"name": "ed", "algorithm": "ed25519"}'::jsonb), ('{"name": "rsa", "algorithm": "rsa-pss-sha256"}')$$, 'audited');
CREATE TEMP TABLE before AS SELECT (SELECT count(*) FROM hotswap.audit_event) AS events, (SELECT xmin::text || audit_seq FROM hotswap.tenant) AS tenant;
SELECT is(hotswap.add_signing_key('ed', 'ed25519', E'\n' || replace(pem('ed'), E'\n', E'\r\n')), hotswap.add_signing_key('ed', 'ed25519', pem('ed'), '(,)'), 'the same again, with other white space');
SELECT results_eq('SELECT (SELECT count(*) FROM hotswap.audit_event), (SELECT xmin::text || audit_seq FROM hotswap.tenant)', 'SELECT * FROM before', 'writes nothing');

-- Bad arguments.
SELECT is((r).code || ' ' || (r).message, a.error, coalesce(name, 'NULL') || ' ' || coalesce(algorithm, 'NULL') || ' ' || coalesce(left(split_part(key, E'\n', 1), 30), 'NULL'))
FROM (VALUES (NULL, 'ed25519', pem('ed_2'), '22023 name must not be null'), ('a b', 'ed25519', pem('ed_2'), '22023 invalid name: "a b"'),
	('k', NULL, pem('ed_2'), '22023 algorithm must not be null'), ('k', 'rsa', pem('ed_2'), '22023 unknown algorithm: "rsa"'),
	('k', 'ed25519', NULL, '22023 public_key must not be null'), ('k', 'ed25519', ' ', '22023 public_key must not be blank'),
	('k', 'ed25519', pem('rsa'), '22023 public_key is not a key for ed25519: it is of type rsaEncryption'),
	('k', 'ed25519', pem('ec'), '22023 public_key is not a key for ed25519: it is of type id-ecPublicKey'),
	('k', 'rsa-pss-sha256', pem('ed_2'), '22023 public_key is not a key for rsa-pss-sha256: it is of type ED25519'),
	('k', 'rsa-pss-sha256', pem('rsa_small'), '22023 public_key is not a key for rsa-pss-sha256: it has 1024 bits; at least 2048 are needed'),
	('k', 'ed25519', pem('ed_2') || pem('ed_3'), '22023 public_key holds more than one key'),
	('k', 'ed25519', (SELECT in_dir('cat ed_2.pem')), '22023 public_key is a private key'),
	('k', 'ed25519', (SELECT in_dir('openssl pkey -in ed_2.pem -aes256 -passout pass:x')), '22023 public_key is a private key')) a (name, algorithm, key, error),
	pg_temp.refusal(format('SELECT hotswap.add_signing_key(%L, %L, %L)', name, algorithm, key)) r;
SELECT matches((pg_temp.refusal(format('SELECT hotswap.add_signing_key(''k'', ''ed25519'', %L)', key))).message, '^public_key is not a key for ed25519: \w', what)
FROM (VALUES ('garbage', 'garbage'), (E'-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----\n', 'cut short'),
	(E'-----BEGIN PUBLIC KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00000000000000000000000000000000\n\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----\n', 'an encrypted one: nobody is asked for a password'),
	(in_dir('openssl req -x509 -new -key ed_2.pem -subj /CN=x'), 'a certificate')) k (key, what);
SELECT throws_ok(format('SELECT hotswap.add_signing_key(''k'', ''ed25519'', %L)', repeat('x', 8192)), '22023', NULL, 'too long');
SELECT throws_ok(format('SELECT hotswap.add_signing_key(''k'', ''ed25519'', %L, ''empty'')', pem('ed_2')), '22023', 'valid must not be empty', 'an empty range');
SELECT is((r).code || ' ' || (r).message || ' ' || coalesce((r).detail, ''), error, what)
FROM (VALUES ('ed', 'ed_2', NULL, '23505 signing key "ed" exists and is not the same It is another key.', 'a name is not used again'),
	('ed', 'ed', '[2020-01-01,)', '23505 signing key "ed" exists and is not the same It is valid at other times.', 'a range does not change'),
	('ed_too', 'ed', NULL, '23505 the key is there already, as "ed" ', 'a key has one name')) a (name, key, valid, error, what),
	pg_temp.refusal(format('SELECT hotswap.add_signing_key(%L, ''ed25519'', %L, %L)', name, pem(key), valid)) r;
SELECT throws_ok(format('SELECT hotswap.add_signing_key(''k'', ''ed25519'', %L, tenant => ''00000000-0000-7000-8000-00000000dead'')', pem('ed_2')),
	'P0002', NULL, 'an unknown tenant');

-- Rights.
CREATE ROLE hotswap_test_signature;
SET ROLE hotswap_test_signature;
SELECT throws_ok($$SELECT hotswap.add_signing_key('k', 'ed25519', '$$ || pem || $$')$$, '42501', 'permission denied to add a signing key', 'only admins add keys')
FROM (SELECT '-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAIY0JSa4oieLQ77JMTZcHxBB+AvzdnWPfpRYRDuAaKP8=
-----END PUBLIC KEY-----' AS pem) p;
SELECT throws_ok($$SELECT hotswap.revoke_signing_key('nosuch', 'x')$$, '42501', 'permission denied to revoke a signing key', 'nor do others learn which there are');
RESET ROLE;
SELECT hotswap.grant_access('hotswap_test_signature', 'admin') \g /dev/null
SET ROLE hotswap_test_signature;
SELECT lives_ok($$SELECT hotswap.add_signing_key('theirs', 'ed25519', '-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAIY0JSa4oieLQ77JMTZcHxBB+AvzdnWPfpRYRDuAaKP8=
-----END PUBLIC KEY-----')$$, 'an admin does');
RESET ROLE;

-- Revoking.
SELECT throws_ok(format('SELECT hotswap.revoke_signing_key(%L, %L)', name, reason), code, message, message)
FROM (VALUES (NULL, 'x', '22023', 'name must not be null'), ('ed', NULL, '22023', 'reason must not be null'), ('ed', ' ', '22023', 'reason must not be blank'),
	('nosuch', 'x', 'P0002', 'no such signing key: "nosuch"')) a (name, reason, code, message);
SELECT lives_ok($$SELECT hotswap.revoke_signing_key('theirs', 'only a try')$$, 'revoked');
SELECT results_eq($$SELECT revoked_at > now() - interval '1 minute', revoked_by = session_user, revoke_reason FROM hotswap.signing_keys WHERE name = 'theirs'$$,
	$$VALUES (true, true, 'only a try')$$, 'when, by whom and why');
SELECT results_eq($$SELECT reason, detail FROM hotswap.audit_log WHERE event = 'revoke_signing_key'$$, $$VALUES ('only a try', '{"name": "theirs"}'::jsonb)$$, 'audited');
SELECT throws_ok($$SELECT hotswap.revoke_signing_key('theirs', 'again')$$, '55000', 'signing key "theirs" is revoked already', 'only once');
SELECT throws_ok($$SELECT hotswap.add_signing_key('theirs', 'ed25519', '-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAIY0JSa4oieLQ77JMTZcHxBB+AvzdnWPfpRYRDuAaKP8=
-----END PUBLIC KEY-----')$$, '55000', 'signing key "theirs" is revoked', 'it does not come back');
SELECT throws_ok($$SELECT hotswap.add_signing_key('new_name', 'ed25519', '-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAIY0JSa4oieLQ77JMTZcHxBB+AvzdnWPfpRYRDuAaKP8=
-----END PUBLIC KEY-----')$$, '23505', 'the key is there already, as "theirs"', 'not under another name either');

-- ---- what is signed ----

SELECT is(hotswap.module_signing_payload('billing', '1.0', 'SELECT 1', revert_sql => 'SELECT 2'),
	format(E'hotswap-module-v1\n00000000-0000-7000-8000-000000000001\nbilling\n1.0\n%s\n',
		encode(sha256(int8send(8) || 'SELECT 1' || int8send(-1) || int8send(8) || 'SELECT 2'), 'hex')), 'the payload');
SELECT is(split_part(hotswap.module_signing_payload('billing', '1.0', 'SELECT 1', tenant => '00000000-0000-7000-8000-0000000000aa'), E'\n', 2),
	'00000000-0000-7000-8000-0000000000aa', 'the tenant is in it');
SELECT throws_ok($$SELECT hotswap.module_signing_payload(E'a\nb', '1.0', 'SELECT 1')$$, '22023', NULL, 'a name cannot pretend to be two lines');

-- publish(signer, key's name, ...): publishes what was signed as other_* says
CREATE FUNCTION publish(signer text, module text, version text, deploy text DEFAULT 'SELECT 1', key text DEFAULT NULL, options text DEFAULT '',
		signed_module text DEFAULT NULL, signed_version text DEFAULT NULL, signed_deploy text DEFAULT NULL, signed_tenant uuid DEFAULT NULL) RETURNS text
	LANGUAGE sql AS $$
	SELECT hotswap.publish_version(module, version, deploy, signing_key => coalesce(key, signer), signature => sign(signer,
		hotswap.module_signing_payload(coalesce(signed_module, module), coalesce(signed_version, version), coalesce(signed_deploy, deploy),
			tenant => signed_tenant), options))
$$;
SELECT is(publish('ed', 'm', '1'), hotswap.publish_version('m', '1', 'SELECT 1'), 'a version signed with Ed25519');
SELECT is(publish('rsa', 'm', '2'), hotswap.publish_version('m', '2', 'SELECT 1'), 'one signed with RSA-PSS');
SELECT isnt(publish('rsa', 'm', '3', options => '-sigopt rsa_pss_saltlen:-1'), NULL, 'with a salt as long as the hash');
SELECT results_eq('SELECT module, version, signing_key, counts, signed_by = session_user FROM hotswap.signatures ORDER BY version',
	$$VALUES ('m', '1', 'ed', true, true), ('m', '2', 'rsa', true, true), ('m', '3', 'rsa', true, true)$$, 'they are stored');
SELECT results_eq($$SELECT detail - 'digest' FROM hotswap.audit_log WHERE event = 'sign_version' ORDER BY seq LIMIT 1$$,
	$$VALUES ('{"module": "m", "version": "1", "signing_key": "ed"}'::jsonb)$$, 'audited');
UPDATE before SET events = (SELECT count(*) FROM hotswap.audit_event), tenant = (SELECT xmin::text || audit_seq FROM hotswap.tenant);
CREATE TEMP TABLE signature_before AS SELECT * FROM hotswap.version_signature;
SELECT isnt(publish('rsa', 'm', '2') || publish('ed', 'm', '1'), NULL, 'signed again by the same key');
SELECT results_eq('SELECT (SELECT count(*) FROM hotswap.audit_event), (SELECT xmin::text || audit_seq FROM hotswap.tenant)', 'SELECT * FROM before', 'writes nothing');
SELECT set_eq('SELECT * FROM hotswap.version_signature', 'SELECT * FROM signature_before', 'the first signature stays');
SELECT isnt(publish('rsa', 'm', '1'), NULL, 'by another key it is added');
SELECT isnt(hotswap.publish_version('m', 'unsigned', 'SELECT 1'), NULL, 'a version without');
SELECT isnt(publish('ed', 'm', 'unsigned'), NULL, 'is signed later');
SELECT results_eq($$SELECT version, signing_key FROM hotswap.signatures WHERE version IN ('1', 'unsigned') ORDER BY 1, 2$$,
	$$VALUES ('1', 'ed'), ('1', 'rsa'), ('unsigned', 'ed')$$, 'all are there');

-- What does not verify.
SELECT hotswap.add_signing_key('ed_2', 'ed25519', pem('ed_2')), hotswap.add_signing_key('ed_3', 'ed25519', pem('ed_3'), '[2999-01-01,)'),
	hotswap.add_signing_key('ed_4', 'ed25519', pem('ed_4'), '[,2020-01-01)') \g /dev/null
SELECT throws_ok('SELECT publish(''ed'', ''w'', ''1'', ' || a.args || ')', 'YH010', NULL, a.args)
FROM (VALUES ($$key => 'ed_2'$$), ($$key => 'rsa'$$), ($$signed_module => 'm'$$), ($$signed_version => '2'$$), ($$signed_deploy => 'SELECT 2'$$),
	($$signed_tenant => '00000000-0000-7000-8000-0000000000aa'$$)) a (args);
SELECT throws_ok(format('SELECT hotswap.publish_version(''w'', ''1'', ''SELECT 1'', signature => %L, signing_key => %L)', s, k), code, message, message)
FROM (VALUES ('\x'::bytea, 'ed', 'YH010', 'signature of version "1" of module "w" by key "ed" does not verify'),
	(substr(sign('ed', hotswap.module_signing_payload('w', '1', 'SELECT 1')), 1, 63), 'ed', 'YH010', NULL),
	(sign('ed', hotswap.module_signing_payload('w', '1', 'SELECT 1')) || '\x00', 'ed', 'YH010', NULL),
	(sign('ed', rtrim(hotswap.module_signing_payload('w', '1', 'SELECT 1'), E'\n')), 'ed', 'YH010', NULL),
	(decode(repeat('00', 2049), 'hex'), 'ed', '22023', 'signature is too large: 2049 bytes'),
	(NULL, 'ed', '22023', 'signature and signing_key must be given together'), ('\x00', NULL, '22023', 'signature and signing_key must be given together'),
	('\x00', 'nosuch', 'P0002', 'no such signing key: "nosuch"')) a (s, k, code, message);
SELECT matches((pg_temp.refusal(format('SELECT publish(%L, ''w'', ''1'')', k))).code || ' ' || (pg_temp.refusal(format('SELECT publish(%L, ''w'', ''1'')', k))).message, message, k)
FROM (VALUES ('ed_3', '^55000 signing key "ed_3" is valid in \["?2999-01-01.* only$'), ('ed_4', '^55000 signing key "ed_4" is valid in \(,"?2020-01-01.* only$')) a (k, message);
SELECT is_empty($$SELECT FROM hotswap.module WHERE name = 'w'$$, 'nothing of it is published');
-- RSA with the old padding is something else
SELECT throws_ok(format('SELECT hotswap.publish_version(''w'', ''1'', ''SELECT 1'', signature => %L, signing_key => ''rsa'')',
	sign('rsa', hotswap.module_signing_payload('w', '1', 'SELECT 1'), '-sigopt rsa_padding_mode:pkcs1')), 'YH010', NULL, 'PKCS #1 v1.5');

-- ---- environments that require a signature ----

CREATE ROLE hotswap_test_signature_node LOGIN;
CREATE SCHEMA dev AUTHORIZATION hotswap_test_signature_node;
CREATE SCHEMA prod AUTHORIZATION hotswap_test_signature_node;
SELECT hotswap.register_node('development', 'd', run_as => 'hotswap_test_signature_node', schema => 'dev'),
	hotswap.register_node('production', 'p', run_as => 'hotswap_test_signature_node', schema => 'prod'),
	hotswap.set_approval_policy('staging', 0), hotswap.set_approval_policy('production', 0) \g /dev/null
SELECT lives_ok($$SELECT hotswap.configure_environment('staging', require_signature => true)$$, 'staging requires one');
SELECT results_eq($$SELECT name FROM hotswap.environments WHERE require_signature$$, ARRAY['staging'], 'only that one');
SELECT isnt(hotswap.publish_version('n', '1', 'CREATE TABLE n_1 ()'), NULL, 'an unsigned version');
SELECT is((r).code || ' ' || (r).message, 'YH010 environment "staging" requires a signature, and version "1" of module "n" has none', 'it is refused at once, on the way to production, too')
FROM pg_temp.refusal($$SELECT hotswap.deploy('n', '1', 'production')$$) r;
SELECT hotswap.deploy('n', '1', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'before staging nobody asks');
SELECT is((SELECT message FROM hotswap.stages WHERE deployment_id = :'d' AND kind = 'scan'), 'sha256 ' || hotswap.publish_version('n', '1', 'CREATE TABLE n_1 ()'), 'nor says anything');
SELECT publish('ed', 'n', '1', 'CREATE TABLE n_1 ()') \g /dev/null
SELECT hotswap.deploy('n', '1', 'production') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'signed, it passes');
SELECT matches((SELECT message FROM hotswap.stages WHERE deployment_id = :'d' AND kind = 'scan'), '^sha256 \w{64}, signed by ed$', 'the scan says by whom');

-- While they are queued: a key is revoked, one expires, scripts and a signature change.
INSERT INTO key SELECT 'ed_5', 'ed25519', '-algorithm ed25519', in_dir('openssl genpkey -algorithm ed25519 -out ed_5.pem && openssl pkey -in ed_5.pem -pubout');
SELECT hotswap.add_signing_key('ed_5', 'ed25519', pem('ed_5')) \g /dev/null
SELECT publish(signer, module, '1', format('CREATE TABLE %s ()', module))
FROM (VALUES ('ed_2', 'revoked'), ('ed_5', 'expired'), ('rsa', 'altered'), ('ed', 'forged'), ('ed_2', 'sound'), ('rsa', 'sound')) v (signer, module) \g /dev/null
SELECT hotswap.stop_dispatching('while they are spoilt') \g /dev/null
CREATE TEMP TABLE d AS SELECT module, hotswap.deploy(module, '1', 'production') AS id FROM unnest('{revoked,expired,altered,forged,sound}'::text[]) module;
SELECT hotswap.revoke_signing_key('ed_2', 'the laptop was stolen') \g /dev/null
UPDATE hotswap.signing_key SET valid = '(,2020-01-01)' WHERE name = 'ed_5';
UPDATE hotswap.module_version SET deploy_sql = 'DROP TABLE n_1', digest = sha256(int8send(14) || 'DROP TABLE n_1' || int8send(-1) || int8send(-1)) WHERE module = 'altered';
UPDATE hotswap.version_signature SET signature = set_byte(signature, 10, get_byte(signature, 10) # 1) WHERE module = 'forged';
SELECT is((pg_temp.refusal($$SELECT hotswap.deploy('revoked', '1', 'production')$$)).code, 'YH010', 'a new request is refused');
SELECT hotswap.start_dispatching() \g /dev/null
SELECT is(module || ': ' || hotswap.wait(id, '60 s'), module || CASE module WHEN 'sound' THEN ': succeeded' ELSE ': failed' END, module) FROM d;
SELECT is(s.sqlstate, 'YH010', s.module || ': SQLSTATE') FROM hotswap.deployment s JOIN d USING (id) WHERE s.status = 'failed' ORDER BY s.module;
SELECT matches(s.message, '^environment "staging" requires a signature, and version "1" of module "' || s.module || '" ' || e.message || '$', s.module || ': message')
FROM (VALUES ('revoked', 'has none that counts: key "ed_2" was revoked at .*: the laptop was stolen'), ('expired', 'has none that counts: key "ed_5" is valid in .* only'),
	('altered', 'has one by key "rsa" that does not verify'), ('forged', 'has one by key "ed" that does not verify')) e (module, message)
	JOIN hotswap.deployment s USING (module);
SELECT results_eq($$SELECT s.module, t.kind::text FROM hotswap.stage t JOIN hotswap.deployment s ON s.id = t.deployment_id WHERE t.status = 'failed' ORDER BY 1$$,
	$$SELECT module, 'scan' FROM d WHERE module <> 'sound' ORDER BY 1$$, 'all in the stage scan');
SELECT results_eq($$SELECT DISTINCT module FROM hotswap.nodes ORDER BY 1$$, $$VALUES ('n'), ('sound')$$, 'nothing else was swapped in anywhere');
SELECT matches((SELECT t.message FROM hotswap.stage t JOIN d ON d.id = t.deployment_id WHERE t.kind = 'scan' AND d.module = 'sound'), 'signed by rsa$', 'of two signatures one is enough');
SELECT id AS revoked FROM d WHERE module = 'revoked' \gset
SELECT publish('rsa', 'revoked', '1', 'CREATE TABLE revoked ()') \g /dev/null
SELECT hotswap.retry(:'revoked') \g /dev/null
SELECT is(hotswap.wait(:'revoked', '60 s'), 'succeeded', 'signed by another key, it is retried');

-- While it waits for an approval.
CREATE ROLE hotswap_test_signature_boss LOGIN;
SELECT hotswap.grant_access('hotswap_test_signature_boss', 'approver'), hotswap.set_approval_policy('production', 1),
	hotswap.configure_environment('staging', require_signature => false), hotswap.configure_environment('production', require_signature => true) \g /dev/null
SELECT publish('ed', 'waits', '1', 'CREATE TABLE waits ()') \g /dev/null
SELECT hotswap.deploy('waits', '1', 'production') AS d \gset
CREATE PROCEDURE await(d uuid, wanted text) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. 6000 LOOP
		EXIT WHEN (SELECT status::text FROM hotswap.deployment WHERE id = d) = wanted;
		COMMIT;
		PERFORM pg_sleep(0.01);
	END LOOP;
END $$;
CALL await(:'d', 'pending_approval');
SELECT ok(to_regclass('dev.waits') IS NOT NULL, 'it has come as far as production');
SELECT hotswap.revoke_signing_key('ed', 'left the company') \g /dev/null
SET SESSION AUTHORIZATION hotswap_test_signature_boss;
SELECT is(hotswap.approve(:'d'), 'approved', 'it is approved all the same');
RESET SESSION AUTHORIZATION;
SELECT is(hotswap.wait(:'d', '60 s'), 'failed', 'and fails where it would be swapped in');
SELECT results_eq(format('SELECT kind::text, environment, message LIKE %L FROM hotswap.stages WHERE deployment_id = %L AND status = ''failed''', 'environment "production" requires %left the company', :'d'),
	$$VALUES ('deploy', 'production', true)$$, 'in the stage of production');
SELECT is(to_regclass('prod.waits'), NULL, 'it is not');
SELECT is((SELECT count(*) FROM hotswap.verify_audit()), 0::bigint, 'the audit chain is whole');

SELECT shell('rm -rf ' || :'dir') \g /dev/null
SELECT * FROM finish();
