-- Nodes: the targets in an environment, and what runs on them.

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
	PRIMARY KEY (tenant_id, id),
	FOREIGN KEY (tenant_id, environment) REFERENCES hotswap.environment
);
CREATE UNIQUE INDEX node_name_key ON hotswap.node (tenant_id, environment, name)
	WHERE removed_at IS NULL;
COMMENT ON TABLE hotswap.node IS 'targets of deployments; a removed node stays for the history';
COMMENT ON COLUMN hotswap.node.run_as IS 'the role that executors log in as for this node';
COMMENT ON COLUMN hotswap.node.schema IS 'search_path of the scripts; NULL: the setting of the role';

CREATE SEQUENCE hotswap.swap_seq;
COMMENT ON SEQUENCE hotswap.swap_seq IS 'orders the rows of node_module: swaps of a module on a node happen one after the other';

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

CREATE FUNCTION hotswap.register_node(environment text, name text, kind text DEFAULT 'database',
		run_as regrole DEFAULT NULL, schema text DEFAULT NULL, labels jsonb DEFAULT '{}',
		tenant uuid DEFAULT NULL) RETURNS uuid
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_register_node';
COMMENT ON FUNCTION hotswap.register_node(text, text, text, regrole, text, jsonb, uuid) IS
'Adds a node to an environment and returns its id. name: 1 to 63 characters; kind: database; run_as: a role that can log in and that the caller is a member of (NULL: the caller); schema: an existing schema that becomes the search_path of the scripts (NULL: the role''s own search_path); labels: an object of at most 64 kB. Errors: 22023 bad argument, a role that cannot log in or connect, or a schema that it may not use, P0002 no such environment, role, schema or tenant, 42501 not a member of run_as, 23505 name taken in the environment, or another node has the same role and schema, 53400 the quota of nodes is exceeded, YH003 tenant not active. Locks the tenant row and the nodes against other registrations; audited.';

CREATE FUNCTION hotswap.remove_node(node uuid) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_remove_node';
COMMENT ON FUNCTION hotswap.remove_node(uuid) IS
'Takes a node out of its environment; what was swapped in stays in the database. Errors: 22023 NULL, P0002 no such node, 55000 a deployment has unfinished work on it, YH003 tenant not active. Locks the tenant row and the node; audited.';
