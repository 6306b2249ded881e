-- Errors in the bodies of functions, procedures and DO blocks (src/module/body_check.c,
-- src/module/body_types.c).
SELECT plan(43);

CREATE TABLE body (deploy text, expected text, n serial);

-- Line and message of what is found; nothing means nothing.
INSERT INTO body VALUES
-- PL/pgSQL
('-- x
CREATE FUNCTION app.total(a int, b int) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	r int;
BEGIN
	r := a;
	iff r > 10 THEN
		r := 10;
	END IF;
	RETURN r;
END $$;', '7 function app.total: syntax error at or near "iff"'),
('CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS -- body $$ ''
	''
BEGIN
	RETURN 1
END''', '5 function f: syntax error at end of input'),
('CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE plpgsql SET search_path = nosuch AS $$
BEGIN SELECT 1 FRM t; RETURN 1; END $$', '2 function f: syntax error at or near "t"'),
('CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$BEGIN PERFORM ''a; END$$',
	'1 function f: unterminated quoted string at or near "''a; END"'),
('CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	RETURN 1;
END$$', '3 function f: RETURN cannot have a parameter in function returning void'),
('CREATE PROCEDURE f(INOUT x int) LANGUAGE plpgsql AS $$BEGIN RETURN 1; END$$',
	'1 procedure f: RETURN cannot have a parameter in function with OUT parameters'),
('CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	c CONSTANT int := 1;
BEGIN
	c := 2;
END$$', '5 function f: variable "c" is declared CONSTANT'),
('CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$DECLARE c int NOT NULL; BEGIN END$$',
	'1 function f: variable "c" must have a default value, since it''s declared NOT NULL'),
('CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	NULL;
EXCEPTION WHEN nosuch THEN
	NULL;
END$$', '4 function f: unrecognized exception condition "nosuch"'),
('CREATE FUNCTION f(a int) RETURNS trigger LANGUAGE plpgsql AS $$BEGIN END$$',
	'1 function f: trigger functions cannot have declared arguments'),
('CREATE FUNCTION f(a int, a int) RETURNS int LANGUAGE plpgsql AS $$BEGIN END$$',
	'1 function f: parameter name "a" used more than once'),
-- it does, but for what is not there
('CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN NEW.a := nosuch(TG_OP); RETURN NEW; END$$', NULL),
('CREATE FUNCTION f(a int DEFAULT nosuch(), b int DEFAULT 1) RETURNS int LANGUAGE plpgsql
	SECURITY DEFINER SET nosuch.x = 1 SET search_path = '''' AS $$
BEGIN RETURN (SELECT a FROM nosuch); END$$', NULL),
('CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$#variable_conflict use_column
DECLARE x nosuch; BEGIN COMMIT; END$$', NULL),
-- types that are not there: scalars, records, rows, arrays, of columns and of variables
('CREATE FUNCTION f(a nosuch, OUT b nosuch.t) LANGUAGE plpgsql AS $$
<<outside>>
DECLARE x nosuch(1, 2) := a; y nosuch.t COLLATE "nosuch" NOT NULL DEFAULT ''x'';
	c CURSOR (k nosuch, l int) FOR SELECT k; d NO SCROLL CURSOR FOR SELECT 1;
	e SCROLL CURSOR FOR SELECT 1; z ALIAS FOR a;
BEGIN SELECT 1, 2 INTO x, y; b := x; END$$', NULL),
('CREATE FUNCTION f(a nosuch) RETURNS SETOF nosuch LANGUAGE plpgsql AS $$
DECLARE r nosuch; BEGIN
	IF a.i THEN r.i := a.i; RETURN NEXT r; END IF; END$$', NULL),
('CREATE FUNCTION f(a t.i%TYPE, VARIADIC v nosuch[]) RETURNS TABLE (x nosuch, y t.i%TYPE)
	LANGUAGE plpgsql AS $$
DECLARE r t%ROWTYPE; s a%TYPE; u nosuch[]; w t.i%TYPE[]; k CONSTANT t.i%TYPE := 1;
BEGIN r.x := 1; s := 1; DECLARE q nosuch; BEGIN q := 2; END; x := v[1]; END$$', NULL),
('CREATE FUNCTION f() RETURNS nosuch LANGUAGE plpgsql AS $$
DECLARE a nosuch;
	b numeric(10,
		2) COLLATE "nosuch"; BEGIN
	a := 1;
	retrun a; END$$', '6 function f: syntax error at or near "retrun"'),
('CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$
BEGIN IF true THEN DECLARE x nosuch; BEGIN x := 1 END; END IF; END$$',
	'2 function f: syntax error at or near "IF"'),
('CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$DECLARE x nosuch$$',
	'1 function f: % end of %'),
('CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$DECLARE x text COLLATE$$',
	'1 function f: syntax error at end of input'),
('CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$DECLARE c CURSOR (a nosuch$$',
	'1 function f: % end of %'),
('CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$DECLARE x int := (1; BEGIN END$$',
	'1 function f: mismatched parentheses at or near ";"'),
('CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$DECLARE x 5; BEGIN END$$',
	'1 function f: syntax error at or near "5"'),
-- DO blocks, and functions in them
('SELECT 1;
DO $$BEGIN
	RETRUN;
END$$', '3 DO block: syntax error at or near "RETRUN"'),
('DO LANGUAGE plpgsql $$
BEGIN
	CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS ''BEGIN
		RETRUN 1; END'';
END$$', '4 function f: syntax error at or near "RETRUN"'),
-- SQL
('CREATE FUNCTION f() RETURNS int LANGUAGE sql AS ''SELECT nosuch;
	SELCT 1''', '2 function f: syntax error at or near "SELCT"'),
('CREATE FUNCTION f() RETURNS int LANGUAGE sql AS ''SELECT a FROM nosuch''', NULL),
('CREATE FUNCTION f() RETURNS int RETURN 1', NULL),
-- nobody can tell
('CREATE FUNCTION f() RETURNS int LANGUAGE plperl AS ''(''', NULL),
('CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS ''x'', ''y''', NULL),
('CREATE FUNCTION f() RETURNS cstring LANGUAGE plpgsql AS ''BEGIN END''', NULL);
SELECT count(hotswap.publish_version('body', n::text, deploy)) FROM body \g /dev/null
SELECT alike(concat((SELECT string_agg(line || ' ' || message, '; ') FROM
	hotswap.lint_version('body', n::text, 'development') WHERE rule = 'broken_body')),
	coalesce(expected, ''), format('%s: %s', n, coalesce(expected, 'nothing')))
FROM body ORDER BY n;

-- Nothing of it is left, and nobody else's code has run.
SELECT is((SELECT count(*) FROM pg_proc WHERE pronamespace = 'hotswap'::regnamespace
	AND proname LIKE 'body%'), 0::bigint, 'no function is left');
CREATE TABLE fired (tag text);
CREATE FUNCTION fire() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO fired VALUES (tg_tag); END $$;
CREATE EVENT TRIGGER fire ON ddl_command_end EXECUTE FUNCTION fire();
SELECT hotswap.publish_version('quiet', '1', 'DO $$BEGIN RAISE ''run''; END$$', NULL,
	'CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS ''BEGIN RETRUN; END''') \g /dev/null
SELECT is((SELECT count(*) FROM fired), 0::bigint, 'no event trigger is fired');
DROP EVENT TRIGGER fire;
SELECT results_eq($$SELECT script, message
	FROM hotswap.lint_version('quiet', '1', 'development') WHERE rule = 'broken_body'$$,
	$$VALUES ('revert script', 'function f: syntax error at or near "RETRUN"')$$,
	'a revert script');

-- Settings of the session make no difference.
SET check_function_bodies = off;
SET plpgsql.extra_errors = 'all';
SELECT hotswap.publish_version('set', '1', 'CREATE FUNCTION f(a int) RETURNS int LANGUAGE plpgsql'
	' AS $$DECLARE a int; BEGIN RETURN 1; END$$') \g /dev/null
SELECT hotswap.publish_version('set', '2', 'CREATE FUNCTION f(a int) RETURNS int LANGUAGE plpgsql'
	' AS $$BEGIN RETRUN; END$$') \g /dev/null
RESET check_function_bodies;
RESET plpgsql.extra_errors;
SELECT is_empty($$SELECT * FROM hotswap.lint_version('set', '1', 'development')$$,
	'nothing is found because of them');
SELECT is((SELECT count(*) FROM hotswap.lint_version('set', '2', 'development')), 1::bigint,
	'and nothing hidden');

-- A client whose query has the same text as the body; who publishes may make no functions.
SELECT format('CREATE ROLE %I LOGIN', named('deployer')) \gexec
SELECT hotswap.grant_access(named('deployer')::regrole, 'deployer') \g /dev/null
SELECT matches(as_role(named('deployer'), $Q$SELECT hotswap.publish_version('mine', '1', $D$
CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$BEGIN
	RETRUN 1; END$$$D$)$Q$), '^[0-9a-f]{64}$', 'anybody who may publish');
SELECT results_eq($$SELECT line, message FROM hotswap.lint_version('mine', '1', 'development')$$,
	$$VALUES (3, 'function f: syntax error at or near "RETRUN"')$$, 'with its place');

-- An environment can deny it, and preview() says so.
SELECT hotswap.register_node('development', 'n', run_as => :'USER') \g /dev/null
SELECT hotswap.set_rule('development', 'broken_body', 'deny') \g /dev/null
SELECT is((SELECT findings FROM hotswap.preview('mine', '1', 'development')),
	'denied: function f: syntax error at or near "RETRUN" in line 3 of the deploy script'
	' (rule broken_body of development)', 'preview()');

-- An installer that comes later, and what is looked for again.
SELECT hotswap.publish_version('chain', '1', 'SELECT 1', parents => '{}') \g /dev/null
SELECT hotswap.publish_installer('chain', '1', 'DO $$BEGIN RETRUN; END$$') \g /dev/null
SELECT results_eq($$SELECT script, message FROM hotswap.lint_version('chain', '1', 'development')$$,
	$$VALUES ('install script', 'DO block: syntax error at or near "RETRUN"')$$, 'an installer');
UPDATE hotswap.module_version SET findings_digest = sha256('') WHERE module = 'mine';
SELECT is_empty($$SELECT * FROM hotswap.lint_version('mine', '1', 'development')$$,
	'what does not count is not shown');
SELECT hotswap.deploy('mine', '1', 'development') AS d \gset
CALL await(:'d', 'failed');
SELECT is((SELECT sqlstate FROM hotswap.deployments WHERE id = :'d'), 'YH011',
	'deploy() looks again, and what is denied is not run');
SELECT * FROM finish();
