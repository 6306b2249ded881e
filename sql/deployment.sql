-- Deployments, their stages and tasks, and the queue.
--
-- No foreign keys point at or from these tables: on the way of every request they would lock and
-- look up rows that hotswap's functions have just checked. Versions and environments are never
-- deleted; the rows of a deployment are purged together.

CREATE TYPE hotswap.deployment_status AS ENUM
	('scheduled', 'pending_approval', 'queued', 'running', 'rolling_back',
	 'succeeded', 'failed', 'cancelled', 'rejected', 'expired', 'rolled_back', 'rollback_failed');
COMMENT ON TYPE hotswap.deployment_status IS 'state of a deployment; see state_diagram(''deployment'')';
CREATE TYPE hotswap.stage_kind AS ENUM ('build', 'scan', 'test', 'deploy', 'validate');
COMMENT ON TYPE hotswap.stage_kind IS 'steps of the pipeline, in this order';
CREATE TYPE hotswap.stage_status AS ENUM
	('pending', 'waiting_approval', 'running', 'succeeded', 'failed', 'skipped', 'cancelled');
COMMENT ON TYPE hotswap.stage_status IS 'state of a stage; see state_diagram(''stage'')';
CREATE TYPE hotswap.task_kind AS ENUM ('swap', 'verify', 'hook', 'revert');
COMMENT ON TYPE hotswap.task_kind IS 'swap: deploy and verify scripts; verify: verify script alone; hook: a registered function; revert: undo of a swap';
CREATE TYPE hotswap.task_status AS ENUM
	('pending', 'ready', 'running', 'retry_wait',
	 'succeeded', 'failed', 'skipped', 'cancelled', 'reverting', 'reverted');
COMMENT ON TYPE hotswap.task_status IS 'state of a task; see state_diagram(''task'')';

CREATE TABLE hotswap.deployment (
	tenant_id uuid NOT NULL,
	id uuid NOT NULL,
	status hotswap.deployment_status NOT NULL,
	priority integer NOT NULL,
	audit_seq integer NOT NULL,
	requested_at timestamptz NOT NULL,
	run_at timestamptz,
	start_by timestamptz,
	started_at timestamptz,
	finished_at timestamptz,
	cancel_requested_at timestamptz,
	gated boolean NOT NULL DEFAULT false,
	audit_hash bytea NOT NULL,
	module text NOT NULL,
	version text NOT NULL,
	environment text NOT NULL,
	requested_by text NOT NULL,
	run_by_role name NOT NULL,
	login name NOT NULL,
	idempotency_key text,
	metadata jsonb NOT NULL,
	cancel_reason text,
	sqlstate text,
	message text,
	PRIMARY KEY (tenant_id, id)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);
COMMENT ON TABLE hotswap.deployment IS 'one version of one module on its way to one environment';
COMMENT ON COLUMN hotswap.deployment.audit_hash IS 'hash of the last audit event: the head of its chain';
COMMENT ON COLUMN hotswap.deployment.requested_by IS 'the person: login role, or whom it spoke for';
COMMENT ON COLUMN hotswap.deployment.gated IS 'it has approvals';
COMMENT ON COLUMN hotswap.deployment.login IS 'who was logged in';
COMMENT ON COLUMN hotswap.deployment.run_by_role IS 'the role whose rights were checked';

CREATE TABLE hotswap.stage (
	tenant_id uuid NOT NULL,
	deployment_id uuid NOT NULL,
	ordinal smallint NOT NULL,
	kind hotswap.stage_kind NOT NULL,
	status hotswap.stage_status NOT NULL,
	environment text,
	started_at timestamptz,
	finished_at timestamptz,
	message text,
	PRIMARY KEY (tenant_id, deployment_id, ordinal)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);
COMMENT ON TABLE hotswap.stage IS 'steps of a deployment; made when it starts';

CREATE TABLE hotswap.task (
	tenant_id uuid NOT NULL,
	deployment_id uuid NOT NULL,
	stage smallint NOT NULL,
	ordinal integer NOT NULL,
	kind hotswap.task_kind NOT NULL,
	status hotswap.task_status NOT NULL,
	wave integer NOT NULL,
	attempt integer NOT NULL,
	reverts integer,
	node_id uuid,
	hook text,
	due_at timestamptz,
	started_at timestamptz,
	finished_at timestamptz,
	previous_version text,
	sqlstate text,
	message text,
	detail text,
	hint text,
	context text,
	script text,
	position integer,
	PRIMARY KEY (tenant_id, deployment_id, stage, ordinal)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);
COMMENT ON TABLE hotswap.task IS 'one node''s (or one hook''s) part of a stage; sqlstate to position describe the last error';
COMMENT ON COLUMN hotswap.task.reverts IS 'ordinal of the swap that a revert task undoes';
COMMENT ON COLUMN hotswap.task.due_at IS 'when the next attempt may start';
COMMENT ON COLUMN hotswap.task.script IS 'the script that failed: deploy, verify or revert';
COMMENT ON COLUMN hotswap.task.position IS 'where in that script, in characters from 1';

CREATE TABLE hotswap.work_item (
	tenant_id uuid NOT NULL,
	deployment_id uuid NOT NULL,
	due_at timestamptz NOT NULL,
	priority integer NOT NULL,
	PRIMARY KEY (tenant_id, deployment_id)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);
COMMENT ON TABLE hotswap.work_item IS 'the queue: deployments that need attention, and from when on';

CREATE FUNCTION hotswap.deploy(module text, version text, environment text,
		idempotency_key text DEFAULT NULL, priority integer DEFAULT 0,
		run_at timestamptz DEFAULT NULL, start_by timestamptz DEFAULT NULL,
		metadata jsonb DEFAULT '{}', on_behalf_of text DEFAULT NULL,
		require_approval text[] DEFAULT NULL, tenant uuid DEFAULT NULL) RETURNS uuid
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_deploy';
COMMENT ON FUNCTION hotswap.deploy(text, text, text, text, integer, timestamptz, timestamptz, jsonb, text, text[], uuid) IS
'Requests a deployment in the caller''s transaction and returns its id; it starts after the commit. idempotency_key: 1 to 255 characters, kept for hotswap.idempotency_ttl in the tenant: the same request returns the same id, another one fails; priority: -1000 to 1000, higher goes first; run_at: not before; start_by: expires when not started by then; metadata: an object of at most 64 kB; on_behalf_of: the person for whom the caller speaks, 1 to 200 characters, only with the capability impersonator; require_approval: environments on the path that shall need an approval though their policy asks for none. Each protected environment on the path that has nodes gets its approval here. Errors: 22023 bad argument, P0002 no such tenant, version or environment, 42501 on_behalf_of not allowed, YH001 key used with another request, YH003 tenant not active, 40001 in REPEATABLE READ and above a key that was committed after the snapshot. Waits only for a concurrent request with the same key. Writes deployment, work_item, audit_event, the key, approval and notification.';

CREATE FUNCTION hotswap.cancel(deployment uuid, reason text) RETURNS hotswap.deployment_status
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_cancel';
COMMENT ON FUNCTION hotswap.cancel(uuid, text) IS
'Cancels a deployment and returns its status: cancelled at once when it has not started; otherwise running, and after the commit its statements are cancelled, what it swapped in the environment it is in the middle of is reverted if that environment says so, and it ends as cancelled (or, when that fails, as rollback_failed). reason: 1 to 10,000 characters. Errors: 22023 bad argument, P0002 no such deployment, 55000 already ended, already being cancelled or rolling back. Locks the deployment.';

CREATE FUNCTION hotswap.retry(deployment uuid) RETURNS hotswap.deployment_status
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_retry';
COMMENT ON FUNCTION hotswap.retry(uuid) IS
'Has another go at a deployment that failed or was rolled back (from the stage that failed, back to queued), or at a rollback that failed (back to rolling_back); attempts are counted anew. Errors: P0002 no such deployment, 55000 not in such a state, or a rollback while another deployment of the module is running, YH003 tenant not active. Locks the deployment.';

CREATE FUNCTION hotswap.wait(deployment uuid, timeout interval DEFAULT NULL) RETURNS hotswap.deployment_status
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_wait';
COMMENT ON FUNCTION hotswap.wait(uuid, interval) IS
'Blocks, without polling, until a deployment has ended, and returns its status; at the timeout it returns the current one. timeout: NULL waits without limit, zero does not wait. Needs READ COMMITTED and, if it has to wait, shared_preload_libraries. Errors: 22023 negative timeout, P0002 no such deployment, 55000 the deployment was requested or changed by the caller''s own uncommitted transaction, or the isolation level or the server''s configuration does not allow to wait. Locks nothing.';

CREATE PROCEDURE hotswap.await(deployment uuid, timeout interval DEFAULT NULL,
		INOUT status hotswap.deployment_status DEFAULT NULL)
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'hotswap_await';
COMMENT ON PROCEDURE hotswap.await(uuid, interval, hotswap.deployment_status) IS
'Like wait(), as a procedure: ends the transaction it is called in and holds no snapshot while it waits, so that a long wait does not hold back vacuum. status: what is given is ignored; the result is the status. Errors: as wait(), except for those about the caller''s transaction; 2D000 inside a transaction block.';

CREATE FUNCTION hotswap.explain(deployment uuid, OUT reason text, OUT detail text, OUT unblocked_by text)
	RETURNS SETOF record
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_explain';
COMMENT ON FUNCTION hotswap.explain(uuid) IS
'Lists every reason why a deployment is not moving now, and what would unblock it. Errors: P0002 no such deployment. Locks nothing.';

CREATE FUNCTION hotswap.state_diagram(machine text) RETURNS text
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'hotswap_state_diagram';
COMMENT ON FUNCTION hotswap.state_diagram(text) IS
'The state machine of a deployment, stage, task, approval or tenant as a Mermaid diagram, printed from the table that the code obeys. Errors: 22023 unknown machine.';
