-- What calls through entries cost beside direct ones, in one session; both take turns. Prints a name and
-- a number a line.
SET max_parallel_workers_per_gather = 0;
SET jit = off;
-- What the session has used of a processor, in ms, where the system says so: others may be busy, too.
CREATE FUNCTION used() RETURNS double precision LANGUAGE plpgsql AS $$
BEGIN
	RETURN split_part(pg_read_file('/proc/self/schedstat'), ' ', 1)::double precision / 1000000;
EXCEPTION WHEN undefined_file THEN
	RETURN 1000 * extract(epoch FROM clock_timestamp());
END $$;
CREATE FUNCTION took(query text) RETURNS double precision LANGUAGE plpgsql AS $$
DECLARE
	since double precision = used();
BEGIN
	EXECUTE query;
	RETURN used() - since;
END $$;
CALL make('m', 'one(i integer) RETURNS integer', $$LANGUAGE plpgsql STABLE AS 'BEGIN RETURN i + :v; END'$$);
CALL make('m', 'inlined(i integer) RETURNS integer', $$LANGUAGE sql STABLE AS 'SELECT i + :v'$$);
CALL make('m', 'down(i integer) RETURNS integer', $$LANGUAGE plpgsql AS '
	BEGIN
		IF i = 0 THEN RETURN 0; END IF;
		RETURN down(i - 1) + 1;
	END'$$);
CREATE FUNCTION down_directly(i integer) RETURNS integer LANGUAGE plpgsql AS $$
BEGIN
	IF i = 0 THEN RETURN 0; END IF;
	RETURN down_directly(i - 1) + 1;
END $$;
-- The depth at which the stack ends.
CREATE FUNCTION deepest(name text) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
	low integer = 1;
	high integer = 100000;
	middle integer;
BEGIN
	WHILE low + 1 < high LOOP
		middle = (low + high) / 2;
		BEGIN
			EXECUTE format('SELECT %s(%s)', name, middle);
			low = middle;
		EXCEPTION WHEN statement_too_complex THEN
			high = middle;
		END;
	END LOOP;
	RETURN low;
END $$;
CREATE TEMP TABLE cost (n integer, name text, ms double precision);
DO $$
DECLARE
	name text;
	names text[] = '{one,"\"m@a\".one",inlined,"\"m@a\".inlined"}';
BEGIN
	FOR n IN 1 .. 41 LOOP
		FOREACH name IN ARRAY names LOOP
			INSERT INTO cost SELECT n, name,
				took(format('SELECT count(%s(i)) FROM generate_series(1, 200000) i', name));
		END LOOP;
		-- who is first takes turns as well
		names = names[2:] || names[1];
	END LOOP;
END $$;
-- Of a million calls; and the median of what one is of the other in a round.
SELECT CASE WHEN name LIKE '%one' THEN 'one' ELSE 'inlined' END
	|| CASE WHEN name LIKE '"%' THEN '_directly' ELSE '' END,
	5 * percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) FROM cost GROUP BY name
UNION ALL SELECT 'ratio', percentile_cont(0.5) WITHIN GROUP (ORDER BY e.ms / d.ms)
FROM cost e JOIN cost d USING (n) WHERE e.name = 'one' AND d.name = '"m@a".one'
UNION ALL SELECT 'down', deepest('down') UNION ALL SELECT 'down_directly', deepest('down_directly');
