-- The outbox (src/approval/notification.c).
SELECT plan(15);
\ir ../include/approval.sql

-- Something of every kind happens.
SELECT hotswap.set_approval_policy('production', 1, '{approval_notification_leads}'),
	hotswap.grant_access('approval_notification_dave', 'break_glass') \g /dev/null
SELECT request(more => $$, run_at => '2100-01-01'$$) AS rejected,
	request(more => $$, run_at => '2100-01-01'$$) AS bypassed,
	request() AS d \gset
SELECT vote('bob', 'reject', :'rejected', ', comment => ''no'''),
	vote('dave', 'bypass_approval', :'bypassed',
		$$, 'production', 'on fire', 'INC-1'$$) \g /dev/null
SELECT vote('bob', 'approve', :'d') \g /dev/null
SELECT hotswap.set_approval_policy('production', 1, '{approval_notification_leads}',
	expires_after => '1 s') \g /dev/null
SELECT request() AS late \gset
SELECT is(hotswap.wait(:'late', '60 s'), 'expired', 'one expires');
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'one is approved');

-- The outbox.
SELECT results_eq($$SELECT DISTINCT event::text FROM hotswap.notifications ORDER BY 1$$,
	$$VALUES ('approved'), ('bypassed'), ('ended'), ('expired'), ('rejected'), ('reminded'),
		('requested')$$,
	'a notice for each kind of event');
SELECT results_eq(format($$SELECT event::text, concerns FROM hotswap.notifications
	WHERE deployment_id = %L ORDER BY id LIMIT 2$$, :'d'),
	$$VALUES ('requested', '{approval_notification_leads}'::text[]),
		('approved', '{approval_notification_alice}')$$, 'whom it concerns');
SELECT results_eq(format($$SELECT event::text, concerns, reason FROM hotswap.notifications
	WHERE deployment_id IN (%L, %L) AND event = 'ended' ORDER BY id DESC$$, :'rejected', :'d'),
	$$VALUES ('ended', '{approval_notification_alice}'::text[], 'succeeded'), ('ended',
		'{approval_notification_alice}', 'rejected: rejected for production by '
		'approval_notification_bob: no')$$, 'how it has ended');
SELECT results_eq(format($$SELECT event::text, concerns, reason LIKE 'it expires at %%'
	FROM hotswap.notifications WHERE deployment_id = %L AND event IN ('reminded', 'expired')
	ORDER BY id$$, :'late'), $$VALUES ('reminded', '{approval_notification_leads}'::text[], true),
		('expired', '{approval_notification_alice}', false)$$,
	'once when half of its time is over, and at its end');
SELECT is((SELECT count(*) FROM hotswap.notifications WHERE event = 'reminded'), 1::bigint,
	'nobody is reminded of what has been decided');

-- A node that fails, and one that windows hold up.
SELECT hotswap.set_approval_policy('production', 0),
	hotswap.publish_version('bad', '1', 'SELECT 1/0') \g /dev/null
SELECT hotswap.deploy('bad', '1', 'production') AS bad \gset
SELECT is(hotswap.wait(:'bad', '60 s'), 'failed', 'one fails');
SELECT results_eq(format($$SELECT event::text, environment, reason FROM hotswap.notifications
	WHERE deployment_id = %L ORDER BY id$$, :'bad'), $$VALUES ('node_failed', 'production',
		'the swap on p failed: 22012: division by zero'),
		('ended', 'production', 'failed: division by zero')$$, 'where and why');
SELECT throws_ok('SELECT hotswap.take_notifications(0)', '22023', '"max" is out of range: 0',
	'max');
SELECT is((SELECT count(*) FROM hotswap.take_notifications(3)), 3::bigint, 'three of them');
SELECT is((SELECT count(*) FROM hotswap.notifications WHERE delivered_at IS NULL),
	(SELECT count(*) - 3 FROM hotswap.notifications), 'are marked');
SELECT is((SELECT count(*) FROM hotswap.take_notifications(10000)),
	(SELECT count(*) - 3 FROM hotswap.notifications), 'the others come next');
SELECT is_empty('SELECT * FROM hotswap.take_notifications()', 'none is left');
SELECT is_empty('SELECT * FROM hotswap.verify_audit()', 'the chains are whole');
SELECT * FROM finish();
