-- The pipeline, from the request to the nodes (src/pipeline/pipeline.c, src/pipeline/stage.c).
SELECT plan(22);

CREATE ROLE pipeline_pipeline_a LOGIN;
CREATE ROLE pipeline_pipeline_b LOGIN;
CREATE SCHEMA a AUTHORIZATION pipeline_pipeline_a;
CREATE SCHEMA b AUTHORIZATION pipeline_pipeline_b;
SELECT hotswap.publish_version('billing', v,
	format('CREATE OR REPLACE FUNCTION release() RETURNS text LANGUAGE sql
		AS $f$SELECT %L::text$f$', v),
	format('SELECT release() = %L', v)) FROM unnest('{1,2,3}'::text[]) v \g /dev/null

SELECT hotswap.publish_version('plain', '1', 'SELECT 1') \g /dev/null
SELECT hotswap.deploy('plain', '1', 'qa', start_by => now() - interval '1 s') AS late,
	hotswap.deploy('plain', '1', 'qa') AS id2, hotswap.deploy('plain', '1', 'qa') AS id3 \gset

-- The pipeline, end to end.
SELECT is(hotswap.wait(:'late', '60 s'), 'expired', 'not started by start_by: expired');
SELECT is(hotswap.wait(:'id2', '60 s'), 'failed', 'the target has no nodes: failed');
SELECT is(hotswap.wait(:'id3', '60 s'), 'failed', 'so does the other one');
SELECT is((SELECT message FROM hotswap.deployment WHERE id = :'id2'),
	'environment "qa" has no nodes', 'and says so');

-- Two nodes, in two environments.
SELECT hotswap.register_node('development', 'dev', run_as => 'pipeline_pipeline_a', schema => 'a'),
	hotswap.set_approval_policy('staging', 0),
	hotswap.register_node('staging', 'stage', run_as => 'pipeline_pipeline_b',
		schema => 'b') \g /dev/null
SELECT hotswap.deploy('billing', '1', 'staging') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'deployed');
SELECT results_eq(format('SELECT kind::text, environment, status::text, message LIKE ''sha256 %%''
	FROM hotswap.stages WHERE deployment_id = %L ORDER BY ordinal', :'d'),
	$$VALUES ('build', NULL, 'succeeded', NULL), ('scan', NULL, 'succeeded', true),
		('test', NULL, 'skipped', false), ('deploy', 'development', 'succeeded', NULL),
		('deploy', 'qa', 'skipped', false), ('deploy', 'staging', 'succeeded', NULL),
		('validate', NULL, 'succeeded', NULL)$$, 'its stages, on the path up to the target');
SELECT results_eq(format('SELECT environment, kind::text, node, status::text, attempt
	FROM hotswap.tasks WHERE deployment_id = %L ORDER BY stage, ordinal', :'d'),
	$$VALUES ('development', 'swap', 'dev', 'succeeded', 1),
		('staging', 'swap', 'stage', 'succeeded', 1), (NULL, 'verify', 'stage', 'succeeded', 1)$$,
	'its tasks');
SELECT is(a.release() || b.release(), '11', 'it runs in both schemas');
SELECT is((SELECT pg_get_userbyid(proowner)::text FROM pg_proc WHERE oid = 'b.release'::regproc),
	'pipeline_pipeline_b', 'made by the role of the node');
SELECT results_eq('SELECT name, module, version FROM hotswap.nodes ORDER BY name',
	$$VALUES ('dev', 'billing', '1'), ('stage', 'billing', '1')$$, 'the nodes say so');

-- To the first environment, then to the next.
SELECT hotswap.deploy('billing', '2', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'another version to the first environment only');
SELECT is(a.release() || b.release(), '21', 'the other one is not touched');
SELECT hotswap.deploy('billing', '2', 'staging') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'and now to the next');
SELECT results_eq(format('SELECT environment, status::text, message FROM hotswap.stages
	WHERE deployment_id = %L AND kind = ''deploy'' ORDER BY ordinal', :'d'),
	$$VALUES ('development', 'skipped', 'every node already runs version "2"'),
		('qa', 'skipped', 'the environment has no nodes'), ('staging', 'succeeded', NULL)$$,
	'a node that runs the version is skipped and says so');

-- Priority: the better one starts first, whatever the order of requests.
SELECT hotswap.stop_dispatching('for priorities') \g /dev/null
SELECT hotswap.deploy('billing', '1', 'development') AS low,
	hotswap.deploy('billing', '3', 'development', priority => 10) AS high \gset
SELECT hotswap.start_dispatching() \g /dev/null
SELECT is(hotswap.wait(:'low', '60 s'), 'succeeded', 'low');
SELECT is(hotswap.wait(:'high', '60 s'), 'succeeded', 'high');
SELECT ok((SELECT h.finished_at < l.started_at FROM hotswap.deployment h, hotswap.deployment l
	WHERE h.id = :'high' AND l.id = :'low'),
	'the higher priority went first, and the other one waited for its end');
SELECT is(a.release(), '1', 'the last one stays');
SELECT hotswap.deploy('billing', '2', 'development', run_at => now() + '300 ms') AS soon \gset
SELECT is(hotswap.wait(:'soon', '60 s'), 'succeeded',
	'a scheduled one starts when its time has come');
SELECT ok((SELECT started_at >= run_at FROM hotswap.deployment WHERE id = :'soon'),
	'and not before');

SELECT is((SELECT count(*) FROM hotswap.verify_audit()), 0::bigint, 'the audit log is whole');
SELECT is((SELECT count(*) FROM hotswap.work_item w JOIN hotswap.deployment d USING (tenant_id)
	WHERE id = deployment_id AND d.status NOT IN ('scheduled', 'queued', 'running')),
	0::bigint, 'no work is left of what has ended');
SELECT * FROM finish();
