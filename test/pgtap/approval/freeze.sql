-- Windows are overridden for one deployment (src/approval/freeze.c).
SELECT plan(28);
\ir ../include/approval.sql

CREATE SCHEMA q AUTHORIZATION approval_freeze_node;
SELECT hotswap.grant_access('approval_freeze_dave', 'break_glass'),
	hotswap.grant_access('approval_freeze_alice', 'break_glass'),
	hotswap.grant_access('approval_freeze_boss', 'break_glass', all_tenants => true),
	hotswap.set_approval_policy('production', 0), hotswap.publish_version('m', '2', 'SELECT 2'),
	hotswap.set_window('production', 'rush', 'deny', 'they all shop',
		tstzrange(now(), now() + '1 h')) AS rush \g /dev/null
CREATE FUNCTION override(role text, d uuid,
	more text DEFAULT $$, 'production', 'on fire', 'INC-1'$$) RETURNS text LANGUAGE sql AS
	$$SELECT vote(role, 'override_freeze', d, more)$$;
CREATE FUNCTION why(d uuid) RETURNS text LANGUAGE sql AS
	$$SELECT string_agg(reason, '; ') FROM hotswap.explain(d)$$;

-- Refused.
SELECT request() AS d \gset
CALL await(:'d', 'pending_approval');
SELECT is(override('bob', :'d'), '42501', 'it is a capability of its own');
SELECT is(override('alice', :'d'), '42501', 'and not for who requested it');
SELECT is(override('dave', :'d', $$, 'production', ' ', 'INC-1'$$), '22023', 'it needs a reason');
SELECT is(override('dave', :'d', $$, 'production', 'on fire', ''$$), '22023', 'and a ticket');
SELECT is(override('dave', :'d', $$, 'moon', 'on fire', 'INC-1'$$), 'P0002', 'an environment');
SELECT is(override('dave', :'d', $$, 'qa', 'on fire', 'INC-1'$$), '55000', 'that is frozen');
SELECT is(override('dave', gen_random_uuid()), 'P0002', 'and a deployment');

-- It starts, once.
SELECT is(override('dave', :'d')::timestamptz, (SELECT upper(during) FROM hotswap.windows),
	'overridden until the window is over');
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'it goes on');
SELECT is(override('dave', :'d'), '55000', 'now it has ended');
SELECT results_eq(format($$SELECT event, person, reason, detail->>'ticket', detail->>'windows'
	FROM hotswap.audit_log WHERE subject_id = %L AND event LIKE 'freeze.%%' ORDER BY seq$$, :'d'),
	$$VALUES ('freeze.override', 'approval_freeze_dave', 'on fire', 'INC-1',
			'"rush" (they all shop)'),
		('freeze.use', 'hotswap', NULL, NULL, NULL)$$, 'who it was, why, and that it was used');

-- Of another deployment, and of one that comes there again, it is not an override.
SELECT request(role => 'app') AS other \gset
CALL await(:'other', 'pending_approval');
SELECT is(why(:'other'), 'environment "production" is frozen', 'another deployment');
SELECT hotswap.cancel(:'other', 'not now') \g /dev/null
SELECT as_role(named('alice'), $$SELECT hotswap.deploy('m', '2', 'production')$$) AS d \gset
CALL await(:'d', 'pending_approval');
SELECT hotswap.publish_version('bad', '1', 'SELECT 1/0') \g /dev/null
SELECT as_role(named('alice'), $$SELECT hotswap.deploy('bad', '1', 'production')$$) AS bad \gset
CALL await(:'bad', 'pending_approval');
SELECT isnt(override('dave', :'bad'), '55000', 'one that fails');
SELECT is(hotswap.wait(:'bad', '60 s'), 'failed', 'has used its override');
SELECT hotswap.retry(:'bad') \g /dev/null
CALL await(:'bad', 'pending_approval');
SELECT is(why(:'bad'), 'environment "production" is frozen', 'a retry needs another one');

-- Nor is it one of windows that came later.
SELECT hotswap.stop_dispatching('nothing shall start now') \g /dev/null
SELECT isnt(override('dave', :'d'), '55000', 'overridden');
SELECT is(override('dave', :'d'), '55000', 'it is already');
SELECT is(why(:'d'), 'dispatching is stopped', 'the windows are not in its way, the line is');
SELECT hotswap.set_window('production', 'rush', 'deny', 'they all still shop',
	tstzrange(now(), now() + '1 h')) \g /dev/null
SELECT hotswap.start_dispatching() \g /dev/null
CALL until(format('why(%L) = ''environment "production" is frozen''', :'d'));
SELECT pass('a window that was changed is another one');
SELECT isnt(override('dave', :'d'), '55000', 'what is there now can be overridden');
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'and it starts');

-- At most four hours; windows of all tenants are overridden by who may do it for all.
SELECT hotswap.remove_window('production', 'rush'),
	hotswap.set_window('production', 'shut', 'allow', NULL, '[2001-01-01, 2001-01-02)'),
	hotswap.set_window('production', 'world', 'deny', NULL, '[2001-01-01,)',
		all_tenants => true) \g /dev/null
SELECT request() AS d \gset
CALL await(:'d', 'pending_approval');
SELECT is(override('dave', :'d'), '42501', 'not by who may do it in one tenant');
SELECT ok(until - now() BETWEEN '239 min' AND '241 min', 'for four hours')
FROM (SELECT override('boss', :'d')::timestamptz AS until OFFSET 0) o;
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'it starts');
SELECT request() AS d \gset
CALL await(:'d', 'pending_approval');
SELECT hotswap.stop_dispatching('nothing shall start now') \g /dev/null
SELECT isnt(override('boss', :'d'), '42501', 'another one');
UPDATE hotswap.freeze_override SET until = clock_timestamp() WHERE deployment_id = :'d';
SELECT hotswap.start_dispatching() \g /dev/null
CALL until(format('why(%L) = ''environment "production" is frozen''', :'d'));
SELECT is(status_of(:'d'), 'pending_approval', 'when its time is over it does not count');
SELECT hotswap.cancel(:'d', 'enough'), hotswap.cancel(:'bad', 'enough') \g /dev/null

-- Where it does not come.
SELECT hotswap.deploy('m', '2', 'development') AS d \gset
SELECT hotswap.stop_dispatching('nothing shall start now') \g /dev/null
SELECT hotswap.deploy('m', '2', 'qa') AS d \gset
SELECT is(override('dave', :'d'), 'P0002', 'not on its path');
SELECT is((SELECT message FROM refusal(format(
	$$SELECT hotswap.override_freeze(%L, 'qa', 'x', 'y')$$, :'d'))),
	format('no window of environment "qa" holds up deployment "%s" now', :'d'),
	'the message');
SELECT hotswap.start_dispatching() \g /dev/null
SELECT * FROM finish();
