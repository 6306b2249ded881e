-- Retention and releases: a deployment that was removed leaves what runs and what the next one came
-- upon, of each of its modules, so that going back and bringing up work as before
-- (src/operations/retention.c).
SELECT plan(17);
\ir ../include/graph.sql
SELECT logging_node('development', 'n') AS n \gset
CREATE FUNCTION publish(module text, version text, parents text[] = NULL) RETURNS text
		LANGUAGE sql AS $$
	SELECT hotswap.publish_version(module, version,
		format('INSERT INTO log (what) VALUES (%L)', module || version), NULL,
		format('INSERT INTO log (what) VALUES (%L)', '-' || module || version), parents => parents)
$$;
SELECT publish('a', '1'), publish('a', '2'), publish('b', '1'), publish('g', '1', '{}'),
	publish('g', '2', '{1}'), publish('g', '3', '{2}') \g /dev/null
SELECT hotswap.publish_release('r1', '{a=1,b=1,g=1}'),
	hotswap.publish_release('r2', '{a=2,b=1,g=3}')
	\g /dev/null
CREATE FUNCTION runs(node text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(l.module || coalesce(l.version, '-'), ' ' ORDER BY l.module)
	FROM (SELECT DISTINCT ON (m.module) m.module, m.version FROM hotswap.node_module m
		JOIN hotswap.node n ON n.id = m.node_id AND n.name = node ORDER BY m.module, m.swap DESC) l
$$;
CREATE FUNCTION history(node text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(h.module || ' ' || h.direction || ' ' || h.step, ', ' ORDER BY h.swap)
	FROM hotswap.node_history h WHERE h.node = history.node
$$;
-- It was years ago. Rows that name a deployment are found by their column.
CREATE FUNCTION of_old(d uuid) RETURNS uuid LANGUAGE sql IMMUTABLE AS
	$$SELECT ('016f0000' || substr(d::text, 9))::uuid$$;
CREATE FUNCTION tables_of_deployments() RETURNS SETOF regclass LANGUAGE sql AS $$
	SELECT attrelid::regclass FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
	WHERE c.relnamespace = 'hotswap'::regnamespace AND c.relkind = 'r'
		AND a.attname = 'deployment_id'
$$;
CREATE PROCEDURE make_old(d uuid) LANGUAGE plpgsql AS $$
DECLARE
	t regclass;
BEGIN
	UPDATE hotswap.node_module SET swapped_at = '2020-01-01' WHERE deployment_id = d;
	FOR t IN SELECT tables_of_deployments() LOOP
		EXECUTE format('UPDATE %s SET deployment_id = of_old($1) WHERE deployment_id = $1', t)
		USING d;
	END LOOP;
	UPDATE hotswap.deployment SET rolls_back = of_old(d) WHERE rolls_back = d;
	UPDATE hotswap.deployment SET id = of_old(d), requested_at = '2020-01-01',
		finished_at = '2020-01-01' WHERE id = d;
END $$;
-- A dispatcher keeps house when it starts.
CREATE PROCEDURE purge() LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_terminate_backend(pid) FROM hotswap.workers
		WHERE kind = 'dispatcher' AND database = current_database();
	COMMIT;
	CALL until('NOT EXISTS (SELECT FROM hotswap.deployment WHERE finished_at < ''2021-01-01'')');
END $$;
-- Tables in which the deployment is named.
CREATE FUNCTION places_of(d uuid) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	t regclass;
	found boolean;
	result text[] = '{}';
BEGIN
	FOR t IN SELECT tables_of_deployments() UNION ALL SELECT 'hotswap.deployment' LOOP
		EXECUTE format('SELECT EXISTS (SELECT FROM %s WHERE to_jsonb(%s) ->> %L = $1::text)', t,
			split_part(t::text, '.', 2),
			CASE WHEN t = 'hotswap.deployment'::regclass THEN 'id' ELSE 'deployment_id' END)
		INTO found USING d;
		IF found THEN
			result = result || t::text;
		END IF;
	END LOOP;
	RETURN array_to_string(result, ' ');
END $$;

-- Given a release, and one after it that changes two of three modules.
SELECT hotswap.deploy_release('r1', 'development') AS one \gset
CALL ended(:'one') \gset
SELECT is(:'said'::text, 'succeeded', 'a release');
SELECT hotswap.deploy_release('r2', 'development') AS two \gset
CALL ended(:'two') \gset
SELECT is(:'said'::text || ': ' || runs('n'), 'succeeded: a2 b1 g3', 'and the next one');
SELECT matches(places_of(:'one'), 'hotswap.task', 'it has left rows');

-- The first one is removed.
CALL make_old(:'one');
CALL purge();
SELECT is(places_of(of_old(:'one')), 'hotswap.node_module', 'nothing else names it any more');
SELECT is(history('n'), 'a up 1, b up 1, g up 1, a up 2, g up 2, g up 3',
	'what the next one came upon stays, of each module');
SELECT is((SELECT count(*)::int FROM hotswap.release_module), 6, 'what a release is, too');
SELECT is(runs('n'), 'a2 b1 g3', 'and what runs');
SELECT logging_node('development', 'late') AS late \gset
SELECT hotswap.bring_up(:'late') \g /dev/null
CALL until('NOT EXISTS (SELECT FROM hotswap.queue)');
SELECT is(runs('late'), 'a2 b1 g3', 'a new node gets what the others run');

-- Then going back leads to what there was.
SELECT hotswap.rollback(:'two', 'it is wrong') AS back \gset
CALL ended(:'back') \gset
SELECT is(:'said'::text, 'succeeded', 'the second one goes back');
SELECT is(runs('n'), 'a1 b1 g1', 'to the first one, of which only that is known');
SELECT matches(log_of('n'), ' g3 (-a2 -g3 -g2|-g3 -g2 -a2)$', 'by the scripts of the second');

-- Everything is removed.
SELECT hotswap.deploy_release('r2', 'development', reapply => true) AS again \gset
CALL ended(:'again') \gset
SELECT is(:'said'::text, 'succeeded', 'it comes again');
DO $$
DECLARE
	d uuid;
BEGIN
	FOR d IN SELECT id FROM hotswap.deployment LOOP
		CALL make_old(d);
	END LOOP;
END $$;
CALL purge();
SELECT is((SELECT count(*) FROM hotswap.deployment), 0::bigint, 'no deployment is left');
SELECT is(runs('n') || ', ' || runs('late'), 'a2 b1 g3, a2 b1 g3', 'and what runs is known');
SELECT is((SELECT max(n)::int FROM (SELECT count(*) AS n FROM hotswap.node_module
	GROUP BY node_id, module) c), 1, 'by a row a module');
SELECT results_eq($$SELECT step_module, step, direction, step_version FROM hotswap.preview('g', '1',
	'development', '{n}', allow_revert => true)$$, $$VALUES ('g', 1, 'down', '3'),
	('g', 2, 'down', '2')$$, 'from which there is a way back');
SELECT hotswap.deploy_release('r2', 'development', only_target => true) AS last \gset
CALL ended(:'last') \gset
SELECT is((SELECT count(*) FROM hotswap.tasks WHERE deployment_id = :'last' AND kind = 'swap'
	AND status <> 'skipped'), 0::bigint, 'and nothing that runs is run again');

SELECT * FROM finish();
