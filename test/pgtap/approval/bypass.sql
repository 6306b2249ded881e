-- Breaking the glass: an approval is bypassed, and somebody else looks at it afterwards
-- (src/approval/bypass.c).
SELECT plan(16);
\ir ../include/approval.sql

SELECT hotswap.grant_access('approval_bypass_leads', 'approver'),
	hotswap.grant_access('approval_bypass_app', 'approver') \g /dev/null

-- Breaking the glass.
SELECT hotswap.grant_access('approval_bypass_dave', 'break_glass'),
	hotswap.set_approval_policy('production', 1, '{approval_bypass_leads}',
		max_open_reviews => 1) \g /dev/null
SELECT request() AS d \gset
CALL await(:'d', 'pending_approval');
SELECT request() AS d2 \gset
SELECT is(vote('bob', 'bypass_approval', :'d', $$, 'production', 'on fire', 'INC-1'$$), '42501',
	'bypassing is a capability of its own');
SELECT is(vote('dave', 'bypass_approval', :'d', $$, 'production', ' ', 'INC-1'$$), '22023',
	'it needs a reason');
SELECT is(vote('dave', 'bypass_approval', :'d', $$, 'production', 'on fire', NULL$$), '22023',
	'and a ticket');

-- With a reason and a ticket it is not waited for.
SELECT is(vote('dave', 'bypass_approval', :'d', $$, 'production', 'on fire', 'INC-1'$$), 'bypassed',
	'bypassed');
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'it goes on');
SELECT results_eq('SELECT bypassed_by, reason, ticket FROM hotswap.bypass_reviews',
	$$VALUES ('approval_bypass_dave', 'on fire', 'INC-1')$$, 'until somebody has looked at it');
SELECT results_eq(format($$SELECT person, reason, detail->>'ticket' FROM hotswap.audit_log
	WHERE subject_id = %L AND event = 'approval.bypass'$$, :'d'),
	$$VALUES ('approval_bypass_dave', 'on fire', 'INC-1')$$, 'an event of its own');

-- No more of them than the policy allows, until they are reviewed.
CALL await(:'d2', 'pending_approval');
SELECT is((SELECT status || ': ' || detail FROM hotswap.health() WHERE component = 'approvals'),
	'warning: 1 pending, 1 bypasses await their review', 'health() says so');
SELECT is(vote('dave', 'bypass_approval', :'d2', $$, 'production', 'on fire', 'INC-2'$$), '53400',
	'as many as the policy allows');
GRANT approval_bypass_leads TO approval_bypass_dave;
SELECT is(vote('dave', 'close_bypass_review', :'d', $$, 'production', 'fine'$$), '42501',
	'not by who bypassed');
SELECT is(vote('app', 'close_bypass_review', :'d', $$, 'production', 'fine'$$), '42501',
	'nor by who is no approver there');
SELECT is(vote('bob', 'close_bypass_review', :'d2', $$, 'production', 'fine'$$), 'P0002',
	'no review there');

-- Somebody else has looked at it.
SELECT is(vote('bob', 'close_bypass_review', :'d', $$, 'production', 'fine'$$), '',
	'but somebody else closes the review');
SELECT is_empty('SELECT FROM hotswap.bypass_reviews', 'gone from the list');
SELECT is(vote('dave', 'bypass_approval', :'d2', $$, 'production', 'on fire', 'INC-2'$$),
	'bypassed', 'then the next one may');
SELECT is(hotswap.wait(:'d2', '60 s'), 'succeeded', 'and goes on');
REVOKE approval_bypass_leads FROM approval_bypass_dave;
SELECT * FROM finish();
