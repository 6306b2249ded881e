-- Which strategy an environment's nodes are taken by, and blue_green: all are prepared before one
-- is switched (src/pipeline/waves.c, src/rollout/strategy.c).
SELECT plan(36);

CREATE TABLE log (at timestamptz DEFAULT clock_timestamp(), node text, version text);
GRANT ALL ON log TO PUBLIC;
SELECT format('CREATE SCHEMA %s%s', e, i) FROM generate_series(1, 3) i,
	unnest('{development,qa,staging,production}'::text[]) e \gexec
CREATE FUNCTION add_nodes(env text) RETURNS void LANGUAGE sql AS $$
	SELECT hotswap.register_node(env, env || i, schema => env || i) FROM generate_series(1, 3) i
$$;
SELECT add_nodes(e) FROM unnest('{development,qa,staging,production}'::text[]) e \g /dev/null
SELECT hotswap.publish_version('m', v::text,
	format('INSERT INTO public.log (node, version) VALUES (current_schema, %L)', v),
	revert_sql => format('INSERT INTO public.log (node, version) VALUES (current_schema, %L)', -v))
	FROM generate_series(1, 9) v \g /dev/null
SELECT hotswap.set_approval_policy(e, 0), hotswap.configure_environment(e,
	may_skip_environments => true), hotswap.configure_rollout(e, bake => '0')
	FROM unnest('{staging,production}'::text[]) e \g /dev/null
SELECT hotswap.configure_rollout('qa', bake => '0'),
	hotswap.set_analysis_policy('production', more_errors => NULL, more_latency => NULL,
		more_cpu => NULL, more_memory => NULL) \g /dev/null
CREATE FUNCTION strategies(d uuid) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(environment || ' ' || strategy, ', ' ORDER BY stage)
	FROM hotswap.rollouts WHERE deployment_id = d
$$;
CREATE FUNCTION heartbeat_of(env text, cpu double precision = 10) RETURNS void LANGUAGE sql AS $$
	SELECT hotswap.heartbeat(id, cpu => $2) FROM (SELECT DISTINCT id FROM hotswap.nodes
		WHERE environment = env) n
$$;
CREATE FUNCTION prepared(d uuid) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(format('%s %s', node, status), ', ' ORDER BY node)
	FROM hotswap.tasks WHERE deployment_id = d AND kind = 'prepare'
$$;

-- auto: where nobody measures, nobody waits.
SELECT is((SELECT string_agg(DISTINCT strategy::text, ' ') FROM hotswap.environments), 'auto',
	'environments begin with auto');
SELECT hotswap.deploy('m', '1', 'production') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'nobody measures anything');
SELECT is(strategies(:'d'), NULL, 'so everything is direct');

-- Where somebody does, it is the environment's.
SELECT heartbeat_of(e) FROM unnest('{development,qa,staging,production}'::text[]) e \g /dev/null
SELECT hotswap.deploy('m', '2', 'production') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'all nodes report');
SELECT is(strategies(:'d'), 'qa rolling, staging blue_green, production canary',
	'so each environment has its own way');
SELECT is((SELECT string_agg(waves, ', ' ORDER BY stage) FROM (SELECT t.stage,
	concat(s.environment, ' ', string_agg(DISTINCT wave::text, ' ')) AS waves FROM hotswap.tasks t
	JOIN hotswap.stages s ON s.deployment_id = t.deployment_id AND s.ordinal = t.stage
	WHERE t.deployment_id = :'d' AND t.kind = 'swap' GROUP BY t.stage, s.environment) w),
	'development 1, qa 1 2, staging 1, production 1 2 3', 'in its waves');
SELECT is((SELECT wave FROM hotswap.tasks WHERE deployment_id = :'d' AND kind = 'prepare' LIMIT 1),
	0, 'before the first wave');

-- Every node is known to take it before one has it.
TRUNCATE log;
SELECT hotswap.publish_version('m', 'bad', $$DO 'BEGIN
	INSERT INTO public.log (node, version) VALUES (current_schema, ''bad'');
	IF current_schema = ''staging3'' THEN RAISE ''not here''; END IF; END'$$) \g /dev/null
SELECT hotswap.deploy('m', 'bad', 'staging', only_target => true) AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'failed', 'a node that does not take it');
SELECT is(prepared(:'d'), 'staging1 succeeded, staging2 succeeded, staging3 failed',
	'is found when it is prepared');
SELECT is((SELECT count(*) FROM log), 0::bigint, 'and no node has it');
SELECT is((SELECT message FROM hotswap.deployments WHERE id = :'d'), 'not here', 'it says why');
SELECT is((SELECT string_agg(DISTINCT status::text, ' ') FROM hotswap.tasks
	WHERE deployment_id = :'d' AND kind = 'swap'), 'cancelled', 'nothing is switched');
SELECT is((SELECT count(*) FROM hotswap.tasks WHERE deployment_id = :'d' AND kind = 'revert'),
	0::bigint, 'so nothing goes back');

-- They have to be healthy before it is switched.
SELECT hotswap.set_health_policy('staging', '1 d', 50) \g /dev/null
SELECT id AS sick FROM hotswap.nodes WHERE name = 'staging2' LIMIT 1 \gset
INSERT INTO hotswap.node_metric (tenant_id, node_id, at, counts, slot, cpu)
	SELECT tenant_id, node_id, at - interval '1 s', true, slot, 99 FROM hotswap.node_metric
	WHERE node_id = :'sick' ORDER BY at LIMIT 1;
SELECT hotswap.configure_rollout('staging', health_timeout => '1 h', bake => '1 h') \g /dev/null
SELECT hotswap.deploy('m', '3', 'staging', only_target => true) AS d \gset
CALL until(format('EXISTS (SELECT FROM hotswap.explain(%L) WHERE reason =
	''a node is not healthy'')', :'d'));
SELECT is(prepared(:'d'), 'staging1 succeeded, staging2 succeeded, staging3 succeeded',
	'they are prepared');
SELECT matches((SELECT detail FROM hotswap.explain(:'d') WHERE reason = 'a node is not healthy'),
	'^Node "staging2" is unhealthy: CPU is at .* %, more than 50 %; they have to be healthy by 2',
	'explain() says what is waited for');
SELECT is((SELECT wave FROM hotswap.rollouts WHERE deployment_id = :'d'), 0, 'no wave has begun');
DELETE FROM hotswap.node_metric WHERE node_id = :'sick' AND cpu = 99;
CALL until(format('(SELECT bake_until IS NOT NULL FROM hotswap.rollouts
	WHERE deployment_id = %L)', :'d'));
SELECT is((SELECT count(*) FROM log WHERE version = '3'), 3::bigint, 'then all are switched');
SELECT hotswap.promote(:'d', 'x') \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'after a bake it is done');
INSERT INTO hotswap.node_metric (tenant_id, node_id, at, counts, slot, cpu)
	SELECT tenant_id, node_id, at - interval '1 s', true, slot, 99 FROM hotswap.node_metric
	WHERE node_id = :'sick' ORDER BY at LIMIT 1;
SELECT hotswap.configure_rollout('staging', health_timeout => '1 s') \g /dev/null
SELECT hotswap.deploy('m', '4', 'staging', only_target => true) AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'failed', 'one that does not get well in time');
SELECT matches((SELECT message FROM hotswap.deployments WHERE id = :'d'),
	'^node "staging2" is unhealthy: CPU is at', 'is why it fails');
SELECT is((SELECT sqlstate FROM hotswap.deployments WHERE id = :'d'), '55000', 'by its state');
DELETE FROM hotswap.node_metric WHERE node_id = :'sick' AND cpu = 99;

-- The switch is a start: windows hold for it.
SELECT hotswap.publish_version('m', 'slow',
	'SELECT pg_advisory_xact_lock(4711); INSERT INTO public.log (node, version)
		VALUES (current_schema, ''slow'')') \g /dev/null
SELECT pg_advisory_lock(4711);
SELECT hotswap.configure_rollout('staging', health_timeout => '1 h', bake => '0') \g /dev/null
SELECT hotswap.configure_environment('staging', max_failed => '2') \g /dev/null
SELECT hotswap.deploy('m', 'slow', 'staging', only_target => true) AS d \gset
CALL until(format('EXISTS (SELECT FROM hotswap.tasks WHERE deployment_id = %L
	AND status = ''running'')', :'d'));
SELECT hotswap.set_window('staging', 'rush', 'deny', 'they all shop',
	tstzrange(now(), now() + '1 h')) \g /dev/null
-- A node that is skipped meanwhile is not switched.
SELECT hotswap.skip_node(:'d', :'sick', 'somebody is on it') \g /dev/null
SELECT pg_advisory_unlock(4711);
CALL until(format('(SELECT count(*) = 2 FROM hotswap.tasks WHERE deployment_id = %L
	AND kind = ''prepare'' AND status = ''succeeded'' AND node <> ''staging2'')', :'d'));
CALL until(format('EXISTS (SELECT FROM hotswap.explain(%L)
	WHERE reason = ''environment "staging" is frozen'')', :'d'));
SELECT is((SELECT count(*) FROM log WHERE version = 'slow'), 0::bigint, 'it is not switched');
SELECT hotswap.remove_window('staging', 'rush') \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'until the window is gone');
SELECT is((SELECT string_agg(node, ' ' ORDER BY node) FROM log WHERE version = 'slow'),
	'staging1 staging3', 'a node that was skipped is not switched');
SELECT hotswap.configure_environment('staging', max_failed => '0') \g /dev/null

-- What runs outside of transactions cannot be tried before: it is rolled.
SELECT hotswap.publish_version('m', 'outside', 'SELECT 1', transactional => false) \g /dev/null
SELECT hotswap.deploy('m', 'outside', 'staging', only_target => true) AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'a version outside of transactions');
SELECT is(strategies(:'d'), 'staging rolling', 'is rolled instead');

-- Agents are measured nodes, and install beside what runs.
CREATE ROLE pipeline_strategy_agent LOGIN;
SELECT hotswap.register_node('staging', 'web' || i, kind => 'agent', shared_role => true,
	run_as => 'pipeline_strategy_agent') FROM generate_series(1, 2) i \g /dev/null
SELECT hotswap.publish_artifact('shop', '1', convert_to('one', 'UTF8')) \g /dev/null
CREATE PROCEDURE play(tasks integer) LANGUAGE plpgsql AS $$
DECLARE
	n record;
	c record;
	done integer := 0;
BEGIN
	WHILE done < tasks LOOP
		FOR n IN SELECT DISTINCT id FROM hotswap.nodes WHERE name LIKE 'web%' LOOP
			FOR c IN SELECT * FROM hotswap.claim_tasks(n.id) LOOP
				PERFORM hotswap.complete_task(c.task, c.token, true, digest => c.digest);
				done := done + 1;
			END LOOP;
		END LOOP;
		COMMIT;
		PERFORM pg_sleep(0.01);
	END LOOP;
END $$;
SELECT hotswap.deploy('shop', '1', 'staging', only_target => true) AS d \gset
CALL play(2);
SELECT is(prepared(:'d'), 'web1 succeeded, web2 succeeded', 'agents');
SELECT is((SELECT string_agg(DISTINCT concat_ws(' ', kind, action, version_after), ', ')
	FROM hotswap.tasks WHERE deployment_id = :'d' AND kind <> 'verify'),
	'prepare install 1, swap activate 1', 'install, and then activate');
SELECT is((SELECT count(*) FROM hotswap.nodes WHERE name LIKE 'web%' AND module IS NOT NULL),
	0::bigint, 'what is installed does not run');
CALL play(4);
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'then it does');
SELECT is((SELECT string_agg(name || ' ' || version, ', ' ORDER BY name) FROM hotswap.nodes
	WHERE module = 'shop'), 'web1 1, web2 1', 'on both');

-- Where one cannot be prepared, what was installed beside is taken away again.
SELECT hotswap.publish_artifact('shop', '2', convert_to('two', 'UTF8')) \g /dev/null
CREATE TABLE told (node text, action text, version text);
CREATE PROCEDURE play_badly(d uuid, failing text) LANGUAGE plpgsql AS $$
DECLARE
	n record;
	c record;
	fails boolean;
BEGIN
	WHILE (SELECT finished_at IS NULL FROM hotswap.deployment WHERE id = d) LOOP
		FOR n IN SELECT DISTINCT id, name FROM hotswap.nodes WHERE name LIKE 'web%' LOOP
			FOR c IN SELECT * FROM hotswap.claim_tasks(n.id) LOOP
				INSERT INTO told VALUES (n.name, c.action, c.version);
				fails = (n.name || ' ' || c.action) ~ failing;
				PERFORM hotswap.complete_task(c.task, c.token, NOT fails,
					digest => CASE WHEN NOT fails THEN c.digest END);
			END LOOP;
		END LOOP;
		COMMIT;
		PERFORM pg_sleep(0.01);
	END LOOP;
END $$;
SELECT hotswap.deploy('shop', '2', 'staging', only_target => true) AS d \gset
CALL play_badly(:'d', 'web2 install');
SELECT is(status_of(:'d'), 'rolled_back', 'an agent cannot install it');
SELECT is((SELECT string_agg(DISTINCT concat_ws(' ', node, action, version), ', ') FROM told),
	'web1 install 2, web1 uninstall 2, web2 install 2, web2 uninstall 2',
	'so it is taken away where it may be');
SELECT is((SELECT string_agg(name || ' ' || version, ', ' ORDER BY name) FROM hotswap.nodes
	WHERE module = 'shop'), 'web1 1, web2 1', 'what runs is what ran');
SELECT is((SELECT count(*) FROM hotswap.node_module WHERE deployment_id = :'d'), 0::bigint,
	'nothing has been swapped');
-- It does no harm where it stays.
SELECT hotswap.deploy('shop', '2', 'staging', only_target => true) AS d \gset
CALL play_badly(:'d', 'web2 install|web1 uninstall');
SELECT is(status_of(:'d'), 'rolled_back', 'one that is not taken away is no trouble');
SELECT * FROM finish();
