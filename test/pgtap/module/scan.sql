-- Static rules: what is found in scripts, and what comes of it when they are deployed
-- (src/module/scan.c, src/module/rule_walk.c, src/module/rule_do.c).
SELECT plan(197);

SELECT hotswap.publish_version('first', '1', 'SELECT 1') \g /dev/null

-- ---- what is found ----

CREATE TABLE found (deploy text, expected text, revert text, n serial);

-- Rule:line of each finding; nothing means nothing.
INSERT INTO found VALUES
-- SECURITY DEFINER
('CREATE FUNCTION f() RETURNS int LANGUAGE sql SECURITY DEFINER AS ''SELECT 1''',
	'security_definer_search_path:1'),
('CREATE PROCEDURE f() LANGUAGE sql SECURITY DEFINER AS ''SELECT 1''',
	'security_definer_search_path:1'),
('CREATE FUNCTION f() RETURNS int SECURITY DEFINER RETURN 1', 'security_definer_search_path:1'),
('CREATE OR REPLACE FUNCTION f() RETURNS int
	LANGUAGE sql EXTERNAL SECURITY DEFINER SET work_mem = ''1MB'' AS ''SELECT 1''',
	'security_definer_search_path:1'),
('CREATE FUNCTION f() RETURNS int LANGUAGE sql SECURITY DEFINER SET search_path = app,
	pg_temp AS ''SELECT 1''', NULL),
('CREATE FUNCTION f() RETURNS int LANGUAGE sql
	SET "Search_Path" TO app SECURITY DEFINER AS ''SELECT 1''', NULL),
('CREATE FUNCTION f() RETURNS int LANGUAGE sql SECURITY DEFINER
	SET search_path = '''' AS ''SELECT 1''', NULL),
('CREATE FUNCTION f() RETURNS int LANGUAGE sql SECURITY DEFINER SET SCHEMA ''app'' AS ''SELECT 1''',
	NULL),
('CREATE FUNCTION f() RETURNS int LANGUAGE sql SECURITY DEFINER SET search_path
	FROM CURRENT AS ''SELECT 1''', NULL),
('CREATE FUNCTION f() RETURNS int LANGUAGE sql SECURITY DEFINER
	SET search_path TO DEFAULT AS ''SELECT 1''', 'security_definer_search_path:1'),
('CREATE FUNCTION f() RETURNS int LANGUAGE sql SECURITY DEFINER SET search_path = "$user",
	public AS ''SELECT 1''', 'security_definer_search_path:1'),
('CREATE FUNCTION f() RETURNS int LANGUAGE sql SECURITY DEFINER SET search_path = pg_temp,
	app AS ''SELECT 1''', 'security_definer_search_path:1'),
('CREATE FUNCTION f() RETURNS int LANGUAGE sql SECURITY INVOKER AS ''SELECT 1''', NULL),
('CREATE FUNCTION f() RETURNS int LANGUAGE sql AS ''SELECT 1 /* SECURITY DEFINER */''', NULL),
('ALTER FUNCTION f SECURITY DEFINER', 'security_definer_search_path:1'),
('ALTER ROUTINE f() SECURITY DEFINER', 'security_definer_search_path:1'),
('ALTER PROCEDURE f() SECURITY DEFINER SET search_path = app, pg_temp', NULL),
('ALTER FUNCTION f RESET search_path', 'security_definer_search_path:1'),
('ALTER FUNCTION f RESET ALL', 'security_definer_search_path:1'),
('ALTER FUNCTION f SET search_path TO DEFAULT', 'security_definer_search_path:1'),
('ALTER FUNCTION f SECURITY INVOKER RESET search_path', NULL),
('ALTER FUNCTION f RESET work_mem', NULL),
('ALTER FUNCTION f SET search_path = app', NULL),
('ALTER FUNCTION f SECURITY DEFINER RESET ALL SET search_path = app', NULL),
('ALTER FUNCTION f COST 5', NULL),
-- GRANT
('GRANT SELECT ON t TO PUBLIC', 'grant_to_public:1'),
('GRANT EXECUTE ON FUNCTION f() TO app, public', 'grant_to_public:1'),
('GRANT USAGE ON SCHEMA s TO public WITH GRANT OPTION', 'grant_to_public:1'),
('ALTER DEFAULT PRIVILEGES IN SCHEMA s GRANT SELECT ON TABLES TO PUBLIC', 'grant_to_public:1'),
('CREATE SCHEMA s CREATE TABLE t () GRANT SELECT ON t TO PUBLIC', 'grant_to_public:1'),
('GRANT SELECT ON t TO "Public"', NULL),
('GRANT SELECT ON t TO app', NULL),
('REVOKE SELECT ON t FROM PUBLIC', NULL),
('ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC', NULL),
-- COPY
('COPY t FROM PROGRAM ''true''', 'copy_program:1'),
('COPY (SELECT 1) TO PROGRAM ''cat''', 'copy_program:1'),
('COPY t FROM ''/tmp/program''', NULL),
('CREATE FOREIGN TABLE t (a int) SERVER s OPTIONS (filename ''/x'', program ''true'')',
	'copy_program:1'),
('ALTER FOREIGN TABLE t DROP a, OPTIONS (ADD program ''true'')', 'copy_program:1'),
('CREATE FOREIGN TABLE t (a int) SERVER s OPTIONS (filename ''program'')', NULL),
-- secrets
('CREATE ROLE r PASSWORD ''x''', 'secret_in_script:1'),
('CREATE USER r LOGIN ENCRYPTED PASSWORD ''x''', 'secret_in_script:1'),
('ALTER ROLE r PASSWORD ''x''', 'secret_in_script:1'),
('ALTER USER CURRENT_USER PASSWORD ''x''', 'secret_in_script:1'),
('CREATE ROLE r PASSWORD NULL; ALTER ROLE r PASSWORD NULL; ALTER ROLE r LOGIN', NULL),
('CREATE USER MAPPING FOR r SERVER s OPTIONS (user ''u'', password ''x'')', 'secret_in_script:1'),
('ALTER USER MAPPING FOR r SERVER s OPTIONS (SET "SSLPassword" ''x'')', 'secret_in_script:1'),
('ALTER USER MAPPING FOR r SERVER s OPTIONS (DROP password)', NULL),
('CREATE USER MAPPING FOR r SERVER s OPTIONS (user ''password'')', NULL),
('CREATE SERVER s FOREIGN DATA WRAPPER w OPTIONS (password ''x'')', 'secret_in_script:1'),
('ALTER SERVER s OPTIONS (ADD password ''x'')', 'secret_in_script:1'),
('CREATE FOREIGN DATA WRAPPER w OPTIONS (password ''x'')', 'secret_in_script:1'),
('ALTER FOREIGN DATA WRAPPER w OPTIONS (ADD password ''x'')', 'secret_in_script:1'),
('CREATE FOREIGN TABLE t (a int) SERVER s OPTIONS (password ''x'')', 'secret_in_script:1'),
('CREATE SUBSCRIPTION s CONNECTION ''host=h PassWord = x'' PUBLICATION p
	WITH (connect = false)', 'secret_in_script:1'),
('CREATE SUBSCRIPTION s CONNECTION ''postgresql://u:x@h/d'' PUBLICATION p
	WITH (connect = false)', 'secret_in_script:1'),
('CREATE SUBSCRIPTION s CONNECTION ''postgresql://u@h:5432/password'' PUBLICATION p
	WITH (connect = false)', NULL),
('ALTER SUBSCRIPTION s CONNECTION ''host=h sslpassword=x''', 'secret_in_script:1'),
('ALTER SUBSCRIPTION s CONNECTION ''host=h passfile=/x''; ALTER SUBSCRIPTION s DISABLE', NULL),
('DO $$BEGIN ALTER SYSTEM SET primary_conninfo = ''password=x''; END$$',
	'alter_system:1 secret_in_script:1'),
('DO $$BEGIN
	CREATE ROLE r PASSWORD ''x''; END$$', 'secret_in_script:2'),
-- extensions
('CREATE EXTENSION hstore', 'create_extension:1'),
('CREATE EXTENSION IF NOT EXISTS hstore', 'create_extension:1'),
('ALTER EXTENSION hstore UPDATE', 'create_extension:1'),
('CREATE LANGUAGE plpgsql', 'create_extension:1'),
('COMMENT ON EXTENSION hstore IS ''x''', NULL),
('ALTER EXTENSION hstore SET SCHEMA s', NULL),
-- languages
('CREATE FUNCTION f() RETURNS int LANGUAGE c AS ''f'', ''f''', 'untrusted_language:1'),
('CREATE FUNCTION f() RETURNS int LANGUAGE internal AS ''now''', 'untrusted_language:1'),
('CREATE FUNCTION f() RETURNS int LANGUAGE "C" AS ''f''', 'untrusted_language:1'),
('CREATE PROCEDURE f() LANGUAGE plpython3u AS ''x''', 'untrusted_language:1'),
('DO LANGUAGE plperlu ''x''', 'untrusted_language:1 dynamic_do:1'),
('CREATE LANGUAGE l HANDLER h', 'untrusted_language:1'),
('CREATE TRUSTED LANGUAGE l HANDLER h', NULL),
('CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS ''BEGIN RETURN 1; END''', NULL),
('CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; END', NULL),
-- tables
('DROP TABLE t', 'drop_table:1'),
('DROP TABLE IF EXISTS s.t, u CASCADE', 'drop_table:1'),
('DROP TABLE pg_temp.t', NULL),
('DROP TABLE pg_temp.t, t', 'drop_table:1'),
('DROP TABLE app.pg_temp.t', NULL),
('DROP SCHEMA s CASCADE', 'drop_table:1'),
('DROP SCHEMA s', NULL),
('DROP OWNED BY app', 'drop_table:1'),
('DROP TYPE t CASCADE; DROP DOMAIN d CASCADE; DROP EXTENSION e',
	'drop_table:1 drop_table:1 drop_table:1'),
('DROP TYPE t; DROP DOMAIN d', NULL),
('ALTER TABLE t ADD a int, DROP COLUMN b, DROP c', 'drop_table:1 drop_table:1'),
('ALTER TABLE t DROP CONSTRAINT c', NULL),
('ALTER TABLE t ALTER c DROP DEFAULT', NULL),
('ALTER TYPE t DROP ATTRIBUTE a', NULL),
('DROP VIEW v; DROP FUNCTION f; DROP INDEX i; DROP SEQUENCE s; DROP MATERIALIZED VIEW m', NULL),
('DELETE FROM t', NULL),
('TRUNCATE t', 'truncate:1'),
('TRUNCATE TABLE ONLY t, u CASCADE', 'truncate:1'),
('TRUNCATE pg_temp.t', NULL),
('GRANT TRUNCATE ON t TO app', NULL),
('SELECT ''TRUNCATE t'' -- DROP TABLE t', NULL),
('CREATE FUNCTION truncate() RETURNS int LANGUAGE sql AS ''SELECT 1''; SELECT truncate()', NULL),
-- a function that is only made
('CREATE FUNCTION f() RETURNS void
	LANGUAGE plpgsql AS ''BEGIN EXECUTE x; TRUNCATE t; DROP TABLE t; END''', NULL),
('CREATE FUNCTION f() RETURNS void BEGIN ATOMIC TRUNCATE t; END', 'truncate:1'),
('CREATE RULE r AS ON INSERT TO t DO ALSO (DELETE FROM u; NOTIFY n)', NULL),
('EXPLAIN ANALYZE DELETE FROM t; PREPARE p AS SELECT 1; EXECUTE p', NULL),
-- lines
(E'SELECT 1;\n-- DROP TABLE a;\n/* \n */ DROP TABLE b\n;\n\n  TRUNCATE\n c',
	'drop_table:4 truncate:7'),
(E'-- ä\nSELECT ''ö\n\n'';DROP TABLE ü', 'drop_table:4'),
-- DO blocks
('DO $$BEGIN EXECUTE ''x''; END$$', 'dynamic_do:1'),
(E'DO LANGUAGE plpgsql $x$\nDECLARE\n  r record;\nBEGIN\n  FOR r IN EXECUTE q LOOP\n    NULL;\n'
	'  END LOOP;\nEND\n$x$', 'dynamic_do:5'),
(E'SELECT 1;\n\nDO $$\nBEGIN\n  IF a THEN EXECUTE b; ELSE execute c; END IF;\nEND $$',
	'dynamic_do:5 dynamic_do:5'),
('DO $$BEGIN <<l>> EXECUTE x; END$$', 'dynamic_do:1'),
('DO $$DECLARE c refcursor; BEGIN OPEN c FOR EXECUTE x; END$$', 'dynamic_do:1'),
('DO $$BEGIN RETURN QUERY EXECUTE x; END$$', 'dynamic_do:1'),
('DO $$BEGIN NULL; EXCEPTION WHEN OTHERS THEN EXECUTE x; END$$', 'dynamic_do:1'),
('DO $$BEGIN LOOP EXECUTE x; END LOOP; END$$', 'dynamic_do:1'),
('DO ''BEGIN EXECUTE ''''SELECT 1''''; END''', 'dynamic_do:1'),
('DO $$BEGIN EXECUTE/**/x; END$$', 'dynamic_do:1'),
('DO $$BEGIN RAISE NOTICE ''EXECUTE x''; PERFORM 1; /* ; EXECUTE x */ -- ; EXECUTE x
 END$$', NULL),
('DO $$BEGIN PERFORM $q$; EXECUTE x;$q$; END$$', NULL),
('DO $$BEGIN GRANT EXECUTE ON FUNCTION f() TO app; REVOKE EXECUTE ON FUNCTION f() FROM app; END$$',
	NULL),
('DO $$BEGIN CREATE TRIGGER t BEFORE INSERT ON t EXECUTE FUNCTION f(); END$$', NULL),
('DO $$DECLARE execute_it int; BEGIN execute_it = 1; x.execute = 1; "execute" = 2; END$$', NULL),
(E'DO $$\nBEGIN\n  TRUNCATE t;\n  IF a THEN\n    DROP TABLE t;\n  END IF;\n'
	'  GRANT SELECT ON t TO PUBLIC;\nEND $$', 'truncate:3 drop_table:5 grant_to_public:7'),
(E'DO $$BEGIN\nCREATE FUNCTION f() RETURNS int LANGUAGE sql SECURITY DEFINER AS $f$SELECT 1;'
	' TRUNCATE t;$f$; END$$', 'security_definer_search_path:2'),
('DO $$BEGIN ALTER SYSTEM SET work_mem = 1; COPY t FROM PROGRAM ''x''; CREATE EXTENSION e; END$$',
	'alter_system:1 copy_program:1 create_extension:1'),
('DO $$BEGIN DO $d$BEGIN TRUNCATE t; EXECUTE x; END$d$; END$$', 'truncate:1 dynamic_do:1'),
('DO $$BEGIN PERFORM CASE WHEN a THEN truncate ELSE drop END; drop = 1; END$$', NULL),
('DO $$BEGIN drop table $$', NULL),
('DO $$BEGIN PERFORM ''unterminated; TRUNCATE t; END$$', NULL),
('DO $$BEGIN CREATE TEMP TABLE t (); DROP TABLE pg_temp.t; END$$', NULL),
('DO LANGUAGE sql ''SELECT 1''', 'dynamic_do:1'),
('DO $a$BEGIN DO $b$BEGIN DO $c$BEGIN DO $d$BEGIN TRUNCATE t; END$d$; END$c$; END$b$; END$a$',
	'truncate:1'),
('DO $a$BEGIN DO $b$BEGIN DO $c$BEGIN DO $d$BEGIN DO $e$BEGIN TRUNCATE t; END$e$; END$d$; END$c$;
	END$b$; END$a$', 'dynamic_do:1'),
-- where a statement in a DO block begins and ends
('DO $$BEGIN ALTER TABLE t DROP c, ADD loop truncate; END$$', 'drop_table:1'),
('DO $$BEGIN FOR r IN SELECT CASE WHEN a THEN copy ELSE 1 END FROM t LOOP TRUNCATE t;
	END LOOP; END$$', 'truncate:1'),
('DO $$BEGIN IF (CASE WHEN a THEN copy END) THEN TRUNCATE t; END IF; END$$', 'truncate:1'),
('DO $$BEGIN WHILE a[CASE WHEN b THEN 1 END] LOOP TRUNCATE t; END LOOP; END$$', 'truncate:1'),
('DO $$BEGIN CASE a WHEN 1 THEN TRUNCATE t; WHEN 2 THEN DROP TABLE t;
	ELSE COPY t FROM PROGRAM ''x''; END CASE; END$$', 'truncate:1 drop_table:1 copy_program:2'),
('DO $$BEGIN NULL; EXCEPTION WHEN a THEN TRUNCATE t; WHEN b OR c THEN DROP TABLE t; END$$',
	'truncate:1 drop_table:1'),
('DO $$<<l>> DECLARE copy int; a int = 1; BEGIN TRUNCATE t;
	DECLARE b int; BEGIN DROP TABLE t; END; END$$', 'truncate:1 drop_table:2'),
('DO $$#variable_conflict use_column
#print_strict_params on
BEGIN TRUNCATE t; END$$', 'truncate:3'),
('DO $$BEGIN <<create>> LOOP <<x>> TRUNCATE t; EXIT WHEN a; END LOOP; END$$', 'truncate:1'),
('DO $$BEGIN IF false THEN SELECT 1 [ ; END IF; TRUNCATE t; END$$', 'truncate:1'),
('DO $$BEGIN CREATE FUNCTION f() RETURNS int SECURITY DEFINER BEGIN ATOMIC SELECT 1;
	SELECT CASE WHEN a THEN 1 END; END; TRUNCATE t; END$$',
	'security_definer_search_path:1 truncate:2'),
('DO $$BEGIN CREATE OR REPLACE PROCEDURE f() SECURITY DEFINER BEGIN ATOMIC SELECT 1; END; END$$',
	'security_definer_search_path:1'),
('DO $$BEGIN CREATE RULE r AS ON INSERT TO t DO (DELETE FROM u; NOTIFY n); TRUNCATE t; END$$',
	'truncate:1'),
('DO $$BEGIN create = 1; copy := 2; drop[1] = 3; alter.x = 4; END$$', NULL),
-- what PL/pgSQL takes out of a statement
('DO $$DECLARE a int; BEGIN COPY t FROM PROGRAM ''x'' INTO a; END$$', 'dynamic_do:1'),
-- the same in other letters
('DO U&''BEGIN \0044ROP TABLE t; END''', 'drop_table:1'),
('DO U&''BEGIN !0044ROP TABLE t; END'' UESCAPE ''!''', 'drop_table:1'),
('DO E''BEGIN \x44ROP TABLE t; END''', 'drop_table:1'),
('DO LANGUAGE U&"plpgs\0071l" $$BEGIN DROP TABLE t; END$$', 'drop_table:1'),
('GRANT SELECT ON t TO U&"\0070ublic"', 'grant_to_public:1'),
('DO $$BEGIN "drop" := 1; U&"\0064rop" := 1; END$$', NULL),
-- a string that ends elsewhere when the settings are others
('SELECT ''\''; DROP TABLE t; --''', 'drop_table:1'),
('DO $$BEGIN PERFORM ''\''; DROP TABLE t; --'';
	END$$', 'drop_table:1'),
('DO $$BEGIN PERFORM E''\''; DROP TABLE t; --''; END$$', NULL),
('DO $$BEGIN SET LOCAL standard_conforming_strings = off; PERFORM 1; END$$', 'dynamic_do:1'),
('DO $$BEGIN RESET ALL; END$$', 'dynamic_do:1'),
('DO $$BEGIN SET work_mem = ''1MB''; RESET work_mem; END$$', NULL),
-- very long words
('DO LANGUAGE ' || quote_ident(repeat('x', 1000)) || ' ''''', 'untrusted_language:1 dynamic_do:1');
INSERT INTO found VALUES
-- revert scripts may drop what the deploy script made
('CREATE TABLE t ()', NULL, 'DROP TABLE t'),
('CREATE SCHEMA s', NULL, 'DROP SCHEMA s CASCADE; DROP OWNED BY x; ALTER TABLE t DROP COLUMN c;
	DO $$BEGIN DROP TABLE t; END$$'),
('SELECT 1', 'truncate:2 grant_to_public:2', E'\nTRUNCATE t; GRANT SELECT ON t TO PUBLIC');

SELECT hotswap.publish_version('found', n::text, deploy, NULL, revert) FROM found \g /dev/null
SELECT is((SELECT string_agg(l.rule || ':' || l.line, ' ' ORDER BY l.ordinality)
	FROM hotswap.lint_version('found', n::text, 'development') WITH ORDINALITY l
	WHERE l.rule <> 'broken_body'), expected,
	translate(left(deploy, 120) || coalesce(' / ' || revert, ''), E'\n', ' ')) FROM found
	ORDER BY n;
SELECT hotswap.publish_version('three', '1', 'DROP TABLE a', 'TRUNCATE b',
	'TRUNCATE c') \g /dev/null
SELECT results_eq($$SELECT rule::text, action::text, strictest, script, line, message, hint <> ''
	FROM hotswap.lint_version('three', '1', 'development')$$,
	$$VALUES ('drop_table', 'warn', 'development', 'deploy script', 1, 'DROP TABLE', true),
		('truncate', 'warn', 'development', 'verify script', 1, 'TRUNCATE', true),
		('truncate', 'warn', 'development', 'revert script', 1, 'TRUNCATE', true)$$,
	'all three scripts');
SELECT is(message, expected, expected) FROM hotswap.lint_version('found', '1', 'development'),
	(VALUES ('function f is SECURITY DEFINER without a pinned search_path')) e (expected);

SELECT is_empty($$SELECT l.* FROM found f, hotswap.lint_version('found', f.n::text, 'development') l
	WHERE l.message LIKE '%''x''%'$$, 'no message shows a secret');

-- publish_version() refuses it at the top of a script; it is found all the same.
INSERT INTO hotswap.module_version (tenant_id, module, version, digest, published_by, deploy_sql)
	VALUES ('00000000-0000-7000-8000-000000000001', 'found', 'alter_system',
	sha256(int8send(30) || 'ALTER SYSTEM SET work_mem = 1 ' || int8send(-1) || int8send(-1)), 'x',
	'ALTER SYSTEM SET work_mem = 1 ');
SELECT results_eq($$SELECT rule::text, action::text
	FROM hotswap.lint_version('found', 'alter_system', 'development')$$,
	$$VALUES ('alter_system', 'deny')$$, 'ALTER SYSTEM');

-- No script takes time that grows faster than the script: each of these has two megabytes.
CREATE TABLE big (what text, script text, findings int);
INSERT INTO big VALUES
('findings', repeat(E'DROP TABLE t;\n', 150000), 150000),
('findings behind each other in one line', repeat('DROP TABLE t;', 150000), 150000),
('a block whose findings lie within each other',
	'DO $$BEGIN ' || repeat('CREATE FOR EXECUTE;', 110000) || ' END$$', 220000),
('statements that begin within each other',
	'DO $$BEGIN ' || repeat('IF a THEN DROP ', 140000) || '; END$$', 1),
('a block of many lines', 'DO $$BEGIN ' || repeat(E'\nTRUNCATE t;\n', 150000) || ' END$$', 150000),
('blocks', repeat('DO $$BEGIN DO $a$BEGIN TRUNCATE t; END$a$; END$$;', 40000), 40000),
('brackets', 'DO $$BEGIN CREATE ' || repeat('(;', 1000000) || '; END$$', 0),
('comments', repeat('/*/**/*/;', 220000) || 'TRUNCATE t', 1),
('statements that the server warns of', repeat('CREATE GLOBAL TEMP TABLE t ();', 70000), 0),
('strings that the server warns of', repeat('SELECT ''\\'';', 180000), 0);
SET statement_timeout = '40 s';
SELECT hotswap.publish_version('big', md5(what), script) FROM big \g /dev/null
SELECT is((SELECT count(*)::int FROM hotswap.lint_version('big', md5(what), 'development')
	WHERE rule <> 'broken_body'),
	findings, what) FROM big;
SELECT is((SELECT max(line) FROM hotswap.lint_version('big', md5('findings'), 'development')),
	150000, 'lines are counted');
RESET statement_timeout;

-- What is said of one has a limit.
SELECT ok(max(length(message)) <= 200, 'a message is short')
FROM hotswap.module_version v, hotswap.lint_version('found', v.version, 'development')
WHERE module = 'found';

SELECT throws_ok('SELECT * FROM hotswap.lint_version(' || args || ')', code, message, message)
FROM (VALUES ($$NULL, '1', 'qa'$$, '22023', '"module" must not be null'),
	($$'found', NULL, 'qa'$$, '22023', '"version" must not be null'),
	($$'found', '1', NULL$$, '22023', '"environment" must not be null'),
	($$'nosuch', '1', 'qa'$$, 'P0002', 'version "1" of module "nosuch" does not exist'),
	($$'found', '1', 'nosuch'$$, 'P0002', 'environment "nosuch" does not exist')) a (args, code,
		message);

-- ---- what is done ----

SELECT hotswap.set_rule('development', 'drop_table', 'off') \g /dev/null
CREATE ROLE module_scan_node LOGIN;
CREATE SCHEMA dev AUTHORIZATION module_scan_node;
CREATE SCHEMA prod AUTHORIZATION module_scan_node;
SELECT hotswap.register_node('development', 'd', run_as => 'module_scan_node',
	schema => 'dev'),
	hotswap.register_node('production', 'p', run_as => 'module_scan_node', schema => 'prod'),
	hotswap.set_approval_policy('staging', 0), hotswap.set_approval_policy('production', 0),
	hotswap.set_rule('production', 'drop_table', 'deny'),
	hotswap.publish_version('m', '1',
		E'CREATE TABLE a ();\nDROP TABLE a;\nCREATE TABLE b ()') \g /dev/null
CREATE FUNCTION scanned(d uuid) RETURNS text
	LANGUAGE sql AS $$SELECT regexp_replace(message, 'sha256 \w+', 'sha256') FROM hotswap.stages
		WHERE deployment_id = d AND kind = 'scan'$$;

-- Off, warn and deny.
SELECT hotswap.deploy('m', '1', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'off, it passes');
SELECT is(scanned(:'d'), 'sha256', 'silently');
SELECT hotswap.set_rule('development', 'drop_table', 'warn'),
	hotswap.publish_version('m', '2', E'CREATE TABLE c ();\nDROP TABLE c; TRUNCATE b') \g /dev/null
SELECT hotswap.deploy('m', '2', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'a warning lets it pass');
SELECT is(scanned(:'d'),
	'sha256; warning: DROP TABLE in line 2 of the deploy script (rule drop_table of development); '
	'TRUNCATE in line 2 of the deploy script (rule truncate of development)',
	'and says what it is about');
SELECT is((SELECT count(*) FROM hotswap.audit_log
	WHERE subject_id = :'d' AND event = 'stage.succeed' AND reason LIKE '%warning: DROP TABLE%'),
	1::bigint, 'the audit log has it');

-- Denied.
SELECT hotswap.publish_version('m', '3', E'CREATE TABLE e ();\nDROP TABLE e') \g /dev/null
SELECT hotswap.deploy('m', '3', 'production') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'failed', 'denied by the last environment of the path');
SELECT results_eq(format('SELECT sqlstate, message FROM hotswap.deployments WHERE id = %L', :'d'),
	$$VALUES ('YH011',
		'denied: DROP TABLE in line 2 of the deploy script (rule drop_table of production). '
		'Rename it, and drop it by hand when nothing needs it any more.')$$,
	'it says where, and what to do');
SELECT results_eq(format('SELECT kind::text, environment, status::text FROM hotswap.stages
	WHERE deployment_id = %L AND status NOT IN (''succeeded'', ''pending'')', :'d'),
	$$SELECT 'scan', NULL::text, 'failed'$$, 'in the stage scan');
SELECT results_eq($$SELECT node.version FROM hotswap.nodes node WHERE name = 'd'$$, ARRAY['2'],
	'nothing was swapped, in development neither');

-- Another action.
SELECT hotswap.set_rule('production', 'drop_table', 'off'),
	hotswap.set_rule('staging', 'drop_table', 'off'),
	hotswap.set_rule('qa', 'drop_table', 'off') \g /dev/null
SELECT hotswap.retry(:'d') \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'with another action it is retried');
SELECT is(scanned(:'d'),
	'sha256; warning: DROP TABLE in line 2 of the deploy script (rule drop_table of development)',
	'the strictest of the path counts');

-- Many: ten are named.
SELECT hotswap.publish_version('m', '4', repeat('DROP TABLE IF EXISTS e;', 12)) \g /dev/null
SELECT hotswap.deploy('m', '4', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'many warnings');
SELECT matches(scanned(:'d'), '(DROP TABLE[^;]*; ){10}and 2 more$', 'ten are named');

-- A retry of what was queued before the rule obeys the rule.
SELECT hotswap.stop_dispatching('while the rule is set'),
	hotswap.publish_version('m', '5', 'TRUNCATE b') \g /dev/null
SELECT hotswap.deploy('m', '5', 'development') AS d \gset
SELECT hotswap.set_rule('development', 'truncate', 'deny'), hotswap.start_dispatching() \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'failed', 'a rule holds for what is queued');
SELECT is((SELECT count(*) FROM hotswap.verify_audit()), 0::bigint, 'the audit chain is whole');
SELECT * FROM finish();
