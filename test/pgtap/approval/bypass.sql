-- Breaking the glass: an approval is bypassed (src/approval/bypass.c). What somebody else
-- does about it afterwards is tested in review.sql.
SELECT plan(9);
\ir ../include/approval.sql

-- Breaking the glass.
SELECT hotswap.grant_access('approval_bypass_dave', 'break_glass'),
	hotswap.grant_access('approval_bypass_leads', 'approver') \g /dev/null
SELECT request() AS d \gset
CALL await(:'d', 'pending_approval');
SELECT is(vote('bob', 'bypass_approval', :'d', $$, 'production', 'on fire', 'INC-1'$$), '42501',
	'bypassing is a capability of its own');
SELECT is(vote('dave', 'bypass_approval', :'d', $$, 'production', ' ', 'INC-1'$$), '22023',
	'it needs a reason');
SELECT is(vote('dave', 'bypass_approval', :'d', $$, 'production', 'on fire', NULL$$), '22023',
	'and a ticket');
SELECT is(vote('dave', 'bypass_approval', :'d', $$, 'moon', 'on fire', 'INC-1'$$), 'P0002',
	'and an environment');
SELECT is(vote('dave', 'bypass_approval', :'d', $$, 'qa', 'on fire', 'INC-1'$$), 'P0002',
	'that wants an approval');

-- With a reason and a ticket it is not waited for.
SELECT is(vote('dave', 'bypass_approval', :'d', $$, 'production', 'on fire', 'INC-1'$$), 'bypassed',
	'bypassed');
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'it goes on');
SELECT results_eq('SELECT bypassed_by, reason, ticket, what FROM hotswap.bypass_reviews',
	$$VALUES ('approval_bypass_dave', 'on fire', 'INC-1', 'approval')$$,
	'until somebody has looked at it');
SELECT results_eq(format($$SELECT person, reason, detail->>'ticket' FROM hotswap.audit_log
	WHERE subject_id = %L AND event = 'approval.bypass'$$, :'d'),
	$$VALUES ('approval_bypass_dave', 'on fire', 'INC-1')$$, 'an event of its own');
SELECT * FROM finish();
