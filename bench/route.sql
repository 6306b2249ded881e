-- Two routed modules, m and n, with two slots each, made by hand. Every function of a slot says which it
-- is: 1 in slot @a, -1 in @b. They are swapped together, so in one transaction nobody sees both.
CREATE EXTENSION IF NOT EXISTS hotswap;
CREATE TABLE data (v integer);
INSERT INTO data VALUES (1);
CREATE TABLE inserted (v integer, w integer);

CREATE FUNCTION slot_of(module text, v integer) RETURNS text LANGUAGE sql AS
	$$SELECT module || CASE v WHEN 1 THEN '@a' ELSE '@b' END$$;

-- The same function in both slots, :v stands for its answer, and the entry.
CREATE PROCEDURE make(module text, signature text, definition text, entry text DEFAULT 'STABLE')
	LANGUAGE plpgsql AS $$
DECLARE
	name text = substring(signature, '^\w+');
	kind text = CASE WHEN name ~ 'procedure' THEN 'PROCEDURE' ELSE 'FUNCTION' END;
	v integer;
BEGIN
	FOREACH v IN ARRAY ARRAY[1, -1] LOOP
		EXECUTE format('CREATE %s %I.%s %s', kind, slot_of(module, v), signature,
			replace(definition, ':v', v::text));
	END LOOP;
	EXECUTE format('CREATE %s %s LANGUAGE hotswap %s AS %L', kind, signature, entry,
		format('tenant %s node %s module "%s" function "%s" slot "%s"',
			'11111111-1111-4111-8111-111111111111', '11111111-1111-4111-8111-111111111111',
			module, name, slot_of(module, 1)));
END $$;

DO $$
DECLARE
	slot text;
BEGIN
	FOREACH slot IN ARRAY '{m@a,m@b,n@a,n@b}'::text[] LOOP
		EXECUTE format('CREATE SCHEMA %I', slot);
		EXECUTE format('CREATE TABLE %I.hotswap_slot_1 ()', slot);
	END LOOP;
END $$;
CALL make('m', 'm() RETURNS integer', $$LANGUAGE plpgsql AS 'BEGIN RETURN :v; END'$$);
CALL make('n', 'n() RETURNS integer', $$LANGUAGE plpgsql AS 'BEGIN RETURN :v; END'$$);
CALL make('n', 'n_sql() RETURNS integer', $$LANGUAGE sql AS 'SELECT :v'$$);
CALL make('m', 'm_set(i integer) RETURNS SETOF integer',
	$$LANGUAGE sql AS 'SELECT :v FROM generate_series(1, i)'$$);
CALL make('n', 'n_set(i integer) RETURNS SETOF integer', $$LANGUAGE plpgsql AS
	'BEGIN FOR k IN 1 .. i LOOP RETURN NEXT :v; END LOOP; END'$$);
-- Calls within calls, through the entries, with a pause in between.
CALL make('m', 'm_nested() RETURNS integer', $$LANGUAGE plpgsql AS '
	BEGIN
		PERFORM pg_sleep(0.0002);
		RETURN CASE WHEN m() = :v AND n() = :v AND n_sql() = :v THEN :v ELSE 0 END;
	END'$$);
CALL make('n', 'n_trigger() RETURNS trigger',
	$$LANGUAGE plpgsql AS 'BEGIN NEW.w = :v; RETURN NEW; END'$$, '');
-- Whatever arguments and results a function can have.
CALL make('n', 'n_variadic(VARIADIC i integer[]) RETURNS integer',
	$$LANGUAGE plpgsql AS 'BEGIN RETURN i[1] * :v; END'$$);
CALL make('m', 'm_polymorphic(i anyelement) RETURNS anyelement',
	$$LANGUAGE plpgsql AS 'BEGIN RETURN i * :v; END'$$);
CALL make('n', 'n_out(i integer, OUT a integer, OUT b numeric)',
	$$LANGUAGE plpgsql AS 'BEGIN a = i * :v; b = :v; END'$$);
CALL make('m', 'm_inout(INOUT i integer)', $$LANGUAGE sql AS 'SELECT i * :v'$$);
CALL make('n', 'n_table(i integer) RETURNS TABLE (a integer, b integer)',
	$$LANGUAGE plpgsql AS 'BEGIN RETURN QUERY SELECT :v, :v FROM generate_series(1, i); END'$$);
CALL make('m', 'm_default(i integer DEFAULT 1, j integer DEFAULT 1) RETURNS integer',
	$$LANGUAGE sql AS 'SELECT i * j * :v'$$);
-- A row and both transactions of a procedure.
CALL make('m', 'm_procedure(INOUT answer integer)', $$LANGUAGE plpgsql AS '
	BEGIN
		answer = same(:v, m(), n());
		INSERT INTO inserted DEFAULT VALUES RETURNING same(:v, v, w) INTO answer;
		COMMIT;
		answer = same(m(), n(), m_nested());
	END'$$, '');
CALL make('n', 'n_event() RETURNS event_trigger',
	$$LANGUAGE plpgsql AS 'BEGIN PERFORM same(:v, m(), n()); END'$$, '');
-- Where its package is installed: PL/Perl.
SELECT CASE WHEN count(*) > 0 THEN 'plperl' ELSE 'plpgsql' END AS perl,
	CASE WHEN count(*) > 0 THEN 'return :v;' ELSE 'BEGIN RETURN :v; END' END AS perl_body
FROM pg_available_extensions WHERE name = 'plperl' \gset
CREATE EXTENSION IF NOT EXISTS :perl;
CALL make('n', 'n_perl() RETURNS integer', format('LANGUAGE %s AS %L', :'perl', :'perl_body'));
-- Parallel workers call them.
CREATE TABLE large AS SELECT i FROM generate_series(1, 400) i;
ALTER TABLE large SET (parallel_workers = 2);
ANALYZE large;
CALL make('m', 'm_parallel() RETURNS integer',
	$$LANGUAGE plpgsql PARALLEL SAFE AS 'BEGIN RETURN :v; END'$$, 'STABLE PARALLEL SAFE');
-- One of these rows is for a version.
CREATE TABLE guarded AS SELECT unnest(ARRAY[1, -1]) AS v;
ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
CREATE POLICY guarded ON guarded USING (v = m());
CREATE ROLE guarded;
GRANT SELECT ON guarded TO guarded;
-- In C there are functions that differ.
CREATE FUNCTION "n@a".n_library(text, text) RETURNS integer LANGUAGE c STRICT
	AS '$libdir/fuzzystrmatch', 'levenshtein';
CREATE FUNCTION "n@b".n_library(text, text) RETURNS integer LANGUAGE c STRICT
	AS '$libdir/fuzzystrmatch', 'difference';
CREATE FUNCTION n_library(text, text) RETURNS integer LANGUAGE hotswap STABLE STRICT AS 'tenant
	11111111-1111-4111-8111-111111111111 node 11111111-1111-4111-8111-111111111111
	module "n" function "n_library" slot "n@a"';
CREATE FUNCTION "n@a".n_c(integer) RETURNS integer LANGUAGE internal STRICT AS 'int4abs';
CREATE FUNCTION "n@b".n_c(integer) RETURNS integer LANGUAGE internal STRICT AS 'int4um';
CREATE FUNCTION n_c(integer) RETURNS integer LANGUAGE hotswap STABLE STRICT AS 'tenant
	11111111-1111-4111-8111-111111111111 node 11111111-1111-4111-8111-111111111111
	module "n" function "n_c" slot "n@a"';
ALTER TABLE inserted ALTER v SET DEFAULT m();
CREATE TRIGGER n BEFORE INSERT ON inserted FOR EACH ROW EXECUTE FUNCTION n_trigger();

-- Refuses what was not all called in one version.
CREATE FUNCTION same(VARIADIC answers integer[]) RETURNS integer LANGUAGE plpgsql AS $$
BEGIN
	IF answers <> array_fill(answers[1], ARRAY[cardinality(answers)]) OR answers[1] NOT IN (1, -1) THEN
		RAISE 'mixed: %', answers;
	END IF;
	RETURN answers[1];
END $$;

-- As many calls in a statement as are wanted.
CREATE FUNCTION many(calls integer) RETURNS integer LANGUAGE sql AS $$
	SELECT CASE WHEN min(m()) = max(n()) AND max(m()) = min(n()) THEN max(m()) ELSE 0 END
	FROM generate_series(1, calls / 4)
$$;

-- A snapshot has the data of its version; a newer version may be called on older data.
CREATE FUNCTION check_data(v integer) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	IF current_setting('transaction_isolation') <> 'read committed' THEN
		PERFORM same(v, (SELECT d.v FROM data d));
	END IF;
END $$;

-- Swaps both modules, and the data with them, until it is told to end.
CREATE TABLE swaps (n bigint, stop boolean);
INSERT INTO swaps VALUES (0, false);
CREATE PROCEDURE swap_on() LANGUAGE plpgsql AS $$
DECLARE
	wanted integer;
BEGIN
	WHILE NOT (SELECT stop FROM swaps) LOOP
		UPDATE data SET v = -v RETURNING v INTO wanted;
		INSERT INTO hotswap.route (tenant_id, node_id, module, epoch, slot, generation, version)
		SELECT '11111111-1111-4111-8111-111111111111', '11111111-1111-4111-8111-111111111111',
			module, nextval('hotswap.epoch_seq'), slot_of(module, wanted), 1, wanted
		FROM unnest(ARRAY['m', 'n']) module;
		UPDATE swaps SET n = n + 1;
		-- half of them leave nothing
		IF random() < 0.2 THEN
			ROLLBACK;
		END IF;
		COMMIT;
		IF random() < 0.05 THEN
			DELETE FROM hotswap.route WHERE created_at < now() - interval '10 s'
				AND epoch < (SELECT max(epoch) - 10 FROM hotswap.route);
			COMMIT;
		END IF;
	END LOOP;
END $$;
CREATE EVENT TRIGGER n ON ddl_command_end EXECUTE FUNCTION n_event();
