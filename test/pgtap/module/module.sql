-- Modules and versions: publish_version() (src/module/module.c).
SELECT plan(81);

-- The digest: SHA-256 over the scripts, each behind its length in eight bytes (-1 for NULL).
CREATE FUNCTION pg_temp.digest(VARIADIC scripts text[]) RETURNS text LANGUAGE sql AS $$
	SELECT encode(sha256(string_agg(
		int8send(coalesce(octet_length(s), -1)) || coalesce(convert_to(s, 'UTF8'), ''), ''
		ORDER BY n)), 'hex')
	FROM unnest(scripts) WITH ORDINALITY u (s, n)
$$;

-- The first version, which also makes what an installation needs.
SELECT is(hotswap.publish_version('billing', '1.0.0', 'SELECT 1'),
	pg_temp.digest('SELECT 1', NULL, NULL), 'the digest is returned');
SELECT results_eq('SELECT name FROM hotswap.module', ARRAY['billing'], 'the module was made');
SELECT results_eq('SELECT name, status::text FROM hotswap.tenant', $$VALUES ('default', 'active')$$,
	'so was the default tenant');
SELECT results_eq(
	$$SELECT module, version, encode(digest, 'hex'), published_by, deploy_sql, verify_sql,
		revert_sql,
		published_at > now() - interval '1 minute' FROM hotswap.module_version$$,
	$$VALUES ('billing', '1.0.0', pg_temp.digest('SELECT 1', NULL, NULL),
		session_user::text COLLATE "default",
		'SELECT 1', NULL::text, NULL::text, true)$$,
	'the version was stored');
SELECT results_eq(
	$$SELECT subject, seq, person, role::text COLLATE "default", pid, detail
		FROM hotswap.audit_event WHERE event = 'publish_version'$$,
	$$VALUES ('tenant', 1, session_user::text COLLATE "default",
		current_user::text COLLATE "default", pg_backend_pid(), jsonb_build_object(
		'module', 'billing', 'version', '1.0.0', 'digest',
		pg_temp.digest('SELECT 1', NULL, NULL)))$$,
	'the audit event says what and by whom');

SELECT is(hotswap.publish_version('billing', '1.1.0', 'SELECT ''ä''', 'SELECT true', 'SELECT 3'),
	pg_temp.digest('SELECT ''ä''', 'SELECT true', 'SELECT 3'),
	'all three scripts are in the digest');
SELECT results_eq($$SELECT deploy_sql, verify_sql, revert_sql FROM hotswap.module_version
	WHERE version = '1.1.0'$$,
	$$VALUES ('SELECT ''ä''', 'SELECT true', 'SELECT 3')$$, 'all three are stored');
SELECT isnt(hotswap.publish_version('billing', '1.2.0', 'SELECT 1', 'SELECT 2'),
	hotswap.publish_version('billing', '1.3.0', 'SELECT 1', NULL, 'SELECT 2'),
	'the same text as another script is another digest');

-- The same again.
CREATE TEMP TABLE before AS SELECT
	(SELECT count(*) FROM hotswap.audit_event) AS events,
	(SELECT array_agg(v.xmin::text || v.ctid ORDER BY v.ctid)
		FROM hotswap.module_version v) AS versions,
	(SELECT xmin::text || audit_seq FROM hotswap.tenant) AS tenant;
SELECT is(hotswap.publish_version('billing', '1.1.0', 'SELECT ''ä''', 'SELECT true', 'SELECT 3'),
	pg_temp.digest('SELECT ''ä''', 'SELECT true', 'SELECT 3'), 'the same again returns the same');
SELECT results_eq(
	$$SELECT (SELECT count(*) FROM hotswap.audit_event),
	(SELECT array_agg(v.xmin::text || v.ctid ORDER BY v.ctid) FROM hotswap.module_version v),
	(SELECT xmin::text || audit_seq FROM hotswap.tenant)$$,
	'SELECT * FROM before', 'and writes nothing');

-- Other content.
SELECT throws_ok($$SELECT hotswap.publish_version('billing', '1.0.0', 'SELECT 2')$$, '23505',
	'version "1.0.0" of module "billing" already exists with other content',
		'a version is immutable');
SELECT is((refusal($$SELECT hotswap.publish_version('billing', '1.0.0',
	'SELECT 2')$$)).detail,
	format('The SHA-256 of what was published is %s, that of what was given is %s.',
		pg_temp.digest('SELECT 1', NULL, NULL), pg_temp.digest('SELECT 2', NULL, NULL)),
	'the detail has both digests');
SELECT throws_ok($$SELECT hotswap.publish_version('billing', '1.0.0', 'SELECT 1', 'SELECT true')$$,
	'23505',
	NULL, 'another verify script is other content');
SELECT throws_ok($$SELECT hotswap.publish_version('billing', '1.0.0', 'SELECT 1', NULL,
	'SELECT 1')$$, '23505',
	NULL, 'another revert script is other content');
SELECT throws_ok($$SELECT hotswap.publish_version('billing', '1.0.0', 'SELECT 1 ')$$, '23505',
	NULL, 'one more space is other content');
SELECT lives_ok($$SELECT hotswap.publish_version('Billing', '1.0.0', 'SELECT 2')$$,
	'names are case-sensitive: this is another module');
SELECT is((SELECT count(*) FROM hotswap.audit_event WHERE event = 'publish_version'), 5::bigint,
	'an event for each version that was stored');

-- Twice in one statement, and undone by a savepoint.
SELECT is((SELECT count(DISTINCT hotswap.publish_version('twice', '1', 'SELECT 1'))
	FROM generate_series(1, 2)),
	1::bigint, 'twice in one statement');
BEGIN;
SAVEPOINT s;
SELECT ok(hotswap.publish_version('undone', '1', 'SELECT 1') IS NOT NULL, 'in a transaction');
ROLLBACK TO s;
SELECT ok(hotswap.publish_version('undone', '1', 'SELECT 2') IS NOT NULL,
	'undone, it may be published with other content');
ROLLBACK;
SELECT is_empty($$SELECT FROM hotswap.module WHERE name = 'undone'$$,
	'rolled back, nothing is left');

-- Isolation levels.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT ok(hotswap.publish_version('isolated', '1', 'SELECT 1') IS NOT NULL, 'in REPEATABLE READ');
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT ok(hotswap.publish_version('isolated', '1', 'SELECT 1') IS NOT NULL, 'in SERIALIZABLE');
COMMIT;
BEGIN READ ONLY;
SELECT throws_ok($$SELECT hotswap.publish_version('isolated', '2', 'SELECT 1')$$, '25006', NULL,
	'not in a read-only transaction');
ROLLBACK;

-- Names.
SELECT throws_ok(format('SELECT hotswap.publish_version(%L, ''1'', ''SELECT 1'')', name), '22023',
	message,
	format('module %L', name))
FROM (VALUES (NULL, '"module" must not be null'), ('', '"module" must not be blank'),
	('  ', '"module" must not be blank'),
	('a b', 'invalid value for "module": "a b"'), ('.a', 'invalid value for "module": ".a"'),
	('a/b', 'invalid value for "module": "a/b"'),
	('münze', 'invalid value for "module": "münze"'), ('-a', 'invalid value for "module": "-a"'),
	('a"b', 'invalid value for "module": "a"b"'),
	('a''b', 'invalid value for "module": "a''b"'), (E'a\n', E'invalid value for "module": "a\n"'),
	(repeat('a', 129), '"module" is too long: "' || repeat('a', 100) || '..."')) m (name, message);
SELECT throws_ok(format('SELECT hotswap.publish_version(''m'', %L, ''SELECT 1'')', name), '22023',
	message,
	format('version %L', name))
FROM (VALUES (NULL, '"version" must not be null'), ('', '"version" must not be blank'),
	(' 1', 'invalid value for "version": " 1"'), ('1 ', 'invalid value for "version": "1 "'),
	(E'\u30001', E'invalid value for "version": "\u30001"'),
	(E'1\u00a0', E'invalid value for "version": "1\u00a0"'),
	(E'1\n2', E'invalid value for "version": "1\n2"'),
	(E'1\u007f', E'invalid value for "version": "1\u007f"'),
	(E'1\u200b', E'invalid value for "version": "1\u200b"'),
	(E'1\u202e2', E'invalid value for "version": "1\u202e2"'),
	(repeat('ü', 256), '"version" is too long: "' || repeat('ü', 50) || '..."')) v (name, message);
SELECT lives_ok(format('SELECT hotswap.publish_version(%L, %L, ''SELECT 1'')', module, version),
	format('%s %s', module, version))
FROM (VALUES ('a', '0'), (repeat('m', 128), repeat('v', 255)), ('A.b_c+d-e', '1.0.0-rc.1+build_7'),
	('0', 'Z'), ('a', 'tables/events@v1.0'), ('a', repeat('€', 255)), ('a', '+1 ~ 年'),
	('a', '''"\')) m (module, version);

SELECT lives_ok(format('SELECT ' || call, repeat('g', 128), repeat('€', 254)),
	split_part(call, '(', 1) || ': the longest names')
FROM (VALUES ('hotswap.publish_version(%1$L, %2$L || 1, ''SELECT 1'', parents => ''{}'')'),
	('hotswap.publish_version(%1$L, %2$L || 2, ''SELECT 1'', parents => ARRAY[%2$L || 1])'),
	('hotswap.publish_release(''r'', ARRAY[%1$L || ''='' || %2$L || 1])'),
	('hotswap.withdraw_version(%1$L, %2$L || 2, ''x'')')) c (call);
SELECT is((refusal($$SELECT hotswap.publish_version('m', E'1\t2', 'SELECT 1')$$)).detail,
	'Character 2 is not printable.', 'the detail says which character');
SELECT is((refusal($$SELECT hotswap.publish_version('m', '1 ', 'SELECT 1')$$)).detail,
	'It must not begin or end with a blank.', 'and which rule');

-- Scripts; see script.sql for what may be in them.
SELECT throws_ok($$SELECT hotswap.publish_version('m', '1', NULL)$$, '22023',
	'"deploy_sql" must not be null',
	'there must be a deploy script');
SELECT throws_ok($$SELECT hotswap.publish_version('m', '1', 'SELEC')$$, '42601', NULL,
	'it must parse');
SELECT throws_ok($$SELECT hotswap.publish_version('m', '1', 'SELECT 1', repeat('x', 16777217))$$,
	'22023',
	'"verify_sql" is too large: 16777217 bytes', 'a large verify script');
SELECT throws_ok($$SELECT hotswap.publish_version('m', '1', 'SELECT 1', NULL,
	repeat('x', 16777217))$$, '22023',
	'"revert_sql" is too large: 16777217 bytes', 'a large revert script');
SELECT is(hotswap.publish_version('large', '1', rpad('SELECT 1 --', 16777216, 'x'),
	rpad('SELECT 2 --', 16777216, 'y'),
		rpad('SELECT 3 --', 16777216, 'z')),
	pg_temp.digest(rpad('SELECT 1 --', 16777216, 'x'), rpad('SELECT 2 --', 16777216, 'y'),
		rpad('SELECT 3 --', 16777216, 'z')), 'three scripts of 16 MB');
SELECT results_eq($$SELECT octet_length(deploy_sql) + octet_length(verify_sql)
	+ octet_length(revert_sql)
	FROM hotswap.module_version WHERE module = 'large'$$, ARRAY[3 * 16777216],
	'and they are stored');
SELECT is_empty($$SELECT FROM hotswap.module WHERE name = 'm'$$,
	'a refused version makes no module');

-- Tenants.
SELECT throws_ok($$SELECT hotswap.publish_version('m', '1', 'SELECT 1',
	tenant => '00000000-0000-7000-8000-00000000dead')$$,
	'P0002', 'tenant "00000000-0000-7000-8000-00000000dead" does not exist', 'an unknown tenant');
INSERT INTO hotswap.tenant (id, name, status) VALUES
	('00000000-0000-7000-8000-0000000000aa', 'second', 'active'),
	('00000000-0000-7000-8000-0000000000bb', 'third', 'active');
SELECT lives_ok($$SELECT hotswap.publish_version('billing', '1.0.0', 'SELECT 99',
	tenant => '00000000-0000-7000-8000-0000000000aa')$$,
	'another tenant may have the same version with other content');
SET hotswap.tenant = '00000000-0000-7000-8000-0000000000bb';
SELECT lives_ok($$SELECT hotswap.publish_version('billing', '1.0.0', 'SELECT 98')$$,
	'the tenant of the setting');
RESET hotswap.tenant;
SELECT is((SELECT count(*) FROM hotswap.module_version
	WHERE module = 'billing' AND version = '1.0.0'), 3::bigint,
	'each has its own');
UPDATE hotswap.tenant SET status = 'suspended' WHERE name = 'second';
SELECT throws_ok(format('SELECT hotswap.publish_version(''billing'', %L, ''SELECT 99'',
	tenant => ''00000000-0000-7000-8000-0000000000aa'')',
	version), 'YH003', 'tenant "00000000-0000-7000-8000-0000000000aa" is not active',
	'a suspended tenant, version ' || version)
FROM (VALUES ('1.0.0'), ('2.0.0')) v (version);

-- Nobody may publish until granted; then everybody who may is recorded.
CREATE ROLE hotswap_test_module LOGIN;
SET ROLE hotswap_test_module;
SELECT throws_ok($$SELECT hotswap.publish_version('m', '1', 'SELECT 1')$$, '42501', NULL,
	'not granted');
RESET ROLE;
SELECT hotswap.grant_access('hotswap_test_module', 'deployer') \g /dev/null
SET ROLE hotswap_test_module;

-- An operator of the caller's must not be used by hotswap's own queries.
CREATE FUNCTION pg_temp.evil(uuid, uuid) RETURNS boolean LANGUAGE plpgsql AS
	$$BEGIN RAISE 'the search_path of the caller was used'; END$$;
CREATE OPERATOR pg_temp.= (LEFTARG = uuid, RIGHTARG = uuid, FUNCTION = pg_temp.evil);
SET search_path = pg_temp, pg_catalog, public;
SELECT lives_ok($$SELECT hotswap.publish_version('granted', '1', 'SELECT 1')$$, 'granted');
SELECT is(current_user || ' ' || current_setting('search_path'),
	'hotswap_test_module pg_temp, pg_catalog, public',
	'role and settings are what they were');
SELECT throws_ok($$SELECT hotswap.publish_version('granted', '1', 'SELECT 2')$$, '23505', NULL,
	'refused');
SELECT is(current_user || ' ' || current_setting('search_path'),
	'hotswap_test_module pg_temp, pg_catalog, public',
	'also after an error');
RESET search_path;
RESET ROLE;
SELECT results_eq($$SELECT person, role::text COLLATE "default" FROM hotswap.audit_event
	WHERE detail->>'module' = 'granted'$$,
	$$VALUES (session_user::text COLLATE "default", 'hotswap_test_module')$$,
	'login role and effective role are recorded');
SELECT is((SELECT published_by FROM hotswap.module_version WHERE module = 'granted'),
	session_user::text COLLATE "default",
	'published_by is the person');
DROP OWNED BY hotswap_test_module;
DROP ROLE hotswap_test_module;
SELECT * FROM finish();
