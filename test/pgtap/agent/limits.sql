-- configure_agents(): how long an environment leaves its tasks to agents (src/agent/limits.c).
SELECT plan(14);

-- Arguments.
SELECT throws_ok(format('SELECT hotswap.configure_agents(%s)', args), code, m, args)
FROM (VALUES ('NULL', '22023', '"environment" must not be null'),
	('''nowhere''', 'P0002', 'environment "nowhere" does not exist'),
	('''qa'', ''999 ms''', '22023', '"lease" is out of range: 00:00:00.999'),
	('''qa'', ''61 min''', '22023', '"lease" is out of range: 01:01:00'),
	('''qa'', attempts => 0', '22023', '"attempts" is out of range: 0'),
	('''qa'', attempts => 101', '22023', '"attempts" is out of range: 101'),
	('''qa'', claim_within => ''-1 s''', '22023', '"claim_within" is out of range: -00:00:01'),
	('''qa'', claim_within => ''2 years''', '22023', '"claim_within" is out of range: 2 years'))
	v (args, code, m);

-- What there is, and what is set.
SELECT results_eq($$SELECT agent_lease, agent_attempts, claim_within FROM hotswap.environments
		WHERE name = 'qa'$$, $$VALUES ('30 s'::interval, 3, '10 min'::interval)$$, 'usual');
SELECT hotswap.configure_agents('qa', '1 min', 5), hotswap.configure_agents('qa', '1 min'),
	hotswap.configure_agents('qa', claim_within => '1 day') \g /dev/null
SELECT results_eq($$SELECT agent_lease, agent_attempts, claim_within FROM hotswap.environments
		WHERE name = 'qa'$$, $$VALUES ('1 min'::interval, 5, '1 day'::interval)$$,
	'NULL leaves what is there');
SELECT results_eq($$SELECT after::jsonb, detail->>'environment' FROM hotswap.audit_log
		WHERE event = 'configure_agents' ORDER BY seq$$,
	$$VALUES ('{"agent_lease": "00:01:00", "agent_attempts": 5, "claim_within": "00:10:00"}'::jsonb,
		'qa'),
		('{"agent_lease": "00:01:00", "agent_attempts": 5, "claim_within": "1 day"}', 'qa')$$,
	'a change is audited');

-- By an admin of an active tenant.
CREATE ROLE :"DBNAME" LOGIN;
SELECT hotswap.grant_access(:'DBNAME', 'operator') \g /dev/null
SELECT is(as_role(:'DBNAME', 'SELECT hotswap.configure_agents(''qa'')::text'), '42501',
	'not by an operator');
SELECT throws_ok($$SELECT hotswap.configure_agents('qa',
	tenant => '00000000-0000-7000-8000-00000000dead')$$, 'P0002', NULL, 'an unknown tenant');
UPDATE hotswap.tenant SET status = 'suspended';
SELECT throws_ok($$SELECT hotswap.configure_agents('qa')$$, 'YH003', NULL, 'a suspended one');
SELECT * FROM finish();
