-- Cancelling what runs, and taking back what was swapped (src/pipeline/pipeline.c).
SELECT plan(80);

CREATE ROLE hotswap_test_rollback_a LOGIN;
CREATE ROLE hotswap_test_rollback_b LOGIN;
CREATE SCHEMA a AUTHORIZATION hotswap_test_rollback_a;
CREATE SCHEMA b AUTHORIZATION hotswap_test_rollback_b;
SELECT hotswap.register_node('development', 'a', run_as => 'hotswap_test_rollback_a',
	schema => 'a'),
	hotswap.register_node('development', 'b', run_as => 'hotswap_test_rollback_b',
		schema => 'b') \g /dev/null

-- The deploy script of version v makes release(); b can be told to refuse it, or the way back.
CREATE TABLE public.refused (what text, node text);
GRANT SELECT ON public.refused TO PUBLIC;
CREATE FUNCTION pg_temp.script(what text, v text) RETURNS text LANGUAGE sql AS
$f$SELECT format($s$DO $$BEGIN IF EXISTS (SELECT FROM public.refused
	WHERE what = %L AND node = current_schema) THEN RAISE 'no %s'; END IF; END$$;
CREATE OR REPLACE FUNCTION release() RETURNS text LANGUAGE sql AS 'SELECT ''%s''::text'$s$, what,
	what, v)$f$;
SELECT hotswap.publish_version('m', v, pg_temp.script('deploy ' || v, v))
	FROM unnest('{1,2}'::text[]) v \g /dev/null
SELECT hotswap.publish_version('m', '3', pg_temp.script('deploy 3', '3'), NULL,
	pg_temp.script('revert 3', 'reverted 3')) \g /dev/null
CREATE FUNCTION pg_temp.releases() RETURNS text
	LANGUAGE plpgsql AS $$BEGIN RETURN a.release() || ', ' || b.release(); END$$;
CREATE FUNCTION pg_temp.health() RETURNS text LANGUAGE sql AS
	$$SELECT status || ' ' || detail FROM hotswap.health() WHERE component = 'rollbacks'$$;
CREATE FUNCTION pg_temp.states(d uuid) RETURNS text LANGUAGE sql AS
	$$SELECT string_agg(kind || ' ' || node || ' ' || status, ', ' ORDER BY stage, ordinal)
		FROM hotswap.tasks WHERE deployment_id = d$$;

-- The first version has nothing to go back to.
INSERT INTO public.refused VALUES ('deploy 1', 'b');
SELECT hotswap.deploy('m', '1', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'rollback_failed',
	'no revert script and no version before: the rollback fails');
SELECT results_eq(format('SELECT sqlstate, message, rollback_sqlstate, rollback_message
	FROM hotswap.deployments WHERE id = %L', :'d'),
	$$VALUES ('P0001', 'no deploy 1', '55000', 'version "1" of module "m" cannot be reverted')$$,
	'the deployment says why it failed, and why its rollback did');
SELECT matches(pg_temp.health(), '^critical the rollback of deployment ' || :'d'
	|| ' \(m in development\) failed at [^,]*: hotswap\.retry', 'health() is loud');
SELECT is(pg_temp.states(:'d'), 'swap a succeeded, swap b failed, revert a failed',
	'a is still swapped');
SELECT is(a.release(), '1', 'in truth too');
SELECT results_eq('SELECT name, version FROM hotswap.nodes ORDER BY name',
	$$VALUES ('a', '1'), ('b', NULL)$$, 'and in node_module');
SELECT is(hotswap.retry(:'d'), 'rolling_back', 'another go at the rollback');
SELECT is(hotswap.wait(:'d', '60 s'), 'rollback_failed', 'fails again');
SELECT is((SELECT string_agg(status::text, ',' ORDER BY ordinal) FROM hotswap.tasks
	WHERE deployment_id = :'d' AND kind = 'revert'), 'failed,failed',
	'the attempt is another task');
TRUNCATE public.refused;
SELECT :'d' AS first \gset
SELECT hotswap.deploy('m', '1', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'a new deployment');
SELECT is(pg_temp.health(), 'ok none has failed that is not dealt with', 'has put it right');
SELECT results_eq(format('SELECT status::text, put_right_by FROM hotswap.deployments
	WHERE id = %L', :'first'), format('VALUES (''rollback_failed'', %L::uuid)', :'d'),
	'as the first one says');
SELECT results_eq(format('SELECT code, message, detail FROM refusal(%L)',
	format('SELECT hotswap.retry(%L)', :'first')), format('VALUES (''55000'',
	''cannot resume the rollback: a later deployment has put the nodes right'',
	%L)', 'It is deployment "' || :'d' || '".'), 'whose rollback would undo that now');
SELECT is(attempt(format('SELECT hotswap.acknowledge(%L, ''x'')', :'first')), '55000',
	'there is nothing to acknowledge');
SELECT is(pg_temp.states(:'d'), 'swap a skipped, swap b succeeded', 'has only b to do');
SELECT is((SELECT message FROM hotswap.tasks WHERE deployment_id = :'d' AND node = 'a'),
	'node "a" already runs version "1" from deployment ' || :'first', 'and says since when');

-- Without a revert script the deploy script of the version before is used.
INSERT INTO public.refused VALUES ('deploy 2', 'b');
SELECT hotswap.deploy('m', '2', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'rolled_back', 'one node fails: the other one goes back');
SELECT is(pg_temp.states(:'d'), 'swap a reverted, swap b failed, revert a succeeded',
	'the tasks say so');
SELECT is(pg_temp.releases(), '1, 1', 'both are on the version before');
SELECT results_eq('SELECT name, version FROM hotswap.nodes ORDER BY name',
	$$VALUES ('a', '1'), ('b', '1')$$, 'in node_module too');
SELECT is((SELECT message FROM hotswap.deployment WHERE id = :'d'), 'no deploy 2',
	'the reason is the first error');
TRUNCATE public.refused;
SELECT is(hotswap.retry(:'d'), 'queued', 'what was rolled back can be tried again');
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'and succeeds');
SELECT is(pg_temp.states(:'d'), 'swap a succeeded, swap b succeeded',
	'from the start of the stage');
SELECT is(pg_temp.releases(), '2, 2', 'on both nodes');

-- With one, that one; it may fail, and be tried again.
INSERT INTO public.refused VALUES ('deploy 3', 'b'), ('revert 3', 'a');
SELECT hotswap.deploy('m', '3', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'rollback_failed', 'the revert script fails');
SELECT is(pg_temp.releases(), '3, 2', 'a is on the new version still');
SELECT results_eq('SELECT name, version FROM hotswap.nodes ORDER BY name',
	$$VALUES ('a', '3'), ('b', '2')$$, 'node_module agrees');
TRUNCATE public.refused;
SELECT is(hotswap.retry(:'d'), 'rolling_back', 'the rollback again');
SELECT is(hotswap.wait(:'d', '60 s'), 'rolled_back', 'which succeeds now');
SELECT is(pg_temp.releases(), 'reverted 3, 2', 'by the revert script');
SELECT results_eq(format('SELECT message, rollback_message FROM hotswap.deployments
	WHERE id = %L', :'d'), $$VALUES ('no deploy 3', NULL)$$, 'why it failed stays');
SELECT is(pg_temp.health(), 'ok none has failed that is not dealt with', 'health() is content');
SELECT results_eq('SELECT name, version FROM hotswap.nodes ORDER BY name',
	$$VALUES ('a', '2'), ('b', '2')$$, 'node_module agrees');

-- Nobody else's swap is taken back.
INSERT INTO public.refused VALUES ('deploy 3', 'b'), ('revert 3', 'a');
SELECT hotswap.deploy('m', '3', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'rollback_failed', 'the revert script fails once more');
DELETE FROM public.refused WHERE what = 'revert 3';
INSERT INTO public.refused VALUES ('deploy 1', 'b');
SELECT hotswap.deploy('m', '1', 'development') AS other \gset
SELECT is(hotswap.wait(:'other', '60 s'), 'rolled_back', 'another one comes and goes');
SELECT is(hotswap.retry(:'d'), 'rolling_back', 'the rollback again');
SELECT is(hotswap.wait(:'d', '60 s'), 'rollback_failed', 'it fails');
SELECT is((SELECT rollback_message FROM hotswap.deployment WHERE id = :'d'),
	'node "a" runs what another deployment has swapped in since', 'and says why');
SELECT is(pg_temp.releases(), '3, 2', 'nothing is taken back');

-- Somebody says that this is all right.
SELECT matches(pg_temp.health(), '^critical ', 'health() is loud');
SELECT results_eq(format('SELECT hotswap.acknowledge(%L, ''b is switched off'')::text', :'d'),
	$$VALUES ('')$$, 'until it is acknowledged');
SELECT is(pg_temp.health(), 'ok none has failed that is not dealt with', 'then it is content');
SELECT results_eq(format('SELECT status::text, acknowledged_at IS NOT NULL FROM hotswap.deployments
	WHERE id = %L', :'d'), $$VALUES ('rollback_failed', true)$$, 'the status stays');
SELECT results_eq(format('SELECT event, before, after, reason FROM hotswap.audit_log
	WHERE subject_id = %L ORDER BY seq DESC LIMIT 1', :'d'), $$VALUES ('acknowledge',
	'rollback_failed', 'rollback_failed', 'b is switched off')$$, 'who and why is on record');
SELECT throws_ok(format('SELECT hotswap.acknowledge(%L, ''again'')', :'d'), '55000',
	format('deployment "%s" has no failed rollback that is to be dealt with', :'d'), 'once');
SELECT throws_ok(format('SELECT hotswap.acknowledge(%L, ''x'')', :'other'), '55000',
	format('deployment "%s" has no failed rollback that is to be dealt with', :'other'),
	'not what has none');
TRUNCATE public.refused;
SELECT hotswap.deploy('m', '1', 'development') AS other \gset
SELECT is(hotswap.wait(:'other', '60 s'), 'succeeded', 'another version on both nodes');
SELECT pg_advisory_lock(78) \g /dev/null
SELECT hotswap.publish_version('m', 'slow',
	'SET LOCAL lock_timeout = 0; SELECT pg_advisory_xact_lock(78)') \g /dev/null
SELECT hotswap.deploy('m', 'slow', 'development') AS slow \gset
CALL until('at_gate(78)');
SELECT throws_ok(format('SELECT hotswap.retry(%L)', :'d'), '55000',
	'cannot resume the rollback while another deployment of module "m" is running',
	'not while another one is running');
SELECT is(hotswap.cancel(:'slow', 'x'), 'running', 'it is cancelled');
SELECT is(hotswap.wait(:'slow', '60 s'), 'cancelled', 'before it has swapped anything');
SELECT pg_advisory_unlock(78) \g /dev/null
SELECT hotswap.deploy('m', '2', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'back to where we were');

-- An environment that does not revert.
SELECT hotswap.configure_environment('development', revert_on_failure => false) \g /dev/null
INSERT INTO public.refused VALUES ('deploy 3', 'b');
SELECT hotswap.deploy('m', '3', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'failed', 'the node that succeeded stays');
SELECT is(pg_temp.releases(), '3, 2', 'as it is');
SELECT hotswap.deploy('m', '2', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'back again');

-- A deployment that says itself what becomes of its nodes.
SELECT hotswap.deploy('m', '3', 'development', on_failure => 'back') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'rolled_back', 'it goes back, where others would stay');
SELECT is(pg_temp.releases(), 'reverted 3, 2', 'as it was asked');
SELECT hotswap.configure_environment('development', revert_on_failure => true) \g /dev/null
SELECT hotswap.deploy('m', '3', 'development', on_failure => 'stay') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'failed', 'it stays, where others would go back');
SELECT is(pg_temp.releases(), '3, 2', 'as it was asked');
SELECT is((SELECT on_failure || ' ' || (SELECT detail ->> 'on_failure' FROM hotswap.audit_log
	WHERE subject_id = d.id AND event = 'request') FROM hotswap.deployments d WHERE id = :'d'),
	'stay stay', 'as it is shown, and audited');
TRUNCATE public.refused;

-- Validation fails: the target goes back.
CREATE FUNCTION public.never(uuid) RETURNS boolean LANGUAGE sql AS 'SELECT false';
SELECT hotswap.register_hook('validate', 'never(uuid)', 'm') \g /dev/null
SELECT hotswap.deploy('m', '3', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'rolled_back', 'a validate hook says no');
SELECT is((SELECT message FROM hotswap.deployment WHERE id = :'d'),
	'hook "public.never" returned false', 'which one');
SELECT is(pg_temp.releases(), '3, reverted 3', 'what this deployment has swapped is reverted');
SELECT hotswap.remove_hook('validate', 'never(uuid)', 'm') \g /dev/null

-- A test hook comes before anything is swapped.
SELECT hotswap.register_hook('test', 'never(uuid)', 'm') \g /dev/null
SELECT hotswap.deploy('m', '1', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'failed', 'a test hook says no');
SELECT is((SELECT count(*) FROM hotswap.tasks WHERE deployment_id = :'d' AND kind = 'swap'),
	0::bigint, 'before anything is swapped');
SELECT hotswap.remove_hook('test', 'never(uuid)', 'm') \g /dev/null

-- A hook is called as its owner.
CREATE FUNCTION public.seen(deployment uuid) RETURNS void
	LANGUAGE sql AS $$INSERT INTO public.refused VALUES (deployment::text, session_user)$$;
SELECT hotswap.register_hook('test', 'seen(uuid)') \g /dev/null
SELECT hotswap.deploy('m', '1', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'a hook that returns nothing');
SELECT results_eq('SELECT what, node FROM public.refused',
	format('VALUES (%L, %L)', :'d',
		(SELECT rolname FROM pg_roles r JOIN pg_proc p ON p.proowner = r.oid
			WHERE p.oid = 'public.seen'::regproc)),
	'was called with the deployment, as its owner');

-- A hook that is gone.
DROP FUNCTION public.seen(uuid);
SELECT hotswap.deploy('m', '2', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'failed',
	'a hook that has been dropped fails the deployment');
SELECT is((SELECT sqlstate || ' ' || message FROM hotswap.deployment WHERE id = :'d'),
	'42883 function public.seen(uuid) does not exist', 'and is named');
SELECT results_eq('SELECT stage, module, function FROM hotswap.hooks',
	$$VALUES ('test', NULL, 'public.seen')$$, 'the view names it');
SELECT lives_ok($$SELECT hotswap.remove_hook('test', 'public.seen')$$,
	'by this name it can be removed');
SELECT is((SELECT count(*) FROM hotswap.hooks), 0::bigint, 'there are no hooks any more');

-- Cancelled while it runs: what is swapped goes back.
SELECT pg_advisory_lock(77) \g /dev/null
SELECT hotswap.publish_version('m', '4',
	'SET LOCAL lock_timeout = 0; DO $$BEGIN IF current_schema = ''b'' THEN
		PERFORM pg_advisory_xact_lock(77); END IF; END$$; CREATE OR REPLACE FUNCTION release()
	RETURNS text LANGUAGE sql AS ''SELECT ''''4''''::text''') \g /dev/null
SELECT hotswap.deploy('m', '4', 'development') AS d \gset
CALL until('(SELECT count(*) FILTER (WHERE status = ''succeeded'') = 1 FROM hotswap.tasks
	WHERE deployment_id = ' || quote_literal(:'d') || ')');
CALL until('at_gate(77)');
SELECT ok(detail LIKE '%is blocked by process ' || pg_backend_pid() || ' (%',
	'explain() says who is in the way') FROM hotswap.explain(:'d');
SELECT is(hotswap.cancel(:'d', 'wrong day'), 'running', 'cancel() of what runs');
SELECT is(hotswap.wait(:'d', '60 s'), 'cancelled', 'it ends as cancelled');
SELECT is(pg_temp.states(:'d'), 'swap a reverted, swap b cancelled, revert a succeeded',
	'what was swapped has gone back');
SELECT is(pg_temp.releases(), '1, 1', 'really');
SELECT is((SELECT cancel_reason FROM hotswap.deployments WHERE id = :'d'), 'wrong day',
	'the reason is kept');
SELECT is((SELECT sqlstate FROM hotswap.tasks WHERE deployment_id = :'d' AND node = 'b'), '57014',
	'the statement was cancelled');
SELECT pg_advisory_unlock(77) \g /dev/null

SELECT is((SELECT count(*) FROM hotswap.verify_audit()), 0::bigint, 'the audit log is whole');
SELECT * FROM finish();
