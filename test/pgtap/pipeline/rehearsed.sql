-- What must have been rehearsed before it is deployed (src/core/rehearsal_right.c,
-- src/pipeline/rehearsed.c, src/pipeline/gate.c).
SELECT plan(34);
\ir ../include/graph.sql
SELECT hotswap.set_approval_policy('staging', 0), hotswap.set_approval_policy('production', 0),
	hotswap.configure_environment('production', require_rehearsal => true,
		may_skip_environments => true),
	logging_node('production', 'a'), logging_node('production', 'b'), publish_step('1', '{}'),
	publish_step('2', '{1}'), publish_step('3', '{2}') \g /dev/null
CREATE PROCEDURE rehearse(version text, environment text, nodes text[] DEFAULT NULL,
	INOUT said text DEFAULT NULL) LANGUAGE plpgsql AS $$
DECLARE
	d uuid = hotswap.deploy('m', version, environment, nodes => nodes, rehearse => true);
BEGIN
	CALL ended(d, said);
END $$;
CREATE FUNCTION unrehearsed(version text, node text) RETURNS text LANGUAGE sql AS $$
	SELECT format('failed: version "%s" was not rehearsed on node "%s" in the last 24 hours as the '
		'node is now. Use hotswap.deploy() with "rehearse", then hotswap.retry()', version, node)
$$;

-- Where nobody approves, it fails before anything runs, and can be retried.
SELECT hotswap.deploy('m', '1', 'production') AS d \gset
CALL ended(:'d') \gset
SELECT is(:'said'::text, unrehearsed('1', 'a'), 'what was not rehearsed does not run');
SELECT is((SELECT sqlstate FROM hotswap.deployment WHERE id = :'d'), '55000', 'with its code');
SELECT is((SELECT count(*) FROM hotswap.tasks WHERE kind = 'swap'), 0::bigint, 'on no node');
CALL rehearse('1', 'production', '{a}') \gset
SELECT hotswap.retry(:'d') \g /dev/null
CALL ended(:'d') \gset
SELECT is(:'said'::text, unrehearsed('1', 'b'), 'it is rehearsed on each node');
CALL rehearse('1', 'production', '{b}') \gset
SELECT hotswap.retry(:'d') \g /dev/null
CALL ended(:'d') \gset
SELECT is(:'said'::text, 'succeeded', 'by whichever rehearsals');

-- The same steps, environment and beginning.
CALL rehearse('3', 'production') \gset
CALL deploy_to('2', 'production') \gset
SELECT is(:'said'::text, unrehearsed('2', 'a'), 'it is about the steps that would run');
CALL rehearse('2', 'production') \gset
CALL deploy_to('2', 'production') \gset
SELECT is(:'said'::text, 'succeeded', 'all of them and no others');
CALL deploy_to('3', 'production') \gset
SELECT is(:'said'::text, unrehearsed('3', 'a'), 'the node has begun somewhere else then');
SELECT logging_node('staging', 's') \g /dev/null
CALL rehearse('3', 'staging') \gset
SELECT is(:'said'::text, 'succeeded', 'a rehearsal elsewhere');
CALL deploy_to('3', 'production') \gset
SELECT is(:'said'::text, unrehearsed('3', 'a'), 'does not count');
CALL rehearse('3', 'production') \gset
UPDATE hotswap.task SET finished_at = finished_at - interval '24 h' WHERE deployment_id =
	(SELECT max(id::text)::uuid FROM hotswap.deployment WHERE kind = 'rehearsal');
CALL deploy_to('3', 'production') \gset
SELECT is(:'said'::text, unrehearsed('3', 'a'), 'nor does one that is too old');
SELECT hotswap.publish_version('m', 'bad', 'SELECT 1/0', parents => '{2}') \g /dev/null
CALL rehearse('bad', 'production') \gset
CALL deploy_to('bad', 'production') \gset
SELECT is(:'said'::text, unrehearsed('bad', 'a'), 'nor one that has failed');

-- There and back again is where the node was.
CALL rehearse('3', 'production') \gset
CALL deploy_to('3', 'production') \gset
SELECT is(:'said'::text, 'succeeded', '3 runs');
SELECT hotswap.rollback((SELECT max(id::text)::uuid FROM hotswap.deployment
	WHERE kind = 'deploy'), 'not yet') AS r \gset
CALL ended(:'r') \gset
SELECT is(:'said'::text, 'succeeded', 'a rollback needs no rehearsal');
SELECT hotswap.deploy('m', '3', 'production', reapply => true) AS d \gset
CALL ended(:'d') \gset
SELECT is(:'said'::text, 'succeeded', 'what begins where the rehearsal did needs no other one');

-- Complete versions, what others run, and what cannot be rehearsed.
SELECT hotswap.publish_version('c', v, 'SELECT 1 -- ' || v) FROM (VALUES ('1'), ('2')) v (v)
	\g /dev/null
SELECT hotswap.deploy('c', '1', 'production', rehearse => true) AS r \gset
CALL ended(:'r') \gset
SELECT hotswap.deploy('c', '2', 'production') AS d \gset
CALL ended(:'d') \gset
SELECT is(:'said'::text, unrehearsed('2', 'a'), 'of complete versions it is the same');
SELECT hotswap.deploy('c', '1', 'production') AS d \gset
CALL ended(:'d') \gset
SELECT is(:'said'::text, 'succeeded', 'they are rehearsed, too');
SELECT hotswap.deploy('c', '1', 'production') AS d \gset
CALL ended(:'d') \gset
SELECT is(:'said'::text, 'succeeded', 'where nothing runs nothing is asked for');
SELECT logging_node('production', 'new') AS new \gset
SELECT hotswap.bring_up(:'new') \g /dev/null
CALL until('NOT EXISTS (SELECT FROM hotswap.queue)');
SELECT is(heads_of('new'), '3', 'bringing up a node needs no rehearsal');
SELECT hotswap.publish_version('outside', '1', 'VACUUM pg_class', transactional => false)
	\g /dev/null
SELECT hotswap.deploy('outside', '1', 'production') AS d \gset
CALL ended(:'d') \gset
SELECT is(:'said'::text, 'succeeded', 'what cannot be rehearsed is not asked for');

-- Releases are rehearsed as they are deployed, in one go.
SELECT hotswap.publish_version('e', '1', 'SELECT 1'), hotswap.publish_release('both', '{c=2,e=1}')
	\g /dev/null
SELECT hotswap.deploy_release('both', 'production') AS d \gset
CALL ended(:'d') \gset
SELECT matches(:'said'::text, '^failed: .* was not rehearsed on node "a" ', 'a release, too');
SELECT hotswap.deploy_release('both', 'production', rehearse => true) AS r \gset
CALL ended(:'r') \gset
SELECT is(:'said'::text, 'succeeded', 'is rehearsed');
SELECT is((SELECT string_agg(module || ' ' || version, ', ' ORDER BY step) FROM hotswap.rehearsals
	WHERE deployment_id = :'r' AND node = 'a'), 'c 2, e 1', 'its modules are the steps');
SELECT hotswap.retry(:'d') \g /dev/null
CALL ended(:'d') \gset
SELECT is(:'said'::text, 'succeeded', 'and then goes');

-- Where it is approved, it waits for the rehearsal as well, and is told of it.
SELECT format('CREATE ROLE %I LOGIN', named('voter')) \gexec
SELECT hotswap.set_approval_policy('production', 1), hotswap.configure_environment('production',
	rehearse_without_approval => true),
	hotswap.grant_access(named('voter')::regrole, 'approver'), publish_step('4', '{3}'),
	publish_step('5', '{4}') \g /dev/null
SELECT hotswap.deploy('m', '4', 'production') AS d \gset
CALL await(:'d', 'pending_approval');
SELECT as_role(named('voter'), format('SELECT hotswap.approve(%L)', :'d')) \g /dev/null
CALL until(format('EXISTS (SELECT FROM hotswap.stages WHERE deployment_id = %L
	AND message = ''waits for a rehearsal of what node "a" would run'')', :'d'));
SELECT results_eq(format('SELECT status::text, used_at FROM hotswap.approval
	WHERE deployment_id = %L', :'d'), $$VALUES ('approved', NULL::timestamptz)$$,
	'its approval is not used');
SELECT is(status_of(:'d'), 'pending_approval', 'it waits, without its lanes');
SELECT results_eq(format('SELECT * FROM hotswap.explain(%L)', :'d'), $$VALUES (
	'it was not rehearsed',
	'It waits for a rehearsal of what node "a" would run, in the last 24 hours.',
	'hotswap.deploy() of the same version with "rehearse"')$$, 'explain() says for what');
CALL rehearse('5', 'production') \gset
SELECT is(status_of(:'d'), 'pending_approval', 'another one is not what it waits for');
CALL rehearse('4', 'production') \gset
SELECT is(:'said'::text, 'succeeded', 'the lane is free for its rehearsal');
CALL ended(:'d') \gset
SELECT is(:'said'::text, 'succeeded', 'which lets it go on by itself');

-- A bypass is for emergencies; an approval that is not used in time expires.
SELECT hotswap.deploy('m', '5', 'production') AS d \gset
CALL await(:'d', 'pending_approval');
UPDATE hotswap.rehearsal SET step = 2 WHERE version = '5';
SELECT as_role(named('voter'), format('SELECT hotswap.approve(%L)', :'d')) \g /dev/null
CALL until(format('EXISTS (SELECT FROM hotswap.explain(%L)
	WHERE reason = ''it was not rehearsed'')', :'d'));
UPDATE hotswap.approval SET expires_at = clock_timestamp() + interval '0.1 s'
WHERE deployment_id = :'d';
SELECT hotswap.stop_dispatching('to be loaded anew'), hotswap.start_dispatching() \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'expired', 'it waits as long as its approval lasts');
SELECT hotswap.deploy('m', '5', 'production') AS d \gset
CALL await(:'d', 'pending_approval');
SELECT hotswap.bypass_approval(:'d', 'production', 'it burns', 'T-1') \g /dev/null
CALL ended(:'d') \gset
SELECT is(:'said'::text, 'succeeded', 'a bypass does without');
SELECT is(heads_of('a'), '5', 'and that is what runs');

-- What a rehearsal would bring, nobody waits for.
SELECT * FROM hotswap.verify_audit() \g /dev/null
SELECT is((SELECT count(*) FROM hotswap.queue), 0::bigint, 'all have ended');

SELECT * FROM finish();
