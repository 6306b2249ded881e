-- How long a swap takes, from its first statement to its commit: back and forth, so many times, taking turns
-- with a row of a table that nobody reads.
DROP EVENT TRIGGER n;
CREATE TABLE swap_time (ms double precision, bare double precision);
CREATE TABLE unread (LIKE hotswap.route INCLUDING ALL);
CREATE PROCEDURE swap_times(swaps integer) LANGUAGE plpgsql AS $$
DECLARE
	since timestamptz;
	took double precision;
BEGIN
	FOR n IN 1 .. swaps LOOP
		since = clock_timestamp();
		INSERT INTO hotswap.route (tenant_id, node_id, module, epoch, slot, generation, version)
		VALUES ('11111111-1111-4111-8111-111111111111', '11111111-1111-4111-8111-111111111111', 'm',
			nextval('hotswap.epoch_seq'), slot_of('m', (n % 2) * 2 - 1), 1, n);
		COMMIT;
		took = 1000 * extract(epoch FROM clock_timestamp() - since);
		since = clock_timestamp();
		INSERT INTO unread (tenant_id, node_id, module, epoch, slot, generation, version)
		VALUES ('11111111-1111-4111-8111-111111111111', '11111111-1111-4111-8111-111111111111', 'm',
			n, 'm@a', 1, n);
		COMMIT;
		INSERT INTO swap_time VALUES (took, 1000 * extract(epoch FROM clock_timestamp() - since));
		COMMIT;
		PERFORM pg_sleep(0.01);
	END LOOP;
END $$;
