-- Environments that require a signature (src/module/signature_check.c). Signatures are made with
-- the openssl command.
SELECT plan(32);
\ir ../include/openssl.sql

-- Four keys.
SELECT hotswap.add_signing_key('ed', 'ed25519', pem('ed')),
	hotswap.add_signing_key('ed_2', 'ed25519', pem('ed_2')),
	hotswap.add_signing_key('ed_3', 'ed25519', pem('ed_3')),
	hotswap.add_signing_key('rsa', 'rsa-pss-sha256', pem('rsa')) \g /dev/null

-- Staging requires one.
CREATE ROLE module_signature_check_node LOGIN;
CREATE SCHEMA dev AUTHORIZATION module_signature_check_node;
CREATE SCHEMA prod AUTHORIZATION module_signature_check_node;
SELECT hotswap.register_node('development', 'd', run_as => 'module_signature_check_node',
	schema => 'dev'),
	hotswap.register_node('production', 'p', run_as => 'module_signature_check_node',
		schema => 'prod'),
	hotswap.set_approval_policy('staging', 0),
	hotswap.set_approval_policy('production', 0) \g /dev/null
SELECT lives_ok($$SELECT hotswap.configure_environment('staging', require_signature => true)$$,
	'staging requires one');
SELECT results_eq($$SELECT name FROM hotswap.environments WHERE require_signature$$,
	ARRAY['staging'], 'only that one');
SELECT isnt(hotswap.publish_version('n', '1', 'CREATE TABLE n_1 ()'), NULL, 'an unsigned version');
SELECT is((r).code || ' ' || (r).message,
	'YH010 environment "staging" requires a signature, and version "1" of module "n" has none',
	'it is refused at once, on the way to production, too')
FROM refusal($$SELECT hotswap.deploy('n', '1', 'production')$$) r;
SELECT hotswap.deploy('n', '1', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'before staging nobody asks');
SELECT is((SELECT message FROM hotswap.stages WHERE deployment_id = :'d' AND kind = 'scan'),
	'sha256 ' || hotswap.publish_version('n', '1', 'CREATE TABLE n_1 ()'), 'nor says anything');
SELECT publish('ed', 'n', '1', 'CREATE TABLE n_1 ()') \g /dev/null
SELECT hotswap.deploy('n', '1', 'production') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'signed, it passes');
SELECT matches((SELECT message FROM hotswap.stages WHERE deployment_id = :'d' AND kind = 'scan'),
	'^sha256 \w{64}, signed by ed$', 'the scan says by whom');

-- While they are queued: a key is revoked, one expires, scripts and a signature change.
SELECT publish(signer, module, '1', format('CREATE TABLE %s ()', module))
FROM (VALUES ('ed_2', 'revoked'), ('ed_3', 'expired'), ('rsa', 'altered'), ('ed', 'forged'),
	('ed_2', 'sound'), ('rsa', 'sound')) v (signer, module) \g /dev/null
SELECT hotswap.stop_dispatching('while they are spoilt') \g /dev/null
CREATE TEMP TABLE d AS SELECT module, hotswap.deploy(module, '1', 'production') AS id
	FROM unnest('{revoked,expired,altered,forged,sound}'::text[]) module;
SELECT hotswap.revoke_signing_key('ed_2', 'the laptop was stolen') \g /dev/null
UPDATE hotswap.signing_key SET valid = '(,2020-01-01)' WHERE name = 'ed_3';
UPDATE hotswap.module_version SET deploy_sql = 'DROP TABLE n_1',
	digest = sha256(int8send(14) || 'DROP TABLE n_1' || int8send(-1) || int8send(-1))
	WHERE module = 'altered';
UPDATE hotswap.version_signature SET signature = set_byte(signature, 10,
	get_byte(signature, 10) # 1) WHERE module = 'forged';
SELECT is((refusal($$SELECT hotswap.deploy('revoked', '1', 'production')$$)).code, 'YH010',
	'a new request is refused');
SELECT hotswap.start_dispatching() \g /dev/null
SELECT is(module || ': ' || hotswap.wait(id, '60 s'),
	module || CASE module WHEN 'sound' THEN ': succeeded' ELSE ': failed' END, module) FROM d;
SELECT is(s.sqlstate, 'YH010', s.module || ': SQLSTATE') FROM hotswap.deployment s JOIN d USING (id)
	WHERE s.status = 'failed' ORDER BY s.module;
SELECT matches(s.message, '^environment "staging" requires a signature, and version "1" of module "'
	|| s.module || '" ' || e.message || '$', s.module || ': message')
FROM (VALUES ('revoked',
	'has none that counts: signing key "ed_2" was revoked at .*: the laptop was stolen'),
	('expired', 'has none that counts: signing key "ed_3" is valid in .* only'),
	('altered', 'has one by key "rsa" that does not verify'),
	('forged', 'has one by key "ed" that does not verify')) e (module, message)
	JOIN hotswap.deployment s USING (module);
SELECT results_eq($$SELECT s.module, t.kind::text FROM hotswap.stage t
	JOIN hotswap.deployment s ON s.id = t.deployment_id WHERE t.status = 'failed' ORDER BY 1$$,
	$$SELECT module, 'scan' FROM d WHERE module <> 'sound' ORDER BY 1$$, 'all in the stage scan');
SELECT results_eq($$SELECT DISTINCT module FROM hotswap.nodes ORDER BY 1$$,
	$$VALUES ('n'), ('sound')$$, 'nothing else was swapped in anywhere');
SELECT matches((SELECT t.message FROM hotswap.stage t JOIN d ON d.id = t.deployment_id
	WHERE t.kind = 'scan' AND d.module = 'sound'), 'signed by rsa$',
	'of two signatures one is enough');
SELECT id AS revoked FROM d WHERE module = 'revoked' \gset
SELECT publish('rsa', 'revoked', '1', 'CREATE TABLE revoked ()') \g /dev/null
SELECT hotswap.retry(:'revoked') \g /dev/null
SELECT is(hotswap.wait(:'revoked', '60 s'), 'succeeded', 'signed by another key, it is retried');

-- While it waits for an approval.
CREATE ROLE module_signature_check_boss LOGIN;
SELECT hotswap.grant_access('module_signature_check_boss', 'approver'),
	hotswap.set_approval_policy('production', 1),
	hotswap.configure_environment('staging', require_signature => false),
	hotswap.configure_environment('production', require_signature => true) \g /dev/null
SELECT publish('ed', 'waits', '1', 'CREATE TABLE waits ()') \g /dev/null
SELECT hotswap.deploy('waits', '1', 'production') AS d \gset
CALL await(:'d', 'pending_approval');
SELECT ok(to_regclass('dev.waits') IS NOT NULL, 'it has come as far as production');
SELECT hotswap.revoke_signing_key('ed', 'left the company') \g /dev/null
SET SESSION AUTHORIZATION module_signature_check_boss;
SELECT is(hotswap.approve(:'d'), 'approved', 'it is approved all the same');
RESET SESSION AUTHORIZATION;
SELECT is(hotswap.wait(:'d', '60 s'), 'failed', 'and fails where it would be swapped in');
SELECT results_eq(format('SELECT kind::text, environment, message LIKE %L FROM hotswap.stages
	WHERE deployment_id = %L AND status = ''failed''',
	'environment "production" requires %left the company', :'d'),
	$$VALUES ('deploy', 'production', true)$$, 'in the stage of production');
SELECT is(to_regclass('prod.waits'), NULL, 'it is not');
SELECT is((SELECT count(*) FROM hotswap.verify_audit()), 0::bigint, 'the audit chain is whole');

SELECT shell('rm -rf ' || :'dir') \g /dev/null
SELECT * FROM finish();
