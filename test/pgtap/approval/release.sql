-- What an approval holds back and lets go: the gate of an environment (src/approval/release.c,
-- src/pipeline/gate.c).
SELECT plan(42);
\ir ../include/approval.sql

SELECT hotswap.grant_access('approval_release_leads', 'approver'),
	hotswap.grant_access('approval_release_app', 'approver'),
	hotswap.grant_access('approval_release_app', 'impersonator') \g /dev/null

-- Everything is looked at again when the stage starts.
SELECT hotswap.set_approval_policy('production', 1,
	'{approval_release_erin,approval_release_leads}') \g /dev/null
SELECT hotswap.stop_dispatching('so that nothing starts') \g /dev/null
SELECT request() AS d1, request() AS d2, request() AS d3, request() AS d4 \gset
SELECT is(vote('erin', 'approve', :'d1') || vote('erin', 'approve', :'d2')
	|| vote('bob', 'approve', :'d3') || vote('bob', 'approve', :'d4'), repeat('approved', 4),
	'approved before the start');
DROP ROLE approval_release_erin;
SELECT is(vote('bob', 'retract_vote', :'d3'), 'pending',
	'taken back after the quorum was there: a new round');
SELECT results_eq(format('SELECT round, status::text, reason FROM hotswap.approvals
	WHERE deployment_id = %L ORDER BY round', :'d3'),
	$$VALUES (1, 'void', 'the vote of approval_release_bob was taken back'), (2, 'pending', NULL)$$,
	'the old one is void');
UPDATE hotswap.approval SET expires_at = clock_timestamp() WHERE deployment_id = :'d4';
SELECT hotswap.start_dispatching() \g /dev/null
CALL await(:'d1', 'pending_approval');
SELECT results_eq(format('SELECT round, status::text, reason FROM hotswap.approvals
	WHERE deployment_id = %L ORDER BY round', :'d1'),
	$$VALUES (1, 'void', '0 of 1 votes count now'), (2, 'pending', NULL)$$,
	'the vote of a role that was dropped does not count');
CALL await(:'d3', 'pending_approval');
SELECT is(status_of(:'d3'), 'pending_approval', 'without its vote it waits');
SELECT is(hotswap.wait(:'d4', '60 s'), 'expired', 'what was approved but not used in time expires');
SELECT hotswap.cancel(id, 'x') FROM hotswap.deployments
	WHERE status = 'pending_approval' \g /dev/null
SELECT hotswap.stop_dispatching('so that nothing starts') \g /dev/null
SELECT request() AS d \gset
SELECT vote('bob', 'approve', :'d'), hotswap.configure_environment('load', 35) \g /dev/null
SELECT hotswap.start_dispatching() \g /dev/null
CALL await(:'d', 'pending_approval');
SELECT results_eq(format('SELECT round, status::text, reason FROM hotswap.approvals
	WHERE deployment_id = %L ORDER BY round', :'d'),
	$$VALUES (1, 'void', 'what will run is not what the approval is about'), (2, 'pending', NULL)$$,
	'another path is not what was approved');

-- Membership that was lost, and a policy that was tightened and loosened.
SELECT hotswap.set_approval_policy('production', 2, '{approval_release_leads}') \g /dev/null
SELECT is(vote('bob', 'approve', :'d'), 'pending', 'a vote of two');
SELECT hotswap.set_approval_policy('production', 3, '{approval_release_leads}') \g /dev/null
SELECT is((SELECT missing FROM hotswap.approvals WHERE deployment_id = :'d' AND status = 'pending'),
	2, 'a stricter policy leaves the vote and wants more');
REVOKE approval_release_leads FROM approval_release_bob;
SELECT is((SELECT missing FROM hotswap.approvals WHERE deployment_id = :'d' AND status = 'pending'),
	3, 'who is no approver any more does not count');
GRANT approval_release_leads TO approval_release_bob;
SELECT hotswap.set_approval_policy('production', 1, '{approval_release_leads}') \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'a looser policy counts the votes again');

-- Expiry, with nobody there to vote.
SELECT hotswap.set_approval_policy('production', 1, '{approval_release_leads}',
	expires_after => '1 s') \g /dev/null
SELECT request() AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'expired', 'nobody voted');
SELECT results_eq(format('SELECT status::text, reason ~ ''^not approved and used by''
	FROM hotswap.approvals WHERE deployment_id = %L', :'d'), $$VALUES ('expired', true)$$,
	'the approval has expired');
SELECT is(vote('bob', 'approve', :'d'), '55000', 'and cannot be decided any more');
SELECT hotswap.stop_dispatching('so that the gate is not reached') \g /dev/null
SELECT request() AS d \gset
BEGIN;

-- The dispatcher passes over a row that somebody has.
SELECT FROM hotswap.deployment WHERE id = :'d' FOR UPDATE;
UPDATE hotswap.approval SET expires_at = clock_timestamp() WHERE deployment_id = :'d';
SELECT is((refusal(format('SELECT hotswap.approve(%L)', :'d'))).message
	~ '^approval for environment "production" expired at', true,
	'an overdue one cannot be decided, though nobody has noticed yet');
SELECT is((refusal(format('SELECT hotswap.reject(%L, NULL, ''x'')', :'d'))).code, '55000',
	'not even against it');
COMMIT;
SELECT hotswap.start_dispatching() \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'expired', 'then somebody does');
SELECT hotswap.set_approval_policy('production', 1, '{approval_release_leads}') \g /dev/null

-- Extra gates, and environments without nodes.
SELECT is(as_role('approval_release_alice',
	$$SELECT hotswap.deploy('m', '1', 'development', require_approval => '{qa}')$$), '22023',
	'an extra gate that is not on the path');
CREATE ROLE approval_release_node2 LOGIN;
SELECT hotswap.register_node('development', 'd', run_as => 'approval_release_node2') \g /dev/null
SELECT request('development') AS d2 \gset
SELECT is(hotswap.wait(:'d2', '60 s'), 'succeeded', 'development is open');
SELECT request('development', ', require_approval => ''{development}''') AS d \gset
CALL await(:'d', 'pending_approval');
SELECT is(status_of(:'d'), 'pending_approval', 'unless somebody asked for a gate');
SELECT is(hotswap.wait_for_approval(:'d', timeout => '0'), 'pending', 'not decided');
SELECT is(vote('app', 'approve', :'d', $$, on_behalf_of => 'Zoe'$$), 'approved',
	'which needs one vote');
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'then it goes on');
SELECT is((SELECT count(*) FROM hotswap.approvals WHERE environment = 'staging'), 0::bigint,
	'an environment without nodes needs no approval');

-- Asked for where there are no nodes yet.
SELECT hotswap.stop_dispatching('x') \g /dev/null
SELECT request('qa', ', require_approval => ''{qa}''') AS d \gset
SELECT hotswap.register_node('qa', 'q', run_as => 'approval_release_boss') AS q,
	hotswap.start_dispatching() \gset
CALL await(:'d', 'pending_approval');
SELECT is(status_of(:'d'), 'pending_approval',
	'a gate that was asked for stands, though the nodes came later');
SELECT is(vote('bob', 'approve', :'d'), 'approved', 'it is voted on');
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'as the others');
SELECT hotswap.remove_node(:'q') \g /dev/null

-- Protected after the request.
SELECT hotswap.stop_dispatching('x') \g /dev/null
SELECT request('development') AS d \gset
SELECT hotswap.set_approval_policy('development', 1), hotswap.start_dispatching() \g /dev/null
CALL await(:'d', 'pending_approval');
SELECT is((SELECT status::text FROM hotswap.approvals WHERE deployment_id = :'d'), 'pending',
	'protected after the request: the gate opens an approval');
SELECT is(vote('bob', 'approve', :'d'), 'approved', 'which is voted on');
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'as the others');
SELECT hotswap.set_approval_policy('development', 0) \g /dev/null

-- Those who wait do not stand in the way of others of their version.
SELECT request() AS d \gset
CALL await(:'d', 'pending_approval');
SELECT request() AS d2 \gset
CALL await(:'d2', 'pending_approval');
SELECT is(vote('bob', 'approve', :'d2'), 'approved', 'the later one is approved first');
SELECT is(hotswap.wait(:'d2', '60 s'), 'succeeded', 'and goes first');
SELECT is(vote('bob', 'approve', :'d'), 'approved', 'the other one then');
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'goes too');

-- A rejection while an earlier stage runs: that ends first.
SELECT hotswap.publish_version('m', 'slow', 'SELECT pg_advisory_xact_lock(4711)') \g /dev/null
SELECT pg_advisory_lock(4711) \g /dev/null
SELECT as_role('approval_release_alice',
	$$SELECT hotswap.deploy('m', 'slow', 'production')$$) AS d \gset
CALL await(:'d', 'running');
SELECT is(vote('bob', 'reject', :'d', ', ''production'', ''no'''), 'rejected',
	'rejected while development is being swapped');
SELECT is(status_of(:'d'), 'running', 'what runs is not broken off');
SELECT pg_advisory_unlock(4711) \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'rejected', 'but nothing comes after it');
SELECT results_eq(format('SELECT environment, status::text FROM hotswap.stages
	WHERE deployment_id = %L AND environment IN (''development'', ''production'') ORDER BY ordinal',
	:'d'),
	$$VALUES ('development', 'succeeded'), ('production', 'cancelled')$$, 'its stages');

-- A retry needs an approval of its own.
SELECT hotswap.publish_version('m', 'bad',
	'DO $x$BEGIN IF current_user = ''approval_release_node'' THEN PERFORM 1/0; END IF;
		END$x$') \g /dev/null
SELECT as_role('approval_release_alice',
	$$SELECT hotswap.deploy('m', 'bad', 'production')$$) AS d \gset
CALL await(:'d', 'pending_approval');
SELECT is(vote('bob', 'approve', :'d'), 'approved', 'approved');
SELECT is(hotswap.wait(:'d', '60 s'), 'failed', 'but wrong');
SELECT is(hotswap.retry(:'d'), 'queued', 'again');
CALL await(:'d', 'pending_approval');
SELECT results_eq(format('SELECT round, status::text FROM hotswap.approvals WHERE deployment_id = %L
	ORDER BY 1', :'d'), $$VALUES (1, 'approved'), (2, 'pending')$$, 'an approval is used once');
SELECT hotswap.cancel(:'d', 'x') \g /dev/null
SELECT * FROM finish();
