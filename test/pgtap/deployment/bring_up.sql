-- A new node gets what the others run: bring_up() (src/deployment/bring_up.c,
-- src/core/bring_up_right.c).
SELECT plan(32);
\ir ../include/graph.sql
SELECT hotswap.set_approval_policy('production', 0) \g /dev/null
SELECT logging_node('production', 'p1') \g /dev/null
SELECT publish_step('1', '{}'), publish_step('2', '{1}'), publish_step('3', '{2}') \g /dev/null
SELECT hotswap.publish_version('app', '1', 'INSERT INTO log (what) VALUES (''app'')',
		requires => '{zone}'),
	hotswap.publish_version('zone', '1', 'INSERT INTO log (what) VALUES (''zone'')') \g /dev/null
CREATE PROCEDURE deploy_all(VARIADIC what text[]) LANGUAGE plpgsql AS $$
DECLARE
	d uuid;
	w text;
BEGIN
	FOREACH w IN ARRAY what LOOP
		d = hotswap.deploy(split_part(w, '=', 1), split_part(w, '=', 2), 'production');
		COMMIT;
		PERFORM hotswap.wait(d, '60 s');
		COMMIT;
	END LOOP;
END $$;
CREATE FUNCTION news(ids uuid[]) RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(string_agg(d.module || ' ' || d.version, ', ' ORDER BY i.n), '')
	FROM unnest(ids) WITH ORDINALITY i (id, n) JOIN hotswap.deployment d USING (id)
$$;
CREATE PROCEDURE all_ended(ids uuid[], INOUT said text DEFAULT NULL) LANGUAGE plpgsql AS $$
DECLARE
	d uuid;
BEGIN
	COMMIT;
	FOREACH d IN ARRAY ids LOOP
		PERFORM hotswap.wait(d, '60 s');
		COMMIT;
	END LOOP;
	SELECT string_agg(status || coalesce(': ' || message, ''), ', ' ORDER BY id) INTO said
	FROM hotswap.deployment WHERE id = ANY (ids);
END $$;

-- Nothing runs anywhere: nothing to bring.
SELECT logging_node('production', 'p2') AS p2 \gset
SELECT is(hotswap.bring_up(:'p2'), '{}', 'where nothing has succeeded');

-- A new customer, in the transaction that signs him up.
CALL deploy_all('m=2', 'zone=1', 'app=1');
BEGIN;
SELECT hotswap.bring_up(logging_node('production', 'acme'), 'acme has signed up') AS ids \gset
SELECT is(news(:'ids'), 'm 2, zone 1, app 1', 'each module, what is required first');
COMMIT;
CALL all_ended(:'ids') \gset
SELECT is(:'said'::text, 'succeeded, succeeded, succeeded', 'they come');
SELECT is(heads_of('acme') || ' ' || log_of('p2'), '2 1 2 zone app', 'p2 was there before');
SELECT set_eq($$SELECT what FROM acme.log$$, '{1,2,app,zone}'::text[], 'the whole path');
SELECT results_eq(format($$SELECT DISTINCT kind::text, environment, reason, only_target,
	nodes = ARRAY(SELECT id FROM hotswap.node WHERE name = 'acme') FROM hotswap.deployments
	WHERE id = ANY (%L)$$, :'ids'),
	$$VALUES ('bring_up', 'production', 'acme has signed up', true, true)$$,
	'deployments of their own');
SELECT results_eq(format($$SELECT DISTINCT reason, detail ->> 'nodes' IS NOT NULL
	FROM hotswap.audit_log WHERE subject_id = ANY (%L) AND event = 'request'$$, :'ids'),
	$$VALUES ('acme has signed up', true)$$, 'in the audit log');
SELECT is(hotswap.bring_up(id), '{}', 'then it lacks nothing') FROM hotswap.node
	WHERE name = 'acme';

-- What has not succeeded does not come, nor what was rolled back, nor what others were brought to.
SELECT hotswap.publish_version('m', 'bad', 'SELECT 1/0', parents => '{2}'),
	hotswap.publish_version('app', '2', 'SELECT 1', 'SELECT false') \g /dev/null
CALL deploy_all('m=bad', 'app=2');
SELECT logging_node('production', 'beta') AS beta \gset
SELECT hotswap.bring_up(:'beta') AS ids \gset
SELECT is(news(:'ids'), 'm 2, zone 1, app 1', 'failures do not count');
CALL all_ended(:'ids') \gset
SELECT hotswap.deploy('m', '3', 'production') AS d3 \gset
CALL ended(:'d3') \gset
SELECT is(heads_of('p1') || heads_of('acme') || heads_of('beta'), '333', 'all go on');
SELECT logging_node('production', 'gamma') AS gamma \gset
SELECT is(news(hotswap.bring_up(:'gamma')), 'm 3, zone 1, app 1', 'what has come last');
CALL until('(SELECT count(*) = 0 FROM hotswap.work_item)');
SELECT hotswap.rollback(:'d3', 'it is slow') AS r \gset
CALL ended(:'r') \gset
SELECT is(:'said' || ' ' || heads_of('p1') || heads_of('gamma'), 'succeeded 23',
	'a rollback of the others');
SELECT logging_node('production', 'delta') AS delta \gset
SELECT is(news(hotswap.bring_up(:'delta')), 'm 2, zone 1, app 1', 'what was rolled back to');
CALL until('(SELECT count(*) = 0 FROM hotswap.work_item)');
SELECT is(hotswap.bring_up(:'gamma'), '{}', 'a node that runs more stays');

-- There is no way.
SELECT hotswap.publish_version('m', 'side', 'SELECT 1', parents => '{1}') \g /dev/null
INSERT INTO hotswap.held_version SELECT tenant_id, 'production', 'm', '2', now(), 'x', id, 'y'
	FROM hotswap.deployment WHERE id = :'r';
SELECT logging_node('production', 'epsilon') AS epsilon \gset
SELECT results_eq(format($$SELECT code, message, hint FROM
	refusal('SELECT hotswap.bring_up(''%s'')')$$, :'epsilon'),
	$$VALUES ('55000', 'version "2" of module "m" cannot be brought to node "epsilon"',
	'Use hotswap.release_version(), or "reapply".')$$, 'what is held');
SELECT hotswap.release_version('production', 'm', v, 'x') FROM unnest('{2,3}'::text[]) v
	\g /dev/null

-- Bad arguments.
SELECT throws_ok('SELECT hotswap.bring_up(NULL)', '22023', NULL, 'no node');
SELECT throws_ok(format('SELECT hotswap.bring_up(%L, '''')', :'epsilon'), '22023', NULL,
	'a blank reason');
SELECT throws_ok('SELECT hotswap.bring_up(''01a00000-0000-7000-8000-000000000001'')', 'P0002',
	'node "01a00000-0000-7000-8000-000000000001" does not exist', 'an unknown node');
SELECT hotswap.remove_node(:'epsilon') \g /dev/null
SELECT is(attempt(format('SELECT hotswap.bring_up(%L)', :'epsilon')), 'P0002', 'a removed node');

-- What passed through counts, too.
SELECT logging_node('qa', 'q1') \g /dev/null
CALL deploy_all('m=3');
SELECT is(heads_of('q1'), '3', 'on the way to production');
SELECT logging_node('qa', 'q2') AS q2 \gset
SELECT is(news(hotswap.bring_up(:'q2')), 'm 3', 'it came through there');
CALL until('(SELECT count(*) = 0 FROM hotswap.work_item)');

-- Taking it back is about the node alone: nothing is held.
SELECT (hotswap.bring_up(logging_node('production', 'n0')))[1] AS n0 \gset
CALL ended(:'n0') \gset
SELECT hotswap.rollback(:'n0', 'another customer') AS r \gset
CALL ended(:'r') \gset
SELECT is(:'said'::text || (SELECT count(*) FROM hotswap.held_versions WHERE deployment_id = :'r'),
	'succeeded0', 'a rollback of it holds no version in the environment');

-- When retention has removed both, the node that went back does not count as the latest either.
CREATE TEMP TABLE removed AS SELECT * FROM hotswap.deployment WHERE id IN (:'n0', :'r');
DELETE FROM hotswap.deployment WHERE id IN (:'n0', :'r');
SELECT is(news(hotswap.bring_up((SELECT id FROM hotswap.node WHERE name = 'n0'))),
	(SELECT module || ' ' || version FROM removed WHERE kind = 'bring_up'),
	'what was brought up and taken back says nothing of the environment');

-- Approvals: what nobody approved needs one, what was approved goes without.
CREATE FUNCTION brought(node text) RETURNS uuid LANGUAGE sql AS
	$$SELECT (hotswap.bring_up(logging_node('production', node)))[1]$$;
CREATE FUNCTION gated(d uuid) RETURNS boolean LANGUAGE sql AS
	'SELECT EXISTS (SELECT FROM hotswap.approvals WHERE deployment_id = d)';
SELECT hotswap.set_approval_policy('production', 1, allow_self_approval => true) \g /dev/null
SELECT brought('n1') AS n1 \gset
SELECT is(gated(:'n1'), true, 'deployed while it was open: nobody has approved it');
SELECT hotswap.approve(:'n1') \g /dev/null
CALL ended(:'n1') \gset
SELECT is(:'said' || ' ' || heads_of('n1'), 'succeeded 3', 'approved');
SELECT brought('n2') AS n2 \gset
SELECT is(gated(:'n2'), false, 'from then on it needs none');
CALL ended(:'n2') \gset
SELECT is(:'said' || ' ' || heads_of('n2'), 'succeeded 3', 'it comes');
SELECT hotswap.publish_installer('m', '3', 'INSERT INTO log (what) VALUES (''=3'')') \g /dev/null
SELECT brought('n3') AS n3 \gset
SELECT is(gated(:'n3'), true, 'an installer that came later was not approved with it');
SELECT hotswap.approve(:'n3') \g /dev/null
CALL ended(:'n3') \gset
SELECT brought('n4') AS n4 \gset
CALL ended(:'n4') \gset
SELECT is(gated(:'n4')::text || ' ' || log_of('n4'), 'false =3', 'once it was, it goes without');
SELECT hotswap.configure_environment('production', bring_up_needs_approval => true);
SELECT is(gated(brought('n5')), true, 'unless the environment wants one for each');
SELECT results_eq($$SELECT name FROM hotswap.environments WHERE bring_up_needs_approval$$,
	$$VALUES ('production')$$, 'which says so');
SELECT is((SELECT count(DISTINCT n.name) FROM hotswap.node n JOIN hotswap.node_module nm
	ON nm.node_id = n.id WHERE n.name = 'n5'), 0::bigint, 'it waits');
SELECT * FROM finish();
