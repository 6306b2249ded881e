-- Approval policies: what they say, and who sets them (src/approval/policy.c).
SELECT plan(21);
\ir ../include/approval.sql

-- The defaults.
SELECT results_eq('SELECT name, min_approvals, approvers IS NULL, expires_after, allow_self_approval
	FROM hotswap.environments ORDER BY rank',
	$$VALUES ('development', 0, true, interval '24 h', false), ('qa', 0, true, '24 h', false),
		('staging', 1, true, '24 h', false), ('production', 1, true, '24 h', false)$$,
	'staging and production are protected from the start');

-- Policies: arguments and rights.
SELECT is((r).code || ': ' || (r).message, a.code || ': ' || a.message, args)
FROM (VALUES ($$NULL, 1$$, '22023', '"environment" must not be null'),
	($$' ', 1$$, '22023', '"environment" must not be blank'),
	($$'none', 1$$, 'P0002', 'environment "none" does not exist'),
	($$'qa', NULL$$, '22023', '"min_approvals" must not be null'),
	($$'qa', 21$$, '22023', '"min_approvals" is out of range: 21'),
	($$'qa', -1$$, '22023', '"min_approvals" is out of range: -1'),
	($$'qa', 1, '{}'$$, '22023', '"approvers" must not be empty'),
	($$'qa', 1, '{NULL}'$$, '22023', 'element of "approvers" must not be null'),
	($$'qa', 1, '{99999999}'$$, 'P0002', 'role with OID 99999999 does not exist'),
	($$'qa', 1, NULL, NULL$$, '22023', '"expires_after" must not be null'),
	($$'qa', 1, NULL, '0'$$, '22023', '"expires_after" is out of range: 00:00:00'),
	($$'qa', 1, NULL, '-1 h'$$, '22023', '"expires_after" is out of range: -01:00:00'),
	($$'qa', 1, NULL, '2 years'$$, '22023', '"expires_after" is out of range: 2 years'),
	($$'qa', 1, NULL, '1 h', NULL$$, '22023', '"allow_self_approval" must not be null'),
	($$'qa', 1, max_open_reviews => -1$$, '22023', '"max_open_reviews" is out of range: -1'),
	($$'qa', 1, tenant => '00000000-0000-7000-8000-0000000000ff'$$, 'P0002',
		'tenant "00000000-0000-7000-8000-0000000000ff" does not exist')) a (args, code, message),
	refusal(format('SELECT hotswap.set_approval_policy(%s)', args)) r;
SELECT is(as_role('approval_policy_alice', $$SELECT hotswap.set_approval_policy('production', 0)$$),
	'42501', 'a requester cannot weaken a policy');
SELECT is(as_role('approval_policy_alice',
	$$SELECT hotswap.grant_access('approval_policy_alice', 'approver')$$), '42501',
	'nor give itself a vote');
SELECT hotswap.grant_access('approval_policy_boss', 'admin') \g /dev/null
SELECT is(as_role('approval_policy_boss',
	$$SELECT hotswap.set_approval_policy('production', 2, '{approval_policy_leads}')$$), '',
	'who has admin can');
SELECT results_eq($$SELECT before::jsonb->>'min_approvals', after::jsonb->>'min_approvals',
	after::jsonb->>'approvers', person FROM hotswap.audit_log WHERE event = 'set_approval_policy'$$,
	$$VALUES ('1', '2', '["approval_policy_leads"]', 'approval_policy_boss')$$,
	'audited with before and after');
SELECT * FROM finish();
