-- Nodes that fail and stay behind while their deployment succeeds: max_failed
-- (src/pipeline/behind.c), and retry() of these alone (src/deployment/retry.c).
SELECT plan(39);
\ir ../include/graph.sql
SELECT hotswap.set_approval_policy('production', 0) \g /dev/null
SELECT logging_node('production', n) FROM unnest('{a,b,c,d}'::text[]) n \g /dev/null
SELECT hotswap.publish_version('m', v::text, format('INSERT INTO log (what) VALUES (%L)', v),
	'SELECT true', format('INSERT INTO log (what) VALUES (%L)', '-' || v),
	parents => CASE WHEN v = 1 THEN '{}' ELSE ARRAY[(v - 1)::text] END)
	FROM generate_series(1, 6) v \g /dev/null
CALL deploy_to('1', 'production') \gset

-- A node on which a version fails.
CREATE FUNCTION spoil(node text, version text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('ALTER TABLE %I.log ADD CONSTRAINT bad CHECK (what <> %L)', node, version);
END $$;
CREATE FUNCTION mend(node text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('ALTER TABLE %I.log DROP CONSTRAINT bad', node);
END $$;
CREATE FUNCTION heads() RETURNS text LANGUAGE sql AS
	$$SELECT string_agg(heads_of(n), ' ' ORDER BY n) FROM unnest('{a,b,c,d}'::text[]) n$$;
CREATE FUNCTION behind(d uuid) RETURNS integer LANGUAGE sql AS
	'SELECT nodes_behind FROM hotswap.deployments WHERE id = d';
CREATE FUNCTION nodes_health() RETURNS text LANGUAGE sql AS
	$$SELECT status || ': ' || detail FROM hotswap.health() WHERE component = 'nodes'$$;

-- None may stay behind until somebody says so.
SELECT spoil('b', '2');
CALL deploy_to('2', 'production') \gset
SELECT matches(:'said'::text, '^rolled_back: .*"bad"$', 'a failure takes the others back');
SELECT is(heads(), '1 1 1 1', 'all of them');
SELECT is(nodes_health(), 'ok: none has stayed behind', 'none is behind');

-- One may.
SELECT hotswap.configure_environment('production', max_failed => '1');
SELECT hotswap.deploy('m', '2', 'production') AS d2 \gset
CALL ended(:'d2') \gset
SELECT is(:'said'::text, 'succeeded', 'one of four may fail');
SELECT is(heads(), '2 1 2 2', 'it runs what it ran');
SELECT is(log_of('b'), '1', 'of the version nothing is there');
SELECT is(behind(:'d2'), 1, 'the deployment says how many stayed behind');
SELECT results_eq(format($$SELECT kind::text, status::text, message FROM hotswap.stages
	WHERE deployment_id = %L AND kind IN ('deploy', 'validate') AND environment IS DISTINCT FROM
	'staging' AND status <> 'skipped'$$, :'d2'),
	$$VALUES ('deploy', 'succeeded', '1 node stayed behind'), ('validate', 'succeeded', NULL)$$,
	'so does the stage');
SELECT results_eq(format($$SELECT node FROM hotswap.tasks WHERE deployment_id = %L
	AND kind = 'verify' ORDER BY 1$$, :'d2'), $$VALUES ('a'), ('c'), ('d')$$,
	'it is not verified');
SELECT results_eq(format($$SELECT detail FROM hotswap.audit_log WHERE subject_id = %L
	AND event = 'succeed'$$, :'d2'), $$VALUES ('{"nodes_behind": "1"}'::jsonb)$$,
	'so does the audit log');
SELECT results_eq(format('SELECT detail, unblocked_by FROM hotswap.explain(%L)', :'d2'),
	$$VALUES ('It is succeeded; 1 node stayed behind: b.', 'hotswap.retry()'),
		('The swap on b failed in line 1 of the deploy script (SQLSTATE 23514): '
			'new row for relation "log" violates check constraint "bad"; '
			'detail: Failing row contains (3, 2).', NULL)$$, 'explain() names it');
SELECT is(nodes_health(), format('warning: 1 have stayed behind, the first is b in production: '
	'deployment %s (m) failed there: hotswap.retry(), or another deployment', :'d2'),
	'health() warns');

-- Another go takes it alone, and changes nothing for the others.
SELECT is(hotswap.retry(:'d2'), 'queued', 'retry() of one that has succeeded');
CALL ended(:'d2') \gset
SELECT matches(:'said'::text, '^failed: .*"bad"$', 'where it fails again, that is a failure');
SELECT is(heads() || ' ' || behind(:'d2'), '2 1 2 2 1', 'all is as it was');
SELECT mend('b');
SELECT is(hotswap.retry(:'d2'), 'queued', 'once more');
CALL ended(:'d2') \gset
SELECT is(:'said'::text, 'succeeded', 'it comes on');
SELECT is(heads() || ' ' || behind(:'d2'), '2 2 2 2 0', 'none is behind');
SELECT results_eq(format($$SELECT kind::text, node FROM hotswap.tasks WHERE deployment_id = %L
	AND node IS NOT NULL ORDER BY stage$$, :'d2'), $$VALUES ('swap', 'b'), ('verify', 'b')$$,
	'that was all it did');
SELECT is(nodes_health(), 'ok: none has stayed behind', 'all is well again');
SELECT throws_ok(format('SELECT hotswap.retry(%L)', :'d2'), '55000',
	format('deployment "%s" has succeeded, and there is no node to retry it on', :'d2'),
	'nothing is left to be retried');
SELECT hotswap.rollback(:'d2', 'all of it') AS r \gset
CALL ended(:'r') \gset
SELECT is(heads(), '1 1 1 1', 'rollback() takes both goes back');

-- More than may: as if none might. A share is rounded down.
SELECT hotswap.release_version('production', 'm', '2', 'it was good') \g /dev/null
CALL deploy_to('2', 'production') \gset
SELECT spoil(n, '3') FROM unnest('{b,c}'::text[]) n \g /dev/null
CALL deploy_to('3', 'production') \gset
SELECT matches(:'said' || ' ' || heads(), '^rolled_back: .* 2 2 2 2$', 'two of four are too many');
SELECT hotswap.configure_environment('production', max_failed => '49%');
CALL deploy_to('3', 'production') \gset
SELECT matches(:'said' || ' ' || heads(), '^rolled_back: .* 2 2 2 2$', 'so they are of 49 %');
SELECT hotswap.configure_environment('production', max_failed => '50%');
SELECT hotswap.deploy('m', '3', 'production') AS d3 \gset
CALL ended(:'d3') \gset
SELECT is(:'said' || ' ' || heads() || ' ' || behind(:'d3'), 'succeeded 3 2 2 3 2',
	'50 % are two');

-- Half of those that are retried come: the rest stays behind, whatever the share of two is.
SELECT hotswap.configure_environment('production', max_failed => '10%');
SELECT mend('b');
SELECT hotswap.retry(:'d3') \g /dev/null
CALL ended(:'d3') \gset
SELECT is(:'said' || ' ' || heads() || ' ' || behind(:'d3'), 'succeeded 3 3 2 3 1', 'one comes');

-- The next deployment brings on what is behind.
SELECT mend('c');
CALL deploy_to('4', 'production') \gset
SELECT is(:'said' || ' ' || heads(), 'succeeded 4 4 4 4', 'the next one');
SELECT is(log_of('c'), '1 2 -2 2 -2 2 3 4', 'by the whole path');
SELECT is(nodes_health(), 'ok: none has stayed behind', 'it is behind no more');
SELECT matches((refusal(format('SELECT hotswap.retry(%L)', :'d3'))).detail,
	'^Deployment ".*" has come to environment "production" since.$', 'too late for a retry');

-- Where no node comes through, nothing has succeeded.
SELECT hotswap.configure_environment('production', max_failed => '100%');
SELECT spoil(n, '5') FROM unnest('{a,b,c,d}'::text[]) n \g /dev/null
CALL deploy_to('5', 'production') \gset
SELECT matches(:'said' || ' ' || heads(), '^failed: .* 4 4 4 4$', 'all fail');

-- A node that is removed is not behind.
SELECT mend(n) FROM unnest('{b,c,d}'::text[]) n \g /dev/null
SELECT hotswap.deploy('m', '5', 'production') AS d5 \gset
CALL ended(:'d5') \gset
SELECT is(:'said' || ' ' || heads(), 'succeeded 4 5 5 5', 'one of them');
SELECT hotswap.remove_node(id) FROM hotswap.nodes WHERE name = 'a' GROUP BY id \g /dev/null
SELECT is((refusal(format('SELECT hotswap.retry(%L)', :'d5'))).detail,
	'The nodes that stayed behind have been brought on or removed.', 'it is gone');

-- A rollback leaves none, and on the way to the target a failure is a failure.
SELECT spoil('b', '-5');
SELECT hotswap.rollback(:'d5', 'it is slow') AS r \gset
CALL ended(:'r') \gset
SELECT matches(:'said'::text, '^failed: ', 'a rollback that does not take all back');
SELECT hotswap.release_version('production', 'm', '5', 'x') \g /dev/null
SELECT logging_node('qa', n) FROM unnest('{q,r}'::text[]) n \g /dev/null
SELECT hotswap.configure_environment('qa', max_failed => '1'), spoil('q', '6') \g /dev/null
CALL deploy_to('6', 'production') \gset
SELECT matches(:'said'::text, '^rolled_back: ', 'on the way there none may stay behind');
CALL deploy_to('6', 'qa') \gset
SELECT is(:'said'::text, 'succeeded', 'where it ends one may');

-- An approval is used once: where one is needed the retry needs another.
SELECT hotswap.set_approval_policy('qa', 1, allow_self_approval => true),
	spoil('r', 'n') \g /dev/null
SELECT hotswap.publish_version('n', '1', 'INSERT INTO log (what) VALUES (''n'')'),
	hotswap.deploy('n', '1', 'qa') AS n1 \gset
SELECT hotswap.approve(:'n1', 'qa') \g /dev/null
CALL ended(:'n1') \gset
SELECT is(:'said' || ' ' || behind(:'n1'), 'succeeded 1', 'approved, and one stays behind');
SELECT mend('r');
SELECT hotswap.retry(:'n1') \g /dev/null
CALL await(:'n1', 'pending_approval');
SELECT results_eq(format($$SELECT round, status::text FROM hotswap.approvals
	WHERE deployment_id = %L ORDER BY round$$, :'n1'),
	$$VALUES (1, 'approved'), (2, 'pending')$$, 'it waits for a second one');
SELECT hotswap.approve(:'n1', 'qa') \g /dev/null
CALL ended(:'n1') \gset
SELECT is(:'said' || ' ' || behind(:'n1'), 'succeeded 0', 'and goes on with it');
SELECT * FROM finish();
