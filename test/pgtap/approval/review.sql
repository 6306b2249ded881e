-- Bypasses and overrides await somebody else's look (src/approval/review.c).
SELECT plan(20);
\ir ../include/approval.sql

SELECT hotswap.grant_access('approval_review_leads', 'approver'),
	hotswap.grant_access('approval_review_app', 'approver'),
	hotswap.grant_access('approval_review_dave', 'break_glass'),
	hotswap.set_approval_policy('production', 1, '{approval_review_leads}',
		max_open_reviews => 1) \g /dev/null
SELECT request() AS d \gset
CALL await(:'d', 'pending_approval');
SELECT request() AS d2 \gset
CALL await(:'d2', 'pending_approval');
SELECT is(vote('dave', 'bypass_approval', :'d', $$, 'production', 'on fire', 'INC-1'$$), 'bypassed',
	'given a bypass');

-- No more of them than the policy allows, until they are reviewed.
SELECT is((SELECT status || ': ' || detail FROM hotswap.health() WHERE component = 'approvals'),
	'warning: 1 pending, 1 bypasses await their review', 'health() says so');
SELECT is(vote('dave', 'bypass_approval', :'d2', $$, 'production', 'on fire', 'INC-2'$$), '53400',
	'as many as the policy allows');
GRANT approval_review_leads TO approval_review_dave;
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
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'and goes on');
SELECT is(hotswap.wait(:'d2', '60 s'), 'succeeded', 'like the one before it');
SELECT is(vote('bob', 'close_bypass_review', :'d2', $$, 'production', 'fine'$$), '',
	'that one is fine, too');

-- Windows that are overridden count among them.
SELECT hotswap.set_window('production', 'rush', 'deny', NULL,
	tstzrange(now(), now() + '1 h')) \g /dev/null
SELECT request() AS d \gset
SELECT request() AS d2 \gset
SELECT isnt(vote('dave', 'override_freeze', :'d', $$, 'production', 'on fire', 'INC-3'$$), '53400',
	'given an override');
SELECT is(vote('dave', 'override_freeze', :'d2', $$, 'production', 'on fire', 'INC-3'$$), '53400',
	'as many as the policy allows');
SELECT is((SELECT detail FROM hotswap.health() WHERE component = 'approvals'),
	'2 pending, 1 bypasses await their review', 'health() counts it');
SELECT results_eq('SELECT deployment_id, bypassed_by, reason, ticket, what
	FROM hotswap.bypass_reviews', format($$VALUES (%L::uuid, 'approval_review_dave',
		'on fire', 'INC-3', 'windows')$$, :'d'),
	'it is in the list');
SELECT is(vote('dave', 'close_bypass_review', :'d', $$, 'production', 'fine'$$), '42501',
	'not by who overrode');
SELECT is(vote('bob', 'close_bypass_review', :'d', $$, 'production', 'fine'$$), '',
	'but by somebody else');
SELECT is_empty('SELECT FROM hotswap.bypass_reviews', 'nothing is left');
SELECT results_eq($$SELECT event, person, reason FROM hotswap.audit_log
	WHERE event LIKE '%close_review' ORDER BY at$$,
	$$VALUES ('approval.close_review', 'approval_review_bob', 'fine'),
		('approval.close_review', 'approval_review_bob', 'fine'),
		('freeze.close_review', 'approval_review_bob', 'fine')$$, 'all of that is in the log');
REVOKE approval_review_leads FROM approval_review_dave;
SELECT * FROM finish();
