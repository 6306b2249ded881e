-- What an approval is about: the steps that are to run, and as which roles
-- (src/core/approval_scope.c, src/pipeline/gate.c).
SELECT plan(20);
\ir ../include/graph.sql
SELECT hotswap.set_approval_policy('production', 1, allow_self_approval => true) \g /dev/null
SELECT logging_node('production', 'p1') \g /dev/null
SELECT publish_step('1', '{}'), publish_step('2', '{1}'), publish_step('3', '{2}'),
	publish_step('4', '{3}', install => true), publish_step('2.1', '{2}') \g /dev/null
CREATE FUNCTION pg_temp.scope(d uuid, n integer DEFAULT 1) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg((e ->> 'direction') || ' ' || (e ->> 'version'), ', ')
	FROM hotswap.approvals a, jsonb_array_elements(steps) e WHERE deployment_id = d AND round = n
$$;

-- The chain.
SELECT hotswap.deploy('m', '3', 'production') AS d \gset
SELECT is(pg_temp.scope(:'d'), 'up 1, up 2, up 3', 'what is to be approved is shown');
SELECT is((SELECT roles::text FROM hotswap.approvals WHERE deployment_id = :'d'),
	format('{%s}', current_user), 'and as whom it runs');
SELECT is((SELECT e ->> 'digest' FROM hotswap.approvals, jsonb_array_elements(steps) e
	WHERE deployment_id = :'d' AND e ->> 'version' = '2'), (SELECT encode(digest, 'hex')
	FROM hotswap.module_version WHERE version = '2'), 'with the digests');
SELECT hotswap.approve(:'d') \g /dev/null
CALL ended(:'d') \gset
SELECT is(:'said'::text, 'succeeded', 'approved and done');

-- What happens between an approval and the start of its stage.
CREATE PROCEDURE meanwhile(version text, what text, INOUT d uuid DEFAULT NULL)
	LANGUAGE plpgsql AS $$
BEGIN
	PERFORM hotswap.stop_dispatching('wait');
	d = hotswap.deploy('m', version, 'production');
	PERFORM hotswap.approve(d);
	EXECUTE what;
	COMMIT;
	PERFORM hotswap.start_dispatching();
	COMMIT;
END $$;
CREATE FUNCTION declare_heads(now_heads text[]) RETURNS void LANGUAGE sql AS $$
	INSERT INTO hotswap.node_module (tenant_id, node_id, module, version, digest, swapped_at, step,
		direction, heads)
	SELECT v.tenant_id, n.id, 'm', v.version, v.digest, now(), v.version, 'declared', now_heads
	FROM hotswap.node n, hotswap.module_version v WHERE n.name = 'p1' AND v.module = 'm'
		AND v.version = now_heads[1]
$$;

-- Fewer steps than were approved: no matter.
SELECT declare_heads('{2}');
CALL meanwhile('4', $$SELECT declare_heads('{3}')$$) \gset
CALL ended(:'d') \gset
SELECT is(:'said'::text || ' ' || pg_temp.scope(:'d'), 'succeeded up 3, up 4', 'fewer');

-- More: it is void, and asked for again.
SELECT declare_heads('{3}');
CALL meanwhile('4', $$SELECT declare_heads('{2}')$$) \gset
CALL await(:'d', 'pending_approval');
SELECT results_eq(format($$SELECT round, status::text, reason FROM hotswap.approvals
	WHERE deployment_id = %L ORDER BY round$$, :'d'),
	$$VALUES (1, 'void', 'what will run is not what the approval is about: it would run the deploy '
	'script of version "3", which was not part of it'), (2, 'pending', NULL)$$, 'more');
SELECT is(pg_temp.scope(:'d', 2), 'up 3, up 4', 'the new one is about both');
SELECT hotswap.approve(:'d') \g /dev/null
CALL ended(:'d') \gset
SELECT is(:'said'::text, 'succeeded', 'with it, it goes');

-- Another script of the same version is not the same.
SELECT declare_heads('{3}');
CALL meanwhile('4', $$DELETE FROM hotswap.node_module WHERE module = 'm'$$) \gset
CALL await(:'d', 'pending_approval');
SELECT is((SELECT reason FROM hotswap.approvals WHERE deployment_id = :'d' AND round = 1),
	'what will run is not what the approval is about: it would run the install '
	'script of version "4", which was not part of it', 'the installer was not seen');
SELECT hotswap.approve(:'d') \g /dev/null
CALL ended(:'d') \gset
SELECT is(:'said'::text || ' ' || pg_temp.scope(:'d', 2), 'succeeded install 4', 'and then it was');

-- A role that was not there.
SELECT format('CREATE ROLE %1$I LOGIN; CREATE SCHEMA late AUTHORIZATION %1$I', named('late'))
	AS role \gset
:role \g /dev/null
SELECT hotswap.publish_version('complete', '1', 'CREATE TABLE here (i int)') \g /dev/null
SELECT hotswap.stop_dispatching('wait') \g /dev/null
SELECT hotswap.deploy('complete', '1', 'production') AS d \gset
SELECT is(pg_temp.scope(:'d'), NULL, 'a complete version says it all');
SELECT hotswap.approve(:'d') \g /dev/null
SELECT hotswap.register_node('production', 'late', run_as => named('late')::regrole,
	schema => 'late') \g /dev/null
SELECT hotswap.start_dispatching() \g /dev/null
CALL await(:'d', 'pending_approval');
SELECT is((SELECT reason FROM hotswap.approvals WHERE deployment_id = :'d' AND round = 1),
	format('what will run is not what the approval is about: a node runs scripts as "%s", '
	'as none did '
	'then', named('late')), 'but not as whom it runs');
SELECT hotswap.approve(:'d') \g /dev/null
CALL ended(:'d') \gset
SELECT is(:'said'::text, 'succeeded', 'seen and done');

-- What was written to the table of approvals behind their back.
SELECT hotswap.stop_dispatching('wait') \g /dev/null
SELECT declare_heads('{3}');
SELECT hotswap.deploy('m', '4', 'production') AS d \gset
SELECT hotswap.approve(:'d') \g /dev/null
UPDATE hotswap.approval SET steps = steps || steps WHERE deployment_id = :'d';
SELECT hotswap.start_dispatching() \g /dev/null
CALL await(:'d', 'pending_approval');
SELECT is((SELECT reason FROM hotswap.approvals WHERE deployment_id = :'d' AND round = 1),
	'what will run is not what the approval is about', 'the digest is over the steps, too');

-- One that is older than scopes.
SELECT hotswap.stop_dispatching('wait') \g /dev/null
SELECT hotswap.publish_version('complete', '2', 'SELECT 1') \g /dev/null
SELECT hotswap.deploy('complete', '2', 'production') AS d \gset
SELECT hotswap.approve(:'d') \g /dev/null
UPDATE hotswap.approval SET roles = NULL WHERE deployment_id = :'d';
SELECT hotswap.start_dispatching() \g /dev/null
CALL ended(:'d') \gset
SELECT is(:'said'::text, 'succeeded', 'an approval from before');

-- A vote that is taken back.
SELECT hotswap.deploy('m', '4', 'production', run_at => now() + '1 d') AS d \gset
SELECT hotswap.approve(:'d'), hotswap.retract_vote(:'d') \g /dev/null
SELECT is(pg_temp.scope(:'d', 2), pg_temp.scope(:'d', 1), 'the next round is about the same');

-- Whether all of it is in a transaction.
SELECT is((SELECT array_agg(DISTINCT transactional) FROM hotswap.approvals), '{t}',
	'an approver sees that it runs in transactions');
SELECT hotswap.publish_version('m', '5', 'VACUUM', parents => '{4}', transactional => false),
	hotswap.publish_version('complete', '3', 'VACUUM', transactional => false) \g /dev/null
SELECT hotswap.deploy('m', '5', 'production', run_at => now() + '1 d') AS d \gset
SELECT results_eq(format($$SELECT transactional, e ->> 'version'
	FROM hotswap.approvals, jsonb_array_elements(steps) e
	WHERE deployment_id = %L AND NOT (e ->> 'transactional')::boolean$$, :'d'),
	$$VALUES (false, '5')$$, 'or which step does not');
SELECT hotswap.deploy('complete', '3', 'production', run_at => now() + '1 d') AS d \gset
SELECT is((SELECT transactional FROM hotswap.approvals WHERE deployment_id = :'d'), false,
	'or that the version does not');
SELECT is((SELECT count(*) FROM hotswap.verify_audit()), 0::bigint, 'the audit log is whole');
SELECT * FROM finish();
