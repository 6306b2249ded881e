-- Times at which deployments may or may not start (src/environment/window.c, src/core/window.c).
SELECT plan(59);
SET timezone = 'UTC';

-- When something may start at a time, by the windows of an environment.
CREATE FUNCTION opens(environment text, at text, module text DEFAULT NULL) RETURNS text
	LANGUAGE sql AS $$
	SELECT CASE WHEN t = 'infinity' THEN 'never' WHEN t = at::timestamptz THEN 'now'
		ELSE to_char(t, 'MM-DD HH24:MI:SS') END
	FROM (SELECT hotswap.next_opening(environment, module, at::timestamptz) t) o $$;
CREATE ROLE environment_window_viewer LOGIN;
SELECT hotswap.grant_access('environment_window_viewer', 'viewer'),
	hotswap.configure_environment('e' || n, n)
FROM generate_series(1, 9) n \g /dev/null

-- Once.
SELECT is(opens('e1', '2026-12-24 12:00'), 'now', 'without windows whenever it likes');
SELECT hotswap.set_window('e1', 'holidays', 'deny', 'nobody is here',
	'[2026-12-24 12:00, 2027-01-02)') AS holidays \gset
SELECT is(opens('e1', '2026-12-24 11:59:59'), 'now', 'before the window');
SELECT is(opens('e1', '2026-12-24 12:00'), '01-02 00:00:00', 'from its first moment');
SELECT is(opens('e1', '2027-01-01 23:59:59'), '01-02 00:00:00', 'to its last one');
SELECT is(opens('e1', '2027-01-02'), 'now', 'not after it');

-- Windows that follow one another, and one without an end.
SELECT hotswap.set_window('e1', 'inventory', 'deny', NULL, '[2027-01-01, 2027-01-05)') \g /dev/null
SELECT is(opens('e1', '2026-12-30'), '01-05 00:00:00', 'the end of the last of them');
SELECT hotswap.set_window('e1', 'for good', 'deny', NULL, '[2027-01-04,)') \g /dev/null
SELECT is(opens('e1', '2026-12-30'), 'never', 'never, as it looks now');
SELECT hotswap.remove_window('e1', 'for good') \g /dev/null
SELECT is(opens('e1', '2026-12-30'), '01-05 00:00:00', 'until it is removed');

-- Allowed: outside of the windows nothing starts, and deny wins.
SELECT hotswap.set_window('e2', 'nights', 'allow', NULL, NULL, '{thu,mon,tue,wed}', '22:00',
	'04:00', 'Europe/Berlin') \g /dev/null
SELECT is(opens('e2', '2026-11-23 12:00'), '11-23 21:00:00', 'Monday at ten in Berlin');
SELECT is(opens('e2', '2026-11-24 02:59:59'), 'now', 'and the night that follows');
SELECT is(opens('e2', '2026-11-24 03:00'), '11-24 21:00:00', 'until four');
SELECT is(opens('e2', '2026-11-27 02:59:59'), 'now', 'the night to Friday');
SELECT is(opens('e2', '2026-11-27 22:00'), '11-30 21:00:00', 'not that to Saturday');
SELECT hotswap.set_window('e2', 'backup', 'deny', NULL, NULL, NULL, '21:30', '23:00', 'UTC')
	\g /dev/null
SELECT is(opens('e2', '2026-11-23 12:00'), '11-23 21:00:00', 'before the one that denies');
SELECT is(opens('e2', '2026-11-23 21:45'), '11-23 23:00:00', 'after it');
SELECT hotswap.set_window('e2', 'backup', 'deny', NULL, NULL, '{mon}', '21:00', '03:30', 'UTC')
	\g /dev/null
SELECT is(opens('e2', '2026-11-23 21:45'), '11-24 21:00:00', 'what is left is closed');
SELECT hotswap.set_window('e2', 'backup', 'deny', NULL, NULL, NULL, '00:00', '24:00', 'UTC')
	\g /dev/null
SELECT is(opens('e2', '2026-11-23 21:45'), 'never', 'every day, all day long');

-- When the clocks are put forward, at 01:00 UTC: there is no half past two.
SELECT hotswap.set_window('e3', 'morning', 'deny', NULL, NULL, NULL, '02:30', '06:00',
	'Europe/Berlin') \g /dev/null
SELECT is(opens('e3', '2026-03-28 01:29:59'), 'now', 'in winter it begins at 01:30 UTC');
SELECT is(opens('e3', '2026-03-28 01:30'), '03-28 05:00:00', 'and ends at 05:00');
SELECT is(opens('e3', '2026-03-29 00:59:59'), 'now', 'before the change');
SELECT is(opens('e3', '2026-03-29 01:00'), '03-29 04:00:00', 'it is three at once');
SELECT is(opens('e3', '2026-03-30 00:30'), '03-30 04:00:00', 'summer time from then on');
SELECT hotswap.set_window('e4', 'gap', 'allow', NULL, NULL, NULL, '02:15', '02:45',
	'Europe/Berlin') \g /dev/null
SELECT is(opens('e4', '2026-03-28 12:00'), '03-30 00:15:00', 'a night that has none of it');

-- When they are put back, at 01:00 UTC: from two to three there are two hours.
SELECT is(opens('e4', '2026-10-25 00:10'), '10-25 00:15:00', 'the first quarter past two');
SELECT is(opens('e4', '2026-10-25 00:45'), '10-25 01:15:00', 'the second one');
SELECT is(opens('e4', '2026-10-25 01:45'), '10-26 01:15:00', 'and no third');
SELECT hotswap.set_window('e5', 'turn', 'deny', NULL, NULL, '{sun}', '02:30', '03:00',
	'Europe/Berlin') \g /dev/null
SELECT is(opens('e5', '2026-10-25 00:30'), '10-25 01:00:00', 'closed until the clock is put back');
SELECT is(opens('e5', '2026-10-25 01:30'), '10-25 02:00:00', 'and once more');
SELECT hotswap.set_window('e6', 'day', 'deny', NULL, NULL, '{sat,sun}', '00:00', '24:00',
	'America/New_York') \g /dev/null
SELECT is(opens('e6', '2026-10-31 04:00'), '11-02 05:00:00', 'a week-end of 49 hours');
SELECT is(opens('e6', '2026-03-07 05:00'), '03-09 04:00:00', 'and one of 47');
SELECT is(opens('e6', '1987-10-24 04:00'), '10-26 05:00:00', 'as the rules were then');

-- For some modules.
SELECT hotswap.set_window('e7', 'm', 'deny', NULL, '[2026-01-01, 2026-02-01)',
	modules => '{n,m}') \g /dev/null
SELECT is(opens('e7', '2026-01-15', 'm'), '02-01 00:00:00', 'for that module');
SELECT is(opens('e7', '2026-01-15', 'o'), 'now', 'not for another one');
SELECT is(opens('e7', '2026-01-15'), 'now', 'nor for all');

-- Of all tenants.
SELECT hotswap.set_window('production', 'year', 'deny', 'the year ends', '[2026-12-20, 2027-01-02)',
	all_tenants => true) \g /dev/null
SELECT is(opens('production', '2026-12-25'), '01-02 00:00:00', 'for this tenant');
SELECT hotswap.create_tenant('other', 'other', 'a@b.c') AS other \gset
SELECT hotswap.activate_tenant(:'other') \g /dev/null
SELECT is(hotswap.next_opening('production', NULL, '2026-12-25', :'other'), '2027-01-02',
	'and for one that came later');
SELECT results_eq(format('SELECT name, reason, all_tenants FROM hotswap.windows
	WHERE tenant_id = %L', :'other'), $$VALUES ('year', 'the year ends', true)$$,
	'it sees the window');
SELECT hotswap.grant_access('environment_window_viewer', 'admin', :'other') \g /dev/null
SELECT is(as_role('environment_window_viewer', $$SELECT hotswap.remove_window('production', 'year',
	all_tenants => true)$$), '42501', 'and cannot remove it');
SELECT is(as_role('environment_window_viewer', format($$SELECT hotswap.remove_window('production',
	'year', %L)$$, :'other')), 'P0002', 'it is none of its own');
SELECT hotswap.remove_window('production', 'year', all_tenants => true) \g /dev/null
SELECT is(opens('production', '2026-12-25'), 'now', 'removed for all');

-- What the view shows, and the audit log.
SELECT results_eq($$SELECT kind::text, days, starts, ends, time_zone, during IS NULL
	FROM hotswap.windows WHERE environment = 'e2' AND name = 'nights'$$, $$VALUES ('allow',
	'{mon,tue,wed,thu}'::text[], '22:00'::time, '04:00'::time, 'Europe/Berlin', true)$$,
	'days in their order');
SELECT is(hotswap.set_window('e1', 'holidays', 'deny', 'nobody is here',
	'[2026-12-24 12:00, 2027-01-02)'), :'holidays', 'set again as it is: the same window');
SELECT isnt(hotswap.set_window('e1', 'holidays', 'deny', 'nobody was here',
	'[2026-12-24 12:00, 2027-01-02)'), :'holidays', 'with another reason: another one');
SELECT results_eq($$SELECT event, before::jsonb->>'reason', after::jsonb->>'reason'
	FROM hotswap.audit_log WHERE detail->>'name' = 'holidays' ORDER BY seq$$,
	$$VALUES ('set_window', NULL, 'nobody is here'),
		('set_window', 'nobody is here', 'nobody was here')$$, 'what was changed');
SELECT is((SELECT count(*) FROM hotswap.audit_log WHERE event = 'remove_window'), 2::bigint,
	'what was removed');

-- Refused.
SELECT throws_ok(format('SELECT hotswap.set_window(%s)', q), '22023', m, q)
FROM (VALUES
	($$'e9', 'w', 'never'$$, 'a window must be either once or every week'),
	($$'e9', 'w', 'never', during => '[2026-01-01,)'$$, 'invalid value for "kind": "never"'),
	($$'e9', 'w', 'deny', during => 'empty'$$, '"during" must not be empty'),
	($$'e9', 'w', 'deny', during => '[2026-01-01,)', days => '{mon}'$$,
		'"days" must be null where "during" is not'),
	($$'e9', 'w', 'deny', starts => '10:00', ends => '12:00'$$,
		'a window must be either once or every week'),
	($$'e9', 'w', 'deny', starts => '10:00', ends => '10:00', time_zone => 'UTC'$$,
		'"starts" and "ends" must not be the same'),
	($$'e9', 'w', 'deny', starts => '10:00', ends => '12:00', time_zone => 'Europe/Berlim'$$,
		'invalid value for "time_zone": "Europe/Berlim"'),
	($$'e9', 'w', 'deny', starts => '10:00', ends => '12:00', time_zone => 'UTC', days => '{mo}'$$,
		'invalid value for "days": "mo"'),
	($$'e9', 'w', 'deny', during => '[2026-01-01,)', modules => '{a b}'$$,
		'invalid value for "modules": "a b"'),
	(format($$'e9', 'w', 'deny', during => '[2026-01-01,)', tenant => %L, all_tenants => true$$,
		gen_random_uuid()), '"tenant" must be null where "all_tenants" is true')) v (q, m);
SELECT throws_ok($$SELECT hotswap.set_window('no', 'w', 'deny', during => '[2026-01-01,)')$$,
	'P0002', 'environment "no" does not exist', 'no such environment');
SELECT throws_ok($$SELECT hotswap.remove_window('e9', 'w')$$, 'P0002',
	'environment "e9" has no window "w"', 'no such window');
SELECT throws_ok($$SELECT hotswap.remove_window('e9', 'w', all_tenants => true)$$, 'P0002',
	'environment "e9" of all tenants has no window "w"', 'nor one of all tenants');
SELECT throws_ok($$SELECT hotswap.next_opening('no')$$, 'P0002',
	'environment "no" does not exist', 'no such environment');
SELECT * FROM finish();
