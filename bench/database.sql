-- What the bare SQL of the comparison works on, and the node that is deployed to.
CREATE SCHEMA bare;
CREATE TABLE bare.request (
	id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	module text NOT NULL,
	version text NOT NULL,
	requested_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
INSERT INTO bare.request VALUES ('00000000-0000-0000-0000-000000000000', 'm0', 'v0');
CREATE TABLE bare.queue (id bigint PRIMARY KEY, due_at timestamptz NOT NULL);
CREATE TABLE bare.job (id bigint PRIMARY KEY, status text NOT NULL, finished_at timestamptz)
	WITH (fillfactor = 70);
CREATE TABLE bare.returned (deployment uuid NOT NULL, status text NOT NULL, at timestamptz NOT NULL);

CREATE SCHEMA bench AUTHORIZATION bench;
CREATE TABLE bench.started (at timestamptz NOT NULL);
ALTER TABLE bench.started OWNER TO bench;

CREATE EXTENSION hotswap;
SELECT hotswap.register_node('development', 'bench', run_as => 'bench', schema => 'bench');
