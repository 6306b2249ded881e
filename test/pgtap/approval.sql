-- Approvals: policies, votes, gates, expiry, bypass, delegation, the outbox.
SELECT plan(172);
\ir include/refusal.psql

-- Everybody here logs in as himself.
\ir include/as_role.psql
DO $$
DECLARE
	r text;
BEGIN
	FOREACH r IN ARRAY '{alice,bob,carol,dave,erin,app,boss}'::text[] LOOP
		EXECUTE format('CREATE ROLE hotswap_test_ap_%s LOGIN', r);
	END LOOP;
END $$;
CREATE ROLE hotswap_test_ap_leads;
GRANT hotswap_test_ap_leads TO hotswap_test_ap_bob, hotswap_test_ap_carol;
CREATE ROLE hotswap_test_ap_node LOGIN;
CREATE SCHEMA n AUTHORIZATION hotswap_test_ap_node;
SELECT hotswap.grant_access('hotswap_test_ap_alice', 'deployer'), hotswap.grant_access('hotswap_test_ap_app', 'deployer'), hotswap.publish_version('m', '1', 'SELECT 1'), hotswap.register_node('production', 'p', run_as => 'hotswap_test_ap_node', schema => 'n') \g /dev/null

CREATE FUNCTION request(environment text DEFAULT 'production', more text DEFAULT '', role text DEFAULT 'alice') RETURNS uuid
	LANGUAGE sql AS $$SELECT as_role('hotswap_test_ap_' || role, format('SELECT hotswap.deploy(''m'', ''1'', %L%s)', environment, more))::uuid$$;
-- what a function of approvals answers to somebody: vote('bob', 'approve', deployment)
CREATE FUNCTION vote(role text, what text, d uuid, more text DEFAULT '') RETURNS text
	LANGUAGE sql AS $$SELECT as_role('hotswap_test_ap_' || role, format('SELECT hotswap.%s(%L%s)', what, d, more))$$;
CREATE FUNCTION status_of(d uuid) RETURNS text LANGUAGE sql AS 'SELECT status::text FROM hotswap.deployment WHERE id = d';
-- until the dispatcher has brought a deployment so far, with a deadline
CREATE PROCEDURE await(d uuid, wanted text) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. 6000 LOOP
		EXIT WHEN status_of(d) = wanted;
		COMMIT;
		PERFORM pg_sleep(0.01);
	END LOOP;
END $$;

-- The defaults.
SELECT results_eq('SELECT name, min_approvals, approvers IS NULL, expires_after, allow_self_approval FROM hotswap.environments ORDER BY rank',
	$$VALUES ('development', 0, true, interval '24 h', false), ('qa', 0, true, '24 h', false), ('staging', 1, true, '24 h', false), ('production', 1, true, '24 h', false)$$,
	'staging and production are protected from the start');

-- Policies: arguments and rights.
SELECT is((r).code || ': ' || (r).message, a.code || ': ' || a.message, args)
FROM (VALUES ($$NULL, 1$$, '22023', 'environment must not be null'), ($$' ', 1$$, '22023', 'environment must not be blank'),
	($$'none', 1$$, 'P0002', 'no such environment: "none"'), ($$'qa', NULL$$, '22023', 'min_approvals must not be null'),
	($$'qa', 21$$, '22023', 'min_approvals is out of range: 21'), ($$'qa', -1$$, '22023', 'min_approvals is out of range: -1'),
	($$'qa', 1, '{}'$$, '22023', 'approvers must not be empty'), ($$'qa', 1, '{NULL}'$$, '22023', 'element of approvers must not be null'),
	($$'qa', 1, '{99999999}'$$, 'P0002', 'no such role: OID 99999999'), ($$'qa', 1, NULL, NULL$$, '22023', 'expires_after must not be null'),
	($$'qa', 1, NULL, '0'$$, '22023', 'expires_after is out of range: 00:00:00'), ($$'qa', 1, NULL, '-1 h'$$, '22023', 'expires_after is out of range: -01:00:00'),
	($$'qa', 1, NULL, '2 years'$$, '22023', 'expires_after is out of range: 2 years'), ($$'qa', 1, NULL, '1 h', NULL$$, '22023', 'allow_self_approval must not be null'),
	($$'qa', 1, max_open_reviews => -1$$, '22023', 'max_open_reviews is out of range: -1'),
	($$'qa', 1, tenant => '00000000-0000-7000-8000-0000000000ff'$$, 'P0002', 'no such tenant: 00000000-0000-7000-8000-0000000000ff')) a (args, code, message),
	pg_temp.refusal(format('SELECT hotswap.set_approval_policy(%s)', args)) r;
SELECT is(as_role('hotswap_test_ap_alice', $$SELECT hotswap.set_approval_policy('production', 0)$$), '42501', 'a requester cannot weaken a policy');
SELECT is(as_role('hotswap_test_ap_alice', $$SELECT hotswap.grant_access('hotswap_test_ap_alice', 'approver')$$), '42501', 'nor give itself a vote');
SELECT hotswap.grant_access('hotswap_test_ap_boss', 'admin') \g /dev/null
SELECT is(as_role('hotswap_test_ap_boss', $$SELECT hotswap.set_approval_policy('production', 2, '{hotswap_test_ap_leads}')$$), '', 'who has admin can');
SELECT results_eq($$SELECT before::jsonb->>'min_approvals', after::jsonb->>'min_approvals', after::jsonb->>'approvers', person FROM hotswap.audit_log WHERE event = 'set_approval_policy'$$,
	$$VALUES ('1', '2', '["hotswap_test_ap_leads"]', 'hotswap_test_ap_boss')$$, 'audited with before and after');

-- Access: arguments.
SELECT is((r).code || ': ' || (r).message, a.code || ': ' || a.message, call)
FROM (VALUES ($$grant_access('hotswap_test_ap_bob', 'king')$$, '22023', 'unknown capability: "king"'), ($$grant_access(NULL, 'approver')$$, '22023', 'role must not be null'),
	($$grant_access(99999999, 'approver')$$, 'P0002', 'no such role: OID 99999999'), ($$grant_access('hotswap_test_ap_bob', NULL)$$, '22023', 'capability must not be null'),
	($$revoke_access('hotswap_test_ap_bob', 'approver')$$, 'P0002', 'role hotswap_test_ap_bob was not granted the capability approver')) a (call, code, message),
	pg_temp.refusal('SELECT hotswap.' || call) r;
SELECT hotswap.grant_access('hotswap_test_ap_boss', 'admin') \g /dev/null
SELECT is((SELECT count(*) FROM hotswap.audit_log WHERE event = 'grant_access' AND detail->>'role' = 'hotswap_test_ap_boss'), 1::bigint, 'granting again changes nothing');

-- A deployment and two votes.
SELECT request() AS d \gset
CALL await(:'d', 'pending_approval');
SELECT results_eq(format('SELECT status::text, counted, missing, may_vote, time_left > interval ''23 h'' FROM hotswap.approvals WHERE deployment_id = %L', :'d'),
	$$VALUES ('pending', 0, 2, '{hotswap_test_ap_bob,hotswap_test_ap_carol}'::text[], true)$$, 'the view says who may vote');
SELECT results_eq(format('SELECT reason, unblocked_by FROM hotswap.explain(%L)', :'d'),
	$$VALUES ('environment "production" needs an approval', 'hotswap.approve() by 2 more of: members of hotswap_test_ap_leads')$$, 'so does explain()');
SELECT results_eq(format('SELECT environment, status::text, message, started_at, finished_at FROM hotswap.stages WHERE deployment_id = %L AND status = ''waiting_approval''', :'d'),
	$$VALUES ('production', 'waiting_approval', 'waits for the approval of production', NULL::timestamptz, NULL::timestamptz)$$, 'the stage waits');
SELECT is(vote('alice', 'approve', :'d'), '42501', 'the requester has no vote');
SELECT is(vote('dave', 'approve', :'d'), '42501', 'nor has who is no approver');
SELECT is(vote('bob', 'retract_vote', :'d'), 'P0002', 'no vote to take back');
SELECT is(vote('bob', 'approve', :'d', ', comment => ''fine'''), 'pending', 'the first of two');
SELECT is(vote('bob', 'approve', :'d'), '23505', 'one vote a person');
SELECT is(vote('bob', 'reject', :'d', ', comment => ''no'''), '23505', 'whatever it is');
SELECT is(vote('bob', 'retract_vote', :'d'), 'pending', 'it can be taken back');
SELECT is(vote('bob', 'approve', :'d', ', ''production'''), 'pending', 'and cast again');
SELECT is((SELECT voters FROM hotswap.approvals WHERE deployment_id = :'d'), '{hotswap_test_ap_bob}', 'the view shows it');
SELECT is(vote('bob', 'approve', :'d', ', ''qa'''), 'P0002', 'no approval there');
SELECT is(vote('bob', 'approve', '00000000-0000-7000-8000-000000000abc'), 'P0002', 'no such deployment');
SELECT is(vote('carol', 'reject', :'d'), '22023', 'a rejection says why');
SELECT is(vote('carol', 'approve', :'d', ', comment => '' '''), '22023', 'a blank comment');
SELECT is(vote('carol', 'approve', :'d'), 'approved', 'the second of two');
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'the deployment goes on');
SELECT is(hotswap.wait_for_approval(:'d'), 'approved', 'decided');
SELECT ok((SELECT used_at IS NOT NULL FROM hotswap.approvals WHERE deployment_id = :'d'), 'it was used');
SELECT is(vote('bob', 'approve', :'d'), '55000', 'nothing more to decide');
SELECT is(vote('bob', 'retract_vote', :'d'), '55000', 'nor to take back');
SELECT results_eq(format($$SELECT event, person FROM hotswap.audit_log WHERE subject_id = %L AND event LIKE 'approval.%%' ORDER BY seq$$, :'d'),
	$$VALUES ('approval.request', 'hotswap_test_ap_alice'), ('approval.vote_approve', 'hotswap_test_ap_bob'), ('approval.retract_vote', 'hotswap_test_ap_bob'),
		('approval.vote_approve', 'hotswap_test_ap_bob'), ('approval.vote_approve', 'hotswap_test_ap_carol'), ('approval.approve', 'hotswap_test_ap_carol'), ('approval.use', 'hotswap')$$, 'audited');

-- One rejection ends it.
SELECT request() AS d \gset
CALL await(:'d', 'pending_approval');
SELECT is(vote('bob', 'reject', :'d', ', comment => ''not on a Friday'''), 'rejected', 'one rejection');
SELECT is(status_of(:'d') || ': ' || message, 'rejected: rejected for production by hotswap_test_ap_bob: not on a Friday', 'ends the deployment there and then')
FROM hotswap.deployment WHERE id = :'d';
SELECT is_empty(format($$SELECT FROM hotswap.stages WHERE deployment_id = %L AND status IN ('pending', 'waiting_approval')$$, :'d'), 'and its stages');
SELECT is(vote('carol', 'approve', :'d'), '55000', 'nothing leaves an end');
SELECT is((pg_temp.refusal(format('SELECT hotswap.approve(%L)', :'d'))).message, 'cannot approve an approval that is rejected', 'and it says so');
-- before it has started
SELECT request(more => $$, run_at => '2100-01-01'$$) AS d \gset
SELECT is((SELECT expires_at FROM hotswap.approvals WHERE deployment_id = :'d'), '2100-01-02 00:00:00'::timestamptz, 'it stays open from the time on at which it may run');
SELECT is(vote('bob', 'reject', :'d', ', comment => ''never'''), 'rejected', 'a rejection before the start');
SELECT is(status_of(:'d'), 'rejected', 'ends it too');
SELECT request(more => $$, run_at => '2100-01-01'$$) AS d \gset
SELECT is(as_role('hotswap_test_ap_alice', format('SELECT hotswap.cancel(%L, ''x'')', :'d')), 'cancelled', 'cancelled');
SELECT results_eq(format('SELECT status::text, reason FROM hotswap.approvals WHERE deployment_id = %L', :'d'), $$VALUES ('void', 'the deployment is cancelled')$$, 'its approval is void');

-- Who is who.
SELECT hotswap.set_approval_policy('production', 2), hotswap.grant_access('hotswap_test_ap_leads', 'approver'), hotswap.grant_access('hotswap_test_ap_app', 'approver'),
	hotswap.grant_access('hotswap_test_ap_app', 'impersonator') \g /dev/null
CREATE ROLE hotswap_test_ap_alice2 LOGIN;
GRANT hotswap_test_ap_alice TO hotswap_test_ap_alice2;
GRANT hotswap_test_ap_leads TO hotswap_test_ap_alice, hotswap_test_ap_alice2;
SELECT request(more => $$, run_at => '2100-01-01'$$) AS d \gset
SELECT is(vote('alice', 'approve', :'d'), '42501', 'an approver does not approve what it requested');
SELECT is(as_role('hotswap_test_ap_alice', format('SELECT hotswap.approve(%L)', :'d'), '-c role=hotswap_test_ap_leads'), '42501', 'SET ROLE makes nobody else');
SELECT is(vote('alice2', 'approve', :'d'), '42501', 'nor does a second account');
SELECT is(vote('app', 'approve', :'d', $$, on_behalf_of => 'hotswap_test_ap_alice'$$), '42501', 'nor somebody who speaks for the requester');
SELECT is(vote('app', 'approve', :'d', $$, on_behalf_of => ' HOTSWAP_test_ap_Alice '$$), '42501', 'however the name is written');
SELECT is(vote('bob', 'approve', :'d', $$, on_behalf_of => 'x'$$), '42501', 'not everybody may speak for others');
SELECT is(vote('app', 'approve', :'d', $$, on_behalf_of => 'hotswap_test_ap_dave'$$), '42501', 'whom the database knows must be an approver himself');
SELECT is(vote('app', 'approve', :'d', $$, on_behalf_of => 'Zoe'$$), 'pending', 'speaking for somebody');
SELECT is(vote('app', 'approve', :'d', $$, on_behalf_of => 'zoe '$$), '23505', 'the same person');
SELECT is(vote('app', 'approve', :'d', $$, on_behalf_of => 'hotswap_test_ap_bob'$$), 'approved', 'and for another one');
SELECT results_eq(format($$SELECT detail->>'login', person FROM hotswap.audit_log WHERE subject_id = %L AND event = 'approval.vote_approve' ORDER BY seq$$, :'d'),
	$$VALUES ('hotswap_test_ap_app', 'Zoe'), ('hotswap_test_ap_app', 'hotswap_test_ap_bob')$$, 'both are recorded');
SELECT request(more => $$, run_at => '2100-01-01', on_behalf_of => 'hotswap_test_ap_bob'$$, role => 'app') AS d \gset
SELECT is(vote('bob', 'approve', :'d'), '42501', 'the person for whom it was requested');
SELECT is(vote('app', 'approve', :'d'), '42501', 'and who requested it');
SELECT is(vote('app', 'approve', :'d', $$, on_behalf_of => 'hotswap_test_ap_carol'$$), 'pending', 'but the application may speak for others');
SELECT hotswap.grant_access('hotswap_test_ap_alice', 'impersonator') \g /dev/null
SELECT request(more => $$, run_at => '2100-01-01'$$) AS d \gset
SELECT is(vote('alice', 'approve', :'d', $$, on_behalf_of => 'Zoe'$$), '42501', 'who requested it does not speak for others about it');
CREATE ROLE hotswap_test_ap_bob2 LOGIN;
GRANT hotswap_test_ap_bob TO hotswap_test_ap_bob2;
SELECT is(vote('bob2', 'approve', :'d'), 'pending', 'a second account may vote');
SELECT is(vote('bob', 'approve', :'d'), '23505', 'but is the same person');
CREATE FUNCTION trick(d uuid) RETURNS text LANGUAGE sql SECURITY DEFINER AS $$SELECT hotswap.approve(d, 'production')::text$$;
ALTER FUNCTION trick OWNER TO hotswap_test_ap_dave;
SELECT request(more => $$, run_at => '2100-01-01'$$) AS d \gset
SELECT is(as_role('hotswap_test_ap_bob', format('SELECT trick(%L)', :'d')), '42501', 'a SECURITY DEFINER function of somebody else does not vote for who calls it');
SELECT hotswap.set_approval_policy('production', 1, allow_self_approval => true, require_comment => true) \g /dev/null
SELECT is(vote('alice', 'approve', :'d'), '22023', 'a comment is required');
SELECT is(vote('alice', 'approve', :'d', ', comment => ''me'''), 'approved', 'self-approval where the policy says so');

-- Everything is looked at again when the stage starts.
SELECT hotswap.set_approval_policy('production', 1, '{hotswap_test_ap_erin,hotswap_test_ap_leads}') \g /dev/null
SELECT hotswap.stop_dispatching('so that nothing starts') \g /dev/null
SELECT request() AS d1, request() AS d2, request() AS d3, request() AS d4 \gset
SELECT is(vote('erin', 'approve', :'d1') || vote('erin', 'approve', :'d2') || vote('bob', 'approve', :'d3') || vote('bob', 'approve', :'d4'), repeat('approved', 4), 'approved before the start');
DROP ROLE hotswap_test_ap_erin;
SELECT is(vote('bob', 'retract_vote', :'d3'), 'pending', 'taken back after the quorum was there: a new round');
SELECT results_eq(format('SELECT round, status::text, reason FROM hotswap.approvals WHERE deployment_id = %L ORDER BY round', :'d3'),
	$$VALUES (1, 'void', 'the vote of hotswap_test_ap_bob was taken back'), (2, 'pending', NULL)$$, 'the old one is void');
UPDATE hotswap.approval SET expires_at = clock_timestamp() WHERE deployment_id = :'d4';
SELECT hotswap.start_dispatching() \g /dev/null
CALL await(:'d1', 'pending_approval');
SELECT results_eq(format('SELECT round, status::text, reason FROM hotswap.approvals WHERE deployment_id = %L ORDER BY round', :'d1'),
	$$VALUES (1, 'void', '0 of 1 votes count now'), (2, 'pending', NULL)$$, 'the vote of a role that was dropped does not count');
CALL await(:'d3', 'pending_approval');
SELECT is(status_of(:'d3'), 'pending_approval', 'without its vote it waits');
SELECT is(hotswap.wait(:'d4', '60 s'), 'expired', 'what was approved but not used in time expires');
SELECT hotswap.cancel(id, 'x') FROM hotswap.deployments WHERE status = 'pending_approval' \g /dev/null
SELECT hotswap.stop_dispatching('so that nothing starts') \g /dev/null
SELECT request() AS d \gset
SELECT vote('bob', 'approve', :'d'), hotswap.configure_environment('load', 35) \g /dev/null
SELECT hotswap.start_dispatching() \g /dev/null
CALL await(:'d', 'pending_approval');
SELECT results_eq(format('SELECT round, status::text, reason FROM hotswap.approvals WHERE deployment_id = %L ORDER BY round', :'d'),
	$$VALUES (1, 'void', 'what will run is not what the approval is about'), (2, 'pending', NULL)$$, 'another path is not what was approved');
-- membership that was lost, and a policy that was tightened and loosened
SELECT hotswap.set_approval_policy('production', 2, '{hotswap_test_ap_leads}') \g /dev/null
SELECT is(vote('bob', 'approve', :'d'), 'pending', 'a vote of two');
SELECT hotswap.set_approval_policy('production', 3, '{hotswap_test_ap_leads}') \g /dev/null
SELECT is((SELECT missing FROM hotswap.approvals WHERE deployment_id = :'d' AND status = 'pending'), 2, 'a stricter policy leaves the vote and wants more');
REVOKE hotswap_test_ap_leads FROM hotswap_test_ap_bob;
SELECT is((SELECT missing FROM hotswap.approvals WHERE deployment_id = :'d' AND status = 'pending'), 3, 'who is no approver any more does not count');
GRANT hotswap_test_ap_leads TO hotswap_test_ap_bob;
SELECT hotswap.set_approval_policy('production', 1, '{hotswap_test_ap_leads}') \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'a looser policy counts the votes again');

-- Expiry, with nobody there to vote.
SELECT hotswap.set_approval_policy('production', 1, '{hotswap_test_ap_leads}', expires_after => '1 s') \g /dev/null
SELECT request() AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'expired', 'nobody voted');
SELECT results_eq(format('SELECT status::text, reason ~ ''^not approved and used by'' FROM hotswap.approvals WHERE deployment_id = %L', :'d'), $$VALUES ('expired', true)$$, 'the approval has expired');
SELECT is(vote('bob', 'approve', :'d'), '55000', 'and cannot be decided any more');
SELECT hotswap.stop_dispatching('so that the gate is not reached') \g /dev/null
SELECT request() AS d \gset
BEGIN;
-- the dispatcher passes over a row that somebody has
SELECT FROM hotswap.deployment WHERE id = :'d' FOR UPDATE;
UPDATE hotswap.approval SET expires_at = clock_timestamp() WHERE deployment_id = :'d';
SELECT is((pg_temp.refusal(format('SELECT hotswap.approve(%L)', :'d'))).message ~ '^the approval for environment "production" expired at', true, 'an overdue one cannot be decided, though nobody has noticed yet');
SELECT is((pg_temp.refusal(format('SELECT hotswap.reject(%L, NULL, ''x'')', :'d'))).code, '55000', 'not even against it');
COMMIT;
SELECT hotswap.start_dispatching() \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'expired', 'then somebody does');
SELECT hotswap.set_approval_policy('production', 1, '{hotswap_test_ap_leads}') \g /dev/null

-- Breaking the glass.
SELECT hotswap.grant_access('hotswap_test_ap_dave', 'break_glass'), hotswap.set_approval_policy('production', 1, '{hotswap_test_ap_leads}', max_open_reviews => 1) \g /dev/null
SELECT request() AS d \gset
CALL await(:'d', 'pending_approval');
SELECT request() AS d2 \gset
SELECT is(vote('bob', 'bypass_approval', :'d', $$, 'production', 'on fire', 'INC-1'$$), '42501', 'bypassing is a capability of its own');
SELECT is(vote('dave', 'bypass_approval', :'d', $$, 'production', ' ', 'INC-1'$$), '22023', 'it needs a reason');
SELECT is(vote('dave', 'bypass_approval', :'d', $$, 'production', 'on fire', NULL$$), '22023', 'and a ticket');
SELECT is(vote('dave', 'bypass_approval', :'d', $$, 'production', 'on fire', 'INC-1'$$), 'bypassed', 'bypassed');
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'it goes on');
SELECT results_eq('SELECT bypassed_by, reason, ticket FROM hotswap.bypass_reviews', $$VALUES ('hotswap_test_ap_dave', 'on fire', 'INC-1')$$, 'until somebody has looked at it');
SELECT results_eq(format($$SELECT person, reason, detail->>'ticket' FROM hotswap.audit_log WHERE subject_id = %L AND event = 'approval.bypass'$$, :'d'), $$VALUES ('hotswap_test_ap_dave', 'on fire', 'INC-1')$$, 'an event of its own');
CALL await(:'d2', 'pending_approval');
SELECT is((SELECT status || ': ' || detail FROM hotswap.health() WHERE component = 'approvals'), 'warning: 1 pending, 1 bypasses await their review', 'health() says so');
SELECT is(vote('dave', 'bypass_approval', :'d2', $$, 'production', 'on fire', 'INC-2'$$), '53400', 'as many as the policy allows');
GRANT hotswap_test_ap_leads TO hotswap_test_ap_dave;
SELECT is(vote('dave', 'close_bypass_review', :'d', $$, 'production', 'fine'$$), '42501', 'not by who bypassed');
SELECT is(vote('app', 'close_bypass_review', :'d', $$, 'production', 'fine'$$), '42501', 'nor by who is no approver there');
SELECT is(vote('bob', 'close_bypass_review', :'d2', $$, 'production', 'fine'$$), 'P0002', 'no review there');
SELECT is(vote('bob', 'close_bypass_review', :'d', $$, 'production', 'fine'$$), '', 'but somebody else closes the review');
SELECT is_empty('SELECT FROM hotswap.bypass_reviews', 'gone from the list');
SELECT is(vote('dave', 'bypass_approval', :'d2', $$, 'production', 'on fire', 'INC-2'$$), 'bypassed', 'then the next one may');
SELECT is(hotswap.wait(:'d2', '60 s'), 'succeeded', 'and goes on');
REVOKE hotswap_test_ap_leads FROM hotswap_test_ap_dave;

-- Lending a vote.
SELECT is(as_role('hotswap_test_ap_dave', $$SELECT hotswap.delegate_approval('hotswap_test_ap_boss', now() + interval '1 h', 'x')$$), '42501', 'who has none cannot lend it');
SELECT is(as_role('hotswap_test_ap_bob', format($$SELECT hotswap.delegate_approval(%L, %L, %L)$$, role, until, reason)), a.code, format('lending: %s, %s, %s', role, until, reason))
FROM (VALUES ('99999999', 'tomorrow', 'x', 'P0002'), (NULL, 'tomorrow', 'x', '22023'), ('hotswap_test_ap_bob', 'tomorrow', 'x', '22023'), ('hotswap_test_ap_dave', 'yesterday', 'x', '22023'),
	('hotswap_test_ap_dave', NULL, 'x', '22023'), ('hotswap_test_ap_dave', 'tomorrow', ' ', '22023')) a (role, until, reason, code);
SELECT as_role('hotswap_test_ap_bob', $$SELECT hotswap.delegate_approval('hotswap_test_ap_dave', now() + interval '1 h', 'on holiday')$$) AS lent \gset
SELECT as_role('hotswap_test_ap_bob', $$SELECT hotswap.delegate_approval('hotswap_test_ap_boss', now() + interval '1 h', 'on holiday')$$) AS lent3 \gset
SELECT as_role('hotswap_test_ap_carol', $$SELECT hotswap.delegate_approval('hotswap_test_ap_alice', now() + interval '1 h', 'x')$$) AS lent2 \gset
SELECT results_eq('SELECT delegator::text COLLATE "default", delegate::text COLLATE "default", in_force FROM hotswap.delegations ORDER BY created_at', $$VALUES ('hotswap_test_ap_bob', 'hotswap_test_ap_dave', true), ('hotswap_test_ap_bob', 'hotswap_test_ap_boss', true), ('hotswap_test_ap_carol', 'hotswap_test_ap_alice', true)$$, 'visible');
SELECT hotswap.set_approval_policy('production', 2, '{hotswap_test_ap_leads}') \g /dev/null
REVOKE hotswap_test_ap_leads FROM hotswap_test_ap_alice, hotswap_test_ap_alice2;
SELECT request(more => $$, run_at => '2100-01-01'$$) AS d \gset
SELECT is((SELECT may_vote FROM hotswap.approvals WHERE deployment_id = :'d'), '{hotswap_test_ap_bob,hotswap_test_ap_bob2,hotswap_test_ap_boss,hotswap_test_ap_carol,hotswap_test_ap_dave}', 'the view knows who may vote instead');
SELECT is(vote('alice', 'approve', :'d'), '42501', 'a vote that was lent to the requester is none');
SELECT is(vote('dave', 'approve', :'d'), 'pending', 'with the vote of somebody else');
SELECT is(vote('bob', 'approve', :'d'), '23505', 'which is used once');
SELECT is(vote('bob2', 'approve', :'d'), '23505', 'for all accounts of its owner');
SELECT is(vote('boss', 'approve', :'d'), '42501', 'and by one of those to whom it was lent');
SELECT is((SELECT may_vote FROM hotswap.approvals WHERE deployment_id = :'d'), '{hotswap_test_ap_carol}', 'the view knows that too');
SELECT is(vote('carol', 'approve', :'d'), 'approved', 'whose own was not used');
SELECT is(as_role('hotswap_test_ap_carol', format('SELECT hotswap.revoke_delegation(%L)', :'lent')), '42501', 'not that of another one');
SELECT is(as_role('hotswap_test_ap_bob', format('SELECT hotswap.revoke_delegation(%L)', :'lent')), '', 'revoked');
SELECT is(as_role('hotswap_test_ap_bob', format('SELECT hotswap.revoke_delegation(%L)', :'lent')), 'P0002', 'once');
SELECT request(more => $$, run_at => '2100-01-01'$$) AS d \gset
SELECT is(vote('dave', 'approve', :'d'), '42501', 'no more votes with it');
GRANT hotswap_test_ap_leads TO hotswap_test_ap_alice;
SELECT as_role('hotswap_test_ap_alice', $$SELECT hotswap.delegate_approval('hotswap_test_ap_dave', now() + interval '1 h', 'x')$$) AS lent4 \gset
SELECT is(vote('dave', 'approve', :'d'), '42501', 'nor with the vote of the requester');
REVOKE hotswap_test_ap_leads FROM hotswap_test_ap_alice;
SELECT hotswap.set_approval_policy('production', 1, '{hotswap_test_ap_leads}') \g /dev/null

-- Extra gates, and environments without nodes.
SELECT is(as_role('hotswap_test_ap_alice', $$SELECT hotswap.deploy('m', '1', 'development', require_approval => '{qa}')$$), '22023', 'an extra gate that is not on the path');
CREATE ROLE hotswap_test_ap_node2 LOGIN;
SELECT hotswap.register_node('development', 'd', run_as => 'hotswap_test_ap_node2') \g /dev/null
SELECT request('development') AS d2 \gset
SELECT is(hotswap.wait(:'d2', '60 s'), 'succeeded', 'development is open');
SELECT request('development', ', require_approval => ''{development}''') AS d \gset
CALL await(:'d', 'pending_approval');
SELECT is(status_of(:'d'), 'pending_approval', 'unless somebody asked for a gate');
SELECT is(hotswap.wait_for_approval(:'d', timeout => '0'), 'pending', 'not decided');
SELECT is(vote('app', 'approve', :'d', $$, on_behalf_of => 'Zoe'$$), 'approved', 'which needs one vote');
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'then it goes on');
SELECT is((SELECT count(*) FROM hotswap.approvals WHERE environment = 'staging'), 0::bigint, 'an environment without nodes needs no approval');
-- asked for where there are no nodes yet
SELECT hotswap.stop_dispatching('x') \g /dev/null
SELECT request('qa', ', require_approval => ''{qa}''') AS d \gset
SELECT hotswap.register_node('qa', 'q', run_as => 'hotswap_test_ap_boss') AS q, hotswap.start_dispatching() \gset
CALL await(:'d', 'pending_approval');
SELECT is(status_of(:'d'), 'pending_approval', 'a gate that was asked for stands, though the nodes came later');
SELECT is(vote('bob', 'approve', :'d'), 'approved', 'it is voted on');
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'as the others');
SELECT hotswap.remove_node(:'q') \g /dev/null
-- protected after the request
SELECT hotswap.stop_dispatching('x') \g /dev/null
SELECT request('development') AS d \gset
SELECT hotswap.set_approval_policy('development', 1), hotswap.start_dispatching() \g /dev/null
CALL await(:'d', 'pending_approval');
SELECT is((SELECT status::text FROM hotswap.approvals WHERE deployment_id = :'d'), 'pending', 'protected after the request: the gate opens an approval');
SELECT is(vote('bob', 'approve', :'d'), 'approved', 'which is voted on');
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'as the others');
SELECT hotswap.set_approval_policy('development', 0) \g /dev/null

-- Those who wait do not stand in the way of others of their module.
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
SELECT as_role('hotswap_test_ap_alice', $$SELECT hotswap.deploy('m', 'slow', 'production')$$) AS d \gset
CALL await(:'d', 'running');
SELECT is(vote('bob', 'reject', :'d', ', ''production'', ''no'''), 'rejected', 'rejected while development is being swapped');
SELECT is(status_of(:'d'), 'running', 'what runs is not broken off');
SELECT pg_advisory_unlock(4711) \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'rejected', 'but nothing comes after it');
SELECT results_eq(format('SELECT environment, status::text FROM hotswap.stages WHERE deployment_id = %L AND environment IN (''development'', ''production'') ORDER BY ordinal', :'d'),
	$$VALUES ('development', 'succeeded'), ('production', 'cancelled')$$, 'its stages');

-- A retry needs an approval of its own.
SELECT hotswap.publish_version('m', 'bad', 'DO $x$BEGIN IF current_user = ''hotswap_test_ap_node'' THEN PERFORM 1/0; END IF; END$x$') \g /dev/null
SELECT as_role('hotswap_test_ap_alice', $$SELECT hotswap.deploy('m', 'bad', 'production')$$) AS d \gset
CALL await(:'d', 'pending_approval');
SELECT is(vote('bob', 'approve', :'d'), 'approved', 'approved');
SELECT is(hotswap.wait(:'d', '60 s'), 'failed', 'but wrong');
SELECT is(hotswap.retry(:'d'), 'queued', 'again');
CALL await(:'d', 'pending_approval');
SELECT results_eq(format('SELECT round, status::text FROM hotswap.approvals WHERE deployment_id = %L ORDER BY 1', :'d'), $$VALUES (1, 'approved'), (2, 'pending')$$, 'an approval is used once');
SELECT hotswap.cancel(:'d', 'x') \g /dev/null

-- The outbox.
SELECT results_eq($$SELECT DISTINCT event::text FROM hotswap.notifications ORDER BY 1$$, $$VALUES ('approved'), ('bypassed'), ('expired'), ('rejected'), ('requested')$$, 'a notice for each kind of event');
SELECT results_eq(format($$SELECT event::text, concerns FROM hotswap.notifications WHERE deployment_id = %L ORDER BY id LIMIT 2$$, :'d'),
	$$VALUES ('requested', '{hotswap_test_ap_leads}'::text[]), ('approved', '{hotswap_test_ap_alice}')$$, 'whom it concerns');
SELECT throws_ok('SELECT hotswap.take_notifications(0)', '22023', 'max is out of range: 0', 'max');
SELECT is((SELECT count(*) FROM hotswap.take_notifications(3)), 3::bigint, 'three of them');
SELECT is((SELECT count(*) FROM hotswap.notifications WHERE delivered_at IS NULL), (SELECT count(*) - 3 FROM hotswap.notifications), 'are marked');
SELECT is((SELECT count(*) FROM hotswap.take_notifications(10000)), (SELECT count(*) - 3 FROM hotswap.notifications), 'the others come next');
SELECT is_empty('SELECT * FROM hotswap.take_notifications()', 'none is left');
SELECT is_empty('SELECT * FROM hotswap.verify_audit()', 'the chains are whole');

-- Waiting.
SELECT throws_ok('SELECT hotswap.wait_for_approval(NULL)', '22023', 'deployment must not be null', 'NULL');
SELECT throws_ok($$SELECT hotswap.wait_for_approval('00000000-0000-7000-8000-000000000abc')$$, 'P0002', NULL, 'no such deployment');
SELECT throws_ok(format('SELECT hotswap.wait_for_approval(%L, ''qa'')', :'d'), 'P0002', NULL, 'no such approval');
SELECT throws_ok(format('SELECT hotswap.wait_for_approval(%L, timeout => ''-1 s'')', :'d'), '22023', 'timeout must not be negative', 'negative');
BEGIN;
SELECT hotswap.deploy('m', '1', 'production') AS own \gset
SELECT throws_ok(format('SELECT hotswap.wait_for_approval(%L)', :'own'), '55000', NULL, 'the caller''s own uncommitted request');
COMMIT;
SELECT * FROM finish();
