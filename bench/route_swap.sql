-- How long a swap takes, from its first statement to its commit: back and forth, so many times.
DROP EVENT TRIGGER n;
CREATE TABLE swap_time (ms double precision);
CREATE PROCEDURE swap_times(swaps integer) LANGUAGE plpgsql AS $$
DECLARE
	since timestamptz;
BEGIN
	FOR n IN 1 .. swaps LOOP
		since = clock_timestamp();
		INSERT INTO hotswap.route (tenant_id, node_id, module, epoch, slot, generation, version)
		VALUES ('11111111-1111-4111-8111-111111111111', '11111111-1111-4111-8111-111111111111', 'm',
			nextval('hotswap.epoch_seq'), slot_of('m', (n % 2) * 2 - 1), 1, n);
		COMMIT;
		INSERT INTO swap_time VALUES (1000 * extract(epoch FROM clock_timestamp() - since));
		COMMIT;
		PERFORM pg_sleep(0.01);
	END LOOP;
END $$;
