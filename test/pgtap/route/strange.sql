-- Whatever an entry and what is behind it are made of, a call is passed on, or it is refused: the
-- server lives. Each of the signatures below as an entry, before each of them.
SELECT plan(19);
\ir ../include/route.sql
SELECT make_slot('m@a', 1), route('m@a', 1) \g /dev/null

CREATE TYPE pair AS (a integer, b text);
CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
CREATE TABLE shape (n serial, kind text, arguments text, result text, definition text,
	call text DEFAULT '1');
INSERT INTO shape (kind, arguments, result, definition) VALUES
	('FUNCTION', 'i integer', 'integer', $$LANGUAGE sql AS 'SELECT 7'$$),
	('FUNCTION', 'i integer', 'integer', $$LANGUAGE sql STRICT AS 'SELECT 7'$$),
	('FUNCTION', 'i integer', 'integer', $$LANGUAGE internal STRICT AS 'int4abs'$$),
	('FUNCTION', 'i integer', 'bigint', $$LANGUAGE sql AS 'SELECT 7::bigint'$$),
	('FUNCTION', 'i integer', 'text', $$LANGUAGE plpgsql AS 'BEGIN RETURN ''seven''; END'$$),
	('FUNCTION', 'i integer', 'positive', $$LANGUAGE sql AS 'SELECT 7'$$),
	('FUNCTION', 'i integer', 'void', $$LANGUAGE plpgsql AS 'BEGIN END'$$),
	('FUNCTION', 'i integer', 'pair', $$LANGUAGE sql AS 'SELECT (7, ''x'')::pair'$$),
	('FUNCTION', 'i integer', 'SETOF integer', $$LANGUAGE sql AS 'SELECT 7 UNION ALL SELECT 8'$$),
	('FUNCTION', 'i integer', 'SETOF pair', $$LANGUAGE plpgsql AS '
		BEGIN RETURN QUERY SELECT 7, ''x''::text; END'$$),
	('FUNCTION', 'i integer', 'TABLE (a integer, b text)', $$LANGUAGE plpgsql AS '
		BEGIN a = 7; RETURN NEXT; END'$$),
	('FUNCTION', 'i integer, OUT a integer, OUT b text', NULL,
		$$LANGUAGE plpgsql AS 'BEGIN a = 7; END'$$),
	('FUNCTION', 'i integer, OUT a integer, OUT b integer', NULL,
		$$LANGUAGE plpgsql AS 'BEGIN a = 7; END'$$),
	('FUNCTION', 'VARIADIC i integer[]', 'integer', $$LANGUAGE sql AS 'SELECT 7'$$),
	('FUNCTION', 'i anyelement', 'anyelement', $$LANGUAGE sql AS 'SELECT i'$$),
	('FUNCTION', 'i anyelement', 'anyarray', $$LANGUAGE plpgsql AS 'BEGIN RETURN ARRAY[i]; END'$$),
	('FUNCTION', '', 'trigger', $$LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'$$),
	('FUNCTION', '', 'event_trigger', $$LANGUAGE plpgsql AS 'BEGIN END'$$),
	('FUNCTION', 'i integer', 'integer', $$WINDOW LANGUAGE internal AS 'window_row_number'$$),
	('PROCEDURE', 'i integer', NULL, $$LANGUAGE plpgsql AS 'BEGIN COMMIT; END'$$),
	('PROCEDURE', 'INOUT i integer', NULL, $$LANGUAGE plpgsql AS 'BEGIN i = 7; END'$$),
	('PROCEDURE', 'i integer', NULL, $$SECURITY DEFINER LANGUAGE plpgsql AS 'BEGIN COMMIT; END'$$);
UPDATE shape SET call = '' WHERE arguments = '';

-- The definition of a shape under a name, or of an entry of it.
CREATE FUNCTION definition_of(s shape, name text, body text = NULL) RETURNS text
	LANGUAGE sql AS $$
	SELECT concat('CREATE ', s.kind, ' ', name, '(', s.arguments, ') ', 'RETURNS ' || s.result, ' ',
		CASE WHEN body IS NULL THEN s.definition ELSE
			concat(CASE WHEN s.definition ~ 'WINDOW' THEN 'WINDOW ' END,
				CASE WHEN s.definition ~ 'STRICT' THEN 'STRICT ' END,
				CASE WHEN s.kind = 'FUNCTION' THEN 'STABLE ' END,
				'LANGUAGE hotswap AS ', quote_literal(body)) END)
$$;

-- Calls an entry of one shape before a target of another, in all ways there are.
CREATE TABLE outcome (entry integer, target integer, way text, result text,
	direct text);
CREATE FUNCTION try(entry shape, target shape) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	way text;
	query text;
	ways text[] = ARRAY['SELECT %s::text', 'SELECT x::text FROM %s x',
		'SELECT string_agg(x::text, '''') FROM (SELECT %s x LIMIT 1) q',
		'SELECT max(x) FROM (SELECT (%s OVER ())::text x) q',
		'CALL %s'];
BEGIN
	EXECUTE definition_of(entry, 'e', body_of('f'));
	EXECUTE definition_of(target, '"m@a".f');
	FOREACH way IN ARRAY ways LOOP
		FOREACH query IN ARRAY ARRAY[entry.call, 'NULL::integer'] LOOP
			INSERT INTO outcome VALUES (entry.n, target.n, way,
				attempt(format(way, format('e(%s)', query))),
				attempt(format(way, format('"m@a".f(%s)', query))));
		END LOOP;
	END LOOP;
	IF entry.result = 'trigger' THEN
		CREATE TRIGGER strange BEFORE INSERT ON touched FOR EACH ROW EXECUTE FUNCTION e();
		INSERT INTO outcome VALUES (entry.n, target.n, 'trigger',
			attempt('INSERT INTO touched VALUES (1) RETURNING i'), 'P0002');
		DROP TRIGGER strange ON touched;
	END IF;
	EXECUTE format('DROP ROUTINE e; DROP ROUTINE "m@a".f');
END $$;
CREATE TABLE touched (i integer);
SELECT count(try(e, t)) FROM shape e, shape t \g /dev/null
SELECT cmp_ok((SELECT count(*) FROM outcome), '>', 4000::bigint, 'all were called in all ways');
SELECT is_empty($$SELECT * FROM outcome WHERE result ~ '^(XX|57|58)'$$,
	'nothing was unexpected to the server');

-- Only what fits was called: where an entry is called at all, its own target answers, and others'
-- do only where nothing but the body differs.
SELECT is_empty($$SELECT e.n, t.n, o.way, o.result FROM outcome o
	JOIN shape e ON e.n = o.entry JOIN shape t ON t.n = o.target
	WHERE o.result !~ '^[0-9A-Z]{5}$' AND (e.kind, e.arguments, e.result, e.definition ~ 'STRICT',
			e.definition ~ 'WINDOW') IS DISTINCT FROM
		(t.kind, t.arguments, t.result, t.definition ~ 'STRICT', t.definition ~ 'WINDOW')$$,
	'no other kind, argument or result is passed on');
SELECT is_empty('SELECT * FROM outcome WHERE entry = target AND result IS DISTINCT FROM direct',
	'what fits gets the answer that it gets without an entry');

-- In C there are callers with ways of their own: indexes, casts, the planner, input and output.
CREATE TYPE thing;
SELECT make_slot('m@b', 1) \g /dev/null
SET client_min_messages = warning;
SELECT routed('less(a point, b point) RETURNS boolean', $$LANGUAGE sql AS 'SELECT a[0] < b[0]'$$),
	routed('compare(a point, b point) RETURNS integer',
		$$LANGUAGE sql AS 'SELECT (a[0] > b[0])::integer - (a[0] < b[0])::integer'$$),
	routed('to_text(p pair, i integer, e boolean) RETURNS text',
		$$LANGUAGE sql AS 'SELECT concat(p.a, i, e)'$$),
	routed('guess(internal, oid, internal, integer) RETURNS double precision',
		$$LANGUAGE internal STRICT AS 'eqsel'$$, 'STABLE STRICT'),
	routed('thing_in(cstring) RETURNS thing', $$LANGUAGE internal STRICT AS 'int4in'$$,
		'STABLE STRICT'),
	routed('thing_out(thing) RETURNS cstring', $$LANGUAGE internal STRICT AS 'int4out'$$,
		'STABLE STRICT')
\g /dev/null
RESET client_min_messages;
CREATE OPERATOR <<< (LEFTARG = point, RIGHTARG = point, FUNCTION = less, RESTRICT = guess);
CREATE OPERATOR CLASS points FOR TYPE point USING btree AS
	OPERATOR 1 <<<, FUNCTION 1 compare(point, point);
CREATE CAST (pair AS text) WITH FUNCTION to_text(pair, integer, boolean);
CREATE TYPE thing (INPUT = thing_in, OUTPUT = thing_out, LIKE = integer);
CREATE TABLE place (p point);
CREATE INDEX ON place (p points);
INSERT INTO place SELECT point(i, 0) FROM generate_series(1, 100) i;
SET enable_seqscan = off;
SELECT is((SELECT count(*) FROM place WHERE p <<< point(51, 0)), 50::bigint, 'an index');
RESET enable_seqscan;
SELECT is((1, 'x')::pair::text, '1-1t', 'a cast with three arguments');
SELECT is('17'::thing::text, '17', 'a type');
SELECT is(attempt($$SELECT 'x'::thing$$), '22P02', 'and what is none of it');
SELECT route('m@b', 1) \g /dev/null
SELECT is('18'::thing::text, '18', 'of the other version');
INSERT INTO place SELECT point(i, 0) FROM generate_series(101, 120) i;
SELECT is((SELECT count(*) FROM place WHERE p <<< point(51, 0)), 50::bigint,
	'a place that calls for ever');
SELECT route(slot, 1), (SELECT count(*) FROM place WHERE p <<< point(51, 0))
	FROM generate_series(1, 20) i, unnest('{m@a,m@b}'::text[]) slot \g /dev/null
SELECT cmp_ok((SELECT count(*) FROM pg_backend_memory_contexts
	WHERE name = 'hotswap call site'), '<', 10::bigint, 'keeps nothing of the versions before');

-- C that was given an entry for something else.
SELECT routed('wide(integer, integer, integer, integer, integer, integer, integer, integer)'
	' RETURNS integer', $$LANGUAGE sql AS 'SELECT 1'$$) \g /dev/null
CREATE OPERATOR CLASS wide FOR TYPE integer USING gin AS OPERATOR 1 =,
	FUNCTION 2 wide(integer, integer, integer, integer, integer, integer, integer, integer),
	FUNCTION 3 wide(integer, integer, integer, integer, integer, integer, integer, integer),
	FUNCTION 4 wide(integer, integer, integer, integer, integer, integer, integer, integer);
CREATE TABLE narrow AS SELECT 1 AS i;
SELECT is((SELECT (code, message)::text FROM refusal('CREATE INDEX ON narrow USING gin (i wide)')),
	'(42P17,"an entry with 8 arguments was called with 3")', 'too few arguments');

-- What a statement calls goes while it does.
CREATE FUNCTION midway(i integer, command text) RETURNS integer LANGUAGE plpgsql AS $$
BEGIN
	IF i % 10 = 5 THEN
		EXECUTE command;
	END IF;
	RETURN i;
END $$;
SELECT routed('goes(i integer) RETURNS integer', $$LANGUAGE plpgsql AS 'BEGIN RETURN i; END'$$)
	\g /dev/null
SELECT is(attempt(format('SELECT goes(i) + midway(i, %L) FROM generate_series(1, 9) i', command)),
	code, command) FROM (VALUES ('DROP FUNCTION goes', '42883'),
	('DROP FUNCTION "m@b".goes', '42883'), ('DROP SCHEMA "m@b" CASCADE', '3F000'))
	v (command, code);

-- A state that points to what its function has kept.
SELECT routed('step(internal, "any") RETURNS internal',
	$$LANGUAGE internal AS 'ordered_set_transition'$$) \g /dev/null
CREATE AGGREGATE middle(double precision ORDER BY anyelement) (SFUNC = step, STYPE = internal,
	FINALFUNC = percentile_disc_final, FINALFUNC_EXTRA);
SELECT is((SELECT string_agg(m::text, ' ' ORDER BY m)
	FROM (SELECT middle(0.5) WITHIN GROUP (ORDER BY
		midway(i, 'ALTER FUNCTION "m@b".less(point, point) COST ' || i)) AS m
	FROM generate_series(0, 39) i GROUP BY i / 10) g), '4 14 24 34',
	'an aggregate whose function changes in the middle of a group');

-- Entries of several languages that lead to each other.
CREATE LANGUAGE other HANDLER hotswap.call_entry;
CREATE SCHEMA "o@a";
SELECT format('CREATE FUNCTION "m@b".circle() RETURNS integer STABLE LANGUAGE other AS %L',
	body_of('circle', 'o', 'o@a')),
	format('CREATE FUNCTION "o@a".circle() RETURNS integer STABLE LANGUAGE hotswap AS %L',
	body_of('circle')) \gexec
SELECT is(attempt('SELECT "o@a".circle()'), '54001', 'a circle ends where the stack does');

-- The handler by itself.
SELECT is(attempt('SELECT hotswap.call_entry()'), '42601', 'the handler is no function to call');
SELECT is(attempt($$DO LANGUAGE hotswap 'x'$$), '0A000', 'nor is there a block of its language');
SELECT * FROM finish();
