-- cancel() of what has not started, and of what has ended (src/deployment/cancel.c). What runs is
-- cancelled in test/specs/deployment/cancel.spec and test/t/deployment/retry.pl.
SELECT plan(14);

SELECT hotswap.publish_version('plain', '1', 'SELECT 1'),
	hotswap.stop_dispatching('so that nothing starts') \g /dev/null
SELECT hotswap.deploy('plain', '1', 'qa') AS id \gset

-- Cancelling what has not started.
SELECT throws_ok(format('SELECT hotswap.cancel(%s)', args), code, message, args)
FROM (VALUES ('NULL, ''x''', '22023', '"deployment" must not be null'),
	(quote_literal(:'id') || ', NULL', '22023', '"reason" must not be null'),
	(quote_literal(:'id') || ', '' ''', '22023', '"reason" must not be blank'),
	(quote_literal(:'id') || ', repeat(''r'', 10001)', '22023',
		'"reason" is too long: "' || repeat('r', 100) || '..."'),
	('''00000000-0000-7000-8000-00000000dead'', ''x''', 'P0002',
		'deployment "00000000-0000-7000-8000-00000000dead" does not exist')) a (args, code,
			message);
SELECT is(hotswap.cancel(:'id', 'not today'), 'cancelled', 'queued: cancelled at once');
SELECT results_eq(format('SELECT status::text, cancel_reason, message, finished_at IS NOT NULL
	FROM hotswap.deployment WHERE id = %L', :'id'),
	$$VALUES ('cancelled', 'not today', 'not today', true)$$, 'with its reason');
SELECT is((SELECT count(*) FROM hotswap.work_item WHERE deployment_id = :'id'), 0::bigint,
	'and out of the queue');
SELECT throws_ok(format('SELECT hotswap.cancel(%L, ''again'')', :'id'), '55000',
	'deployment in status "cancelled" does not allow event "cancel"', 'twice');
SELECT is((refusal(format('SELECT hotswap.cancel(%L, ''again'')', :'id'))).detail,
	'Statuses "scheduled", "pending_approval", "queued", "running", "paused" allow it.',
	'the detail says when it is legal');
SELECT hotswap.deploy('plain', '1', 'qa', run_at => now() + '1 day') AS later \gset
SELECT results_eq(format('SELECT d.status::text, w.due_at = d.run_at FROM hotswap.deployment d
	JOIN hotswap.work_item w ON w.deployment_id = d.id WHERE id = %L', :'later'),
	$$VALUES ('scheduled', true)$$, 'run_at: scheduled');
SELECT is(hotswap.cancel(:'later', 'x'), 'cancelled', 'scheduled: cancelled at once');

-- What has ended.
SELECT hotswap.deploy('plain', '1', 'qa') AS failed, hotswap.start_dispatching() \gset
SELECT is(hotswap.wait(:'failed', '60 s'), 'failed', 'a deployment that has ended');
SELECT throws_ok(format('SELECT hotswap.cancel(%L, ''x'')', :'failed'), '55000',
	'deployment in status "failed" does not allow event "cancel"',
		'what has ended cannot be cancelled');
SELECT * FROM finish();
