-- In a lane versions keep their order, though their approvals come in another one
-- (src/pipeline/gate.c, src/dispatch/due_set.c).
SELECT plan(49);
\ir ../include/approval.sql

SELECT hotswap.grant_access('pipeline_order_leads', 'approver'),
	hotswap.grant_access('pipeline_order_dave', 'break_glass') \g /dev/null
CREATE TABLE n.ran (n bigint GENERATED ALWAYS AS IDENTITY, version text);
ALTER TABLE n.ran OWNER TO pipeline_order_node;
SELECT hotswap.publish_version(m, v::text, format('INSERT INTO ran (version) VALUES (%L)', v))
	FROM unnest('{m,other}'::text[]) m, generate_series(2, 30) v \g /dev/null

-- requests a version and commits
CREATE FUNCTION ask(v text, more text DEFAULT '', environment text DEFAULT 'production',
		module text DEFAULT 'm') RETURNS uuid LANGUAGE sql AS $$
	SELECT as_role(named('alice'),
		format('SELECT hotswap.deploy(%L, %L, %L%s)', module, v, environment, more))::uuid
$$;

-- comes to the gate; waits there for another one
CREATE PROCEDURE come(d uuid) LANGUAGE plpgsql AS $$
BEGIN
	CALL await(d, 'pending_approval');
END $$;
CREATE PROCEDURE wait_behind(d uuid, earlier uuid) LANGUAGE plpgsql AS $$
BEGIN
	CALL until(format('(SELECT message FROM hotswap.stage WHERE deployment_id = %L
		AND status = ''waiting_approval'')
		= ''waits for deployment %s, which was requested before''', d, earlier));
	CALL await(d, 'pending_approval');
END $$;

-- which versions have run since this was asked last
CREATE FUNCTION ran() RETURNS text LANGUAGE sql AS $$
	WITH seen AS (DELETE FROM n.ran RETURNING n, version)
	SELECT string_agg(version, ' ' ORDER BY n) FROM seen
$$;

-- Approved in another order than they were requested in.
SELECT ask('2') AS d2 \gset
CALL come(:'d2');
SELECT ask('3') AS d3 \gset
CALL come(:'d3');
SELECT ask('4', ', priority => 10') AS d4 \gset
CALL come(:'d4');
SELECT is(vote('bob', 'approve', :'d4'), 'approved', 'the last one is approved first');
CALL wait_behind(:'d4', :'d2');
SELECT pass('it waits for the first one, whatever its priority');
SELECT results_eq(format('SELECT reason, detail, unblocked_by FROM hotswap.explain(%L)', :'d4'),
	format($$VALUES ('a deployment that was requested before goes first',
		'Version "2" to production is pending_approval.',
		'the start of deployment %s, or its end')$$, :'d2'), 'explain() says for whom');
SELECT results_eq(format('SELECT reason FROM hotswap.explain(%L)', :'d3'),
	$$VALUES ('environment "production" needs an approval'),
		('a deployment that was requested before goes first')$$,
	'one that has no approval either hears of both');
SELECT is(vote('bob', 'approve', :'d3'), 'approved', 'then the one in the middle');
CALL wait_behind(:'d3', :'d2');
SELECT is(vote('bob', 'approve', :'d2'), 'approved', 'then the first one');
SELECT is(hotswap.wait(:'d4', '60 s'), 'succeeded', 'nothing holds the last one any more');
SELECT is(ran(), '2 3 4', 'they ran in the order of their requests');
SELECT is_empty('SELECT * FROM hotswap.verify_audit()', 'the audit log is whole');

-- Whatever becomes of the earlier one.
CREATE PROCEDURE ends(v integer, query text) LANGUAGE plpgsql AS $$
DECLARE
	first uuid = ask(v::text);
	second uuid;
BEGIN
	CALL come(first);
	second = ask((v + 1)::text);
	CALL come(second);
	PERFORM vote('bob', 'approve', second);
	CALL wait_behind(second, first);
	PERFORM as_role(session_user::text, format(query, first));
	CALL await(second, 'succeeded');
END $$;
CALL ends(5, $$SELECT vote('bob', 'reject', %L, ', NULL, ''no''')$$);
SELECT is(ran(), '6', 'the earlier one is rejected');
CALL ends(7, $$SELECT hotswap.cancel(%L, 'x')$$);
SELECT is(ran(), '8', 'the earlier one is cancelled');
CALL ends(9, $$SELECT vote('dave', 'bypass_approval', %L, ', ''production'', ''x'', ''y''')$$);
SELECT is(ran(), '9 10', 'the earlier one goes without votes');
CALL ends(11, $$SELECT hotswap.set_approval_policy('production', 0) FROM (VALUES (%L)) v$$);
SELECT is(ran(), '11 12', 'production is open');
SELECT hotswap.set_approval_policy('production', 1, expires_after => '3 s') \g /dev/null
SELECT ask('13') AS d2 \gset
SELECT hotswap.set_approval_policy('production', 1) \g /dev/null
CALL come(:'d2');
SELECT ask('14') AS d3 \gset
CALL come(:'d3');
SELECT is(vote('bob', 'approve', :'d3'), 'approved', 'while the earlier one has no vote');
SELECT is(hotswap.wait(:'d2', '60 s'), 'expired', 'the time of the earlier one is over');
SELECT is(hotswap.wait(:'d3', '60 s') || ' ' || ran(), 'succeeded 14', 'it holds nobody any more');

-- An approval that becomes void is opened again: the earlier one still waits.
SELECT ask('15') AS d2 \gset
CALL come(:'d2');
SELECT ask('16') AS d3 \gset
\set d16 :d3
CALL come(:'d3');
SELECT hotswap.stop_dispatching('so that the approval is not used') \g /dev/null
SELECT is(vote('bob', 'approve', :'d2') || vote('bob', 'approve', :'d3')
	|| vote('bob', 'retract_vote', :'d2'), 'approvedapprovedpending', 'a vote is taken back');
SELECT hotswap.start_dispatching() \g /dev/null
CALL wait_behind(:'d3', :'d2');
SELECT pass('the later one waits for the next round');
SELECT is(vote('bob', 'retract_vote', :'d3'), 'pending', 'its own vote is taken back');
SELECT is((SELECT message FROM hotswap.stages WHERE deployment_id = :'d3'
	AND status = 'waiting_approval'), 'waits for the approval of production', 'it waits for that');
SELECT is(vote('bob', 'approve', :'d3'), 'approved', 'it is cast again');
CALL wait_behind(:'d3', :'d2');

-- Nobody knows any more that it waits, but the tables do.
SELECT pg_terminate_backend(pid, 60000) FROM hotswap.workers
	WHERE kind = 'dispatcher' AND database = current_database() \g /dev/null
SELECT ask('2', module => 'other') AS other \gset
CALL come(:'other');
SELECT is(vote('bob', 'reject', :'d2', ', NULL, ''no'''), 'rejected', 'after a restart');
SELECT is(hotswap.wait(:'d3', '60 s') || ' ' || ran(), 'succeeded 16', 'the later one is let go');

-- Another module does not matter.
SELECT ask('17') AS d2 \gset
CALL come(:'d2');
SELECT is(vote('bob', 'approve', :'other'), 'approved', 'the other module');
SELECT is(hotswap.wait(:'other', '60 s') || ' ' || ran(), 'succeeded 2', 'does not wait');

-- The configuration changes while one waits; and when its own time is over, it ends.
SELECT hotswap.set_approval_policy('production', 1, expires_after => '4 s') \g /dev/null
SELECT ask('18') AS d3 \gset
SELECT hotswap.set_approval_policy('production', 1) \g /dev/null
SELECT ask('19', format(', start_by => %L', clock_timestamp() + '4 s')) AS late \gset
CALL come(:'d3');
SELECT is(vote('bob', 'approve', :'d3') || vote('bob', 'approve', :'late'), 'approvedapproved',
	'approved in time');
CALL wait_behind(:'d3', :'d2');
CALL wait_behind(:'late', :'d2');
SELECT hotswap.configure_environment('uat', 25) \g /dev/null
SELECT is(hotswap.wait(:'d3', '60 s'), 'expired', 'its approval was not used in time');
SELECT is(hotswap.wait(:'late', '60 s'), 'expired', 'it was not started in time');

-- A rollback does not wait.
SELECT hotswap.rollback(:'d16', 'x') AS back \gset
SELECT is(hotswap.wait(:'back', '60 s') || ' ' || ran(), 'succeeded 14', 'a rollback goes');

-- Nor does one that was asked to overtake; it is shown.
SELECT ask('18', ', overtake => true') AS d3 \gset
CALL come(:'d3');
SELECT is(vote('bob', 'approve', :'d3'), 'approved', 'one that overtakes is approved');
SELECT is(hotswap.wait(:'d3', '60 s') || ' ' || ran(), 'succeeded 18', 'and goes first');
SELECT is((SELECT overtake FROM hotswap.deployments WHERE id = :'d3')::text
	|| (SELECT detail ->> 'overtake' FROM hotswap.audit_log WHERE subject_id = :'d3'
	AND event = 'request'), 'truetrue', 'as the view and the audit log say');
SELECT is(status_of(:'d2'), 'pending_approval', 'the other one waits as before');

-- Nor does who comes to the gate of an environment that the earlier one has passed.
SELECT hotswap.register_node('staging', 's', run_as => 'pipeline_order_boss') \g /dev/null
ALTER ROLE pipeline_order_boss SET search_path = n;
GRANT USAGE ON SCHEMA n TO pipeline_order_boss;
GRANT INSERT ON n.ran TO pipeline_order_boss;
SELECT ask('19', environment => 'staging') AS d3 \gset
CALL come(:'d3');
SELECT is(vote('bob', 'approve', :'d3'), 'approved', 'to an environment before');
SELECT is(hotswap.wait(:'d3', '60 s') || ' ' || ran(), 'succeeded 19', 'it is not held there');
SELECT hotswap.cancel(:'d2', 'x'), hotswap.stop_dispatching('x') \g /dev/null
SELECT ask('23') AS d2 \gset
SELECT is(vote('bob', 'approve', :'d2', ', ''staging'''), 'approved', 'not yet there');
SELECT hotswap.set_approval_policy('staging', 0), hotswap.start_dispatching() \g /dev/null
CALL come(:'d2');
SELECT ask('24', environment => 'staging') AS d3 \gset
SELECT is(hotswap.wait(:'d3', '60 s') || ' ' || ran(), 'succeeded 23 24',
	'though it has not used its approval there');
SELECT hotswap.cancel(:'d2', 'x') \g /dev/null

-- A gate that somebody asked for holds those that need no approval, too.
SELECT hotswap.set_approval_policy('production', 0) \g /dev/null
SELECT ask('20', ', require_approval => ''{staging}''') AS d2 \gset
CALL come(:'d2');
SELECT ask('21') AS d3 \gset
CALL wait_behind(:'d3', :'d2');
SELECT is(vote('bob', 'approve', :'d2'), 'approved', 'the one that asked');
SELECT is(hotswap.wait(:'d3', '60 s'), 'succeeded', 'then the other one goes');
SELECT is(ran(), '20 20 21 21', 'in both environments');

-- One that is approved while a later one has the lanes goes first all the same.
SELECT hotswap.set_approval_policy('production', 1) \g /dev/null
SELECT hotswap.publish_version('m', v, format('SET LOCAL lock_timeout = 0;
	SELECT pg_advisory_xact_lock_shared(4712); INSERT INTO ran (version) VALUES (%L)', v))
	FROM unnest('{slow,slower}'::text[]) v \g /dev/null
SELECT ask('22') AS d2 \gset
CALL come(:'d2');
SELECT pg_advisory_lock(4712) \g /dev/null
SELECT ask('slow') AS slow \gset
CALL until('at_gate(4712)');
SELECT is(vote('bob', 'approve', :'d2') || vote('bob', 'approve', :'slow'), 'approvedapproved',
	'both are approved');
SELECT is(status_of(:'d2') || ' ' || status_of(:'slow'), 'queued running', 'the later one runs');
SELECT pg_advisory_unlock(4712) \g /dev/null
SELECT is(hotswap.wait(:'slow', '60 s'), 'succeeded', 'it steps aside at the gate, and goes on');
SELECT is(ran(), '22 slow 22 slow', 'the earlier one is the first in production');

-- When the earlier one runs, the later one queues for the lane.
SELECT ask('25') AS d2 \gset
CALL come(:'d2');
SELECT ask('slower') AS slow \gset
CALL come(:'slow');
SELECT ask('26') AS d3 \gset
CALL come(:'d3');
SELECT pg_advisory_lock(4712) \g /dev/null
SELECT is(vote('bob', 'approve', :'d3') || vote('bob', 'reject', :'d2', ', NULL, ''no''')
	|| vote('bob', 'approve', :'slow'), 'approvedrejectedapproved', 'one that takes long');
CALL until('at_gate(4712)');
CALL await(:'d3', 'queued');
SELECT results_eq(format('SELECT unblocked_by FROM hotswap.explain(%L)', :'d3'),
	format($$VALUES ('the end of deployment %s')$$, :'slow'), 'the next one is in the queue');
SELECT pg_advisory_unlock(4712) \g /dev/null
SELECT is(hotswap.wait(:'d3', '60 s') || ' ' || ran(), 'succeeded 25 slower 26 slower 26',
	'and goes next');

SELECT results_eq('SELECT count(*) FROM hotswap.work_item', 'VALUES (0::bigint)', 'all have ended');
SELECT is_empty('SELECT * FROM hotswap.verify_audit()', 'the audit log is whole still');
SELECT * FROM finish();
