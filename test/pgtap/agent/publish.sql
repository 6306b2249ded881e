-- publish_artifact(): versions for agents (src/module/module.c), and which nodes they are for.
SELECT plan(52);
\ir ../include/agent.sql

-- Arguments.
SELECT throws_ok(q, '22023', m, q)
FROM (VALUES ('NULL, ''3'', ''x''', '"module" must not be null'),
	('''web'', ''3''', 'either "artifact" or "uri" must be given'),
	('''web'', ''3'', ''x'', ''file:x''', 'either "artifact" or "uri" must be given'),
	('''web'', ''3'', ''''', '"artifact" is out of range: 0 bytes'),
	('''web'', ''3'', uri => ''x''', '"digest" must not be null'),
	('''web'', ''3'', uri => ''x'', digest => ''12''', 'invalid value for "digest": "12"'),
	('''web'', ''3'', uri => repeat(''x'', 2001), digest => sha(''x'')',
		'"uri" is too long: "' || repeat('x', 100) || '..."'),
	('''web'', ''3'', uri => ''x'', digest => sha(''x''), size => -1',
		'"size" must not be negative'),
	('''web'', ''3'', ''x'', digest => sha(''y'')', '"digest" is not that of "artifact"'),
	('''web'', ''3'', ''x'', verify_sql => ''SELECT 1''',
		'"verify_sql" must not be given without "deploy_sql"'),
	('''web'', ''3'', ''x'', revert_sql => ''SELECT 1''',
		'"revert_sql" must not be given without "deploy_sql"'),
	('''web'', ''3'', ''x'', install_sql => ''SELECT 1'', parents => ''{}''',
		'"install_sql" must not be given without "deploy_sql"'),
	('''web'', ''3'', ''x'', transactional => false',
		'"transactional" must be true without "deploy_sql"')) v (args, m),
	format('SELECT hotswap.publish_artifact(%s)', args) q;
SELECT throws_ok($$SELECT hotswap.publish_version('web', '3', NULL)$$, '22023',
	'"deploy_sql" must not be null', 'without an artifact there is a script');
SELECT throws_ok($$SELECT hotswap.publish_artifact('web', '3', convert_to(repeat('x', 67108865),
	'UTF8'))$$, '22023', '"artifact" is out of range: 67108865 bytes', 'more than 64 MB');

-- The digest: the fields of any version, and behind them the artifact's SHA-256 and its URI.
CREATE FUNCTION pg_temp.field(bytes bytea) RETURNS bytea LANGUAGE sql AS
	$$SELECT int8send(coalesce(length(bytes), -1)) || coalesce(bytes, '')$$;
CREATE FUNCTION pg_temp.digest(deploy text, artifact_digest text, uri text) RETURNS text
		LANGUAGE sql AS $$
	SELECT encode(sha256(pg_temp.field('hotswap-version-v2')
		|| pg_temp.field(convert_to(deploy, 'UTF8')) || pg_temp.field(NULL) || pg_temp.field(NULL)
		|| pg_temp.field(NULL) || int8send(1) || int8send(0) || int8send(-1)
		|| pg_temp.field(decode(artifact_digest, 'hex')) || pg_temp.field(convert_to(uri, 'UTF8'))),
		'hex')
$$;
SELECT is(hotswap.publish_artifact('web', '3', 'x', digest => upper(sha('x'))),
	pg_temp.digest(NULL, sha('x'), NULL), 'the digest of the version is over that of the artifact');
SELECT is(hotswap.publish_artifact('web', '4', uri => 'https://example.com/4',
	digest => sha('4'), size => 10), pg_temp.digest(NULL, sha('4'), 'https://example.com/4'),
	'and over where it is');
SELECT is(hotswap.publish_artifact('web', '5', 'y', deploy_sql => 'SELECT 5'),
	pg_temp.digest('SELECT 5', sha('y'), NULL), 'with a script');
SELECT results_eq($$SELECT version, deploy_sql, artifact_digest, artifact_uri, artifact_size, size
		FROM hotswap.versions WHERE module = 'web' AND version IN ('3', '4', '5')
		ORDER BY version$$,
	$$VALUES ('3', NULL, sha('x'), NULL, 1::bigint, 0::bigint),
		('4', NULL, sha('4'), 'https://example.com/4', 10, 0),
		('5', 'SELECT 5', sha('y'), NULL, 1, 8)$$,
	'the view shows it');
SELECT is(hotswap.publish_artifact('web', '3', 'x'), pg_temp.digest(NULL, sha('x'), NULL),
	'the same again');
SELECT throws_ok($$SELECT hotswap.publish_artifact('web', '3', 'other')$$, '23505',
	'version "3" of module "web" already exists with other content', 'another artifact');
SELECT throws_ok($$SELECT hotswap.publish_version('web', '5', 'SELECT 5')$$, '23505', NULL,
	'or none');
SELECT is((SELECT used FROM hotswap.quotas WHERE resource = 'stored_bytes'),
	3 + 3 + 1 + 1 + 8::bigint,
	'what is stored counts');

-- A version goes to the nodes that it is for.
SELECT named('db') AS db \gset
CREATE ROLE :"db" LOGIN;
CREATE SCHEMA db AUTHORIZATION :"db";
SELECT hotswap.register_node('development', 'db', run_as => :'db', schema => 'db') AS base \gset
SELECT hotswap.publish_version('web', '6', 'CREATE TABLE t (i int)') \g /dev/null
SELECT results_eq(format($$SELECT %L, node, direction, problem
		FROM hotswap.preview('web', %L, 'development')$$, v, v), e, 'version ' || v)
FROM (VALUES ('3', $$VALUES ('3', 'one', 'up', NULL), ('3', 'two', 'up', NULL)$$),
	('5', $$VALUES ('5', 'db', 'up', NULL), ('5', 'one', 'up', NULL), ('5', 'two', 'up', NULL)$$),
	('6', $$VALUES ('6', 'db', 'up', NULL)$$)) v (v, e);
SELECT hotswap.deploy('web', '5', 'development') AS d \gset
CALL work_for(:'first');
CALL work_for(:'second');
SELECT claim(:'first'), claim(:'second') \g /dev/null
SELECT obey(:'first'), obey(:'second') \g /dev/null
CALL work_for(:'second');
SELECT claim(:'first'), claim(:'second') \g /dev/null
SELECT obey(:'first'), obey(:'second') \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'scripts and agents in one deployment');
SELECT results_eq($$SELECT name, version FROM hotswap.nodes WHERE environment = 'development'
		ORDER BY name$$, $$VALUES ('db', '5'), ('one', '5'), ('two', '5')$$, 'all run it');
SELECT hotswap.configure_environment('lab', 1) \g /dev/null
SELECT hotswap.register_node('lab', 'db2', run_as => :'db') AS lab \gset
SELECT hotswap.deploy('web', '3', 'lab') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'failed', 'there is none in the target');
SELECT is((SELECT message FROM hotswap.deployments WHERE id = :'d'),
	'environment "lab" has no nodes that the version is for', 'it says so');

SELECT hotswap.remove_node(:'lab') \g /dev/null

-- A new node gets what others of its kind run.
SELECT hotswap.deploy('web', '6', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded',
	'a version without an artifact passes agents by');
SELECT named('three') AS three \gset
CREATE ROLE :"three" LOGIN;
SELECT hotswap.register_node('development', 'three', 'agent', :'three') AS third \gset
SELECT hotswap.bring_up(:'third') AS ids \gset
CALL work_for(:'third');
SELECT is(claim(:'third'), 'activate 5', 'bring_up()');
SELECT obey(:'third') \g /dev/null
CALL work_for(:'third');
SELECT claim(:'third') \g /dev/null
SELECT obey(:'third') \g /dev/null
SELECT is(hotswap.wait((:'ids'::uuid[])[1], '60 s'), 'succeeded', 'the new one runs it');
SELECT hotswap.remove_node(:'third') \g /dev/null

-- Versions that build on each other: an agent takes them all at once, and back as well.
SELECT hotswap.publish_artifact('chain', '1', 'c1', parents => '{}'),
	hotswap.publish_version('chain', '2', 'CREATE TABLE u (i int)', parents => '{1}'),
	hotswap.publish_artifact('chain', '3', 'c3', parents => '{2}',
		deploy_sql => 'SELECT 3') \g /dev/null
SELECT hotswap.deploy('chain', '1', 'development') AS d \gset
CALL work_for(:'first');
CALL work_for(:'second');
SELECT claim(:'first'), claim(:'second') \g /dev/null
SELECT obey(:'first'), obey(:'second') \g /dev/null
CALL work_for(:'second');
SELECT claim(:'first'), claim(:'second') \g /dev/null
SELECT obey(:'first'), obey(:'second') \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'the first of a chain');
SELECT hotswap.deploy('chain', '3', 'development', nodes => '{one,two}') AS d \gset
CALL work_for(:'first');
CALL work_for(:'second');
SELECT is(claim(:'first') || ', ' || claim(:'second'), 'activate 3 from 1, activate 3 from 1',
	'over what is not for it');
SELECT is(obey(:'first') || ', ' || complete(:'second', false, NULL), 'succeeded, failed',
	'one fails');
CALL work_for(:'first');
CALL work_for(:'second');
SELECT is(claim(:'first') || ', ' || claim(:'second'), 'revert 1 from 3, revert 1 from 3',
	'both go back');
SELECT obey(:'first'), obey(:'second') \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'rolled_back', 'without a revert script');
SELECT results_eq($$SELECT node, step, direction::text, version FROM hotswap.node_history
		WHERE module = 'chain' ORDER BY node, swap$$,
	$$VALUES ('one', '1', 'up', '1'), ('one', '2', 'up', '2'), ('one', '3', 'up', '3'),
		('one', '3', 'down', '2'), ('one', '2', 'down', '1'), ('two', '1', 'up', '1')$$,
	'the history has the steps of what was done');

-- A release comes to a node in one transaction, which an agent has not got.
SELECT hotswap.publish_version('data', '1', 'SELECT 1'),
	hotswap.publish_artifact('both', '1', 'b1', deploy_sql => 'SELECT 1'),
	hotswap.publish_artifact('both', '2', 'b2', deploy_sql => 'SELECT 2') \g /dev/null
SELECT hotswap.publish_release('plain', '{data=1}'),
	hotswap.publish_release('spring', '{both=1,data=1}') \g /dev/null
SELECT results_eq($$SELECT node, problem FROM hotswap.preview_release('plain', 'development')$$,
	$$VALUES ('db', NULL)$$, 'one without artifacts is not for them');
SELECT results_eq($$SELECT node, problem FROM hotswap.preview_release('spring', 'development')
		WHERE problem IS NOT NULL$$,
	$$VALUES ('one', 'blocked: node "one" has an agent, which takes no release, and does not run '
		'version "1" of module "both"'),
	('two', 'blocked: node "two" has an agent, which takes no release, and does not run '
		'version "1" of module "both"')$$, 'one with an artifact passes no agent by');
SELECT hotswap.deploy_release('spring', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'failed', 'so it does not go there');
SELECT is((SELECT message FROM hotswap.deployments WHERE id = :'d'),
	'release "spring" cannot go to environment "development": node "one" has an agent, which takes '
	'no release, and does not run version "1" of module "both"; node "two" has an agent, which '
	'takes no release, and does not run version "1" of module "both". Deploy version "1" of '
	'module "both" there by itself first', 'and it says why');
SELECT hotswap.deploy('both', '1', 'development') AS d \gset
CALL work_for(:'first');
CALL work_for(:'second');
SELECT claim(:'first'), claim(:'second') \g /dev/null
SELECT obey(:'first'), obey(:'second') \g /dev/null
CALL work_for(:'first');
CALL work_for(:'second');
SELECT claim(:'first'), claim(:'second') \g /dev/null
SELECT obey(:'first'), obey(:'second') \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'the module by itself');
SELECT hotswap.deploy_release('spring', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'then the release is whole');

-- Nor is there a rehearsal of what an agent does.
SELECT is((refusal($$SELECT hotswap.deploy('web', '1.0', 'development',
		rehearse => true)$$)).message,
	'version "1.0" of module "web" cannot be rehearsed in environment "development"',
	'it is for agents alone');
SELECT hotswap.deploy('both', '2', 'development', rehearse => true) AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'the scripts of both can be rehearsed');
SELECT results_eq(format('SELECT node FROM hotswap.tasks WHERE deployment_id = %L', :'d'),
	$$VALUES ('db')$$, 'where they run');
SELECT is((SELECT version FROM hotswap.nodes WHERE name = 'one' AND module = 'both'), '1',
	'no agent has anything to do with it');

-- What an agent runs already can be declared: it is asked.
SELECT hotswap.publish_artifact('old', '1', 'o1') \g /dev/null
SELECT hotswap.set_node_version(:'first', 'old', '{1}', 'it was there before') AS d \gset
CALL work_for(:'first');
SELECT is(claim(:'first'), 'verify 1', 'declared');
SELECT is(complete(:'first', true, sha('o2')), 'failed', 'it runs something else');
SELECT is(hotswap.wait(:'d', '60 s'), 'failed', 'then it is not so');
SELECT * FROM finish();
