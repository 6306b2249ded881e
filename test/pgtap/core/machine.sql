-- State machines: state_diagram(), and that every state and event of the diagrams is lived through
-- or refused (src/core/machine.c). Each transition itself is tested beside its function.
SELECT plan(16);

SELECT throws_ok($$SELECT hotswap.state_diagram('moon')$$, '22023',
	'state machine "moon" does not exist',
	'an unknown machine');
SELECT is(hotswap.state_diagram(NULL), NULL, 'NULL for NULL');
CREATE TEMP TABLE line AS
SELECT machine, btrim(line) AS line
	FROM unnest('{deployment,stage,task,approval,tenant}'::text[]) machine,
	regexp_split_to_table(hotswap.state_diagram(machine), '\n') line;
SELECT is((SELECT count(*) FROM line WHERE line = 'stateDiagram-v2'), 5::bigint,
	'they are Mermaid diagrams');
SELECT results_eq($$SELECT machine, line FROM line WHERE line LIKE '[*] -->%' ORDER BY 1, 2$$,
	$$VALUES ('approval', '[*] --> pending'), ('deployment', '[*] --> queued'),
		('deployment', '[*] --> scheduled'), ('stage', '[*] --> pending'),
		('task', '[*] --> pending'), ('tenant', '[*] --> provisioning')$$, 'where they begin');
CREATE TEMP VIEW transition AS
SELECT machine, m[1] AS before, m[2] AS after, m[3] AS event FROM line,
	regexp_match(line, '^(\w+) --> (\w+): (\w+)$') m WHERE m IS NOT NULL;
SELECT set_eq($$SELECT before || ' ' || event || ' ' || after FROM transition
	WHERE machine = 'deployment'$$, ARRAY[
	'scheduled release queued', 'scheduled cancel cancelled', 'scheduled expire expired',
	'scheduled fail failed', 'queued start running', 'queued cancel cancelled',
	'queued expire expired', 'queued fail failed', 'running succeed succeeded',
	'running fail failed', 'running roll_back rolling_back', 'running cancel running',
	'running finish_cancel cancelled', 'running pause paused', 'paused resume running',
	'paused cancel running', 'rolling_back finish_rollback rolled_back',
	'rolling_back finish_cancel cancelled', 'rolling_back fail_rollback rollback_failed',
	'scheduled reject rejected', 'queued reject rejected',
	'running await_approval pending_approval', 'running reject rejected', 'running expire expired',
	'pending_approval approve queued', 'pending_approval cancel cancelled',
	'pending_approval reject rejected', 'pending_approval expire expired',
	'pending_approval fail failed', 'failed retry queued', 'rolled_back retry queued',
	'succeeded retry queued',
	'rollback_failed retry_rollback rolling_back'], 'the transitions of a deployment');
SELECT set_eq($$SELECT before || ' ' || event || ' ' || after FROM transition
	WHERE machine = 'stage'$$, ARRAY[
	'pending start running', 'pending await_approval waiting_approval',
	'waiting_approval start running', 'waiting_approval cancel cancelled',
	'waiting_approval reset pending', 'pending skip skipped', 'pending cancel cancelled',
	'running succeed succeeded', 'running skip skipped', 'running fail failed',
	'running cancel cancelled', 'succeeded reset pending', 'failed reset pending',
	'skipped reset pending', 'cancelled reset pending'], 'of a stage');
SELECT set_eq($$SELECT before || ' ' || event || ' ' || after FROM transition
	WHERE machine = 'task'$$, ARRAY[
	'pending admit ready', 'pending skip skipped', 'pending cancel cancelled',
	'ready start running', 'ready cancel cancelled', 'ready fail failed',
	'running succeed succeeded', 'running fail failed', 'running retry_later retry_wait',
	'running give_back ready', 'running cancel cancelled',
	'retry_wait start running', 'retry_wait cancel cancelled', 'retry_wait fail failed',
	'succeeded revert reverting', 'failed revert reverting', 'cancelled revert reverting',
	'reverting finish_revert reverted',
	'reverting fail_revert succeeded', 'reverting leave_failed failed'], 'of a task');
SELECT set_eq($$SELECT before || ' ' || event || ' ' || after FROM transition
	WHERE machine = 'approval'$$, ARRAY[
	'pending approve approved', 'pending reject rejected', 'pending expire expired',
	'pending invalidate void', 'pending bypass bypassed',
	'approved expire expired', 'approved invalidate void', 'bypassed expire expired',
	'bypassed invalidate void'], 'of an approval');
SELECT set_eq($$SELECT before || ' ' || event || ' ' || after FROM transition
	WHERE machine = 'tenant'$$, ARRAY[
	'provisioning activate active', 'active suspend suspended', 'active deprovision deprovisioning',
	'suspended resume active',
	'suspended deprovision deprovisioning', 'deprovisioning delete deleted'], 'of a tenant');

-- Every status of the types is a state of the machine, can be reached, and no other.
SELECT set_eq(format($$SELECT after FROM transition WHERE machine = %L UNION SELECT substr(line, 9)
	FROM line WHERE machine = %L AND line LIKE '[*] -->%%'$$, m, m),
	format('SELECT unnest(enum_range(NULL::hotswap.%s_status))::text', m),
	m || ': the states are those of the type')
FROM unnest('{deployment,stage,task,approval,tenant}'::text[]) m;

-- What cancel() and retry() may not do, in every state of a row.
SELECT hotswap.publish_version('m', '1', 'SELECT 1') \g /dev/null
CREATE FUNCTION pg_temp.result_of(call text, state text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	d uuid = '01a00000-0000-7000-8000-000000000001';
	t uuid = '00000000-0000-7000-8000-000000000001';
	result text;
BEGIN
	INSERT INTO hotswap.deployment (tenant_id, id, status, priority, audit_seq, requested_at,
		audit_hash, module, version, environment, requested_by, run_by_role, login, metadata)
	VALUES (t, d, state::hotswap.deployment_status, 0, 1, now(), decode(repeat('00', 32), 'hex'),
		'm', '1', 'qa', 'x', 'x', 'x', '{}');
	IF state IN ('scheduled', 'pending_approval', 'queued', 'running', 'paused',
		'rolling_back') THEN
		INSERT INTO hotswap.work_item VALUES (t, d, 'infinity', 0);
	END IF;
	BEGIN
		EXECUTE format('SELECT hotswap.' || call, d) INTO result;
		RAISE no_data_found;
	EXCEPTION WHEN no_data_found THEN
	WHEN object_not_in_prerequisite_state THEN
		result := 'refused';
	END;
	DELETE FROM hotswap.deployment;
	DELETE FROM hotswap.work_item;
	RETURN result;
END $$;
SELECT results_eq($$SELECT s::text, pg_temp.result_of('cancel(%L, ''x'')', s::text),
	pg_temp.result_of('retry(%L)', s::text)
		FROM unnest(enum_range(NULL::hotswap.deployment_status)) WITH ORDINALITY u (s, n)
		ORDER BY n$$,
	$$VALUES ('scheduled', 'cancelled', 'refused'), ('pending_approval', 'cancelled', 'refused'),
		('queued', 'cancelled', 'refused'), ('running', 'running', 'refused'),
		('paused', 'running', 'refused'), ('rolling_back', 'refused', 'refused'),
		('succeeded', 'refused', 'refused'), ('failed', 'refused', 'queued'),
		('cancelled', 'refused', 'refused'), ('rejected', 'refused', 'refused'),
		('expired', 'refused', 'refused'),
		('rolled_back', 'refused', 'queued'), ('rollback_failed', 'refused', 'rolling_back')$$,
	'cancel() and retry() in every state');
SELECT is((SELECT count(*) FROM hotswap.deployment), 0::bigint, 'nothing is left');
SELECT * FROM finish();
