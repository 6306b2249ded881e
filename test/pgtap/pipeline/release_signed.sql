-- Releases of versions that an environment wants signed (src/module/scan.c, src/core/release.c).
SELECT plan(6);
\ir ../include/openssl.sql
SELECT hotswap.add_signing_key('ed', 'ed25519', pem('ed')) \g /dev/null
SELECT format('CREATE ROLE %I LOGIN', named('node')) \gexec
SELECT format('CREATE SCHEMA prod AUTHORIZATION %I', named('node')) \gexec
SELECT hotswap.register_node('production', 'p', run_as => named('node')::regrole, schema => 'prod'),
	hotswap.set_approval_policy('production', 0),
	hotswap.configure_environment('production', require_signature => true) \g /dev/null
SELECT publish('ed', 'a', '1', 'CREATE TABLE a ()'),
	hotswap.publish_version('b', '1', 'CREATE TABLE b ()') \g /dev/null
SELECT hotswap.publish_release('spring', '{a=1,b=1}') \g /dev/null

-- One of its versions has no signature.
SELECT is((r).code || ' ' || (r).message,
	'YH010 environment "production" requires a signature, and version "1" of module "b" has none',
	'refused at once, naming the version')
FROM refusal($$SELECT hotswap.deploy_release('spring', 'production', only_target => true)$$) r;
SELECT is((SELECT count(*) FROM hotswap.deployment), 0::bigint, 'nothing was requested');

-- Now it has.
SELECT publish('ed', 'b', '1', 'CREATE TABLE b ()') \g /dev/null
SELECT hotswap.deploy_release('spring', 'production', only_target => true) AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'each is signed');
SELECT is((SELECT count(*) FROM pg_class WHERE relnamespace = 'prod'::regnamespace), 2::bigint,
	'both are there');

-- A key that was revoked signs nothing any more.
SELECT publish('ed', 'b', '2', 'CREATE TABLE b2 ()') \g /dev/null
SELECT hotswap.publish_release('summer', '{a=1,b=2}') \g /dev/null
SELECT hotswap.revoke_signing_key('ed', 'lost') \g /dev/null
SELECT is((r).code, 'YH010', 'a revoked key does not count')
FROM refusal($$SELECT hotswap.deploy_release('summer', 'production', only_target => true)$$) r;
SELECT is((SELECT count(*) FROM hotswap.deployment), 1::bigint, 'nothing was requested');
SELECT shell('rm -rf ' || :'dir') \g /dev/null
SELECT * FROM finish();
