-- Environments with the policy of their approvals, nodes with what runs on them, and hooks.

CREATE TYPE hotswap.strategy AS ENUM ('direct');
COMMENT ON TYPE hotswap.strategy IS 'how the nodes of an environment are taken: direct = all at once';

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
	PRIMARY KEY (tenant_id, name),
	UNIQUE (tenant_id, rank)
);
COMMENT ON TABLE hotswap.environment IS 'environments of a tenant; a deployment passes through those of lower rank on its way';
COMMENT ON COLUMN hotswap.environment.min_approvals IS 'distinct persons that must agree before a deployment goes here; 0: open';
COMMENT ON COLUMN hotswap.environment.approvers IS 'roles whose members may vote; NULL: those with the capability approver';
COMMENT ON COLUMN hotswap.environment.max_open_reviews IS 'bypasses that may await their review; NULL: any number';
COMMENT ON COLUMN hotswap.environment.revert_on_failure IS 'nodes already swapped go back when a deployment fails here';
COMMENT ON COLUMN hotswap.environment.require_signature IS 'only versions with a signature that counts may go here';
SELECT pg_catalog.pg_extension_config_dump('hotswap.environment', '');

CREATE TYPE hotswap.node_kind AS ENUM ('database');
COMMENT ON TYPE hotswap.node_kind IS 'database: SQL is swapped in this database, as a role and in a schema';

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
	PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX node_name_key ON hotswap.node (tenant_id, environment, name)
	WHERE removed_at IS NULL;
COMMENT ON TABLE hotswap.node IS 'targets of deployments; a removed node stays for the history';
COMMENT ON COLUMN hotswap.node.run_as IS 'the role that executors log in as for this node';
COMMENT ON COLUMN hotswap.node.schema IS 'search_path of the scripts; NULL: the setting of the role';
ALTER TABLE hotswap.node ALTER COLUMN id SET STATISTICS 0;
SELECT pg_catalog.pg_extension_config_dump('hotswap.node', '');

CREATE SEQUENCE hotswap.swap_seq;
COMMENT ON SEQUENCE hotswap.swap_seq IS 'orders the rows of node_module: swaps of a module on a node happen one after the other';
SELECT pg_catalog.pg_extension_config_dump('hotswap.swap_seq', '');

CREATE TABLE hotswap.node_module (
	tenant_id uuid NOT NULL,
	node_id uuid NOT NULL,
	module text NOT NULL,
	swap bigint NOT NULL DEFAULT pg_catalog.nextval('hotswap.swap_seq'),
	deployment_id uuid NOT NULL,
	version text,
	digest bytea,
	swapped_at timestamptz NOT NULL,
	PRIMARY KEY (tenant_id, node_id, module, swap)
);
COMMENT ON TABLE hotswap.node_module IS 'what was swapped in where: insert-only, the row with the highest swap is what runs';
COMMENT ON COLUMN hotswap.node_module.version IS 'NULL: the module was reverted to nothing';
SELECT pg_catalog.pg_extension_config_dump('hotswap.node_module', '');

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
