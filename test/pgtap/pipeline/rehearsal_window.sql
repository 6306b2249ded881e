-- A rehearsal executes scripts on a node and locks tables there, so windows hold it up as they hold
-- up a deployment (src/core/freeze.c, src/pipeline/gate.c).
SELECT plan(20);
\ir ../include/graph.sql
SELECT format('CREATE ROLE %I LOGIN', named('dave')) \gexec
SELECT hotswap.set_approval_policy('production', 0),
	hotswap.configure_environment('production', may_skip_environments => true),
	hotswap.grant_access(named('dave')::regrole, 'break_glass'), logging_node('production', 'p'),
	publish_step('1', '{}'), publish_step('2', '{1}'), publish_step('3', '{2}') \g /dev/null
CREATE FUNCTION why(d uuid) RETURNS text LANGUAGE sql AS
	$$SELECT string_agg(reason, '; ') FROM hotswap.explain(d)$$;
CREATE FUNCTION override(d uuid) RETURNS text LANGUAGE sql AS $$
	SELECT as_role(named('dave'), format(
		'SELECT hotswap.override_freeze(%L, ''production'', ''it burns'', ''T-1'')', d))
$$;

-- A window that denies it.
SELECT hotswap.set_window('production', 'freeze', 'deny', 'the shop is full',
	tstzrange(now(), now() + '1 day')) \g /dev/null
SELECT hotswap.deploy('m', '1', 'production', rehearse => true) AS r \gset
CALL await(:'r', 'pending_approval');
SELECT is(why(:'r'), 'environment "production" is frozen', 'a rehearsal waits for the window');
SELECT is((SELECT count(*) FROM hotswap.rehearsals), 0::bigint, 'and runs nothing');
SELECT matches((SELECT reason FROM hotswap.notifications WHERE deployment_id = :'r'),
	'^waits until .* for the windows of production: "freeze"', 'who requested it is told');
SELECT hotswap.deploy('m', '1', 'production', only_target => true) AS d \gset
CALL await(:'d', 'pending_approval');

-- What was overridden for one of them is not for the other.
SELECT override(:'r') \g /dev/null
SELECT is(hotswap.wait(:'r', '60 s'), 'succeeded', 'an override lets the rehearsal start');
SELECT is(why(:'d'), 'environment "production" is frozen', 'and not its deployment');
SELECT hotswap.deploy('m', '1', 'production', rehearse => true) AS r \gset
CALL await(:'r', 'pending_approval');
SELECT override(:'d') \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'one of a deployment');
SELECT is(why(:'r'), 'environment "production" is frozen', 'is for no rehearsal');
SELECT hotswap.cancel(:'r', 'enough') \g /dev/null
SELECT is(hotswap.wait(:'r', '60 s'), 'cancelled', 'which can be cancelled');

-- One that waits goes when the window goes; and outside of those that allow it nothing starts.
SELECT hotswap.deploy('m', '2', 'production', rehearse => true) AS r \gset
CALL await(:'r', 'pending_approval');
SELECT hotswap.remove_window('production', 'freeze') \g /dev/null
SELECT is(hotswap.wait(:'r', '60 s'), 'succeeded', 'without the window it goes by itself');
SELECT hotswap.set_window('production', 'closed', 'allow', 'never again',
	'[2001-01-01, 2002-01-01)') \g /dev/null
SELECT hotswap.deploy('m', '2', 'production', rehearse => true, start_by =>
	clock_timestamp() + '3 s') AS r \gset
CALL await(:'r', 'pending_approval');
SELECT is(hotswap.wait(:'r', '60 s'), 'expired', 'start_by ends what waits for one that allows it');
SELECT hotswap.remove_window('production', 'closed') \g /dev/null

-- A window that begins while it runs.
SELECT hotswap.publish_version('m', 'long', 'SELECT pg_advisory_xact_lock(4711)',
	parents => '{1}') \g /dev/null
SELECT pg_advisory_lock(4711) \g /dev/null
SELECT hotswap.deploy('m', 'long', 'production', rehearse => true) AS r \gset
CALL until('at_gate(4711)');
SELECT hotswap.set_window('production', 'freeze', 'deny', during => tstzrange(now(), NULL))
	\g /dev/null
SELECT pg_advisory_unlock(4711) \g /dev/null
SELECT is(hotswap.wait(:'r', '60 s'), 'succeeded', 'what has begun ends');

-- Where it must have been rehearsed, both wait, and then the rehearsal goes first.
SELECT hotswap.grant_access(session_user::regrole, 'approver'),
	hotswap.set_approval_policy('production', 1, allow_self_approval => true),
	hotswap.configure_environment('production', require_rehearsal => true,
		rehearse_without_approval => true) \g /dev/null
SELECT hotswap.deploy('m', '2', 'production', only_target => true) AS d \gset
CALL await(:'d', 'pending_approval');
SELECT hotswap.approve(:'d') \g /dev/null
CALL until(format('why(%L) = ''environment "production" is frozen''', :'d'));
SELECT pass('an approved deployment waits for the window');
UPDATE hotswap.task SET finished_at = finished_at - interval '24 h';
SELECT hotswap.deploy('m', '2', 'production', rehearse => true) AS r \gset
CALL await(:'r', 'pending_approval');
SELECT is(why(:'r'), 'environment "production" is frozen', 'so does its rehearsal');
SELECT hotswap.remove_window('production', 'freeze') \g /dev/null
SELECT is(hotswap.wait(:'r', '60 s'), 'succeeded', 'then it is rehearsed');
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'and deployed');
SELECT ok(r.finished_at <= s.started_at, 'one after the other')
FROM hotswap.deployment r, hotswap.stage s
WHERE r.id = :'r' AND s.deployment_id = :'d' AND s.kind = 'deploy' AND s.environment = 'production';
SELECT is(log_of('p'), '1 2', 'each version has come once');

-- A line that is stopped.
SELECT hotswap.stop_dispatching('nobody is here') \g /dev/null
SELECT hotswap.deploy('m', '3', 'production', rehearse => true) AS r \gset
SELECT is(status_of(:'r'), 'queued', 'a rehearsal waits for the line');
SELECT matches(why(:'r'), 'stopped', 'explain() says so');
SELECT hotswap.start_dispatching() \g /dev/null
CALL ended(:'r') \gset
SELECT is(:'said'::text, 'succeeded', 'and then goes');

SELECT * FROM finish();
