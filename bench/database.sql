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
CREATE TABLE bare.vote (id bigint PRIMARY KEY, person text NOT NULL, at timestamptz NOT NULL);
CREATE TABLE bare.returned (deployment uuid NOT NULL, status text NOT NULL, at timestamptz NOT NULL);

CREATE SCHEMA bench AUTHORIZATION bench;
CREATE TABLE bench.started (at timestamptz NOT NULL);
ALTER TABLE bench.started OWNER TO bench;

CREATE EXTENSION hotswap;
SELECT hotswap.register_node('development', 'bench', run_as => 'bench', schema => 'bench');

-- Locks: turns that were taken, and how a lock is taken by asking for it every 100 ms.
CREATE TABLE bare.turn (asked timestamptz, got timestamptz NOT NULL, released timestamptz NOT NULL);
CREATE SEQUENCE bare.tries;
CREATE PROCEDURE bare.poll() LANGUAGE plpgsql AS $$
BEGIN
	LOOP
		PERFORM nextval('bare.tries');
		EXIT WHEN pg_try_advisory_lock(1);
		COMMIT;
		PERFORM pg_sleep(0.1);
	END LOOP;
END $$;
