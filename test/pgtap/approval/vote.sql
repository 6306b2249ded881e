-- Votes: whose count, and what they make of an approval (src/approval/vote.c). Two at once are
-- tested in test/specs/approval/vote.spec.
SELECT plan(53);
\ir ../include/approval.sql

SELECT hotswap.set_approval_policy('production', 2, '{approval_vote_leads}') \g /dev/null

-- A deployment and two votes.
SELECT request() AS d \gset
CALL await(:'d', 'pending_approval');
SELECT results_eq(format('SELECT status::text, counted, missing, may_vote,
	time_left > interval ''23 h'' FROM hotswap.approvals WHERE deployment_id = %L', :'d'),
	$$VALUES ('pending', 0, 2, '{approval_vote_bob,approval_vote_carol}'::text[], true)$$,
	'the view says who may vote');
SELECT results_eq(format('SELECT reason, unblocked_by FROM hotswap.explain(%L)', :'d'),
	$$VALUES ('environment "production" needs an approval',
		'hotswap.approve() by 2 more of: members of approval_vote_leads')$$, 'so does explain()');
SELECT results_eq(format('SELECT environment, status::text, message, started_at, finished_at
	FROM hotswap.stages WHERE deployment_id = %L AND status = ''waiting_approval''', :'d'),
	$$VALUES ('production', 'waiting_approval', 'waits for the approval of production',
		NULL::timestamptz, NULL::timestamptz)$$, 'the stage waits');

-- Who has no vote.
SELECT is(vote('alice', 'approve', :'d'), '42501', 'the requester has no vote');
SELECT is(vote('dave', 'approve', :'d'), '42501', 'nor has who is no approver');
SELECT is(vote('bob', 'retract_vote', :'d'), 'P0002', 'no vote to take back');

-- One vote a person, which can be taken back.
SELECT is(vote('bob', 'approve', :'d', ', comment => ''fine'''), 'pending', 'the first of two');
SELECT is(vote('bob', 'approve', :'d'), '23505', 'one vote a person');
SELECT is(vote('bob', 'reject', :'d', ', comment => ''no'''), '23505', 'whatever it is');
SELECT is(vote('bob', 'retract_vote', :'d'), 'pending', 'it can be taken back');
SELECT is(vote('bob', 'approve', :'d', ', ''production'''), 'pending', 'and cast again');
SELECT is((SELECT voters FROM hotswap.approvals WHERE deployment_id = :'d'),
	'{approval_vote_bob}', 'the view shows it');

-- What is refused.
SELECT is(vote('bob', 'approve', :'d', ', ''qa'''), 'P0002', 'no approval there');
SELECT is(vote('bob', 'approve', '00000000-0000-7000-8000-000000000abc'), 'P0002',
	'no such deployment');
SELECT is(vote('carol', 'reject', :'d'), '22023', 'a rejection says why');
SELECT is(vote('carol', 'approve', :'d', ', comment => '' '''), '22023', 'a blank comment');

-- The second vote decides.
SELECT is(vote('carol', 'approve', :'d'), 'approved', 'the second of two');
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'the deployment goes on');
SELECT is(hotswap.wait_for_approval(:'d'), 'approved', 'decided');
SELECT ok((SELECT used_at IS NOT NULL FROM hotswap.approvals WHERE deployment_id = :'d'),
	'it was used');
SELECT is(vote('bob', 'approve', :'d'), '55000', 'nothing more to decide');
SELECT is(vote('bob', 'retract_vote', :'d'), '55000', 'nor to take back');
SELECT results_eq(format($$SELECT event, person FROM hotswap.audit_log
	WHERE subject_id = %L AND event LIKE 'approval.%%' ORDER BY seq$$, :'d'),
	$$VALUES ('approval.request', 'approval_vote_alice'),
		('approval.vote_approve', 'approval_vote_bob'),
		('approval.retract_vote', 'approval_vote_bob'),
		('approval.vote_approve', 'approval_vote_bob'),
		('approval.vote_approve', 'approval_vote_carol'),
		('approval.approve', 'approval_vote_carol'), ('approval.use', 'hotswap')$$, 'audited');

-- One rejection ends it.
SELECT request() AS d \gset
CALL await(:'d', 'pending_approval');
SELECT is(vote('bob', 'reject', :'d', ', comment => ''not on a Friday'''), 'rejected',
	'one rejection');
SELECT is(status_of(:'d') || ': ' || message,
	'rejected: rejected for production by approval_vote_bob: not on a Friday',
	'ends the deployment there and then')
FROM hotswap.deployment WHERE id = :'d';
SELECT is_empty(format($$SELECT FROM hotswap.stages
	WHERE deployment_id = %L AND status IN ('pending', 'waiting_approval')$$, :'d'),
	'and its stages');
SELECT is(vote('carol', 'approve', :'d'), '55000', 'nothing leaves an end');
SELECT is((refusal(format('SELECT hotswap.approve(%L)', :'d'))).message,
	'approval in status "rejected" does not allow event "approve"', 'and it says so');

-- Before it has started.
SELECT request(more => $$, run_at => '2100-01-01'$$) AS d \gset
SELECT is((SELECT expires_at FROM hotswap.approvals WHERE deployment_id = :'d'),
	'2100-01-02 00:00:00'::timestamptz, 'it stays open from the time on at which it may run');
SELECT is(vote('bob', 'reject', :'d', ', comment => ''never'''), 'rejected',
	'a rejection before the start');
SELECT is(status_of(:'d'), 'rejected', 'ends it too');
SELECT request(more => $$, run_at => '2100-01-01'$$) AS d \gset
SELECT is(as_role('approval_vote_alice', format('SELECT hotswap.cancel(%L, ''x'')', :'d')),
	'cancelled', 'cancelled');
SELECT results_eq(format('SELECT status::text, reason FROM hotswap.approvals
	WHERE deployment_id = %L', :'d'), $$VALUES ('void', 'the deployment is cancelled')$$,
	'its approval is void');

-- Who is who.
SELECT hotswap.set_approval_policy('production', 2),
	hotswap.grant_access('approval_vote_leads', 'approver'),
	hotswap.grant_access('approval_vote_app', 'approver'),
	hotswap.grant_access('approval_vote_app', 'impersonator') \g /dev/null
CREATE ROLE approval_vote_alice2 LOGIN;
GRANT approval_vote_alice TO approval_vote_alice2;
GRANT approval_vote_leads TO approval_vote_alice, approval_vote_alice2;
SELECT request(more => $$, run_at => '2100-01-01'$$) AS d \gset
SELECT is(vote('alice', 'approve', :'d'), '42501',
	'an approver does not approve what it requested');
SELECT is(as_role('approval_vote_alice', format('SELECT hotswap.approve(%L)', :'d'),
	'-c role=approval_vote_leads'), '42501', 'SET ROLE makes nobody else');
SELECT is(vote('alice2', 'approve', :'d'), '42501', 'nor does a second account');
SELECT is(vote('app', 'approve', :'d', $$, on_behalf_of => 'approval_vote_alice'$$), '42501',
	'nor somebody who speaks for the requester');
SELECT is(vote('app', 'approve', :'d', $$, on_behalf_of => ' APPROVAL_vote_Alice '$$), '42501',
	'however the name is written');
SELECT is(vote('bob', 'approve', :'d', $$, on_behalf_of => 'x'$$), '42501',
	'not everybody may speak for others');
SELECT is(vote('app', 'approve', :'d', $$, on_behalf_of => 'approval_vote_dave'$$), '42501',
	'whom the database knows must be an approver himself');
SELECT is(vote('app', 'approve', :'d', $$, on_behalf_of => 'Zoe'$$), 'pending',
	'speaking for somebody');
SELECT is(vote('app', 'approve', :'d', $$, on_behalf_of => 'zoe '$$), '23505', 'the same person');
SELECT is(vote('app', 'approve', :'d', $$, on_behalf_of => 'approval_vote_bob'$$), 'approved',
	'and for another one');
SELECT results_eq(format($$SELECT detail->>'login', person FROM hotswap.audit_log
	WHERE subject_id = %L AND event = 'approval.vote_approve' ORDER BY seq$$, :'d'),
	$$VALUES ('approval_vote_app', 'Zoe'), ('approval_vote_app', 'approval_vote_bob')$$,
	'both are recorded');

-- Requested for somebody else.
SELECT request(more => $$, run_at => '2100-01-01', on_behalf_of => 'approval_vote_bob'$$,
	role => 'app') AS d \gset
SELECT is(vote('bob', 'approve', :'d'), '42501', 'the person for whom it was requested');
SELECT is(vote('app', 'approve', :'d'), '42501', 'and who requested it');
SELECT is(vote('app', 'approve', :'d', $$, on_behalf_of => 'approval_vote_carol'$$), 'pending',
	'but the application may speak for others');
SELECT hotswap.grant_access('approval_vote_alice', 'impersonator') \g /dev/null
SELECT request(more => $$, run_at => '2100-01-01'$$) AS d \gset
SELECT is(vote('alice', 'approve', :'d', $$, on_behalf_of => 'Zoe'$$), '42501',
	'who requested it does not speak for others about it');

-- Two accounts of one person.
CREATE ROLE approval_vote_bob2 LOGIN;
GRANT approval_vote_bob TO approval_vote_bob2;
SELECT is(vote('bob2', 'approve', :'d'), 'pending', 'a second account may vote');
SELECT is(vote('bob', 'approve', :'d'), '23505', 'but is the same person');

-- A function of somebody else's.
CREATE FUNCTION trick(d uuid) RETURNS text
	LANGUAGE sql SECURITY DEFINER AS $$SELECT hotswap.approve(d, 'production')::text$$;
ALTER FUNCTION trick OWNER TO approval_vote_dave;
SELECT request(more => $$, run_at => '2100-01-01'$$) AS d \gset
SELECT is(as_role('approval_vote_bob', format('SELECT trick(%L)', :'d')), '42501',
	'a SECURITY DEFINER function of somebody else does not vote for who calls it');

-- What a policy may allow and ask for.
SELECT hotswap.set_approval_policy('production', 1, allow_self_approval => true,
	require_comment => true) \g /dev/null
SELECT is(vote('alice', 'approve', :'d'), '22023', 'a comment is required');
SELECT is(vote('alice', 'approve', :'d', ', comment => ''me'''), 'approved',
	'self-approval where the policy says so');
SELECT * FROM finish();
