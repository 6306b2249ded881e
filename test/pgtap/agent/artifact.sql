-- read_artifact(): what agents install, a piece at a time (src/agent/artifact.c).
SELECT plan(22);
\ir ../include/agent.sql

-- Arguments.
SELECT throws_ok(q, code, m, q)
FROM (VALUES ('NULL, ''1.0''', '22023', '"module" must not be null'),
	('''web'', NULL', '22023', '"version" must not be null'),
	('''web'', ''1.0'', NULL', '22023', '"offset" must not be null'),
	('''web'', ''1.0'', -1', '22023', '"offset" is out of range: -1'),
	('''web'', ''1.0'', 3000000000', '22023', '"offset" is out of range: 3000000000'),
	('''web'', ''1.0'', 0, 0', '22023', '"length" is out of range: 0'),
	('''web'', ''1.0'', 0, 16777217', '22023', '"length" is out of range: 16777217'),
	('''web'', ''9''', 'P0002', 'version "9" of module "web" does not exist'))
	v (args, code, m), format('SELECT hotswap.read_artifact(%s)', args) q;

-- In pieces; one of 20 MB, whose bytes no compression makes smaller.
SELECT hotswap.publish_artifact('big', '1', convert_to(string_agg(md5(i::text), ''), 'UTF8'))
	FROM generate_series(1, 650000) i \g /dev/null
SELECT is((SELECT artifact_size FROM hotswap.versions WHERE module = 'big'), 20800000::bigint,
	'20 MB');
SELECT is(encode(sha256(string_agg(hotswap.read_artifact('big', '1', o, 4000000), ''
		ORDER BY o)), 'hex'), (SELECT artifact_digest FROM hotswap.versions WHERE module = 'big'),
	'the pieces are the whole') FROM generate_series(0, 24000000, 4000000) o;
SELECT is(length(hotswap.read_artifact('big', '1')), 1048576, 'one of a megabyte by default');
SELECT is(hotswap.read_artifact('big', '1', 64, 32), convert_to(md5('3'), 'UTF8'),
	'from the middle');
SELECT is(length(hotswap.read_artifact('big', '1', 20799990, 100)), 10, 'at the end');
SELECT is(length(hotswap.read_artifact('big', '1', 20800000, 100)), 0, 'behind it');

-- Where there is none.
SELECT hotswap.publish_version('sql', '1', 'SELECT 1'), hotswap.publish_artifact('far', '1',
	uri => 'https://example.com/a.tar', digest => sha('x')) \g /dev/null
SELECT results_eq($$SELECT code, message, detail FROM refusal(
		'SELECT hotswap.read_artifact(''sql'', ''1'')')$$,
	$$VALUES ('55000', 'version "1" of module "sql" has no artifact', '')$$, 'no artifact');
SELECT results_eq($$SELECT code, message, detail FROM refusal(
		'SELECT hotswap.read_artifact(''far'', ''1'')')$$,
	$$VALUES ('55000', 'artifact of version "1" of module "far" is not stored here',
		'It is at https://example.com/a.tar.')$$, 'one that is elsewhere');

-- Whose right it is: who sees the tenant, and the agent of a claimed task for it.
SELECT hotswap.deploy('web', '1.0', 'development') AS d \gset
CALL work_for(:'first');
SELECT is(as_role(:'one', $$SELECT hotswap.read_artifact('web', '1.0')::text$$), '42501',
	'before the claim nobody');
SELECT claim(:'first') \g /dev/null
SELECT is(as_role(:'one', $$SELECT hotswap.read_artifact('web', '1.0')::text$$), '\x312e30',
	'the agent that has claimed it');
SELECT is(as_role(:'two', $$SELECT hotswap.read_artifact('web', '1.0')::text$$), '42501',
	'no other');
SELECT is(as_role(:'one', $$SELECT hotswap.read_artifact('web', '2.0')::text$$), '42501',
	'and nothing else');
GRANT :"one" TO :"two";
SELECT is(as_role(:'two', $$SELECT hotswap.read_artifact('web', '1.0')::text$$), '\x312e30',
	'a member of its role, too');
SELECT hotswap.grant_access(:'DBNAME', 'viewer') \g /dev/null
SELECT is(as_role(:'DBNAME', $$SELECT hotswap.read_artifact('web', '2.0')::text$$), '\x322e30',
	'a viewer reads what there is');
SELECT * FROM finish();
