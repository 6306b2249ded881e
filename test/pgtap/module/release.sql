-- Releases: publish_release() and the view releases (src/module/release.c).
SELECT plan(30);

-- A field of a digest: its length in eight bytes, then it.
CREATE FUNCTION pg_temp.field(value bytea) RETURNS bytea LANGUAGE sql AS
	'SELECT int8send(octet_length(value)) || value';
CREATE FUNCTION pg_temp.release_digest(VARIADIC modules text[]) RETURNS text LANGUAGE sql AS $$
	SELECT encode(sha256(string_agg(pg_temp.field(v.module::bytea)
		|| pg_temp.field(v.version::bytea) || pg_temp.field(v.digest), '' ORDER BY n)), 'hex')
	FROM unnest(modules) WITH ORDINALITY m (name, n)
		JOIN hotswap.module_version v ON v.module || '=' || v.version = m.name
$$;
SELECT hotswap.publish_version(module, version, 'SELECT ' || n)
FROM (VALUES ('a', '1', 1), ('a', '2', 2), ('a-b', '1', 3), ('c', '1', 4)) v (module, version, n)
	\g /dev/null

-- A release, its modules in the order of their names.
SELECT is(hotswap.publish_release('spring', '{c=1,a-b=1,a=2}'),
	pg_temp.release_digest('a=2', 'a-b=1', 'c=1'), 'the digest is over modules and versions');
SELECT results_eq('SELECT name, digest, modules, published_by, published_at <= now()
	FROM hotswap.releases',
	$$VALUES ('spring', pg_temp.release_digest('a=2', 'a-b=1', 'c=1'),
		'{a=2,a-b=1,c=1}'::text[], session_user::text COLLATE "default", true)$$,
	'the view shows it');
SELECT results_eq($$SELECT subject, person, detail FROM hotswap.audit_event
	WHERE event = 'publish_release'$$,
	$$VALUES ('tenant', session_user::text COLLATE "default", jsonb_build_object('name', 'spring',
		'digest', pg_temp.release_digest('a=2', 'a-b=1', 'c=1')))$$, 'it is in the audit log');

-- The same again, in another order.
SELECT is(hotswap.publish_release('spring', '{a=2,c=1,a-b=1,c=1}'),
	pg_temp.release_digest('a=2', 'a-b=1', 'c=1'), 'the same again returns the same');
SELECT results_eq($$SELECT (SELECT count(*) FROM hotswap.audit_event
	WHERE event = 'publish_release'), (SELECT count(*) FROM hotswap.release_module)$$,
	'VALUES (1::bigint, 3::bigint)', 'and writes nothing');

-- Another one under the name.
SELECT results_eq($$SELECT code, message, detail, hint
	FROM refusal('SELECT hotswap.publish_release(''spring'', ''{a=1}'')')$$,
	$$VALUES ('23505', 'release "spring" already exists with other versions',
		format('The SHA-256 of what was published is %s, that of what was given is %s.',
			pg_temp.release_digest('a=2', 'a-b=1', 'c=1'), pg_temp.release_digest('a=1')),
		'A release never changes; publish under a new name.')$$, 'a release is immutable');

-- Tags stand for their versions.
SELECT hotswap.tag_version('a', 'stable', '1') \g /dev/null
SELECT is(hotswap.publish_release('tagged', '{a=stable}'), pg_temp.release_digest('a=1'),
	'a tag is resolved');
SELECT is((SELECT modules FROM hotswap.releases WHERE name = 'tagged'), '{a=1}',
	'and the version is recorded');
SELECT lives_ok($$SELECT hotswap.publish_release('tagged', '{a=1}')$$, 'which is the same');

-- What is not there.
SELECT throws_ok($$SELECT hotswap.publish_release('none', '{a=1,c=9}')$$, 'P0002',
	'version "9" of module "c" does not exist', 'no such version');
SELECT throws_ok($$SELECT hotswap.publish_release('none', '{x=1}')$$, 'P0002',
	'version "1" of module "x" does not exist', 'no such module');
SELECT throws_ok($$SELECT hotswap.publish_release('none', '{a=1}',
	'00000000-0000-7000-8000-00000000dead')$$, 'P0002', NULL, 'no such tenant');
SELECT is_empty($$SELECT FROM hotswap.releases WHERE name = 'none'$$, 'nothing was stored');

-- Arguments.
SELECT throws_ok(format('SELECT hotswap.publish_release(%L, %L)', name, modules), '22023', message,
	coalesce(name, 'null') || ' ' || coalesce(modules, 'null'))
FROM (VALUES (NULL, '{a=1}', '"name" must not be null'),
	('a b', '{a=1}', 'invalid value for "name": "a b"'),
	('r', NULL, '"modules" must not be null'),
	('r', '{}', '"modules" must not be empty'),
	('r', '{NULL}', 'element of "modules" must not be null'),
	('r', '{" "}', '"modules" must not be blank'),
	('r', '{a}', 'invalid element of "modules": "a"'),
	('r', '{a=}', 'invalid element of "modules": "a="'),
	('r', '{=1}', 'invalid element of "modules": "=1"'),
	('r', '{a=1,a=2}', 'module "a" is more than once in "modules"'),
	('r', '{a=1,a-b=1,a=2}', 'module "a" is more than once in "modules"')) c
		(name, modules, message);
SELECT throws_ok($$SELECT hotswap.publish_release('r',
	(SELECT array_agg('m' || i || '=1') FROM generate_series(1, 101) i))$$, '22023',
	'"modules" has too many elements: 101', 'a hundred at most');
SELECT throws_ok($$SELECT hotswap.publish_release('r', ARRAY[repeat('x', 400) || '=1'])$$, '22023',
	NULL, 'of limited length');

-- Others see only what is theirs.
SELECT named('app') AS app \gset
CREATE ROLE :"app" LOGIN;
SET ROLE :"app";
SELECT is_empty('SELECT FROM hotswap.releases', 'nobody sees it without a right');
SELECT throws_ok($$SELECT hotswap.publish_release('r', '{a=1}')$$, '42501', NULL,
	'nor publishes');
RESET ROLE;
SELECT hotswap.grant_access(:'app'::regrole, 'deployer') \g /dev/null
SET ROLE :"app";
SELECT lives_ok($$SELECT hotswap.publish_release('r', '{a=1}')$$, 'a deployer publishes');
SELECT throws_ok($$SELECT hotswap.withdraw_version('a', '1', 'x')$$, '42501', NULL,
	'and withdraws nothing');
RESET ROLE;
SELECT * FROM finish();
DROP OWNED BY :"app";
DROP ROLE :"app";
