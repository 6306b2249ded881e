-- A person is a role, whatever it is called: renaming makes nobody new.
SELECT plan(11);
\ir ../include/approval.sql
SELECT hotswap.grant_access(named('alice')::regrole, 'approver'),
	hotswap.grant_access(named('bob')::regrole, 'approver'),
	hotswap.grant_access(named('dave')::regrole, 'approver'),
	hotswap.grant_access(named('dave')::regrole, 'break_glass'),
	hotswap.grant_access(named('app')::regrole, 'approver'),
	hotswap.grant_access(named('app')::regrole, 'impersonator'),
	hotswap.set_approval_policy('production', 2) \g /dev/null

-- Who has requested does not vote under another name, neither does who has voted.
SELECT request(more => $$, run_at => '2100-01-01'$$) AS d \gset
SELECT is(vote('bob', 'approve', :'d'), 'pending', 'one vote');
ALTER ROLE core_person_alice RENAME TO core_person_alicia;
ALTER ROLE core_person_bob RENAME TO core_person_robert;
SELECT is(vote('alicia', 'approve', :'d'), '42501', 'who has requested it');
SELECT is(vote('robert', 'approve', :'d'), '23505', 'who has voted');
SELECT ok(NOT may_vote && ARRAY[named('alicia'), named('robert')], 'the view knows that')
	FROM hotswap.approvals WHERE deployment_id = :'d';
SELECT is(vote('app', 'approve', :'d', $$, on_behalf_of => 'core_person_robert'$$), '23505',
	'not by somebody who speaks for the person either');

-- Who has bypassed does not close the review.
SELECT is(vote('dave', 'bypass_approval', :'d', $$, 'production', 'x', 'T'$$), 'bypassed',
	'bypassed');
ALTER ROLE core_person_dave RENAME TO core_person_david;
SELECT is(vote('david', 'close_bypass_review', :'d', $$, 'production', 'x'$$), '42501',
	'not the review of a bypass of its own');
SELECT is(vote('robert', 'close_bypass_review', :'d', $$, 'production', 'x'$$), '',
	'somebody else does');

-- Nobody speaks for hotswap itself.
SELECT request(more => $$, run_at => '2100-01-01'$$, role => 'alicia') AS d \gset
SELECT is(vote('app', 'approve', :'d', format($$, on_behalf_of => %L$$, name)), '22023',
	'on_behalf_of ' || name) FROM unnest('{hotswap," HotSwap "}'::text[]) name;
SELECT is(as_role(named('alicia'), 'SELECT hotswap.deploy(''m'', ''1'', ''production'',
	on_behalf_of => ''HOTSWAP'')'), '22023', 'a request neither');
ALTER ROLE core_person_alicia RENAME TO core_person_alice;
ALTER ROLE core_person_robert RENAME TO core_person_bob;
ALTER ROLE core_person_david RENAME TO core_person_dave;
SELECT * FROM finish();
