-- What nodes report decides about a wave (src/pipeline/verdict.c); the numbers of the analysis are
-- in test/unit/rollout/analysis.c. Time is moved: a bake of an hour began an hour ago.
SELECT plan(59);

SELECT format('CREATE SCHEMA n%s', i) FROM generate_series(1, 12) i \gexec
SELECT hotswap.register_node('development', 'n' || i, schema => 'n' || i)
	FROM generate_series(1, 12) i \g /dev/null
SELECT hotswap.publish_version('m', v, 'SELECT ' || v, revert_sql => 'SELECT 1')
	FROM unnest(string_to_array('1 2 3 4 5 6 7 8 9 10 11 12 13', ' ')) v \g /dev/null
SELECT hotswap.publish_version('other', '1', 'SELECT 1', revert_sql => 'SELECT 1') \g /dev/null
SELECT hotswap.configure_environment('development', strategy => 'canary'),
	hotswap.configure_rollout('development', first_wave => '2', wave_step => '5', bake => '1 h'),
	hotswap.set_health_policy('development', max_error_rate => 50) \g /dev/null
CREATE FUNCTION report(node uuid, at timestamptz, cpu float8, latency float8, errors bigint,
		requests bigint = 1000) RETURNS void LANGUAGE sql AS $$
	INSERT INTO hotswap.node_metric VALUES ('00000000-0000-7000-8000-000000000001', node,
		date_trunc('second', at), true,
		(extract(epoch FROM at - timestamptz '2000-01-01 00:00+00')::bigint / 86400) % 9,
		cpu, 50, latency, requests, errors) ON CONFLICT DO NOTHING $$;
CREATE FUNCTION treated(d uuid) RETURNS TABLE (id uuid, name text, n integer) LANGUAGE sql AS $$
	SELECT (SELECT n.id FROM hotswap.nodes n WHERE n.name = t.node LIMIT 1), t.node,
		substr(t.node, 2)::integer FROM hotswap.tasks t
	WHERE deployment_id = d AND kind = 'swap' AND status = 'succeeded' $$;

-- wave(VERSION): a deployment whose first wave bakes and is paused, as if it had been so for long.
CREATE PROCEDURE wave(version text, INOUT d uuid, nodes text[] = NULL, past interval = '1 h')
		LANGUAGE plpgsql AS $$
BEGIN
	DELETE FROM hotswap.node_metric;
	d := hotswap.deploy('m', version, 'development', nodes => nodes);
	COMMIT;
	CALL until(format('EXISTS (SELECT FROM hotswap.rollouts WHERE deployment_id = %L
		AND bake_until IS NOT NULL)', d));
	PERFORM hotswap.pause(d, 'time is moved');
	COMMIT;
	CALL await(d, 'paused');
	UPDATE hotswap.stage SET started_at = started_at - past
		WHERE deployment_id = d AND kind = 'deploy';
	UPDATE hotswap.task SET finished_at = finished_at - past WHERE deployment_id = d
		AND kind = 'swap' AND status = 'succeeded';
	UPDATE hotswap.node_module SET swapped_at = swapped_at - past WHERE deployment_id = d;
	UPDATE hotswap.rollout SET bake_left = '1 h' - past WHERE deployment_id = d;
END $$;

-- What all nodes report: errors and latency of those with the version are multiplied; nodes differ,
-- and in how they change as well, in the same way whichever nodes have the version.
CREATE PROCEDURE reports(d uuid, more_errors float8 = 1, more_latency float8 = 1,
		rough float8 = 0.05) LANGUAGE sql AS $$
	SELECT report(n.id, now() - i * interval '1 minute', 20 + n.n, 50 * f.latency,
		(1000 * f.errors * (1 + n.n % 3) / 100)::bigint)
	FROM (SELECT id, substr(name, 2)::integer AS n, t.id IS NOT NULL AS has_it,
			row_number() OVER (PARTITION BY t.id IS NOT NULL
				ORDER BY substr(name, 2)::integer) AS place
		FROM (SELECT DISTINCT id, name FROM hotswap.nodes) m
		LEFT JOIN (SELECT id FROM treated(d)) t USING (id)) n
	CROSS JOIN generate_series(1, 290) i
	CROSS JOIN LATERAL (SELECT i <= 60 AND has_it AS changed,
		CASE WHEN i <= 60 THEN 1 + rough * ((n.place * 7) % 5 - 2) ELSE 1 END AS change) c
	CROSS JOIN LATERAL (SELECT CASE WHEN changed THEN more_errors ELSE 1 END * change AS errors,
		CASE WHEN changed THEN more_latency ELSE 1 END * change AS latency) f $$;
CREATE FUNCTION verdicts(d uuid) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(concat_ws(' ', metric, verdict), ', ' ORDER BY metric) FROM hotswap.analyses a
	WHERE deployment_id = d AND at = (SELECT max(at) FROM hotswap.analyses
		WHERE deployment_id = d) $$;
CREATE FUNCTION gates(d uuid) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(concat_ws(' ', detail ->> 'wave', detail ->> 'verdict'), ', ' ORDER BY seq)
	FROM hotswap.audit_log WHERE subject_id = d AND event = 'rollout.gate' $$;
CREATE FUNCTION reason(d uuid) RETURNS text LANGUAGE sql AS $$
	SELECT reason FROM hotswap.analyses WHERE deployment_id = d AND metric = 'health'
	ORDER BY at DESC LIMIT 1 $$;
CREATE FUNCTION told(d uuid) RETURNS text LANGUAGE sql AS $$
	SELECT reason FROM hotswap.notification WHERE deployment_id = d AND event = 'gate'
	ORDER BY id DESC LIMIT 1 $$;
CREATE FUNCTION decided(d uuid) RETURNS text LANGUAGE sql AS $$
	SELECT format('(SELECT gate IS NOT NULL OR wave > 1 FROM hotswap.rollouts
		WHERE deployment_id = %L)', d) $$;

-- One that is good: the next wave begins.
CALL wave('1', NULL) \gset
CALL reports(:'d');
SELECT hotswap.resume(:'d', 'x') \g /dev/null
CALL until(format('(SELECT wave >= 2 FROM hotswap.rollouts WHERE deployment_id = %L)', :'d'));
SELECT is(gates(:'d'), '1 pass', 'no difference passes');
SELECT is(verdicts(:'d'), 'health pass, errors pass, latency pass, cpu pass, memory pass',
	'by each metric');
SELECT results_eq(format($$SELECT DISTINCT wave, look, method::text, gate::text, environment
	FROM hotswap.analyses WHERE deployment_id = %L$$, :'d'),
	$$VALUES (1, 5, 'test', 'pass', 'development')$$, 'by a test, at the end of the bake');
SELECT results_eq(format($$SELECT nodes_with, nodes_without, abs(difference) < 0.2,
	at_least < difference, difference < at_most, threshold, round(alpha::numeric, 6), p > alpha,
	detectable < 1, left_out FROM hotswap.analyses WHERE deployment_id = %L AND metric = 'errors'$$,
	:'d'), $$VALUES (2, 10, true, true, true, 0.5::float8, 0.005000, true, true, '{}'::text[])$$,
	'with its numbers');
SELECT ok((SELECT level_with BETWEEN 0.005 AND 0.05 AND level_without BETWEEN 0.005 AND 0.05
	FROM hotswap.analyses WHERE deployment_id = :'d' AND metric = 'errors'), 'and levels');
SELECT results_eq(format($$SELECT since - max(finished_at), t.started - baseline_since < '4 h',
	t.started - baseline_since > '3:40' FROM hotswap.analyses a JOIN hotswap.tasks k
	USING (deployment_id, stage, wave) CROSS JOIN LATERAL (SELECT started_at AS started
		FROM hotswap.stages s WHERE s.deployment_id = a.deployment_id AND s.ordinal = a.stage) t
	WHERE deployment_id = %L AND metric = 'health' AND k.kind = 'swap'
	GROUP BY since, t.started, baseline_since$$, :'d'),
	$$VALUES (interval '6 min', true, true)$$,
	'from when the wave has settled, beside what was reported before the stage');
SELECT matches(reason(:'d'), '^errors [+-]\d+ % \([+-]\d+ to [+-]\d+\), latency ', 'in words');
SELECT is(told(:'d'), NULL, 'nobody is told of it');
CALL until(format('EXISTS (SELECT FROM hotswap.rollouts WHERE deployment_id = %L
	AND bake_until IS NOT NULL)', :'d'));
SELECT hotswap.cancel(:'d', 'enough') \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'cancelled', 'it is ended');

-- One whose errors double and more goes back.
CALL wave('2', NULL) \gset
CALL reports(:'d', 3);
SELECT hotswap.resume(:'d', 'x') \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'rolled_back', 'three times the errors go back');
SELECT is(gates(:'d'), '1 fail', 'for its gate has failed');
SELECT is(verdicts(:'d'), 'health pass, errors fail, latency pass, cpu pass, memory pass',
	'by its errors');
SELECT matches((SELECT message FROM hotswap.deployments WHERE id = :'d'),
	'^wave 1 of 3 is worse: errors \+\d+ % \(\+\d+ to \+\d+\), more than 50 %$',
	'the deployment says why');
SELECT is((SELECT sqlstate FROM hotswap.deployments WHERE id = :'d'), '55000', 'with a state');
SELECT is((SELECT count(*) FROM hotswap.tasks WHERE deployment_id = :'d' AND kind = 'revert'
	AND status = 'succeeded'), 2::bigint, 'both nodes went back');
SELECT is(told(:'d'), (SELECT message FROM hotswap.deployments WHERE id = :'d'),
	'who requested it is told');
SELECT is((SELECT reason FROM hotswap.audit_log WHERE subject_id = :'d'
	AND event = 'rollout.gate'), reason(:'d'), 'the audit log has it');
SELECT matches((SELECT detail FROM hotswap.explain(:'d')), 'wave 1 of 3 is worse: errors',
	'explain() says it');
CALL wave('3', NULL) \gset
CALL reports(:'d', 1, 3);
SELECT hotswap.resume(:'d', 'x') \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'rolled_back', 'so does one that takes three times as long');
SELECT is(verdicts(:'d'), 'health pass, errors pass, latency fail, cpu pass, memory pass',
	'by its latency');

-- What is switched off is not compared.
SELECT hotswap.set_analysis_policy('development', more_latency => NULL, more_cpu => NULL,
	more_memory => NULL) \g /dev/null
CALL wave('4', NULL) \gset
CALL reports(:'d', 1, 3);
SELECT hotswap.resume(:'d', 'x') \g /dev/null
CALL until(decided(:'d'));
SELECT is(verdicts(:'d'), 'health pass, errors pass', 'a metric that is switched off');
SELECT hotswap.cancel(:'d', 'enough') \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'cancelled', 'does not count');
SELECT hotswap.set_analysis_policy('development') \g /dev/null

-- It is not known: up to half of the nodes it goes on, then it asks.
SELECT hotswap.configure_rollout('development', first_wave => '5') \g /dev/null
CALL wave('5', NULL) \gset
CALL reports(:'d', 1, 1, 0.4);
SELECT hotswap.resume(:'d', 'x') \g /dev/null
CALL until(format('EXISTS (SELECT FROM hotswap.pauses WHERE deployment_id = %L
	AND kind = ''inconclusive'')', :'d'));
CALL await(:'d', 'paused');
SELECT is(gates(:'d'), '1 inconclusive', 'nodes that change very differently');
SELECT matches((SELECT reason FROM hotswap.pauses WHERE deployment_id = :'d'),
	'^after wave 1 of 3: errors .*; of errors the smallest that would have been found is '
	|| '\+\d+ %, and must be \+100 %', 'it pauses before the other half, and says what it lacks');
SELECT is((SELECT ends_at - since FROM hotswap.pauses WHERE deployment_id = :'d'),
	interval '24 h', 'not for ever');
SELECT is((SELECT unblocked_by FROM hotswap.explain(:'d') WHERE reason = 'it is paused'),
	'hotswap.promote()', 'explain() says what to do');
SELECT is(told(:'d'), (SELECT reason FROM hotswap.pauses WHERE deployment_id = :'d'),
	'who requested it is told');
SELECT hotswap.promote(:'d', 'looks well') \g /dev/null
CALL until(format('(SELECT wave >= 2 FROM hotswap.rollouts WHERE deployment_id = %L)', :'d'));
SELECT is((SELECT count(*) FROM hotswap.pauses WHERE deployment_id = :'d'), 0::bigint,
	'promote() lets it go on');
CALL until(format('EXISTS (SELECT FROM hotswap.rollouts WHERE deployment_id = %L
	AND bake_until IS NOT NULL)', :'d'));
SELECT hotswap.promote(:'d', 'enough', full => true) \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'and beyond half it never asks');
SELECT is(gates(:'d'), '1 inconclusive, 2 inconclusive, 3 pass',
	'after the last wave nobody is left to compare with');
SELECT is((SELECT DISTINCT method::text FROM hotswap.analyses WHERE deployment_id = :'d'
	AND wave = 3), 'health', 'so that no node is unhealthy is all there is');
CALL wave('6', NULL) \gset
CALL reports(:'d', 1, 1, 0.4);
SELECT hotswap.resume(:'d', 'x') \g /dev/null
CALL until(format('EXISTS (SELECT FROM hotswap.pauses WHERE deployment_id = %L
	AND kind = ''inconclusive'')', :'d'));
CALL await(:'d', 'paused');
SELECT hotswap.pause(:'d', 'x') \g /dev/null
UPDATE hotswap.pause SET ends_at = now() WHERE deployment_id = :'d';
SELECT hotswap.resume(:'d', 'x') \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'cancelled', 'when nobody decides it goes back');
SELECT hotswap.configure_rollout('development', first_wave => '2') \g /dev/null

-- Silence is no lack of data.
CALL wave('7', NULL) \gset
CALL reports(:'d');
DELETE FROM hotswap.node_metric WHERE node_id = (SELECT id FROM treated(:'d') ORDER BY n LIMIT 1)
	AND at BETWEEN now() - interval '1 h' AND now() - interval '100 s';
SELECT hotswap.resume(:'d', 'x') \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'rolled_back', 'a node that says nothing any more');
SELECT matches(reason(:'d'), format('^node "%s" has fallen silent',
	(SELECT node FROM hotswap.tasks WHERE deployment_id = :'d' AND kind = 'revert'
	ORDER BY substr(node, 2)::integer LIMIT 1)), 'is why');

-- Limits that hold for each node by itself do not wait for the end of the bake.
CALL wave('8', NULL, past => '30 min') \gset
CALL reports(:'d');
UPDATE hotswap.node_metric SET cpu = 99 WHERE node_id = (SELECT id FROM treated(:'d') ORDER BY n
	LIMIT 1) AND at > now() - interval '5 min';
SELECT hotswap.resume(:'d', 'x') \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'rolled_back', 'a node that is unhealthy');
SELECT matches(reason(:'d'), '^node "n\d+" is unhealthy: CPU is at 99.0 %', 'is why');
SELECT is((SELECT DISTINCT look FROM hotswap.analyses WHERE deployment_id = :'d'), 2,
	'in the middle of the bake');

-- A bake that ends when enough is known.
CALL wave('9', NULL, past => '30 min') \gset
CALL reports(:'d');
SELECT hotswap.resume(:'d', 'x') \g /dev/null
CALL until(format('EXISTS (SELECT FROM hotswap.analyses WHERE deployment_id = %L)', :'d'));
SELECT is(gates(:'d'), NULL, 'a look that passes does not end a bake');
SELECT matches((SELECT detail FROM hotswap.explain(:'d') WHERE reason = 'a wave bakes'),
	'^Wave 1 of 3 is swapped; its bake ends at 2.*; so far: errors ',
	'explain() says what was seen');
SELECT hotswap.cancel(:'d', 'enough') \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'cancelled', 'it is ended');
SELECT hotswap.set_analysis_policy('development', adaptive => true, min_bake => '50 min')
	\g /dev/null
CALL wave('9', NULL, past => '30 min') \gset
CALL reports(:'d');
SELECT hotswap.resume(:'d', 'x') \g /dev/null
CALL until(format('EXISTS (SELECT FROM hotswap.analyses WHERE deployment_id = %L)', :'d'));
SELECT is(gates(:'d'), NULL, 'nor where that is too early');
SELECT hotswap.cancel(:'d', 'enough') \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'cancelled', 'it is ended');
SELECT hotswap.set_analysis_policy('development', adaptive => true, min_bake => '20 min')
	\g /dev/null
CALL wave('9', NULL, past => '30 min') \gset
CALL reports(:'d');
SELECT hotswap.resume(:'d', 'x') \g /dev/null
CALL until(format('(SELECT wave >= 2 FROM hotswap.rollouts WHERE deployment_id = %L)', :'d'));
SELECT is(gates(:'d'), '1 pass', 'where it is adaptive it does');
SELECT ok((SELECT abs(alpha - 0.0003125) < 1e-9 FROM hotswap.analyses
	WHERE deployment_id = :'d' AND metric = 'errors'), 'with a part of the error');
SELECT hotswap.cancel(:'d', 'enough') \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'cancelled', 'it is ended');
SELECT hotswap.set_analysis_policy('development') \g /dev/null

-- Another module on the same nodes: nobody can tell whose the difference is.
CALL wave('10', NULL) \gset
CALL reports(:'d', 3);
SELECT name AS first FROM treated(:'d') ORDER BY name LIMIT 1 \gset
SELECT name AS second FROM treated(:'d') ORDER BY name DESC LIMIT 1 \gset
SELECT hotswap.deploy('other', '1', 'development', nodes => ARRAY[:'first', :'second']) AS other
	\gset
CALL until(format('EXISTS (SELECT FROM hotswap.rollouts WHERE deployment_id = %L
	AND bake_until IS NOT NULL)', :'other'));
UPDATE hotswap.node_metric SET cpu = 99 WHERE node_id = (SELECT id FROM treated(:'d') ORDER BY n
	LIMIT 1) AND at > now() - interval '5 min';
SELECT hotswap.resume(:'d', 'x') \g /dev/null
CALL until(decided(:'d'));
SELECT is(gates(:'d'), '1 inconclusive', 'nodes to which another module came are left out');
SELECT is(reason(:'d'), format('there are no nodes to be compared; left out: "%s", "%s"',
	:'first', :'second'), 'by name');
SELECT is((SELECT array_length(left_out, 1) FROM hotswap.analyses WHERE deployment_id = :'d'), 2,
	'in the view as well');
SELECT hotswap.promote(:'other', 'x') \g /dev/null
SELECT is(hotswap.wait(:'other', '60 s'), 'rolled_back',
	'that a node is unhealthy is the matter of the module that came last');
SELECT matches(reason(:'other'), '^node "n\d+" is unhealthy: CPU is at 99.0 %', 'it says so');
SELECT hotswap.cancel(:'d', 'enough') \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'cancelled', 'it is ended');
DELETE FROM hotswap.node_module WHERE module = 'other';

-- Few nodes: no test, but what is twice too much all the time goes back.
CALL wave('11', NULL, '{n1,n2,n3,n4}') \gset
CALL reports(:'d', 4);
SELECT hotswap.resume(:'d', 'x') \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'rolled_back', 'four times the errors, of four nodes');
SELECT is((SELECT DISTINCT method::text FROM hotswap.analyses WHERE deployment_id = :'d'),
	'threshold', 'by a limit');
SELECT matches(reason(:'d'), '^errors \+\d+ %.*, more than 100 %$', 'that is twice as high');

-- Nobody measures: it goes on, unless somebody asks for it.
CALL wave('12', NULL) \gset
SELECT hotswap.resume(:'d', 'x') \g /dev/null
CALL until(format('(SELECT wave >= 2 FROM hotswap.rollouts WHERE deployment_id = %L)', :'d'));
SELECT is(gates(:'d'), '1 not measured', 'nobody measures');
SELECT is((SELECT count(*) FROM hotswap.analyses WHERE deployment_id = :'d'), 0::bigint,
	'so there is nothing to tell');
SELECT hotswap.cancel(:'d', 'enough') \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'cancelled', 'it is ended');
SELECT hotswap.set_analysis_policy('development', require_metrics => true) \g /dev/null
CALL wave('13', NULL) \gset
SELECT hotswap.resume(:'d', 'x') \g /dev/null
CALL until(format('EXISTS (SELECT FROM hotswap.pauses WHERE deployment_id = %L
	AND kind = ''unmeasured'')', :'d'));
SELECT is((SELECT reason FROM hotswap.pauses WHERE deployment_id = :'d'),
	'after wave 1 of 3: nobody measures its nodes', 'with require_metrics it pauses');
CALL await(:'d', 'paused');
SELECT hotswap.promote(:'d', 'x', full => true) \g /dev/null
CALL until(format('(SELECT wave >= 2 FROM hotswap.rollouts WHERE deployment_id = %L)', :'d'));
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'until somebody promotes it');
SELECT * FROM finish();
