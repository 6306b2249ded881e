-- Deployments, their stages and tasks, and the queue. The rows of a deployment are purged together.

CREATE TYPE hotswap.deployment_status AS ENUM
	('scheduled', 'pending_approval', 'queued', 'running', 'paused', 'rolling_back',
	 'succeeded', 'failed', 'cancelled', 'rejected', 'expired', 'rolled_back', 'rollback_failed');
COMMENT ON TYPE hotswap.deployment_status IS 'state of a deployment; see state_diagram(''deployment'')';

CREATE TYPE hotswap.stage_kind AS ENUM ('build', 'scan', 'test', 'deploy', 'validate');
COMMENT ON TYPE hotswap.stage_kind IS 'steps of the pipeline, in this order';

CREATE TYPE hotswap.stage_status AS ENUM
	('pending', 'waiting_approval', 'running', 'succeeded', 'failed', 'skipped', 'cancelled');
COMMENT ON TYPE hotswap.stage_status IS 'state of a stage; see state_diagram(''stage'')';

CREATE TYPE hotswap.gate_result AS ENUM ('pass', 'fail', 'inconclusive', 'unmeasured');
COMMENT ON TYPE hotswap.gate_result IS
'what is said of a wave after its bake: pass, fail; inconclusive = too little is known; unmeasured = nobody measures';

CREATE TYPE hotswap.task_kind AS ENUM ('swap', 'verify', 'hook', 'revert', 'prepare', 'gate');
COMMENT ON TYPE hotswap.task_kind IS
'swap: deploy and verify scripts; verify: verify script alone; hook, gate: a registered function; revert: undo of a swap; prepare: before the swaps, a rehearsal, or an agent installs';

CREATE TYPE hotswap.task_status AS ENUM
	('pending', 'ready', 'running', 'retry_wait',
	 'succeeded', 'failed', 'skipped', 'cancelled', 'reverting', 'reverted');
COMMENT ON TYPE hotswap.task_status IS 'state of a task; see state_diagram(''task'')';

CREATE TYPE hotswap.agent_action AS ENUM ('activate', 'verify', 'revert', 'remove', 'install', 'uninstall');
COMMENT ON TYPE hotswap.agent_action IS
'what an agent is told to do: activate = install a version and run it; verify = see that it runs; revert = run the one before again; remove = run none; install = install a version beside what runs; uninstall = take away what was installed and does not run';

CREATE TYPE hotswap.deployment_kind AS ENUM ('deploy', 'rollback', 'rehearsal', 'bring_up', 'declare');
COMMENT ON TYPE hotswap.deployment_kind IS
'what a deployment is for: deploy = its version; rollback = what ran before another one; rehearsal = nothing stays; bring_up = one node gets what the others run; declare = see set_node_version()';

CREATE TYPE hotswap.failure_action AS ENUM ('back', 'stay');
COMMENT ON TYPE hotswap.failure_action IS
'what becomes of a node whose deployment fails: back = to the version it ran; stay = at the last step that is complete';

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
	rollback_sqlstate text,
	rollback_message text,
	requester regrole,
	login_role regrole,
	kind hotswap.deployment_kind NOT NULL DEFAULT 'deploy',
	rolls_back uuid,
	nodes uuid[],
	allow_revert boolean NOT NULL DEFAULT false,
	only_target boolean NOT NULL DEFAULT false,
	reapply boolean NOT NULL DEFAULT false,
	on_failure hotswap.failure_action,
	release text,
	nodes_behind integer NOT NULL DEFAULT 0,
	reason text,
	overtake boolean NOT NULL DEFAULT false,
	heads text[],
	has_rollout boolean NOT NULL DEFAULT false,
	PRIMARY KEY (tenant_id, id)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);
COMMENT ON TABLE hotswap.deployment IS 'a version of a module, or a release, on its way to one environment';
COMMENT ON COLUMN hotswap.deployment.audit_hash IS 'hash of the last audit event: the head of its chain';
COMMENT ON COLUMN hotswap.deployment.requested_by IS 'the person: login role, or whom it spoke for';
COMMENT ON COLUMN hotswap.deployment.gated IS 'it has approvals';
COMMENT ON COLUMN hotswap.deployment.message IS 'why it ended as it did; a rollback that fails leaves it as it is';
COMMENT ON COLUMN hotswap.deployment.rollback_message IS 'why its rollback failed; sqlstate and message say why there was one';
COMMENT ON COLUMN hotswap.deployment.login IS 'who was logged in';
COMMENT ON COLUMN hotswap.deployment.requester IS 'the role that the person was, whatever its name is now; NULL: no role has the name';
COMMENT ON COLUMN hotswap.deployment.login_role IS 'login, whatever its name is now';
COMMENT ON COLUMN hotswap.deployment.run_by_role IS 'the role whose rights were checked';
COMMENT ON COLUMN hotswap.deployment.rolls_back IS 'of a rollback: the deployment that it takes back';
COMMENT ON COLUMN hotswap.deployment.nodes IS 'the nodes of the target that it is for, after retry() of one that has succeeded those that had stayed behind; NULL: all';
COMMENT ON COLUMN hotswap.deployment.allow_revert IS 'versions that its version does not build on are taken back in the target';
COMMENT ON COLUMN hotswap.deployment.only_target IS 'environments of lower rank are not passed through';
COMMENT ON COLUMN hotswap.deployment.reapply IS 'versions that a rollback has taken back may come again';
COMMENT ON COLUMN hotswap.deployment.on_failure IS 'NULL: as the environment says, and stay when something outside of a transaction has begun';
COMMENT ON COLUMN hotswap.deployment.release IS 'the release that is deployed as one: module has its name, version its digest';
COMMENT ON COLUMN hotswap.deployment.nodes_behind IS 'nodes that failed and stayed at their version when it last succeeded';
COMMENT ON COLUMN hotswap.deployment.reason IS 'of rollback(), bring_up() and set_node_version(): why it was asked for';
COMMENT ON COLUMN hotswap.deployment.heads IS 'of a declaration: the versions that its node is declared to run, as in node_module';
COMMENT ON COLUMN hotswap.deployment.has_rollout IS 'it has had rollouts or pauses';
COMMENT ON COLUMN hotswap.deployment.overtake IS 'it does not wait for deployments of its module that were requested before and await their approval';
CREATE INDEX deployment_requested ON hotswap.deployment (requested_at);
CREATE INDEX deployment_behind ON hotswap.deployment (tenant_id, id) WHERE nodes_behind > 0;
ALTER TABLE hotswap.deployment ALTER COLUMN id SET STATISTICS 0;
SELECT pg_catalog.pg_extension_config_dump('hotswap.deployment', '');

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
	counts integer[],
	open_tasks integer[],
	next_task integer,
	PRIMARY KEY (tenant_id, deployment_id, ordinal)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);
COMMENT ON TABLE hotswap.stage IS 'steps of a deployment; made when it starts';
COMMENT ON COLUMN hotswap.stage.counts IS 'of a stage with many tasks: how many there are of each kind and status; NULL: they are counted at each visit';
COMMENT ON COLUMN hotswap.stage.open_tasks IS 'of those: the ones that have begun and have not ended, without those that an agent has';
COMMENT ON COLUMN hotswap.stage.next_task IS 'of those: from which one on they have not begun';
ALTER TABLE hotswap.stage ALTER COLUMN deployment_id SET STATISTICS 0, ALTER COLUMN ordinal SET STATISTICS 0;
SELECT pg_catalog.pg_extension_config_dump('hotswap.stage', '');

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
	audited_status hotswap.task_status,
	plan_digest bytea CHECK (pg_catalog.length(plan_digest) = 32),
	steps integer,
	swap_from bigint,
	step text,
	line integer,
	"column" integer,
	excerpt text,
	action hotswap.agent_action,
	version_after text,
	lease_until timestamptz,
	token bigint,
	secret uuid,
	claimed_by text,
	claimed_at timestamptz,
	percent integer,
	progress text,
	installed_digest bytea CHECK (pg_catalog.length(installed_digest) = 32),
	result jsonb,
	reported boolean,
	verdict hotswap.gate_result,
	PRIMARY KEY (tenant_id, deployment_id, stage, ordinal)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);
COMMENT ON TABLE hotswap.task IS 'one node''s (or one hook''s) part of a stage; sqlstate to position describe the last error';
COMMENT ON COLUMN hotswap.task.reverts IS 'ordinal of the swap that a revert task undoes';
COMMENT ON COLUMN hotswap.task.due_at IS 'when the next attempt may start';
COMMENT ON COLUMN hotswap.task.audited_status IS 'the status in the audit log while an executor has recorded another one since; NULL: status';
COMMENT ON COLUMN hotswap.task.script IS 'the script that failed: deploy, verify, revert or hook';
COMMENT ON COLUMN hotswap.task.position IS 'where in that script, in characters from 1';
COMMENT ON COLUMN hotswap.task.plan_digest IS 'SHA-256 over the steps that were planned: module, direction and digest of each, in their order';
COMMENT ON COLUMN hotswap.task.steps IS 'how many they are';
COMMENT ON COLUMN hotswap.task.swap_from IS 'the last swap on the node when they were planned: what is later is theirs';
COMMENT ON COLUMN hotswap.task.step IS 'the version whose script failed; of a release module=version';
COMMENT ON COLUMN hotswap.task.line IS 'where in that script, the line from 1';
COMMENT ON COLUMN hotswap.task."column" IS 'the character in that line, from 1';
COMMENT ON COLUMN hotswap.task.excerpt IS 'the lines around it';
COMMENT ON COLUMN hotswap.task.action IS 'what its agent is told to do; NULL: it is an executor''s';
COMMENT ON COLUMN hotswap.task.version_after IS 'of an agent''s: what its node runs after it; NULL: nothing';
COMMENT ON COLUMN hotswap.task.lease_until IS 'while it is given out: when its lease ends or, before that, by when it has to be claimed';
COMMENT ON COLUMN hotswap.task.token IS 'of the agent that has claimed it; NULL: none has';
COMMENT ON COLUMN hotswap.task.secret IS 'the other half of the token, at random';
COMMENT ON COLUMN hotswap.task.claimed_by IS 'the role that was logged in';
COMMENT ON COLUMN hotswap.task.claimed_at IS 'when it was claimed last: from then on its node may be changed';
COMMENT ON COLUMN hotswap.task.installed_digest IS 'SHA-256 of what runs now, as its agent says; NULL: it has not succeeded, or nothing does';
COMMENT ON COLUMN hotswap.task.result IS 'details that its agent has given at the end';
COMMENT ON COLUMN hotswap.task.reported IS 'its agent has ended it, and the dispatcher has not seen that; else NULL';
COMMENT ON COLUMN hotswap.task.verdict IS 'what the function of a gate has said';
CREATE INDEX task_agent ON hotswap.task (tenant_id, node_id) WHERE lease_until IS NOT NULL;
CREATE INDEX task_lease ON hotswap.task (lease_until) WHERE lease_until IS NOT NULL;
CREATE INDEX task_reported ON hotswap.task (tenant_id, deployment_id, stage, ordinal) WHERE reported;
ALTER TABLE hotswap.task ALTER COLUMN deployment_id SET STATISTICS 0, ALTER COLUMN stage SET STATISTICS 0, ALTER COLUMN ordinal SET STATISTICS 0;
SELECT pg_catalog.pg_extension_config_dump('hotswap.task', '');

CREATE TABLE hotswap.statement (
	tenant_id uuid NOT NULL,
	deployment_id uuid NOT NULL,
	node_id uuid NOT NULL,
	version text NOT NULL,
	script text NOT NULL,
	statement integer NOT NULL,
	swap bigint NOT NULL,
	attempts integer NOT NULL DEFAULT 0,
	started_at timestamptz,
	finished_at timestamptz,
	in_doubt boolean NOT NULL DEFAULT false,
	skipped boolean NOT NULL DEFAULT false,
	indexes oid[],
	PRIMARY KEY (tenant_id, deployment_id, node_id, version, script, statement)
);
COMMENT ON TABLE hotswap.statement IS 'how far scripts outside of transactions are: removed when the script is at its end';
COMMENT ON COLUMN hotswap.statement.statement IS 'its number in the script, from 1; of a transaction that of its BEGIN';
COMMENT ON COLUMN hotswap.statement.swap IS 'the last swap of the module on the node then: after another one the row does not count';
COMMENT ON COLUMN hotswap.statement.attempts IS 'how often it failed';
COMMENT ON COLUMN hotswap.statement.started_at IS 'without finished_at: it has begun, and nothing says how it ended; NULL: it failed';
COMMENT ON COLUMN hotswap.statement.in_doubt IS 'it may have done a part: retry() is told whether it runs again';
COMMENT ON COLUMN hotswap.statement.skipped IS 'by retry(), which was told so';
COMMENT ON COLUMN hotswap.statement.indexes IS 'of its table, before it began';
ALTER TABLE hotswap.statement ALTER COLUMN deployment_id SET STATISTICS 0;
SELECT pg_catalog.pg_extension_config_dump('hotswap.statement', '');

CREATE TABLE hotswap.rollout (
	tenant_id uuid NOT NULL,
	deployment_id uuid NOT NULL,
	stage smallint NOT NULL,
	strategy hotswap.strategy NOT NULL,
	waves integer NOT NULL,
	first_bake interval NOT NULL,
	bake interval NOT NULL,
	bake_last boolean NOT NULL,
	pause_timeout interval NOT NULL,
	wave integer NOT NULL,
	bake_until timestamptz,
	bake_left interval,
	gate hotswap.gate_result,
	promoted boolean NOT NULL,
	hurried boolean NOT NULL,
	health_timeout interval NOT NULL,
	first_share integer,
	share_step integer,
	confidence float8 NOT NULL,
	more_errors float8,
	more_latency float8,
	more_cpu float8,
	more_memory float8,
	looks integer NOT NULL,
	adaptive boolean NOT NULL,
	min_bake interval NOT NULL,
	require_metrics boolean NOT NULL,
	looked integer NOT NULL,
	measured hotswap.gate_result,
	max_parallel integer NOT NULL DEFAULT 0,
	frozen_wave integer,
	PRIMARY KEY (tenant_id, deployment_id, stage)
) WITH (fillfactor = 80);
COMMENT ON TABLE hotswap.rollout IS 'stages that take their nodes in waves: the settings that they began with, and how far they are';
COMMENT ON COLUMN hotswap.rollout.wave IS 'the last one that has begun; 0: none';
COMMENT ON COLUMN hotswap.rollout.bake_until IS 'when its bake ends';
COMMENT ON COLUMN hotswap.rollout.bake_left IS 'what is left of its bake while the deployment is paused';
COMMENT ON COLUMN hotswap.rollout.gate IS 'what was said after its bake; NULL: nothing yet';
COMMENT ON COLUMN hotswap.rollout.promoted IS 'somebody has ended its bake, or let it go on though its gate was inconclusive';
COMMENT ON COLUMN hotswap.rollout.hurried IS 'and those of the waves to come';
COMMENT ON COLUMN hotswap.rollout.first_share IS 'of 10,000 callers, those that get the version in the first wave; NULL: waves are of nodes';
COMMENT ON COLUMN hotswap.rollout.share_step IS 'how many come with each wave after that';
COMMENT ON COLUMN hotswap.rollout.looked IS 'how often at the present bake before its end';
COMMENT ON COLUMN hotswap.rollout.measured IS 'what was said after its bake by what nodes report, before functions were asked; NULL: none are';
COMMENT ON COLUMN hotswap.rollout.frozen_wave IS 'the last wave of which people were told that windows hold it up';
ALTER TABLE hotswap.rollout ALTER COLUMN deployment_id SET STATISTICS 0, ALTER COLUMN stage SET STATISTICS 0;
SELECT pg_catalog.pg_extension_config_dump('hotswap.rollout', '');

CREATE TABLE hotswap.rollout_gate (
	tenant_id uuid NOT NULL,
	deployment_id uuid NOT NULL,
	stage smallint NOT NULL,
	function text NOT NULL,
	owner regrole NOT NULL,
	digest bytea CHECK (pg_catalog.length(digest) = 32),
	PRIMARY KEY (tenant_id, deployment_id, stage, function)
);
COMMENT ON TABLE hotswap.rollout_gate IS 'functions that are asked after each wave of a rollout, as they were when it began';
COMMENT ON COLUMN hotswap.rollout_gate.digest IS 'SHA-256 of the definition of the function; NULL: there was none';
ALTER TABLE hotswap.rollout_gate ALTER COLUMN deployment_id SET STATISTICS 0, ALTER COLUMN stage SET STATISTICS 0;
SELECT pg_catalog.pg_extension_config_dump('hotswap.rollout_gate', '');

CREATE TYPE hotswap.metric AS ENUM ('health', 'errors', 'latency', 'cpu', 'memory', 'function');
COMMENT ON TYPE hotswap.metric IS 'what a wave is judged by; health = limits that hold for each node by itself; function = what a gate''s function says';

CREATE TYPE hotswap.analysis_method AS ENUM ('health', 'threshold', 'test', 'function');
COMMENT ON TYPE hotswap.analysis_method IS
'how a wave was judged: test = Student''s t; threshold = too few nodes for a test: twice of what is too much, all the time; health = there is nothing to compare with; function = it was asked';

CREATE TABLE hotswap.analysis (
	tenant_id uuid NOT NULL,
	deployment_id uuid NOT NULL,
	stage smallint NOT NULL,
	at timestamptz NOT NULL,
	metric hotswap.metric NOT NULL,
	wave integer NOT NULL,
	look integer NOT NULL,
	method hotswap.analysis_method NOT NULL,
	verdict hotswap.gate_result NOT NULL,
	gate hotswap.gate_result NOT NULL,
	nodes_with integer,
	nodes_without integer,
	level_with float8,
	level_without float8,
	difference float8,
	at_least float8,
	at_most float8,
	threshold float8,
	p float8,
	alpha float8,
	detectable float8,
	baseline_since timestamptz,
	since timestamptz,
	left_out text[] NOT NULL,
	reason text,
	function text NOT NULL DEFAULT '',
	function_digest bytea,
	PRIMARY KEY (tenant_id, deployment_id, stage, at, metric, function)
);
COMMENT ON TABLE hotswap.analysis IS 'what was seen of waves, at each look: only added to';
COMMENT ON COLUMN hotswap.analysis.verdict IS 'of the metric, or of the function';
COMMENT ON COLUMN hotswap.analysis.gate IS 'of all together';
COMMENT ON COLUMN hotswap.analysis.nodes_with IS 'that have the version, and are compared';
COMMENT ON COLUMN hotswap.analysis.difference IS '0.5: 50 % more than on the nodes without the version, each beside what it reported before';
COMMENT ON COLUMN hotswap.analysis.at_least IS 'where the difference lies, as at_most: each is wrong with the probability alpha';
COMMENT ON COLUMN hotswap.analysis.alpha IS 'how large p may not be: the part of this comparison in the error of the rollout';
COMMENT ON COLUMN hotswap.analysis.detectable IS 'the smallest difference that would have been found, with 95 percent';
COMMENT ON COLUMN hotswap.analysis.reason IS 'of health: what was seen, in words; of a function what it has said';
COMMENT ON COLUMN hotswap.analysis.function IS 'the qualified name of the one that was asked; empty: none';
COMMENT ON COLUMN hotswap.analysis.function_digest IS 'SHA-256 of its definition';
ALTER TABLE hotswap.analysis ALTER COLUMN deployment_id SET STATISTICS 0, ALTER COLUMN stage SET STATISTICS 0, ALTER COLUMN at SET STATISTICS 0, ALTER COLUMN metric SET STATISTICS 0;
SELECT pg_catalog.pg_extension_config_dump('hotswap.analysis', '');

CREATE TYPE hotswap.pause_kind AS ENUM ('person', 'inconclusive', 'unmeasured');
COMMENT ON TYPE hotswap.pause_kind IS 'why a deployment is paused: person = by somebody; the others as its gate says';

CREATE TABLE hotswap.pause (
	tenant_id uuid NOT NULL,
	deployment_id uuid NOT NULL,
	kind hotswap.pause_kind NOT NULL,
	since timestamptz NOT NULL,
	ends_at timestamptz NOT NULL,
	paused_by text NOT NULL,
	reason text NOT NULL,
	reminded_at timestamptz,
	PRIMARY KEY (tenant_id, deployment_id, kind)
);
COMMENT ON TABLE hotswap.pause IS 'why deployments are paused: they go on when the last reason has gone';
COMMENT ON COLUMN hotswap.pause.ends_at IS 'when the deployment is cancelled if it is still paused';
COMMENT ON COLUMN hotswap.pause.reminded_at IS 'when people were told that half of its time is over';
ALTER TABLE hotswap.pause ALTER COLUMN deployment_id SET STATISTICS 0;
SELECT pg_catalog.pg_extension_config_dump('hotswap.pause', '');

CREATE TABLE hotswap.failed_rollback (
	tenant_id uuid NOT NULL,
	deployment_id uuid NOT NULL,
	module text NOT NULL,
	environment text NOT NULL,
	failed_at timestamptz NOT NULL,
	put_right_by uuid,
	acknowledged_at timestamptz,
	PRIMARY KEY (tenant_id, deployment_id)
);
COMMENT ON TABLE hotswap.failed_rollback IS 'deployments that are rollback_failed: where, and whether that has been dealt with';
COMMENT ON COLUMN hotswap.failed_rollback.put_right_by IS 'a later deployment that brought its version to every node of the environment';
ALTER TABLE hotswap.failed_rollback ALTER COLUMN deployment_id SET STATISTICS 0;
SELECT pg_catalog.pg_extension_config_dump('hotswap.failed_rollback', '');

CREATE TABLE hotswap.held_version (
	tenant_id uuid NOT NULL,
	environment text NOT NULL,
	module text NOT NULL,
	version text NOT NULL,
	held_at timestamptz NOT NULL,
	held_by text NOT NULL,
	deployment_id uuid NOT NULL,
	reason text NOT NULL,
	PRIMARY KEY (tenant_id, environment, module, version)
);
COMMENT ON TABLE hotswap.held_version IS 'versions that a rollback took back in an environment: they do not come again by themselves';
COMMENT ON COLUMN hotswap.held_version.deployment_id IS 'the rollback';
SELECT pg_catalog.pg_extension_config_dump('hotswap.held_version', '');

CREATE TABLE hotswap.rehearsal (
	tenant_id uuid NOT NULL,
	deployment_id uuid NOT NULL,
	node_id uuid NOT NULL,
	step integer NOT NULL,
	module text NOT NULL,
	version text NOT NULL,
	direction hotswap.step_direction NOT NULL,
	duration interval NOT NULL,
	rows bigint NOT NULL,
	locks jsonb NOT NULL,
	PRIMARY KEY (tenant_id, deployment_id, node_id, step)
);
COMMENT ON TABLE hotswap.rehearsal IS 'what the steps of a rehearsal took, before they were rolled back';
COMMENT ON COLUMN hotswap.rehearsal.rows IS 'that INSERT, UPDATE, DELETE, MERGE and COPY of its scripts have changed';
COMMENT ON COLUMN hotswap.rehearsal.locks IS 'those that it took: relation, its strongest mode, held_ms until the end of the rehearsal, waiters seen';
CREATE INDEX rehearsal_node ON hotswap.rehearsal (tenant_id, node_id, deployment_id) WHERE step = 1;
ALTER TABLE hotswap.rehearsal ALTER COLUMN deployment_id SET STATISTICS 0, ALTER COLUMN node_id SET STATISTICS 0, ALTER COLUMN step SET STATISTICS 0;
SELECT pg_catalog.pg_extension_config_dump('hotswap.rehearsal', '');

CREATE TABLE hotswap.work_item (
	tenant_id uuid NOT NULL,
	deployment_id uuid NOT NULL,
	due_at timestamptz NOT NULL,
	priority integer NOT NULL,
	status hotswap.deployment_status,
	module text,
	requested_at timestamptz,
	PRIMARY KEY (tenant_id, deployment_id)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);
COMMENT ON TABLE hotswap.work_item IS 'the queue: deployments that need attention, and from when on';
COMMENT ON COLUMN hotswap.work_item.status IS 'that of its deployment, so that a long queue is counted without looking each up; NULL: it has to be looked up, as the two that follow';
COMMENT ON COLUMN hotswap.work_item.module IS 'that of its deployment; of a release NULL';
ALTER TABLE hotswap.work_item ALTER COLUMN deployment_id SET STATISTICS 0;
SELECT pg_catalog.pg_extension_config_dump('hotswap.work_item', '');
