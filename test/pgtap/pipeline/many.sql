-- Stages with many tasks, which a visit does not read as a whole (src/pipeline/task_set.c): what is
-- counted is what there is, and nothing is forgotten or done twice.
SELECT plan(55);

SELECT format('CREATE SCHEMA n%s', i) FROM generate_series(11, 50) i \gexec
SELECT hotswap.register_node('development', 'n' || i, schema => 'n' || i)
	FROM generate_series(11, 50) i \g /dev/null
CREATE TABLE log (node text, version text);
GRANT ALL ON log TO PUBLIC;
-- A version that notes where it was, and then does something.
CREATE FUNCTION publish(version text, script text DEFAULT 'SELECT 1') RETURNS text
		LANGUAGE sql AS $$
	SELECT hotswap.publish_version('m', version, format('INSERT INTO public.log VALUES
		(current_schema, %L); %s', version, script),
		revert_sql => format('INSERT INTO public.log VALUES (current_schema, %L)', '-' || version))
$$;
-- On how many nodes it was how often, and was taken back again.
CREATE FUNCTION traces(v text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(format('%s: %s, %s', nodes, up, down), '; ' ORDER BY nodes) FROM (
		SELECT count(*) AS nodes, up, down FROM (SELECT count(*) FILTER (WHERE version = v) AS up,
			count(*) FILTER (WHERE version = '-' || v) AS down FROM log
			WHERE version IN (v, '-' || v) GROUP BY node) n GROUP BY up, down) t
$$;
CREATE FUNCTION tasks(d uuid) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(format('%s %s %s', n, kind, status), ', ' ORDER BY kind, status) FROM (
		SELECT kind, status, count(*) AS n FROM hotswap.task
		WHERE deployment_id = d GROUP BY kind, status) t
$$;

-- How many stages say of their tasks what is not so, or have forgotten one.
CREATE FUNCTION miscounted() RETURNS bigint LANGUAGE sql AS $$
	SELECT count(*) FROM hotswap.stage s WHERE counts IS NOT NULL AND (
		counts[:array_length(counts, 1) - 1] <> ARRAY(SELECT count(t.ordinal)::integer
			FROM unnest(enum_range(NULL::hotswap.task_kind)) WITH ORDINALITY k (kind, i)
			CROSS JOIN unnest(enum_range(NULL::hotswap.task_status)) WITH ORDINALITY u (status, j)
			LEFT JOIN hotswap.task t ON t.deployment_id = s.deployment_id AND t.stage = s.ordinal
				AND t.kind = k.kind AND coalesce(t.audited_status, t.status) = u.status
			GROUP BY i, j ORDER BY i, j)
		OR EXISTS (SELECT FROM hotswap.task t WHERE t.deployment_id = s.deployment_id
			AND t.stage = s.ordinal AND t.ordinal <> ALL (open_tasks)
			AND (t.status IN ('pending', 'ready') AND t.ordinal < next_task
				OR coalesce(t.audited_status, t.status) = 'retry_wait'
				OR coalesce(t.audited_status, t.status) = 'running' AND t.action IS NULL)))
$$;

-- All at once.
SELECT publish('1') \g /dev/null
SELECT hotswap.deploy('m', '1', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'direct');
SELECT is(traces('1'), '40: 1, 0', 'each node is swapped once');
SELECT is(tasks(:'d'), '40 swap succeeded', 'and has a task');
SELECT is((SELECT count(*) FROM hotswap.stage WHERE counts IS NOT NULL), 1::bigint,
	'its stage has counted them');
SELECT is(miscounted(), 0::bigint, 'rightly');
SELECT is((SELECT count(*) FROM hotswap.audit_log WHERE subject_id = :'d'
	AND event = 'task.succeed'), 40::bigint, 'each of them is in the audit log');

-- In waves; one is skipped, and they are read again.
SELECT publish('2') \g /dev/null
SELECT hotswap.configure_environment('development', strategy => 'canary', max_failed => '10%'),
	hotswap.configure_rollout('development', first_wave => '5', wave_step => '15',
		first_bake => '1 h', bake => '0', bake_last => false) \g /dev/null
SELECT hotswap.deploy('m', '2', 'development') AS d \gset
CALL until(format('(SELECT bake_until IS NOT NULL FROM hotswap.rollouts WHERE deployment_id = %L)',
	:'d'));
SELECT is(tasks(:'d'), '35 swap pending, 5 swap succeeded', 'the first wave is swapped');
SELECT is(miscounted(), 0::bigint, 'what is counted is so');
SELECT hotswap.pause(:'d', 'a look') \g /dev/null
CALL await(:'d', 'paused');
SELECT hotswap.skip_node(:'d', (SELECT node_id FROM hotswap.task WHERE deployment_id = :'d'
	AND status = 'pending' ORDER BY ordinal DESC LIMIT 1), 'it is old') \g /dev/null
SELECT hotswap.resume(:'d', 'fine'), hotswap.promote(:'d', 'enough', "full" => true) \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'promoted');
SELECT is(traces('2'), '39: 1, 0', 'all but the one that was skipped are swapped, once');
SELECT is((SELECT string_agg(n::text, ' ' ORDER BY wave) FROM (SELECT wave, count(*) AS n
	FROM hotswap.task WHERE deployment_id = :'d' GROUP BY wave) w), '5 15 15 5', 'in four waves');
SELECT is((SELECT count(*) FROM hotswap.task t JOIN hotswap.task u USING (deployment_id, stage)
	WHERE deployment_id = :'d' AND t.wave < u.wave AND t.finished_at > u.started_at), 0::bigint,
	'one after the other');
SELECT is(miscounted(), 0::bigint, 'what is counted is so');
SELECT is((SELECT nodes_behind FROM hotswap.deployments WHERE id = :'d'), 1, 'one is behind');

-- A tenth of the nodes may fail; one more, and all go back.
SELECT publish('3', $$DO 'BEGIN IF current_schema ~ ''5$'' THEN RAISE ''no''; END IF; END'$$)
	\g /dev/null
SELECT hotswap.configure_rollout('development', first_bake => '0') \g /dev/null
SELECT hotswap.deploy('m', '3', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'four of forty fail');
SELECT is(tasks(:'d'), '36 swap succeeded, 4 swap failed', 'the others are swapped');
SELECT is(traces('3'), '36: 1, 0', 'once');
SELECT is(miscounted(), 0::bigint, 'what is counted is so');
SELECT publish('4', $$DO 'BEGIN IF current_schema ~ ''5$'' OR current_schema = ''n50'' THEN
	RAISE ''no''; END IF; END'$$) \g /dev/null
SELECT hotswap.deploy('m', '4', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'rolled_back', 'five fail');
SELECT is((SELECT count(*) FROM hotswap.task WHERE deployment_id = :'d' AND status IN ('pending',
	'ready', 'running', 'retry_wait', 'succeeded', 'reverting') AND kind = 'swap'), 0::bigint,
	'none stays, and none is left over');
SELECT matches(traces('4'), '^[0-9]+: 1, 1$', 'what was swapped goes back, once');
SELECT is(miscounted(), 0::bigint, 'what is counted is so');

-- Some have another attempt.
CREATE SEQUENCE tries;
GRANT ALL ON SEQUENCE tries TO PUBLIC;
SELECT publish('5', $$DO 'BEGIN IF nextval(''public.tries'') % 2 = 1 THEN
	RAISE ''again'' USING ERRCODE = ''40001''; END IF; END'$$) \g /dev/null
SELECT hotswap.configure_environment('development', strategy => 'direct', max_failed => 'off')
	\g /dev/null
ALTER SYSTEM SET hotswap.retry_limit = 100;
ALTER SYSTEM SET hotswap.retry_base = '1 ms';
ALTER SYSTEM SET hotswap.retry_max_delay = '5 ms';
SELECT pg_reload_conf() \g /dev/null
SELECT hotswap.deploy('m', '5', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'every other attempt fails');
SELECT is(traces('5'), '40: 1, 0', 'each node is swapped once');
SELECT is(miscounted(), 0::bigint, 'what is counted is so');
ALTER SYSTEM RESET hotswap.retry_limit;
ALTER SYSTEM RESET hotswap.retry_base;
ALTER SYSTEM RESET hotswap.retry_max_delay;
SELECT pg_reload_conf() \g /dev/null

-- One cannot be taken back, until it is tried again.
SELECT hotswap.publish_version('m', '6', 'SELECT 1', 'SELECT current_schema <> ''n50''',
	revert_sql => $$DO 'BEGIN IF current_schema = ''n11'' AND NOT EXISTS (SELECT FROM public.log
		WHERE version = ''mended'') THEN RAISE ''no way back''; END IF; END'$$) \g /dev/null
SELECT hotswap.deploy('m', '6', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'rollback_failed', 'one cannot be taken back');
SELECT is((SELECT count(*) FROM hotswap.task WHERE deployment_id = :'d' AND kind = 'swap'
	AND status = 'succeeded'), 1::bigint, 'and stays');
SELECT is(miscounted(), 0::bigint, 'what is counted is so');
INSERT INTO log (version) VALUES ('mended');
SELECT hotswap.retry(:'d') \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'rolled_back', 'until it is tried again');
SELECT is(miscounted(), 0::bigint, 'what is counted is so');

-- A cancel in the middle.
SELECT publish('7', 'SELECT pg_advisory_xact_lock_shared(7)') \g /dev/null
SELECT pg_advisory_lock(7) \g /dev/null
SELECT hotswap.deploy('m', '7', 'development') AS d \gset
CALL until('at_gate(7)');
SELECT hotswap.cancel(:'d', 'not now') \g /dev/null
SELECT pg_advisory_unlock(7) \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'cancelled', 'cancelled');
SELECT is((SELECT count(*) FROM hotswap.task WHERE deployment_id = :'d'
	AND status IN ('pending', 'ready', 'running', 'succeeded', 'reverting') AND kind = 'swap'),
	0::bigint, 'nothing is left of it');
SELECT is(miscounted(), 0::bigint, 'what is counted is so');

-- The gate after a bake that has ended by itself looks at all nodes of the wave.
SELECT publish('8'), publish('9') \g /dev/null
SELECT hotswap.configure_environment('development', strategy => 'canary'),
	hotswap.configure_rollout('development', first_wave => '20', wave_step => '20',
		first_bake => '1 s', bake => '0', bake_last => false),
	hotswap.set_analysis_policy('development', more_errors => NULL, more_latency => NULL,
		more_cpu => NULL, more_memory => NULL),
	hotswap.set_health_policy('development', max_cpu => 50) \g /dev/null
SELECT hotswap.heartbeat(id, cpu => 10) FROM hotswap.node WHERE environment = 'development'
	\g /dev/null
SELECT hotswap.deploy('m', '8', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'nodes that are well');
SELECT results_eq(format('SELECT wave, nodes_with, gate::text FROM hotswap.analyses
	WHERE deployment_id = %L', :'d'), $$VALUES (1, 20, 'pass')$$, 'are seen');
SELECT hotswap.configure_rollout('development', first_bake => '3 s') \g /dev/null
SELECT hotswap.deploy('m', '9', 'development') AS d \gset
CALL until(format('(SELECT bake_until IS NOT NULL FROM hotswap.rollouts WHERE deployment_id = %L)',
	:'d'));
SELECT hotswap.heartbeat(node_id, cpu => 99) FROM hotswap.task WHERE deployment_id = :'d'
	AND status = 'succeeded' ORDER BY ordinal LIMIT 1 \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'rolled_back', 'one that is not well');
SELECT matches((SELECT message FROM hotswap.deployments WHERE id = :'d'),
	'^wave 1 of 2 is worse: node "n\d+" is unhealthy: CPU is at 54', 'is seen, too');
SELECT is(miscounted(), 0::bigint, 'what is counted is so');

-- All are prepared before one is switched.
SELECT hotswap.configure_environment('development', strategy => 'blue_green'),
	hotswap.configure_rollout('development', bake => '0', health_timeout => '1 h'),
	hotswap.set_health_policy('development', max_cpu => 100) \g /dev/null
SELECT publish('10', 'SELECT pg_advisory_xact_lock_shared(10)') \g /dev/null
SELECT pg_advisory_lock(10) \g /dev/null
SELECT hotswap.deploy('m', '10', 'development') AS d \gset
CALL until('at_gate(10)');
SELECT is((SELECT counts IS NOT NULL FROM hotswap.stage WHERE deployment_id = :'d'
	AND kind = 'deploy'), true, 'what prepares forty nodes is counted');
SELECT is(miscounted(), 0::bigint, 'rightly');
SELECT pg_advisory_unlock(10) \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'all are switched');
SELECT is(tasks(:'d'), '40 swap succeeded, 40 prepare succeeded', 'and each was prepared');
SELECT is(traces('10'), '40: 1, 0', 'once');
SELECT is((SELECT count(*) FROM hotswap.task t JOIN hotswap.task u USING (deployment_id, stage)
	WHERE deployment_id = :'d' AND t.kind = 'prepare' AND u.kind = 'swap'
		AND t.finished_at > u.started_at), 0::bigint, 'before the first one was switched');
SELECT is(miscounted(), 0::bigint, 'what is counted is so');

-- One that is skipped need not be prepared, nor fail anything: then nodes are told apart.
SELECT publish('11', $$SELECT pg_advisory_xact_lock_shared(11);
	DO 'BEGIN IF current_schema = ''n11'' THEN RAISE ''no''; END IF; END'$$) \g /dev/null
SELECT hotswap.configure_environment('development', max_failed => '1') \g /dev/null
SELECT pg_advisory_lock(11) \g /dev/null
SELECT hotswap.deploy('m', '11', 'development') AS d \gset
CALL until('at_gate(11)');
SELECT hotswap.skip_node(:'d', (SELECT id FROM hotswap.node WHERE name = 'n11'), 'it is old')
	\g /dev/null
SELECT pg_advisory_unlock(11) \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'one is skipped');
SELECT is((SELECT string_agg(status::text, ' ') FROM hotswap.task WHERE deployment_id = :'d'
	AND kind = 'swap' AND status <> 'succeeded'), 'skipped', 'the others are switched');
SELECT is(traces('11'), '39: 1, 0', 'once');

-- One that does not take it, and none is switched.
SELECT publish('12', $$DO 'BEGIN IF current_schema = ''n50'' THEN RAISE ''no''; END IF; END'$$)
	\g /dev/null
SELECT hotswap.deploy('m', '12', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'failed', 'one cannot be prepared');
SELECT is(traces('12'), NULL, 'so no node has it');
SELECT is(miscounted(), 0::bigint, 'what is counted is so');
SELECT hotswap.configure_environment('development', strategy => 'direct', max_failed => 'off')
	\g /dev/null

-- Agents: what they have ended is found, and what they have let lie.
SELECT hotswap.configure_environment('field', 9, may_skip_environments => true,
		strategy => 'direct'),
	hotswap.configure_agents('field', lease => '1 s') \g /dev/null
SELECT format('CREATE ROLE %I LOGIN', named('agent')) \gexec
CREATE TABLE agent AS SELECT hotswap.register_node('field', 'a' || i, 'agent',
	named('agent')::regrole, shared_role => true) AS node FROM generate_series(1, 20) i;
SELECT hotswap.publish_artifact('web', '1', 'x') \g /dev/null
CREATE TABLE claimed (node uuid);
CREATE PROCEDURE obey(d uuid) LANGUAGE plpgsql AS $$
DECLARE
	t record;
BEGIN
	WHILE status_of(d) = 'running' LOOP
		FOR t IN SELECT a.node, c.* FROM agent a, hotswap.claim_tasks(a.node) c LOOP
			INSERT INTO claimed VALUES (t.node);
			-- one in five is let lie
			IF (SELECT count(*) FROM claimed) % 5 > 0 THEN
				PERFORM hotswap.complete_task(t.task, t.token, true, t.digest);
			END IF;
			COMMIT;
		END LOOP;
		PERFORM pg_sleep(0.01);
		COMMIT;
	END LOOP;
END $$;
SELECT hotswap.deploy('web', '1', 'field', only_target => true) AS d \gset
CALL await(:'d', 'running');
CALL obey(:'d');
SELECT is(status_of(:'d'), 'succeeded', 'twenty agents');
SELECT is(tasks(:'d'), '20 swap succeeded, 20 verify succeeded', 'have done what they were told');
SELECT is((SELECT max(attempt) > 1 FROM hotswap.task WHERE deployment_id = :'d'), true,
	'some of it not at once');
SELECT is(miscounted(), 0::bigint, 'what is counted is so');
