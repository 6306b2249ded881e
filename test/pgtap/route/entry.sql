-- Entries pass on whatever a function can be called with, and refuse what would not fit.
SELECT plan(43);
\ir ../include/route.sql
SELECT make_slot('m@a', 1), make_slot('m@b', 1) \g /dev/null

-- Arguments and results of every kind, before and after a swap.
SELECT routed('plain(i integer) RETURNS text',
		$$LANGUAGE plpgsql AS 'BEGIN RETURN ''%s '' || i; END'$$),
	routed('outs(i integer, OUT a text, OUT b integer, INOUT c integer = 5) RETURNS record',
		$$LANGUAGE plpgsql AS 'BEGIN a = ''%s''; b = i; END'$$),
	routed('tab(i integer) RETURNS TABLE (a text, n integer)',
		$$LANGUAGE plpgsql AS '
		BEGIN RETURN QUERY SELECT ''%s'', g FROM generate_series(1, i) g; END'$$),
	routed('vals(VARIADIC v integer[]) RETURNS text',
		$$LANGUAGE sql AS 'SELECT ''%s '' || cardinality(v)'$$),
	routed('poly(a anyelement, b anyarray) RETURNS anyelement',
		$$LANGUAGE plpgsql AS 'BEGIN RETURN coalesce(a, b[1]); END'$$),
	routed('sqlset(i integer) RETURNS SETOF text',
		$$LANGUAGE sql AS 'SELECT ''%s '' || n FROM generate_series(1, i) n'$$),
	routed('rec(i integer) RETURNS SETOF record',
		$$LANGUAGE plpgsql AS 'BEGIN RETURN QUERY SELECT ''%s''::text, i; END'$$),
	routed('def(i integer = 1, j integer = 2) RETURNS text',
		$$LANGUAGE sql AS 'SELECT ''%s '' || i || '','' || j'$$),
	routed('series(a integer, b integer) RETURNS SETOF integer',
		$$LANGUAGE internal STRICT AS 'generate_series_int4'$$, 'STRICT'),
	routed('fmt(f text, VARIADIC v "any") RETURNS text',
		$$LANGUAGE internal AS 'text_format'$$),
	routed('strictly(i integer) RETURNS text',
		$$LANGUAGE sql STRICT AS 'SELECT ''%s '' || i'$$, 'STRICT')
\g /dev/null

SELECT is(plain(1), 'm@a 1', 'without a row of the route the slot that the entry names is called');
SELECT route('m@b', 1) \g /dev/null
SELECT is(plain(1), 'm@b 1', 'a scalar');
SELECT is(outs(7)::text, '(m@b,7,5)', 'OUT and INOUT arguments, as a row');
SELECT is((SELECT a || b || c FROM outs(7, c => 1)), 'm@b71', 'and as columns, by name');
SELECT is((SELECT string_agg(a || n, ' ') FROM tab(2)), 'm@b1 m@b2', 'TABLE');
SELECT is((SELECT string_agg(t::text, ' ') FROM (SELECT tab(2) t) s), '(m@b,1) (m@b,2)',
	'TABLE in a select list');
SELECT is(vals(1, 2, 3), 'm@b 3', 'VARIADIC');
SELECT is(vals(VARIADIC '{1,2}'), 'm@b 2', 'an array for it');
SELECT is(fmt('%s-%s', 1, 'x'::text), '1-x', 'VARIADIC "any"');
SELECT is(poly(NULL, '{7}'::integer[]) + 1, 8, 'polymorphic');
SELECT is(poly(NULL, '{x}'::text[]) || 'y', 'xy', 'of another type');
SELECT is((SELECT array_agg(s) FROM sqlset(3) s), '{m@b 1,m@b 2,m@b 3}',
	'a set of an SQL function');
SELECT is((SELECT string_agg(s, ',') FROM (SELECT sqlset(2) s) q), 'm@b 1,m@b 2',
	'one value a call');
SELECT is((SELECT string_agg(concat(s, t), ',') FROM (SELECT sqlset(2) s, tab(1) t) q),
	'm@b 1(m@b,1),m@b 2', 'two sets of two kinds');
SELECT is((SELECT s FROM sqlset(1000000) s LIMIT 1), 'm@b 1', 'a set that is not read to its end');
SELECT is((SELECT string_agg(x.s, ' ') FROM generate_series(1, 2) i,
	LATERAL (SELECT sqlset(3) s LIMIT i) x), 'm@b 1 m@b 1 m@b 2', 'again and again');
SELECT is((SELECT a || i FROM rec(3) t (a text, i integer)), 'm@b3', 'a list of columns');
SELECT is((SELECT array_agg(s) FROM series(1, 3) s), '{1,2,3}', 'a set of C');
SELECT is((SELECT count(*) FROM series(1, NULL)), 0::bigint, 'a set that is STRICT');
SELECT is(def(j => 5), 'm@b 1,5', 'defaults and names');
SELECT is(strictly(NULL), NULL, 'STRICT');
SELECT is((SELECT string_agg(plain(i), ' ') FROM generate_series(1, 3) i), 'm@b 1 m@b 2 m@b 3',
	'one place, several calls');

-- Procedures.
CREATE TABLE done (who text, transaction xid8 DEFAULT pg_current_xact_id());
SELECT routed('proc(INOUT i integer)', $$LANGUAGE plpgsql AS '
	BEGIN
		INSERT INTO done VALUES (''%s''); COMMIT;
		INSERT INTO done VALUES (''%s''); ROLLBACK;
		BEGIN RAISE no_data_found; EXCEPTION WHEN no_data_found THEN i = i + 1; END;
		INSERT INTO done VALUES (''%s'');
	END'$$, '') \g /dev/null
CALL proc(1) \g /dev/null
SELECT is((SELECT string_agg(who, ' ') FROM done), 'm@b m@b', 'a procedure ends transactions');
DO $$ DECLARE i integer = 1; BEGIN CALL proc(i); INSERT INTO done VALUES (i); END $$;
SELECT is((SELECT string_agg(who, ' ') FROM done), 'm@b m@b m@b m@b 2', 'so it does in DO');
SELECT is((SELECT count(DISTINCT transaction) FROM done), 4::bigint, 'they are so many');

-- Where CALL would not let the target end one, its entry does not either.
SELECT routed('definer(what text)', $$SECURITY DEFINER LANGUAGE plpgsql AS '
	BEGIN IF what = ''commit'' THEN COMMIT; END IF; END'$$, ''),
	routed('with_set()', $$SET work_mem = '7MB' LANGUAGE plpgsql AS 'BEGIN COMMIT; END'$$, '')
\g /dev/null
CALL definer('nothing');
CALL definer('nothing');
SELECT is(as_role(current_user, $$CALL definer('commit')$$), '2D000',
	'a procedure that is SECURITY DEFINER does not end the transaction');
SELECT is(as_role(current_user, 'CALL with_set()'), '2D000',
	'nor does one with a setting of its own');

-- Triggers.
CREATE TABLE t (i integer, who text);
SELECT routed('trig() RETURNS trigger',
	$$LANGUAGE plpgsql AS 'BEGIN NEW.who = ''%s''; RETURN NEW; END'$$, '') \g /dev/null
CREATE TRIGGER t BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION trig();
INSERT INTO t VALUES (1);
SELECT is((SELECT who FROM t), 'm@b', 'a trigger');
SELECT routed('evt() RETURNS event_trigger',
	$$LANGUAGE plpgsql AS 'BEGIN INSERT INTO done VALUES (tg_event || ''%s''); END'$$, '')
\g /dev/null
CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION evt();
CREATE TABLE made ();
DROP EVENT TRIGGER e;
SELECT is((SELECT count(*) FROM done WHERE who = 'ddl_command_endm@b'), 1::bigint,
	'an event trigger');

-- What does not fit is refused at the call: the server would take the entry's word for it.
SELECT routed('fit(i integer) RETURNS integer', $$LANGUAGE sql AS 'SELECT i'$$) \g /dev/null
DROP FUNCTION "m@b".fit(integer);
SELECT is((SELECT (code, message)::text FROM refusal('SELECT fit(1)')),
	'(42883,"function fit(integer) does not exist in version ""m@b1"" of module ""m""")',
	'a target that is not there');
CREATE FUNCTION "m@b".fit(integer) RETURNS text LANGUAGE sql AS $$ SELECT 'text' $$;
SELECT is((SELECT (code, message, detail)::text FROM refusal('SELECT fit(1)')),
	'(42P13,"function ""m@b"".fit does not fit its entry","It returns another type.")',
	'another result');
DROP FUNCTION "m@b".fit;
CREATE FUNCTION "m@b".fit(integer) RETURNS SETOF integer LANGUAGE sql AS $$ SELECT 1 $$;
SELECT is((SELECT detail FROM refusal('SELECT fit(1)')), 'It returns another type.', 'a set');
DROP FUNCTION "m@b".fit;
CREATE PROCEDURE "m@b".fit(integer) LANGUAGE sql AS '';
SELECT is((SELECT detail FROM refusal('SELECT fit(1)')), 'It is of another kind.', 'a procedure');
DROP PROCEDURE "m@b".fit;
CREATE FUNCTION "m@b".fit(i integer, OUT integer) LANGUAGE sql AS $$ SELECT i $$;
SELECT is((SELECT detail FROM refusal('SELECT fit(1)')), 'It has other arguments.',
	'other modes of arguments');
DROP FUNCTION "m@b".fit;
CREATE FUNCTION "m@b".fit(i integer) RETURNS integer LANGUAGE sql STRICT AS 'SELECT i';
SELECT is((SELECT detail FROM refusal('SELECT fit(NULL)')),
	'One is STRICT and the other is not.', 'a target that takes no NULL');
DROP FUNCTION "m@b".fit;
SELECT format('CREATE FUNCTION "m@b".fit(i integer) RETURNS integer LANGUAGE hotswap STABLE AS %L',
	body_of('fit')) \gexec
SELECT is((SELECT detail FROM refusal('SELECT fit(1)')), 'It is an entry itself.', 'an entry');

-- What is no entry.
SELECT is((SELECT (code, message)::text FROM refusal(format(
	'CREATE FUNCTION x() RETURNS void LANGUAGE hotswap IMMUTABLE AS %L', body_of('x')))),
	'(42P13,"entry ""x"" must not be IMMUTABLE")', 'one that is IMMUTABLE');
SELECT is((SELECT (code, message)::text FROM refusal(format(
	'CREATE FUNCTION x() RETURNS void LANGUAGE hotswap SECURITY DEFINER AS %L', body_of('x')))),
	'(42P13,"entry ""x"" must not be SECURITY DEFINER")', 'one that has rights of its own');
ALTER FUNCTION plain IMMUTABLE;
SELECT is(attempt('SELECT plain(1)'), '42P13', 'it does not become one later');
ALTER FUNCTION plain STABLE;
SELECT is(attempt('CREATE INDEX ON t (plain(i))'), '42P17', 'so no index can have it');
SELECT is(attempt('ALTER TABLE t ADD g text GENERATED ALWAYS AS (plain(i)) STORED'), '42P17',
	'nor a generated column');
SELECT is((SELECT string_agg(DISTINCT (refusal('CREATE FUNCTION x() RETURNS void LANGUAGE hotswap'
		|| ' STABLE AS ' || quote_literal(t))).code, ' ') FROM unnest(ARRAY['', 'tenant',
	replace(body_of('x'), 'tenant', 'tenants'), replace(body_of('x'), '"m"', 'm'),
	replace(body_of('x'), '"m"', '""'), replace(body_of('x'), '"m"', '"m'),
	body_of('x') || ' more', body_of(repeat('x', 64))]) t), '42601', 'one with another text');
SELECT is(attempt($$CREATE FUNCTION x() RETURNS void LANGUAGE hotswap STABLE
	AS 'tenant 1 node 2'$$), '22P02', 'or with what is no UUID');
SELECT * FROM finish();
