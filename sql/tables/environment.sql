-- Environments with the policy of their approvals, nodes with what runs on them, and hooks.

CREATE TYPE hotswap.strategy AS ENUM ('direct', 'rolling', 'canary', 'blue_green', 'auto');
COMMENT ON TYPE hotswap.strategy IS
'how nodes go: direct = at once; rolling = a few at a time; canary = some by chance, then more; blue_green = all are prepared, then switched; auto = by the environment, direct where nobody measures';

CREATE TYPE hotswap.canary_by AS ENUM ('nodes', 'callers');
COMMENT ON TYPE hotswap.canary_by IS 'what a canary has first: some nodes, or on all nodes some of the callers of a routed module';

CREATE TYPE hotswap.revert_policy AS ENUM ('no', 'approval', 'operator', 'anyone');
COMMENT ON TYPE hotswap.revert_policy IS
'who may have deploy() take back versions that others have built on: no = nobody; approval = who deploys, where votes agree; operator = the capability; anyone = who deploys';

CREATE TYPE hotswap.node_measure AS ENUM ('functions', 'tables');
COMMENT ON TYPE hotswap.node_measure IS 'what hotswap measures of database nodes by itself: the functions or the tables of their schemas';

CREATE TABLE hotswap.environment (
	tenant_id uuid NOT NULL,
	name text NOT NULL,
	rank integer NOT NULL CHECK (rank BETWEEN 1 AND 1000),
	strategy hotswap.strategy NOT NULL,
	revert_on_failure boolean NOT NULL,
	require_signature boolean NOT NULL DEFAULT false,
	min_approvals integer NOT NULL DEFAULT 0 CHECK (min_approvals BETWEEN 0 AND 20),
	approvers regrole[],
	expires_after interval NOT NULL DEFAULT '24 h',
	allow_self_approval boolean NOT NULL DEFAULT false,
	require_comment boolean NOT NULL DEFAULT false,
	max_open_reviews integer,
	allow_revert hotswap.revert_policy,
	rollback_needs_approval boolean NOT NULL DEFAULT false,
	rollback_within interval NOT NULL DEFAULT '7 d',
	may_skip_environments boolean NOT NULL DEFAULT false,
	bring_up_needs_approval boolean NOT NULL DEFAULT false,
	rehearse_without_approval boolean NOT NULL DEFAULT false,
	require_rehearsal boolean NOT NULL DEFAULT false,
	rehearse_max_lock interval NOT NULL DEFAULT '500 ms',
	max_failed text CHECK (max_failed ~ '^[0-9]+%?$'),
	freeze_stops_rollback boolean NOT NULL DEFAULT false,
	silent_after interval DEFAULT '2 min',
	max_cpu real DEFAULT 90,
	max_memory real DEFAULT 90,
	max_error_rate real DEFAULT 5,
	min_healthy integer CHECK (min_healthy BETWEEN 1 AND 100),
	metrics_from regrole,
	measure hotswap.node_measure,
	agent_lease interval NOT NULL DEFAULT '30 s',
	agent_attempts integer NOT NULL DEFAULT 3,
	claim_within interval NOT NULL DEFAULT '10 min',
	first_wave text CHECK (first_wave ~ '^[0-9]+%?$'),
	wave_step text CHECK (wave_step ~ '^[0-9]+%?$'),
	first_bake interval,
	bake interval,
	bake_last boolean,
	pause_timeout interval NOT NULL DEFAULT '24 h',
	health_timeout interval NOT NULL DEFAULT '5 min',
	canary_by hotswap.canary_by NOT NULL DEFAULT 'nodes',
	confidence float8 NOT NULL DEFAULT 0.95,
	more_errors float8 DEFAULT 50,
	more_latency float8 DEFAULT 100,
	more_cpu float8 DEFAULT 30,
	more_memory float8 DEFAULT 30,
	looks integer NOT NULL DEFAULT 5,
	adaptive boolean NOT NULL DEFAULT false,
	min_bake interval NOT NULL DEFAULT '5 min',
	require_metrics boolean NOT NULL DEFAULT false,
	max_parallel integer NOT NULL DEFAULT 0,
	order_by text[] NOT NULL DEFAULT '{}',
	PRIMARY KEY (tenant_id, name),
	UNIQUE (tenant_id, rank)
);
COMMENT ON TABLE hotswap.environment IS 'environments of a tenant; a deployment passes through those of lower rank on its way';
COMMENT ON COLUMN hotswap.environment.min_approvals IS 'distinct persons that must agree before a deployment goes here; 0: open';
COMMENT ON COLUMN hotswap.environment.approvers IS 'roles whose members may vote; NULL: those with the capability approver';
COMMENT ON COLUMN hotswap.environment.max_open_reviews IS 'bypasses that may await their review; NULL: any number';
COMMENT ON COLUMN hotswap.environment.revert_on_failure IS 'nodes already swapped go back when a deployment fails here';
COMMENT ON COLUMN hotswap.environment.require_signature IS 'only versions with a signature that counts may go here';
COMMENT ON COLUMN hotswap.environment.allow_revert IS 'NULL: no where it is protected, else operator';
COMMENT ON COLUMN hotswap.environment.rollback_needs_approval IS 'rollback() is approved like a deployment, also where it would go without';
COMMENT ON COLUMN hotswap.environment.rollback_within IS 'how long after a deployment its rollback goes without approval';
COMMENT ON COLUMN hotswap.environment.may_skip_environments IS 'deployments may come here without passing through those of lower rank';
COMMENT ON COLUMN hotswap.environment.bring_up_needs_approval IS 'bring_up() is approved like a deployment, also where every version was approved here';
COMMENT ON COLUMN hotswap.environment.rehearse_without_approval IS 'a rehearsal goes without the approval that a deployment would need';
COMMENT ON COLUMN hotswap.environment.require_rehearsal IS 'an approval is used only when the same was rehearsed here in the last 24 hours';
COMMENT ON COLUMN hotswap.environment.rehearse_max_lock IS 'how long a rehearsal may hold an AccessExclusive lock on what was there before it';
COMMENT ON COLUMN hotswap.environment.max_failed IS 'nodes, or percent of them, that may fail and stay behind while a deployment to it succeeds; NULL: none';
COMMENT ON COLUMN hotswap.environment.freeze_stops_rollback IS 'its windows hold for rollback() as well';
COMMENT ON COLUMN hotswap.environment.silent_after IS 'a node that has reported and does not for so long is unhealthy; NULL: it is not';
COMMENT ON COLUMN hotswap.environment.max_cpu IS 'percent above which a node is unhealthy; NULL: none; as max_memory and max_error_rate';
COMMENT ON COLUMN hotswap.environment.min_healthy IS 'percent of the nodes that must not be unhealthy; NULL: all';
COMMENT ON COLUMN hotswap.environment.metrics_from IS 'whose reports count, besides that a node is there; NULL: everybody''s who may report';
COMMENT ON COLUMN hotswap.environment.measure IS 'NULL: nothing is measured';
COMMENT ON COLUMN hotswap.environment.agent_lease IS 'how long a task belongs to the agent that has claimed it or extended its lease';
COMMENT ON COLUMN hotswap.environment.agent_attempts IS 'how often a task is given to agents whose leases run out';
COMMENT ON COLUMN hotswap.environment.claim_within IS 'a task that no agent has claimed by then has failed';
COMMENT ON COLUMN hotswap.environment.first_wave IS 'nodes, or percent of them, that a rollout takes first; NULL: as its strategy says';
COMMENT ON COLUMN hotswap.environment.wave_step IS 'how many it takes after that at a time';
COMMENT ON COLUMN hotswap.environment.first_bake IS 'how long it waits after the first wave; NULL: as after the others';
COMMENT ON COLUMN hotswap.environment.bake IS 'how long it waits after each wave; NULL: as its strategy says';
COMMENT ON COLUMN hotswap.environment.bake_last IS 'after the last wave, too; NULL: as its strategy says';
COMMENT ON COLUMN hotswap.environment.pause_timeout IS 'when a deployment that is still paused is cancelled';
COMMENT ON COLUMN hotswap.environment.health_timeout IS 'by when nodes that were prepared have to be healthy';
COMMENT ON COLUMN hotswap.environment.canary_by IS 'by callers: of routed modules';
COMMENT ON COLUMN hotswap.environment.confidence IS 'that a rollout is not taken back by chance';
COMMENT ON COLUMN hotswap.environment.more_errors IS 'percent more than on the nodes without the version that are too much; NULL: not compared; as more_latency, more_cpu and more_memory';
COMMENT ON COLUMN hotswap.environment.looks IS 'how often a bake is looked at, the last time at its end';
COMMENT ON COLUMN hotswap.environment.adaptive IS 'a bake ends when enough is known, but not before min_bake';
COMMENT ON COLUMN hotswap.environment.require_metrics IS 'a wave of which nothing was measured pauses the deployment';
COMMENT ON COLUMN hotswap.environment.max_parallel IS 'how many nodes of a wave are swapped at a time; 0: all';
COMMENT ON COLUMN hotswap.environment.order_by IS 'labels by whose values nodes are taken, before the order of the strategy';
SELECT pg_catalog.pg_extension_config_dump('hotswap.environment', '');

CREATE TYPE hotswap.window_kind AS ENUM ('allow', 'deny');
COMMENT ON TYPE hotswap.window_kind IS
'allow: where an environment has some, nothing starts outside of them; deny: nothing starts in it, whatever allows it';

CREATE TABLE hotswap.environment_window (
	tenant_id uuid,
	id uuid NOT NULL,
	environment text NOT NULL,
	name text NOT NULL,
	kind hotswap.window_kind NOT NULL,
	reason text,
	during tstzrange,
	days text[] CHECK (days <@ '{mon,tue,wed,thu,fri,sat,sun}' AND days <> '{}'),
	starts time,
	ends time,
	time_zone text,
	modules text[],
	created_by text NOT NULL,
	created_at timestamptz NOT NULL,
	removed_at timestamptz,
	CHECK (pg_catalog.num_nulls(days, starts, ends, time_zone) = CASE WHEN during IS NULL THEN 0 ELSE 4 END),
	UNIQUE NULLS NOT DISTINCT (tenant_id, id)
);
CREATE UNIQUE INDEX window_name_key ON hotswap.environment_window (tenant_id, environment, name) NULLS NOT DISTINCT
	WHERE removed_at IS NULL;
-- A key would need a tenant in every row. Logical replication needs to know which row is deleted.
ALTER TABLE hotswap.environment_window REPLICA IDENTITY FULL;
COMMENT ON TABLE hotswap.environment_window IS 'times at which deployments may or may not start; one that is changed is another row from then on';
COMMENT ON COLUMN hotswap.environment_window.tenant_id IS 'NULL: of all tenants, in environments of that name';
COMMENT ON COLUMN hotswap.environment_window.during IS 'once; NULL: every week';
COMMENT ON COLUMN hotswap.environment_window.ends IS 'if it is not later than starts, on the day after';
COMMENT ON COLUMN hotswap.environment_window.modules IS 'NULL: all';
SELECT pg_catalog.pg_extension_config_dump('hotswap.environment_window', '');

CREATE TYPE hotswap.node_kind AS ENUM ('database', 'agent');
COMMENT ON TYPE hotswap.node_kind IS
'database: SQL is swapped in this database, as a role and in a schema; agent: a process outside of it is told what to run';

CREATE TABLE hotswap.node (
	tenant_id uuid NOT NULL,
	id uuid NOT NULL,
	environment text NOT NULL,
	name text NOT NULL,
	kind hotswap.node_kind NOT NULL,
	run_as regrole NOT NULL,
	schema text,
	labels jsonb NOT NULL,
	created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
	removed_at timestamptz,
	search_path text[],
	PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX node_name_key ON hotswap.node (tenant_id, environment, name)
	WHERE removed_at IS NULL;
CREATE INDEX node_run_as ON hotswap.node (run_as) WHERE removed_at IS NULL;
COMMENT ON TABLE hotswap.node IS 'targets of deployments; a removed node stays for the history';
COMMENT ON COLUMN hotswap.node.run_as IS 'the role that executors log in as for this node, or its agent does';
COMMENT ON COLUMN hotswap.node.schema IS 'first in the search_path of the scripts; NULL: the setting of the role';
COMMENT ON COLUMN hotswap.node.search_path IS 'schemas after it; NULL: none';
ALTER TABLE hotswap.node ALTER COLUMN id SET STATISTICS 0;
SELECT pg_catalog.pg_extension_config_dump('hotswap.node', '');

CREATE SEQUENCE hotswap.swap_seq;
COMMENT ON SEQUENCE hotswap.swap_seq IS 'orders the rows of node_module: swaps of a module on a node happen one after the other';
SELECT pg_catalog.pg_extension_config_dump('hotswap.swap_seq', '');

CREATE TYPE hotswap.step_direction AS ENUM ('up', 'down', 'install', 'declared');
COMMENT ON TYPE hotswap.step_direction IS
'which script of a version takes a node a step: up = deploy; down = revert; install = its installer; declared = none, see set_node_version()';

CREATE TABLE hotswap.node_module (
	tenant_id uuid NOT NULL,
	node_id uuid NOT NULL,
	module text NOT NULL,
	swap bigint NOT NULL DEFAULT pg_catalog.nextval('hotswap.swap_seq'),
	deployment_id uuid,
	version text,
	digest bytea,
	swapped_at timestamptz NOT NULL,
	step text,
	direction hotswap.step_direction,
	heads text[],
	brought_up boolean NOT NULL DEFAULT false,
	PRIMARY KEY (tenant_id, node_id, module, swap)
);
COMMENT ON TABLE hotswap.node_module IS 'what was swapped in where: insert-only, the row with the highest swap is what runs';
COMMENT ON COLUMN hotswap.node_module.deployment_id IS 'NULL: no deployment, it was declared';
COMMENT ON COLUMN hotswap.node_module.version IS 'what runs after it, the newest of the heads; NULL: nothing';
COMMENT ON COLUMN hotswap.node_module.step IS 'the version whose script ran';
COMMENT ON COLUMN hotswap.node_module.heads IS 'the versions that run after it and that no version that runs builds on; NULL: the module''s versions are complete';
COMMENT ON COLUMN hotswap.node_module.brought_up IS 'by bring_up(), or what took that back: it says nothing of what the environment runs';
SELECT pg_catalog.pg_extension_config_dump('hotswap.node_module', '');

CREATE TABLE hotswap.node_pin (
	tenant_id uuid NOT NULL,
	node_id uuid NOT NULL,
	module text NOT NULL,
	version text NOT NULL,
	until timestamptz NOT NULL,
	reason text NOT NULL,
	pinned_at timestamptz NOT NULL,
	pinned_by text NOT NULL,
	PRIMARY KEY (tenant_id, node_id, module)
);
COMMENT ON TABLE hotswap.node_pin IS 'nodes that stay at a version of a module for a time, whatever is deployed';
SELECT pg_catalog.pg_extension_config_dump('hotswap.node_pin', '');

CREATE TABLE hotswap.hook (
	tenant_id uuid NOT NULL,
	stage text NOT NULL CHECK (stage IN ('test', 'validate')),
	module text NOT NULL,
	function text NOT NULL,
	owner regrole NOT NULL,
	PRIMARY KEY (tenant_id, stage, module, function)
);
COMMENT ON TABLE hotswap.hook IS 'functions that a stage calls; an executor logged in as the owner of the function runs it';
COMMENT ON COLUMN hotswap.hook.module IS 'empty: every module';
COMMENT ON COLUMN hotswap.hook.function IS 'qualified name; it takes the deployment''s id';
COMMENT ON COLUMN hotswap.hook.owner IS 'of the function, when it was registered: what has that name later and belongs to somebody else is not called';
SELECT pg_catalog.pg_extension_config_dump('hotswap.hook', '');

CREATE TABLE hotswap.gate (
	tenant_id uuid NOT NULL,
	environment text NOT NULL,
	module text NOT NULL,
	function text NOT NULL,
	owner regrole NOT NULL,
	PRIMARY KEY (tenant_id, environment, module, function)
);
COMMENT ON TABLE hotswap.gate IS 'functions that are asked after each wave of a rollout; an executor logged in as the owner of the function runs it';
COMMENT ON COLUMN hotswap.gate.module IS 'empty: every module';
COMMENT ON COLUMN hotswap.gate.function IS 'qualified name; it takes the deployment''s id, the stage and the wave';
COMMENT ON COLUMN hotswap.gate.owner IS 'of the function, when it was registered: what has that name later and belongs to somebody else is not asked';
SELECT pg_catalog.pg_extension_config_dump('hotswap.gate', '');

-- A ring of days: each has a partition, and the one of the next day is emptied before it begins.

CREATE TABLE hotswap.node_metric (
	tenant_id uuid NOT NULL,
	node_id uuid NOT NULL,
	at timestamptz NOT NULL,
	counts boolean NOT NULL,
	slot smallint NOT NULL,
	cpu real,
	memory real,
	latency_ms real,
	requests bigint,
	errors bigint,
	digest bytea,
	details jsonb,
	PRIMARY KEY (tenant_id, node_id, at, counts, slot)
) PARTITION BY LIST (slot);
ALTER TABLE hotswap.node_metric ALTER COLUMN node_id SET STATISTICS 0, ALTER COLUMN at SET STATISTICS 0;
COMMENT ON TABLE hotswap.node_metric IS 'what nodes reported or hotswap has measured in the last seven days; only added to';
COMMENT ON COLUMN hotswap.node_metric.at IS 'the second in which it came, by the clock of the server';
COMMENT ON COLUMN hotswap.node_metric.counts IS 'its numbers do; false: it only shows that the node is there';
COMMENT ON COLUMN hotswap.node_metric.slot IS 'the day, modulo the number of partitions';
COMMENT ON COLUMN hotswap.node_metric.latency_ms IS 'mean of the requests; of tables rows read per scan';
COMMENT ON COLUMN hotswap.node_metric.requests IS 'since the report before';
CREATE TABLE hotswap.node_metric_0 PARTITION OF hotswap.node_metric FOR VALUES IN (0);
ALTER TABLE hotswap.node_metric_0 ALTER COLUMN node_id SET STATISTICS 0, ALTER COLUMN at SET STATISTICS 0;
COMMENT ON TABLE hotswap.node_metric_0 IS 'a day of it; not in dumps';
SELECT pg_catalog.pg_extension_config_dump('hotswap.node_metric_0', 'WHERE false');
CREATE TABLE hotswap.node_metric_1 PARTITION OF hotswap.node_metric FOR VALUES IN (1);
ALTER TABLE hotswap.node_metric_1 ALTER COLUMN node_id SET STATISTICS 0, ALTER COLUMN at SET STATISTICS 0;
COMMENT ON TABLE hotswap.node_metric_1 IS 'a day of it; not in dumps';
SELECT pg_catalog.pg_extension_config_dump('hotswap.node_metric_1', 'WHERE false');
CREATE TABLE hotswap.node_metric_2 PARTITION OF hotswap.node_metric FOR VALUES IN (2);
ALTER TABLE hotswap.node_metric_2 ALTER COLUMN node_id SET STATISTICS 0, ALTER COLUMN at SET STATISTICS 0;
COMMENT ON TABLE hotswap.node_metric_2 IS 'a day of it; not in dumps';
SELECT pg_catalog.pg_extension_config_dump('hotswap.node_metric_2', 'WHERE false');
CREATE TABLE hotswap.node_metric_3 PARTITION OF hotswap.node_metric FOR VALUES IN (3);
ALTER TABLE hotswap.node_metric_3 ALTER COLUMN node_id SET STATISTICS 0, ALTER COLUMN at SET STATISTICS 0;
COMMENT ON TABLE hotswap.node_metric_3 IS 'a day of it; not in dumps';
SELECT pg_catalog.pg_extension_config_dump('hotswap.node_metric_3', 'WHERE false');
CREATE TABLE hotswap.node_metric_4 PARTITION OF hotswap.node_metric FOR VALUES IN (4);
ALTER TABLE hotswap.node_metric_4 ALTER COLUMN node_id SET STATISTICS 0, ALTER COLUMN at SET STATISTICS 0;
COMMENT ON TABLE hotswap.node_metric_4 IS 'a day of it; not in dumps';
SELECT pg_catalog.pg_extension_config_dump('hotswap.node_metric_4', 'WHERE false');
CREATE TABLE hotswap.node_metric_5 PARTITION OF hotswap.node_metric FOR VALUES IN (5);
ALTER TABLE hotswap.node_metric_5 ALTER COLUMN node_id SET STATISTICS 0, ALTER COLUMN at SET STATISTICS 0;
COMMENT ON TABLE hotswap.node_metric_5 IS 'a day of it; not in dumps';
SELECT pg_catalog.pg_extension_config_dump('hotswap.node_metric_5', 'WHERE false');
CREATE TABLE hotswap.node_metric_6 PARTITION OF hotswap.node_metric FOR VALUES IN (6);
ALTER TABLE hotswap.node_metric_6 ALTER COLUMN node_id SET STATISTICS 0, ALTER COLUMN at SET STATISTICS 0;
COMMENT ON TABLE hotswap.node_metric_6 IS 'a day of it; not in dumps';
SELECT pg_catalog.pg_extension_config_dump('hotswap.node_metric_6', 'WHERE false');
CREATE TABLE hotswap.node_metric_7 PARTITION OF hotswap.node_metric FOR VALUES IN (7);
ALTER TABLE hotswap.node_metric_7 ALTER COLUMN node_id SET STATISTICS 0, ALTER COLUMN at SET STATISTICS 0;
COMMENT ON TABLE hotswap.node_metric_7 IS 'a day of it; not in dumps';
SELECT pg_catalog.pg_extension_config_dump('hotswap.node_metric_7', 'WHERE false');
CREATE TABLE hotswap.node_metric_8 PARTITION OF hotswap.node_metric FOR VALUES IN (8);
ALTER TABLE hotswap.node_metric_8 ALTER COLUMN node_id SET STATISTICS 0, ALTER COLUMN at SET STATISTICS 0;
COMMENT ON TABLE hotswap.node_metric_8 IS 'a day of it; not in dumps';
SELECT pg_catalog.pg_extension_config_dump('hotswap.node_metric_8', 'WHERE false');
