-- So many functions of a module, all called by a session that goes through so many swaps: the time of the
-- first calls after a swap, a function, and how the session's memory grew after the third; and the time of
-- the first direct calls of such functions. After route_cost.sql.
CREATE FUNCTION memory() RETURNS bigint LANGUAGE sql AS
	'SELECT sum(total_bytes)::bigint FROM pg_backend_memory_contexts';
CREATE SCHEMA direct;
DO $$
BEGIN
	FOR i IN 1 .. current_setting('bench.functions')::integer LOOP
		CALL make('m', format('many_%s(i integer) RETURNS integer', i), $f$LANGUAGE plpgsql AS '
			DECLARE k integer = i;
			BEGIN k = k + 1; RETURN k * :v; END'$f$);
		EXECUTE format($f$CREATE FUNCTION direct.many_%s(i integer) RETURNS integer LANGUAGE plpgsql AS '
			DECLARE k integer = i;
			BEGIN k = k + 1; RETURN k * 1; END'$f$, i);
	END LOOP;
END $$;
CREATE PROCEDURE through(swaps integer, OUT ms double precision, OUT growth double precision,
		OUT directly double precision)
	LANGUAGE plpgsql AS $$
DECLARE
	functions integer = current_setting('bench.functions')::integer;
	calls text;
	since double precision;
	times double precision[];
	before bigint;
BEGIN
	SELECT 'SELECT ' || string_agg(format('many_%s(1)', i), ' + ') FROM generate_series(1, functions) i
	INTO calls;
	since = used();
	EXECUTE replace(calls, 'many_', 'direct.many_');
	directly = (used() - since) / functions;
	FOR n IN 1 .. swaps LOOP
		INSERT INTO hotswap.route (tenant_id, node_id, module, epoch, slot, generation, version)
		VALUES ('11111111-1111-4111-8111-111111111111', '11111111-1111-4111-8111-111111111111', 'm',
			nextval('hotswap.epoch_seq'), slot_of('m', (n % 2) * 2 - 1), 1, n);
		COMMIT;
		since = used();
		EXECUTE calls;
		times = times || (used() - since) / functions;
		IF n = 3 THEN
			before = memory();
		END IF;
	END LOOP;
	-- the first calls of all: those of the second slot
	ms = times[2];
	growth = memory()::double precision / before;
END $$;
CALL through(100, NULL, NULL, NULL);
