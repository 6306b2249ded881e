-- So many modules of 50 functions, in three versions each, that are deployed, swapped together and all
-- called by one session. Prints: the time of an installation, ms; the time in which a session calls them
-- all after a swap, ms; how its memory grew after it had come to each version twice.
CREATE EXTENSION IF NOT EXISTS hotswap;
CREATE ROLE wide LOGIN;
CREATE SCHEMA wide AUTHORIZATION wide;
SELECT hotswap.register_node('development', 'wide', run_as => 'wide', schema => 'wide') AS node \gset
SET bench.node = :'node';
CREATE FUNCTION wide_script(module integer, version integer) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(format('CREATE OR REPLACE FUNCTION wide_%s_%s(i integer) RETURNS integer'
		' LANGUAGE plpgsql AS ''BEGIN RETURN i * %s; END''', module, f, version), '; ')
	FROM generate_series(1, 50) f
$$;
SELECT count(hotswap.configure_module('wide' || m, routed => true, retain_versions => 2)),
	count(hotswap.publish_version('wide' || m, v::text, wide_script(m, v)))
FROM generate_series(1, current_setting('bench.modules')::integer) m, generate_series(1, 3) v \g /dev/null
CREATE PROCEDURE install(OUT ms double precision) LANGUAGE plpgsql AS $$
DECLARE
	modules integer = current_setting('bench.modules')::integer;
	ids uuid[];
	since timestamptz = clock_timestamp();
	d uuid;
BEGIN
	FOR v IN 1 .. 3 LOOP
		SELECT array_agg(hotswap.deploy('wide' || m, v::text, 'development'))
		FROM generate_series(1, modules) m INTO ids;
		COMMIT;
		FOREACH d IN ARRAY ids LOOP
			IF hotswap.wait(d, '600 s') <> 'succeeded' THEN
				RAISE 'deployment % is %', d, hotswap.wait(d, '0');
			END IF;
			COMMIT;
		END LOOP;
	END LOOP;
	ms = 1000 * extract(epoch FROM clock_timestamp() - since) / modules / 3;
END $$;
CALL install(NULL);
CREATE FUNCTION memory() RETURNS bigint LANGUAGE sql AS
	'SELECT sum(total_bytes)::bigint FROM pg_backend_memory_contexts';
CREATE PROCEDURE wide(swaps integer, OUT ms double precision, OUT growth double precision)
	LANGUAGE plpgsql AS $$
DECLARE
	calls text[];
	call text;
	answer integer;
	since timestamptz;
	before bigint;
BEGIN
	SELECT array_agg((SELECT 'SELECT ' || string_agg(format('wide.wide_%s_%s(1)', m, f), ' + ')
		FROM generate_series(1, 50) f))
	FROM generate_series(1, current_setting('bench.modules')::integer) m INTO calls;
	FOR n IN 1 .. swaps LOOP
		INSERT INTO hotswap.route (tenant_id, node_id, module, epoch, slot, generation, version)
		SELECT tenant_id, node_id, module, nextval('hotswap.epoch_seq'), slot, generation, version
		FROM hotswap.route_slot WHERE node_id = current_setting('bench.node')::uuid
			AND version = (n % 3 + 1)::text;
		COMMIT;
		since = clock_timestamp();
		FOREACH call IN ARRAY calls LOOP
			EXECUTE call INTO answer;
			IF answer <> 50 * (n % 3 + 1) THEN
				RAISE 'mixed: %', answer;
			END IF;
		END LOOP;
		ms = 1000 * extract(epoch FROM clock_timestamp() - since);
		IF n = 6 THEN
			before = memory();
		END IF;
	END LOOP;
	growth = memory()::double precision / before;
END $$;
CALL wide(100, NULL, NULL);
