-- SQL functions that are no part of the query any more where their module is routed
-- (src/module/rule_inline.c). What the server does is asked of the server.
SELECT plan(38);

SELECT hotswap.configure_module('routed', routed => true) \g /dev/null
CREATE TABLE rate (i int);
CREATE TABLE said (n serial, call text, script text, expected boolean, found boolean);
INSERT INTO said (call, script, expected) VALUES
-- a value
('f(i)', 'f(a int) RETURNS int LANGUAGE sql AS ''SELECT a + 1''', true),
('f(i)', 'f(a int) RETURNS int LANGUAGE sql STABLE AS ''SELECT a + 1;''', true),
('f(i)', 'f(a int) RETURNS int RETURN a + 1', true),
('f(i)', 'f(a int) RETURNS int BEGIN ATOMIC SELECT a + 1; END', true),
('f(i)', 'f(a int, OUT b int) LANGUAGE sql AS ''SELECT a + 1''', true),
('f(i)', 'f(a int) RETURNS int LANGUAGE plpgsql AS ''BEGIN RETURN a + 1; END''', false),
('f(i)', 'f(a int) RETURNS int LANGUAGE sql SECURITY DEFINER AS ''SELECT a + 1''', false),
('f(i)', 'f(a int) RETURNS int LANGUAGE sql SET work_mem = ''1MB'' AS ''SELECT a + 1''', false),
('f(i)', 'f(a int) RETURNS int LANGUAGE sql AS ''SELECT a + i FROM rate''', false),
('f(i)', 'f(a int) RETURNS int LANGUAGE sql AS ''SELECT a + 1 WHERE a > 1''', false),
('f(i)', 'f(a int) RETURNS int LANGUAGE sql AS ''SELECT a + 1 LIMIT 1''', false),
('f(i)', 'f(a int) RETURNS int LANGUAGE sql AS ''SELECT a + 1 ORDER BY 1''', false),
('f(i)', 'f(a int) RETURNS int LANGUAGE sql AS ''SELECT DISTINCT a + 1''', false),
('f(i)', 'f(a int) RETURNS int LANGUAGE sql AS ''WITH x AS (SELECT 1) SELECT a + 1''', false),
('f(i)', 'f(a int) RETURNS int LANGUAGE sql AS ''SELECT (SELECT a + 1)''', false),
('f(i)', 'f(a int) RETURNS bigint LANGUAGE sql AS ''SELECT count(*)''', false),
('f(i)', 'f(a int) RETURNS bigint LANGUAGE sql AS ''SELECT row_number() OVER ()''', false),
('f(i)', 'f(a int) RETURNS int LANGUAGE sql AS ''SELECT a UNION SELECT a''', false),
('f(i)', 'f(a int) RETURNS int LANGUAGE sql AS ''VALUES (a)''', false),
('f(i)', 'f(a int) RETURNS int LANGUAGE sql AS ''SELECT 1; SELECT a + 1''', false),
('f(i)', 'f(a int, OUT b int, OUT c int) LANGUAGE sql AS ''SELECT a, a''', false),
('f(i)', 'f(a int) RETURNS record LANGUAGE sql AS ''SELECT ROW(a)''', false),
('f(i)', 'f(a int) RETURNS int BEGIN ATOMIC SELECT 1; SELECT a + 1; END', false),
-- a set
('', 'f(a int) RETURNS SETOF rate LANGUAGE sql STABLE AS ''SELECT * FROM rate''', true),
('', 'f(a int) RETURNS TABLE (x int) LANGUAGE sql STABLE AS ''SELECT i FROM rate LIMIT 5''', true),
('', 'f(a int) RETURNS SETOF int LANGUAGE sql STABLE AS ''VALUES (1), (2)''', true),
('', 'f(a int) RETURNS SETOF rate STABLE BEGIN ATOMIC SELECT * FROM rate; END', true),
('', 'f(a int) RETURNS SETOF rate LANGUAGE sql AS ''SELECT * FROM rate''', false),
('', 'f(a int) RETURNS SETOF rate LANGUAGE sql STABLE STRICT AS ''SELECT * FROM rate''', false),
('', 'f(a int) RETURNS SETOF rate LANGUAGE sql STABLE SECURITY DEFINER AS
	''SELECT * FROM rate''', false),
('', 'f(a int) RETURNS SETOF rate LANGUAGE sql AS ''INSERT INTO rate VALUES (1)
	RETURNING *''', false);
DO $$
DECLARE
	line text;
	plan text;
	s record;
BEGIN
	FOR s IN SELECT * FROM said ORDER BY n LOOP
		PERFORM hotswap.publish_version('routed', s.n::text, 'CREATE OR REPLACE FUNCTION '
			|| s.script);
		EXECUTE 'CREATE FUNCTION ' || s.script;
		plan = '';
		FOR line IN EXECUTE CASE s.call WHEN '' THEN 'EXPLAIN SELECT * FROM f(1)'
				ELSE 'EXPLAIN VERBOSE SELECT ' || s.call || ' FROM rate' END LOOP
			plan = plan || line;
		END LOOP;
		UPDATE said SET found = plan !~ '\mf\(|Function Scan' WHERE n = s.n;
		EXECUTE 'DROP FUNCTION f';
	END LOOP;
END $$;
SELECT is(found, expected, 'the server: ' || script) FROM said WHERE found <> expected;
SELECT is((SELECT count(*)::int FROM hotswap.lint_version('routed', n::text, 'development')
	WHERE rule = 'inlined_function'), found::int, script) FROM said ORDER BY n;

-- What it says, and where.
SELECT results_eq($$SELECT action::text, script, line, message FROM hotswap.lint_version('routed',
	'1', 'development')$$, $$VALUES ('warn', 'deploy script', 1,
	'function f is an expression of the query that calls it, but not through an entry')$$,
	'a value');
SELECT is((SELECT message FROM hotswap.lint_version('routed', '24', 'development')),
	'function f is a part of the query that calls it, but not through an entry', 'a set');
SELECT hotswap.publish_version('routed', 'x', 'CREATE OR REPLACE FUNCTION f() RETURNS int
	LANGUAGE sql AS ''SELEC''; CREATE OR REPLACE FUNCTION f(a int) RETURNS int LANGUAGE c
	AS ''a'', ''b''; CREATE OR REPLACE PROCEDURE p() LANGUAGE sql AS ''SELECT 1''', NULL,
	'CREATE OR REPLACE FUNCTION f(a int) RETURNS int LANGUAGE sql AS ''SELECT 1''') \g /dev/null
SELECT is((SELECT count(*)::int FROM hotswap.lint_version('routed', 'x', 'development')
	WHERE rule = 'inlined_function'), 0, 'not what cannot be read, nor of a revert script');
SELECT hotswap.publish_version('direct', '1', 'CREATE OR REPLACE FUNCTION ' || script)
	FROM said WHERE n = 1 \g /dev/null
SELECT is((SELECT count(*)::int FROM hotswap.lint_version('direct', '1', 'development')), 0,
	'nor of a module that is called directly');
SELECT hotswap.configure_module('direct', routed => true) \g /dev/null
SELECT is((SELECT count(*)::int FROM hotswap.lint_version('direct', '1', 'development')), 1,
	'until it is routed');

-- On the way.
SELECT format('CREATE ROLE %I LOGIN', named('node')) \gexec
SELECT format('CREATE SCHEMA app AUTHORIZATION %I', named('node')) \gexec
SELECT hotswap.register_node('development', 'app', run_as => named('node')::regrole,
	schema => 'app') \g /dev/null
SELECT hotswap.deploy('direct', '1', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'it is a warning');
SELECT matches((SELECT message FROM hotswap.stages WHERE deployment_id = :'d' AND kind = 'scan'),
	'warning: function f is an expression', 'in the message of the scan');

SELECT * FROM finish();
