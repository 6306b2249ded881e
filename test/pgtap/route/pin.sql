-- What a transaction has called, it calls until its end: in places that call functions in their own
-- way, through savepoints, cursors and errors.
SELECT plan(31);
\ir ../include/route.sql
SELECT make_slot('m@a', 1), make_slot('m@b', 1) \g /dev/null
SELECT routed('v() RETURNS text', $$LANGUAGE plpgsql AS 'BEGIN RETURN ''%s''; END'$$),
	routed('ok(i integer) RETURNS boolean', $$LANGUAGE plpgsql AS 'BEGIN RETURN ''%s'' = ''m@a''
		OR i > 5; END'$$),
	routed('seen(i integer) RETURNS boolean', $$LANGUAGE sql AS
		'SELECT (i % 2 = 0) = (''%s'' = ''m@b'')'$$),
	routed('boom() RETURNS void', $$LANGUAGE plpgsql AS 'BEGIN RAISE ''%s''; END'$$),
	routed('add_up(state text, i integer) RETURNS text',
		$$LANGUAGE plpgsql AS 'BEGIN RETURN state || ''%s'' || i; END'$$),
	routed('finish_up(state text) RETURNS text',
		$$LANGUAGE sql AS 'SELECT state || ''%s'''$$),
	routed('equal(a point, b point) RETURNS boolean',
		$$LANGUAGE sql AS 'SELECT ''%s'' = ''m@b'''$$),
	routed('deep(i integer) RETURNS integer', $$LANGUAGE plpgsql AS '
		BEGIN IF i = 0 THEN RETURN 0; END IF; RETURN deep(i - 1) + 1; END'$$),
	route('m@a', 1) \g /dev/null

-- swap(): another session has callers get another slot.
CREATE FUNCTION swap(slot text) RETURNS text LANGUAGE sql AS $$
	SELECT as_role(current_user, format('SELECT ''to'' FROM route(%L, 1)', slot))
$$;

-- Statements that were prepared.
PREPARE p AS SELECT v();
SET plan_cache_mode = force_generic_plan;
CREATE TEMP TABLE before AS EXECUTE p;
SELECT swap('m@b') \g /dev/null
CREATE TEMP TABLE got AS EXECUTE p;
SELECT is((SELECT v FROM got), 'm@b', 'a prepared statement');
RESET plan_cache_mode;

-- The statement is the whole transaction, or not.
BEGIN;
SELECT is(v(), 'm@b', 'the first call');
SELECT swap('m@a') \g /dev/null
SELECT is(v(), 'm@b', 'a later one');
SAVEPOINT s;
SELECT is(v(), 'm@b', 'within a savepoint');
ROLLBACK TO s;
SELECT is(v(), 'm@b', 'behind it');
SELECT is((refusal('SELECT boom()')).message, 'm@b', 'an error');
SELECT is(v(), 'm@b', 'and after it');
DECLARE c CURSOR FOR SELECT v() FROM generate_series(1, 2);
DECLARE h CURSOR WITH HOLD FOR SELECT v() FROM generate_series(1, 2);
FETCH c \g /dev/null
COMMIT;
FETCH h \gset
SELECT is(:'v'::text, 'm@b', 'a cursor that outlives the transaction');
CLOSE h;
SELECT is(v(), 'm@a', 'the next transaction');

-- A statement whose first call comes after a swap: what is newest then; in REPEATABLE READ what the
-- snapshot has.
SELECT is((SELECT v() FROM (SELECT swap('m@b') OFFSET 0) s), 'm@b', 'newer than the statement');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT is((SELECT v() FROM (SELECT swap('m@a') OFFSET 0) s), 'm@b', 'or as old as the snapshot');
COMMIT;
SELECT is(v(), 'm@a', 'and the next has the new one');

-- A savepoint that is rolled back had the first call of all.
BEGIN;
SAVEPOINT s;
SELECT v() \g /dev/null
ROLLBACK TO s;
SELECT swap('m@b') \g /dev/null
SELECT is(v(), 'm@a', 'what was called has been called');
SELECT is((SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND mode = 'AccessShareLock'
	AND relation = '"m@a".hotswap_slot_1'::regclass), 1::bigint, 'and is held');
COMMIT;

-- DO blocks with exceptions.
CREATE FUNCTION in_do() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text = '';
BEGIN
	FOR i IN 1 .. 4 LOOP
		BEGIN
			result = result || v() || ' ';
			IF i = 2 THEN
				PERFORM swap('m@a');
			END IF;
			PERFORM boom();
		EXCEPTION WHEN raise_exception THEN
			result = result || SQLERRM || ' ';
		END;
	END LOOP;
	RETURN result;
END $$;
SELECT is(in_do(), repeat('m@b m@b ', 4), 'exceptions in between');
SELECT is(v(), 'm@a', 'is the old one only for that transaction');

-- Tables.
CREATE DOMAIN small AS integer CHECK (ok(VALUE));
CREATE TABLE t (i integer CHECK (ok(i)), who text DEFAULT v(), d small);
INSERT INTO t (i, d) VALUES (1, 1);
SELECT swap('m@b') \g /dev/null
SELECT is(attempt('INSERT INTO t (i) VALUES (1)'), '23514', 'a CHECK constraint');
SELECT is(attempt('INSERT INTO t (d) VALUES (1)'), '23514', 'of a domain');
INSERT INTO t (i) VALUES (6);
SELECT is((SELECT string_agg(who, ' ' ORDER BY i) FROM t), 'm@a m@b', 'a default');
COPY t (i) FROM stdin;
7
\.
SELECT is((SELECT who FROM t WHERE i = 7), 'm@b', 'for rows that are copied as well');
DELETE FROM t WHERE i = 7;
SELECT named('reader') AS reader \gset
CREATE ROLE :reader;
GRANT SELECT ON t TO :reader;
ALTER TABLE t ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON t USING (seen(i));
SET ROLE :reader;
SELECT is((SELECT array_agg(i) FROM t), '{6}', 'a policy');
RESET ROLE;
SELECT swap('m@a') \g /dev/null
SET ROLE :reader;
SELECT is((SELECT array_agg(i) FROM t), '{1}', 'of the other version');
RESET ROLE;
DROP TABLE t;
DROP ROLE :reader;

-- Aggregates, operators, casts.
CREATE AGGREGATE agg (integer)
	(SFUNC = add_up, STYPE = text, INITCOND = '', FINALFUNC = finish_up);
SELECT is((SELECT agg(i) FROM generate_series(1, 2) i), 'm@a1m@a2m@a', 'an aggregate');
SELECT is((SELECT string_agg(a, ' ') FROM (SELECT agg(i) OVER (ORDER BY i) a
	FROM generate_series(1, 2) i) x), 'm@a1m@a m@a1m@a2m@a', 'over a window');
CREATE OPERATOR === (LEFTARG = point, RIGHTARG = point, FUNCTION = equal);
SELECT is('(1,1)'::point === '(1,1)', false, 'an operator');
SELECT swap('m@b') \g /dev/null
SELECT is('(1,1)'::point === '(1,1)', true, 'of the other version');
CREATE TYPE pair AS (a integer, b integer);
SELECT routed('to_text(p pair) RETURNS text', $$LANGUAGE sql AS 'SELECT ''%s'' || p.a'$$)
\g /dev/null
CREATE CAST (pair AS text) WITH FUNCTION to_text(pair);
SELECT is('(1,2)'::pair::text, 'm@b1', 'a cast');

-- Deferred triggers are the transaction's.
CREATE TABLE late (who text);
CREATE TABLE log (who text);
SELECT routed('note() RETURNS trigger',
	$$LANGUAGE plpgsql AS 'BEGIN INSERT INTO log VALUES (''%s''); RETURN NULL; END'$$, '')
\g /dev/null
CREATE CONSTRAINT TRIGGER late AFTER INSERT ON late DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION note();
BEGIN;
SELECT v() \g /dev/null
INSERT INTO late VALUES (1);
SELECT swap('m@a') \g /dev/null
COMMIT;
SELECT is((SELECT who FROM log), 'm@b', 'a trigger at the commit');

-- Recursion is nearly as deep as without.
SELECT is(deep(100), 100, 'recursion');
SELECT is(attempt('SELECT deep(1000000)'), '54001', 'ends like any other');

-- The error says where it was.
CREATE FUNCTION context_of() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	context text;
BEGIN
	PERFORM boom();
EXCEPTION WHEN raise_exception THEN
	GET STACKED DIAGNOSTICS context = PG_EXCEPTION_CONTEXT;
	RETURN context;
END $$;
SELECT matches(context_of(), '"m@a".boom\(\)', 'the context of an error names the slot');
SELECT * FROM finish();
