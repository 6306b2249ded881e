-- Lending a vote (src/approval/delegation.c).
SELECT plan(21);
\ir ../include/approval.sql

-- a second account of bob's
CREATE ROLE approval_delegation_bob2 LOGIN;
GRANT approval_delegation_bob TO approval_delegation_bob2;
SELECT hotswap.set_approval_policy('production', 1, '{approval_delegation_leads}') \g /dev/null

-- Lending a vote.
SELECT is(as_role('approval_delegation_dave',
	$$SELECT hotswap.delegate_approval('approval_delegation_boss', now() + interval '1 h', 'x')$$),
	'42501', 'who has none cannot lend it');
SELECT is(as_role('approval_delegation_bob',
	format($$SELECT hotswap.delegate_approval(%L, %L, %L)$$, role, until, reason)), a.code,
	format('lending: %s, %s, %s', role, until, reason))
FROM (VALUES ('99999999', 'tomorrow', 'x', 'P0002'), (NULL, 'tomorrow', 'x', '22023'),
	('approval_delegation_bob', 'tomorrow', 'x', '22023'),
	('approval_delegation_dave', 'yesterday', 'x', '22023'),
	('approval_delegation_dave', NULL, 'x', '22023'),
	('approval_delegation_dave', 'tomorrow', ' ', '22023')) a (role, until, reason, code);

-- Bob lends to two, carol to who requests.
SELECT as_role('approval_delegation_bob',
	$$SELECT hotswap.delegate_approval('approval_delegation_dave', now() + interval '1 h',
		'on holiday')$$) AS lent \gset
SELECT as_role('approval_delegation_bob',
	$$SELECT hotswap.delegate_approval('approval_delegation_boss', now() + interval '1 h',
		'on holiday')$$) AS lent3 \gset
SELECT as_role('approval_delegation_carol',
	$$SELECT hotswap.delegate_approval('approval_delegation_alice', now() + interval '1 h',
		'x')$$) AS lent2 \gset
SELECT results_eq('SELECT delegator::text COLLATE "default", delegate::text COLLATE "default",
	in_force FROM hotswap.delegations ORDER BY created_at',
	$$VALUES ('approval_delegation_bob', 'approval_delegation_dave', true),
		('approval_delegation_bob', 'approval_delegation_boss', true),
		('approval_delegation_carol', 'approval_delegation_alice', true)$$, 'visible');
SELECT hotswap.set_approval_policy('production', 2, '{approval_delegation_leads}') \g /dev/null

-- A vote that was lent is used once.
SELECT request(more => $$, run_at => '2100-01-01'$$) AS d \gset
SELECT is((SELECT may_vote FROM hotswap.approvals WHERE deployment_id = :'d'),
	'{approval_delegation_bob,approval_delegation_bob2,approval_delegation_boss,'
	'approval_delegation_carol,approval_delegation_dave}', 'the view knows who may vote instead');
SELECT is(vote('alice', 'approve', :'d'), '42501', 'a vote that was lent to the requester is none');
SELECT is(vote('dave', 'approve', :'d'), 'pending', 'with the vote of somebody else');
SELECT is(vote('bob', 'approve', :'d'), '23505', 'which is used once');
SELECT is(vote('bob2', 'approve', :'d'), '23505', 'for all accounts of its owner');
SELECT is(vote('boss', 'approve', :'d'), '42501', 'and by one of those to whom it was lent');
SELECT is((SELECT may_vote FROM hotswap.approvals WHERE deployment_id = :'d'),
	'{approval_delegation_carol}', 'the view knows that too');
SELECT is(vote('carol', 'approve', :'d'), 'approved', 'whose own was not used');

-- Taken back.
SELECT is(as_role('approval_delegation_carol',
	format('SELECT hotswap.revoke_delegation(%L)', :'lent')),
	'42501', 'not that of another one');
SELECT is(as_role('approval_delegation_bob',
	format('SELECT hotswap.revoke_delegation(%L)', :'lent')),
	'', 'revoked');
SELECT is(as_role('approval_delegation_bob',
	format('SELECT hotswap.revoke_delegation(%L)', :'lent')),
	'P0002', 'once');
SELECT request(more => $$, run_at => '2100-01-01'$$) AS d \gset
SELECT is(vote('dave', 'approve', :'d'), '42501', 'no more votes with it');

-- The vote of the requester lends nothing.
GRANT approval_delegation_leads TO approval_delegation_alice;
SELECT as_role('approval_delegation_alice',
	$$SELECT hotswap.delegate_approval('approval_delegation_dave', now() + interval '1 h',
		'x')$$) AS lent4 \gset
SELECT is(vote('dave', 'approve', :'d'), '42501', 'nor with the vote of the requester');
REVOKE approval_delegation_leads FROM approval_delegation_alice;
SELECT hotswap.set_approval_policy('production', 1, '{approval_delegation_leads}') \g /dev/null
SELECT * FROM finish();
