-- How many deployments of a tenant run at a time (src/dispatch/due_set.c).
-- CALL work() admits as the background dispatcher does, and at most eight tasks at a time, so what
-- is first is not a matter of luck.
SELECT plan(14);
\ir ../include/admission.sql

-- A tenant with one at a time, and another one.
SELECT hotswap.configure_environment('development', 10) \g /dev/null
SELECT make('b', 'custom') AS b, make('limited', 'free') AS t \gset
SET hotswap.tenant = :'t';
SELECT add_node('two', 'n', :'t') \g /dev/null

-- As many as the quota.
SELECT hotswap.publish_version('m' || i, '1', CASE i WHEN 2 THEN 'SELECT 1/0' ELSE 'SELECT 1' END)
	FROM generate_series(1, 12) i \g /dev/null
SELECT hotswap.deploy('m' || i, '1', 'two') FROM generate_series(1, 12) i \g /dev/null
CALL hotswap.work();
SELECT is(statuses(:'t'), '11 succeeded, 1 failed',
	'a quota of one: all are done, whatever became of one');
SELECT is(most_at_once(:'t'), 1::bigint, 'one at a time');
INSERT INTO hotswap.quota VALUES (:'t', 'concurrent_deployments', 3);
SELECT hotswap.publish_version('m' || i, '2', 'SELECT 2') FROM generate_series(1, 12) i \g /dev/null
SELECT hotswap.deploy('m' || i, '2', 'two') FROM generate_series(1, 12) i \g /dev/null
CALL hotswap.work();
SELECT is(statuses(:'t'), '23 succeeded, 1 failed', 'its own quota of three: all are done');
SELECT is(most_at_once(:'t'), 3::bigint, 'three at a time');
UPDATE hotswap.quota SET amount = NULL WHERE tenant_id = :'t';
SELECT hotswap.publish_version('m' || i, '3', 'SELECT 3') FROM generate_series(1, 12) i \g /dev/null
SELECT hotswap.deploy('m' || i, '3', 'two') FROM generate_series(1, 12) i \g /dev/null
CALL hotswap.work();
SELECT cmp_ok(most_at_once(:'t'), '>', 3::bigint, 'its own quota of NULL is no limit');

-- A quota of nothing; others are not in the way.
UPDATE hotswap.quota SET amount = 0 WHERE tenant_id = :'t';
SELECT hotswap.publish_version('m1', '4', 'SELECT 1') \g /dev/null
SELECT hotswap.publish_version('m2', '2', 'SELECT 1', tenant => :'b') \g /dev/null
SELECT hotswap.deploy('m1', '4', 'one', priority => 9) AS d,
	hotswap.deploy('m2', '2', 'one', tenant => :'b') AS other \gset
CALL hotswap.work();
SELECT results_eq(format('SELECT status::text FROM hotswap.deployment WHERE id IN (%L, %L)
	ORDER BY 1', :'d', :'other'), $$VALUES ('queued'), ('succeeded')$$, 'a quota of zero');
SELECT results_eq(format('SELECT reason, detail, unblocked_by FROM hotswap.explain(%L)
	WHERE reason <> ''no dispatcher is running''', :'d'),
	$$VALUES ('the tenant has 0 of 0 deployments running', NULL,
		'a higher quota of concurrent_deployments')$$, 'explain() says so');

-- What has started is not counted out by a lower quota, and goes on.
UPDATE hotswap.quota SET amount = 1 WHERE tenant_id = :'t';
SELECT hotswap.publish_version('lower', '1',
	format('UPDATE hotswap.quota SET amount = 0 WHERE tenant_id = %L', :'t')) \g /dev/null
SELECT hotswap.deploy('lower', '1', 'two', priority => 10) AS lower \gset
CALL hotswap.work();
SELECT results_eq(format('SELECT status::text FROM hotswap.deployment WHERE id IN (%L, %L)
	ORDER BY 1', :'d', :'lower'), $$VALUES ('queued'), ('succeeded')$$,
	'a quota that is lowered meanwhile: what runs ends, and nothing else starts');
UPDATE hotswap.quota SET amount = 1 WHERE tenant_id = :'t';

-- One that waits for an approval does not count, although it was started.
SELECT hotswap.set_approval_policy('two', 1) \g /dev/null
SELECT hotswap.publish_version('parked', '1', 'SELECT 1') \g /dev/null
SELECT hotswap.deploy('parked', '1', 'two', priority => 10) AS parked \gset
CALL hotswap.work();
SELECT results_eq(format('SELECT status::text FROM hotswap.deployment WHERE id IN (%L, %L)
	ORDER BY status', :'d', :'parked'), $$VALUES ('pending_approval'), ('succeeded')$$,
	'while one waits for an approval, another one can go');
SELECT hotswap.cancel(:'parked', 'seen enough') \g /dev/null
SELECT hotswap.set_approval_policy('two', 0) \g /dev/null

-- A rollback that is tried again is not held back, and counts.
CREATE SCHEMA paused;
CREATE SEQUENCE paused.verified;
CREATE TABLE paused.sound ();

-- Sound when it is swapped in, and not any more when it is validated.
SELECT hotswap.publish_version('undone', '1', 'SELECT 1',
	'SELECT 1 / (nextval(''paused.verified'') < 2)::integer',
	'SELECT 1 / count(*) FROM paused.sound; UPDATE hotswap.quota SET amount = 1
		WHERE amount = 0') \g /dev/null
SELECT hotswap.deploy('undone', '1', 'one') AS undone \gset
CALL hotswap.work();
SELECT is((SELECT status::text FROM hotswap.deployment WHERE id = :'undone'), 'rollback_failed',
	'a rollback that failed');
UPDATE hotswap.quota SET amount = 0 WHERE tenant_id = :'t';
SELECT is(hotswap.retry(:'undone'), 'rolling_back', 'is tried again');
SELECT hotswap.publish_version('m1', '5', 'SELECT 1') \g /dev/null
SELECT hotswap.deploy('m1', '5', 'one') AS d \gset
SELECT results_eq(format('SELECT reason, detail, unblocked_by FROM hotswap.explain(%L)
	WHERE reason LIKE ''the tenant%%''', :'d'),
	format('VALUES (''the tenant has 1 of 0 deployments running'', ''They are: %s.'',
		''the end of one of them, or a higher quota of concurrent_deployments'')', :'undone'),
	'it counts');
INSERT INTO paused.sound DEFAULT VALUES;
CALL hotswap.work();
SELECT is((SELECT status::text FROM hotswap.deployment WHERE id = :'undone'), 'rolled_back',
	'and goes on in spite of the quota');
SELECT is((SELECT status::text FROM hotswap.deployment WHERE id = :'d'), 'succeeded',
	'when it has ended, the quota that it raised is free');
DELETE FROM hotswap.quota WHERE tenant_id = :'t';
SELECT * FROM finish();
