-- Versions that are taken back: withdraw_version() (src/module/withdrawal.c).
SELECT plan(42);

SELECT named('app') AS app \gset
CREATE ROLE :"app" LOGIN;
CREATE SCHEMA a AUTHORIZATION :"app";
CREATE SCHEMA b AUTHORIZATION :"app";
CREATE SCHEMA c AUTHORIZATION :"app";
SELECT hotswap.register_node('development', 'n', run_as => :'app'::regrole, schema => 'a'),
	hotswap.register_node('qa', 'q', run_as => :'app'::regrole, schema => 'b') \g /dev/null
CREATE FUNCTION pg_temp.why(module text, version text) RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' | ', code, message, nullif(detail, ''), nullif(hint, ''))
	FROM refusal(format('SELECT hotswap.withdraw_version(%L, %L, ''wrong'')', module, version))
$$;
CREATE PROCEDURE pg_temp.run(module text, version text, environment text) LANGUAGE plpgsql AS $$
DECLARE
	d uuid = hotswap.deploy(module, version, environment);
BEGIN
	COMMIT;
	CALL await(d, 'succeeded');
END $$;

-- Nothing needs it.
SELECT hotswap.publish_version('billing', '1', 'SELECT 1', parents => '{}') AS first,
	hotswap.publish_version('billing', '2', 'SELECT 2', parents => '{1}') AS second \gset
CREATE TEMP TABLE before AS SELECT history FROM hotswap.module WHERE name = 'billing';
SELECT lives_ok($$SELECT hotswap.withdraw_version('billing', '2', 'wrong column')$$, 'withdrawn');
SELECT is_empty($$SELECT FROM hotswap.module_version WHERE module = 'billing' AND version = '2'$$,
	'the version is gone');
SELECT results_eq(
	$$SELECT version, ordinal, encode(digest, 'hex'), published_by, withdrawn_by, reason,
		withdrawn_at BETWEEN published_at AND clock_timestamp() FROM hotswap.withdrawn_version$$,
	format('VALUES (''2'', 2, %L, session_user::text COLLATE "default",
		session_user::text COLLATE "default", ''wrong column'', true)', :'second'),
	'what is left says what it was, by whom it was withdrawn, and why');
SELECT is((SELECT history FROM hotswap.module WHERE name = 'billing'),
	(SELECT sha256(history || 'withdrawn' || decode(:'second', 'hex')) FROM before),
	'the history of the module goes on');
SELECT results_eq($$SELECT subject, reason, detail FROM hotswap.audit_event
	WHERE event = 'withdraw_version'$$,
	format($$VALUES ('tenant', 'wrong column', jsonb_build_object('module', 'billing',
		'version', '2', 'digest', %L))$$, :'second'), 'it is in the audit log');
SELECT is(pg_temp.why('billing', '2'),
	'P0002 | version "2" of module "billing" does not exist'
	' | Publish it with hotswap.publish_version().', 'once only');
SELECT isnt(hotswap.publish_version('billing', '2', 'SELECT 3', parents => '{1}'), :'second',
	'the name is free for other content');
SELECT is((SELECT ordinal FROM hotswap.module_version WHERE module = 'billing' AND version = '2'),
	3, 'which comes after what was there');

-- Arguments.
SELECT throws_ok($$SELECT hotswap.withdraw_version(NULL, '2', 'x')$$, '22023',
	'"module" must not be null', 'a module');
SELECT throws_ok($$SELECT hotswap.withdraw_version('billing', NULL, 'x')$$, '22023',
	'"version" must not be null', 'a version');
SELECT throws_ok($$SELECT hotswap.withdraw_version('billing', '2', ' ')$$, '22023',
	'"reason" must not be blank', 'a reason');
SELECT throws_ok($$SELECT hotswap.withdraw_version('billing', '2', repeat('x', 10001))$$, '22023',
	NULL, 'of limited length');
SELECT throws_ok($$SELECT hotswap.withdraw_version('none', '2', 'x')$$, 'P0002',
	'version "2" of module "none" does not exist', 'no such module');
SELECT throws_ok($$SELECT hotswap.withdraw_version('billing', '2', 'x',
	'00000000-0000-7000-8000-00000000dead')$$, 'P0002', NULL, 'no such tenant');

-- Versions that build on it.
SELECT is(pg_temp.why('billing', '1'), '55000 | cannot withdraw version "1" of module "billing"'
	' | Versions build on it: "2". | Withdraw them first.', 'not with a child');
SELECT hotswap.withdraw_version('billing', '2', 'from the end') \g /dev/null
SELECT is(pg_temp.why('billing', '1'), '', 'without, it may go');
SELECT is((SELECT count(*) FROM hotswap.withdrawn_version WHERE module = 'billing'), 3::bigint,
	'each is kept');

-- Ten of many are named.
SELECT hotswap.publish_version('wide', '0', 'SELECT 1', parents => '{}') \g /dev/null
SELECT hotswap.publish_version('wide', i::text, 'SELECT 1', parents => '{0}')
FROM generate_series(1, 12) i \g /dev/null
SELECT matches(pg_temp.why('wide', '0'), 'it: ("\d+", ){9}"10"[.]', 'ten are named');

-- A tag and a release stay for good.
SELECT hotswap.publish_version('tagged', '1', 'SELECT 1'),
	hotswap.publish_version('released', '1', 'SELECT 1'),
	hotswap.publish_release('spring', '{released=1}') \g /dev/null
INSERT INTO hotswap.version_tag (tenant_id, module, tag, version, tagged_by)
	VALUES ('00000000-0000-7000-8000-000000000001', 'tagged', 'stable', '1', 'x');
SELECT is(pg_temp.why('tagged', '1'), '55000 | cannot withdraw version "1" of module "tagged"'
	' | It is tagged: "stable".', 'not with a tag');
SELECT is(pg_temp.why('released', '1'), '55000 | cannot withdraw version "1" of module "released"'
	' | Releases have it: "spring".', 'not in a release');

-- Nodes that run it.
SELECT hotswap.publish_version('run', '1', 'SELECT 1', parents => '{}'),
	hotswap.publish_version('full', '1', 'SELECT 1'),
	hotswap.publish_version('full', '2', 'SELECT 2') \g /dev/null
CALL pg_temp.run('run', '1', 'qa');
CALL pg_temp.run('full', '1', 'development');
SELECT is(pg_temp.why('run', '1'), '55000 | cannot withdraw version "1" of module "run"'
	' | Nodes run it: "development/n", "qa/q". | Take it back there first.', 'not while it runs');
SELECT is(pg_temp.why('full', '1'), '55000 | cannot withdraw version "1" of module "full"'
	' | Nodes run it: "development/n". | Take it back there first.', 'a complete version neither');
CALL pg_temp.run('full', '2', 'development');
SELECT is(pg_temp.why('full', '1'), '', 'what ran in an open environment only may go');

-- What has run in a protected environment stays, also when it is open then or the node is gone.
SELECT hotswap.publish_version('full', '3', 'SELECT 3') \g /dev/null
CALL pg_temp.run('full', '2', 'qa');
CALL pg_temp.run('full', '3', 'qa');
SELECT hotswap.set_approval_policy('qa', 1) \g /dev/null
SELECT is(pg_temp.why('full', '2'), '55000 | cannot withdraw version "2" of module "full"'
	' | It was applied in protected environments: "qa".', 'not what a protected one has seen');
SELECT hotswap.remove_node(id) FROM hotswap.node WHERE name = 'q' \g /dev/null
SELECT is(pg_temp.why('full', '2'), '55000 | cannot withdraw version "2" of module "full"'
	' | It was applied in protected environments: "qa".', 'nor when its node is gone');

-- Deployments that have not ended.
SELECT hotswap.publish_version('queued', '1', 'SELECT 1') \g /dev/null
SELECT hotswap.deploy('queued', '1', 'development', run_at => '2100-01-01') AS d \gset
SELECT is(pg_temp.why('queued', '1'), format('55000 | cannot withdraw version "1" of module'
	' "queued" | Deployments need it: "%s". | Cancel them, or wait for their end.', :'d'),
	'not while it is on its way');
SELECT hotswap.cancel(:'d', 'no') \g /dev/null
SELECT is(pg_temp.why('queued', '1'), '', 'when that has ended, it may go');

-- A deployment that can go back needs what ran before.
SELECT hotswap.publish_version('back', '1', 'SELECT 1'),
	hotswap.publish_version('back', '2', 'SELECT pg_advisory_xact_lock_shared(4711)', NULL,
		'SELECT 1') \g /dev/null
CALL pg_temp.run('back', '1', 'development');
SELECT pg_advisory_lock(4711) \g /dev/null
SELECT hotswap.deploy('back', '2', 'development') AS d \gset
CALL until('at_gate(4711)');
SELECT matches(pg_temp.why('back', '1'), 'Deployments need it: "' || :'d', 'nor what it replaces');
SELECT pg_advisory_unlock(4711) \g /dev/null
CALL await(:'d', 'succeeded');
SELECT is(pg_temp.why('back', '1'), '', 'when that has ended, it may go');

-- Nor what a failed rollback may still go back to.
SELECT hotswap.register_node('development', 'o', run_as => :'app'::regrole, schema => 'c'),
	hotswap.publish_version('stuck', '1', 'SELECT 1'),
	hotswap.publish_version('stuck', '2', $$DO 'BEGIN IF current_schema = ''c'' THEN
		RAISE ''no''; END IF; END'$$, NULL, $$DO 'BEGIN RAISE ''never''; END'$$) \g /dev/null
CALL pg_temp.run('stuck', '1', 'development');
SELECT hotswap.deploy('stuck', '2', 'development') AS d \gset
CALL await(:'d', 'rollback_failed');
SELECT matches(pg_temp.why('stuck', '1'), 'Deployments need it: "' || :'d',
	'it needs the version from before');

-- Of several that ran side by side and are taken back, each may have to come again.
SELECT hotswap.publish_version('heads', '1', 'SELECT 1', NULL, 'SELECT 1', parents => '{}'),
	hotswap.publish_version('heads', '2', 'SELECT 2', NULL, 'SELECT 1', parents => '{1}'),
	hotswap.publish_version('heads', '3', 'SELECT 3', NULL, 'SELECT 1', parents => '{1}'),
	-- In validation nothing has been written before.
	hotswap.publish_version('heads', '4', 'CREATE TABLE t ()', $$DO 'BEGIN
		IF pg_current_xact_id_if_assigned() IS NULL THEN
			PERFORM pg_advisory_xact_lock_shared(4711); RAISE ''no'';
		END IF; END'$$, 'DROP TABLE t', parents => '{1}') \g /dev/null
CALL pg_temp.run('heads', '2', 'development');
CALL pg_temp.run('heads', '3', 'development');
SELECT pg_advisory_lock(4711) \g /dev/null
SELECT hotswap.deploy('heads', '4', 'development', allow_revert => true) AS d \gset
CALL until('at_gate(4711)');
SELECT matches(pg_temp.why('heads', v), 'Deployments need it: "' || :'d',
	'version ' || v || ' is not on the node, and has to come back') FROM unnest('{2,3}'::text[]) v;
SELECT pg_advisory_unlock(4711) \g /dev/null
CALL await(:'d', 'rolled_back');
SELECT is((SELECT m.heads FROM hotswap.node_module m WHERE m.module = 'heads'
	ORDER BY m.swap DESC LIMIT 1), '{2,3}', 'as it does');

-- One that has failed needs nothing, and cannot be repeated afterwards.
SELECT hotswap.publish_version('bad', '1', 'SELECT 1/0') \g /dev/null
SELECT hotswap.deploy('bad', '1', 'development') AS d \gset
CALL await(:'d', 'failed');
SELECT is(pg_temp.why('bad', '1'), '', 'what failed everywhere may go');
SELECT throws_ok(format('SELECT hotswap.retry(%L)', :'d'), 'P0002',
	'version "1" of module "bad" does not exist', 'then its deployment cannot be repeated');
SELECT throws_ok($$SELECT hotswap.deploy('bad', '1', 'development')$$, 'P0002', NULL,
	'nor requested again');
SELECT hotswap.publish_version('bad', '1', 'SELECT 1') \g /dev/null
SELECT throws_ok(format('SELECT hotswap.retry(%L)', :'d'), '55000',
	'version "1" of module "bad" was withdrawn after the deployment was requested',
	'nor repeated with other content');
CALL pg_temp.run('bad', '1', 'development');
SELECT is((SELECT status FROM hotswap.deployments WHERE module = 'bad'
	ORDER BY requested_at DESC LIMIT 1), 'succeeded', 'which is requested anew');

-- What belongs to the version goes with it.
SELECT hotswap.publish_version('signed', '1', 'SELECT 1') \g /dev/null
INSERT INTO hotswap.version_signature (tenant_id, module, version, signing_key, signature,
	signed_by) VALUES ('00000000-0000-7000-8000-000000000001', 'signed', '1', 'k', 's', 'x');
INSERT INTO hotswap.held_version VALUES ('00000000-0000-7000-8000-000000000001', 'development',
	'signed', '1', now(), 'x', gen_random_uuid(), 'x');
SELECT is(pg_temp.why('signed', '1'), '', 'a signed version may go');
SELECT is_empty('SELECT FROM hotswap.version_signature', 'with its signatures');
SELECT is_empty('SELECT FROM hotswap.held_version', 'and what was held of it');

SELECT results_eq($$SELECT count(*) FROM hotswap.verify_audit()$$, ARRAY[0::bigint],
	'the audit log is whole');
SELECT * FROM finish();
DROP OWNED BY :"app";
DROP ROLE :"app";
