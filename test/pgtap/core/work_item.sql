-- The queue says the status, the module and the time of what is in it (src/core/deployment_save.c).
SELECT plan(7);

CREATE SCHEMA o;
-- Given a deployment that runs, one behind it, one whose time has not come and one without
-- approval.
SELECT hotswap.register_node('development', 'n'), hotswap.register_node('qa', 'o', schema => 'o'),
	hotswap.set_approval_policy('qa', 1) \g /dev/null
SELECT hotswap.publish_version('m', '1', 'SELECT 1') \g /dev/null
SELECT hotswap.publish_version('gated', v::text, 'SET LOCAL lock_timeout = 0;
	SELECT pg_advisory_xact_lock_shared(1), ' || v) FROM generate_series(1, 2) v \g /dev/null
SELECT hotswap.deploy('m', '1', 'qa', on_behalf_of => 'requester') AS p \gset
CALL await(:'p', 'pending_approval');
SELECT pg_advisory_lock(1) \g /dev/null
SELECT hotswap.deploy('gated', '1', 'development') AS g \gset
CALL until('at_gate(1)');
SELECT hotswap.deploy('gated', '2', 'development') AS q,
	hotswap.deploy('m', '1', 'development', run_at => now() + interval '1 h') AS s \gset

CREATE VIEW differing AS SELECT w.*, d.status AS was FROM hotswap.work_item w
	JOIN hotswap.deployment d ON d.tenant_id = w.tenant_id AND d.id = w.deployment_id
	WHERE (w.status, w.module, w.requested_at)
		IS DISTINCT FROM (d.status, CASE WHEN d.release IS NULL THEN d.module END, d.requested_at);
SELECT bag_eq('SELECT status::text FROM hotswap.work_item',
	$$VALUES ('running'), ('queued'), ('scheduled'), ('pending_approval')$$, 'each has its status');
SELECT is_empty('TABLE differing', 'as its deployment has');
SELECT matches((SELECT detail FROM hotswap.health() WHERE component = 'queue'),
	'^3 waiting or scheduled, 1 running, the oldest queued since', 'health() counts by it');
SELECT is((SELECT used FROM hotswap.quotas WHERE resource = 'concurrent_deployments'), 1::bigint,
	'so do quotas');
SELECT is((SELECT string_agg(reason, ', ') FROM hotswap.explain(:'q')
	WHERE unblocked_by = 'the end of deployment ' || :'g'), 'another deployment is in the lane',
	'and explain() finds the lane by it');

-- When one is approved, one is cancelled, and the gate opens.
SELECT hotswap.approve(:'p', on_behalf_of => 'approver'), hotswap.cancel(:'s', 'no') \g /dev/null
SELECT is_empty('TABLE differing', 'what people do is in the queue as well');
SELECT pg_advisory_unlock(1) \g /dev/null
CALL until('NOT EXISTS (SELECT FROM hotswap.work_item)');
SELECT is(array(SELECT status_of(d) FROM unnest(ARRAY[:'p', :'g', :'q']::uuid[]) d),
	'{succeeded,succeeded,succeeded}'::text[], 'all of it ends');
SELECT * FROM finish();
