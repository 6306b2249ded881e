-- The outbox of approvals (src/approval/notification.c).
SELECT plan(10);
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
	$$VALUES ('approved'), ('bypassed'), ('expired'), ('rejected'), ('requested')$$,
	'a notice for each kind of event');
SELECT results_eq(format($$SELECT event::text, concerns FROM hotswap.notifications
	WHERE deployment_id = %L ORDER BY id LIMIT 2$$, :'d'),
	$$VALUES ('requested', '{approval_notification_leads}'::text[]),
		('approved', '{approval_notification_alice}')$$, 'whom it concerns');
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
