-- Scripts: what parses, what is refused, and where an error is said to be (src/module/script.c).
SELECT plan(113);

-- Runs a script through publish_version() and returns what it raised, or NULL.
CREATE FUNCTION pg_temp.publish_refusal(script text, OUT code text, OUT message text,
	OUT detail text,
		OUT hint text, OUT context text) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM hotswap.publish_version('m', 'v' || md5(script), script);
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
		detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT, context = PG_EXCEPTION_CONTEXT;
END $$;

-- What may be in a script.
CREATE TEMP TABLE legal (script text);
INSERT INTO legal VALUES
	('SELECT 1'),
	(';;SELECT 1;;;'),
	(E'-- comment\n/* a /* nested */ one */ SELECT 1 -- at the end'),
	('CREATE FUNCTION f() RETURNS int LANGUAGE sql AS ''SELECT 1'''),
	('CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END'),
	('CREATE PROCEDURE p() LANGUAGE plpgsql AS $x$ BEGIN COMMIT; END $x$'),
	('DO $x$ BEGIN PERFORM 1; END $x$'),
	('SELECT ''BEGIN; COMMIT; VACUUM'''),
	('CREATE INDEX i ON t (a); DROP INDEX i; REINDEX INDEX i; REINDEX TABLE t'),
	('REINDEX (CONCURRENTLY false) TABLE t'),
	('ANALYZE; ANALYZE t'),
	('CLUSTER t; CLUSTER t USING i'),
	('DISCARD PLANS; DISCARD SEQUENCES; DISCARD TEMP'),
	('ALTER TABLE t DETACH PARTITION p; ALTER TABLE t DETACH PARTITION p FINALIZE'),
	('COPY t FROM ''/tmp/x''; COPY t TO ''/tmp/x''; COPY t FROM PROGRAM ''true'';
		COPY t TO PROGRAM ''true'''),
	('ALTER DATABASE d SET work_mem = ''1MB''; ALTER DATABASE d CONNECTION LIMIT 3'),
	('CREATE SUBSCRIPTION s CONNECTION '''' PUBLICATION p WITH (connect = false)'),
	('CREATE SUBSCRIPTION s CONNECTION '''' PUBLICATION p WITH (create_slot = false)'),
	('ALTER SUBSCRIPTION s SET PUBLICATION p WITH (refresh = false); ALTER SUBSCRIPTION s DISABLE'),
	('DROP SUBSCRIPTION s'),
	('CREATE SCHEMA s CREATE TABLE t (a int) CREATE INDEX i ON t (a)'),
	('SET search_path = x; LOCK TABLE t; CALL p(); NOTIFY c; UNLISTEN c; GRANT SELECT ON t TO r'),
	('SET standard_conforming_strings = on; SET standard_conforming_strings TO DEFAULT;
		RESET standard_conforming_strings; SET work_mem = ''1MB'''),
	('ALTER TYPE e ADD VALUE ''x''');
SELECT is((pg_temp.publish_refusal(script)).message, NULL, format('legal: %L', left(script, 60)))
	FROM legal;

-- What may not: each alone, as the second statement and with another in front.
CREATE TEMP TABLE illegal (script text, what text);
INSERT INTO illegal VALUES
	('BEGIN', 'transaction control'),
	('START TRANSACTION', 'transaction control'),
	('COMMIT', 'transaction control'),
	('END', 'transaction control'),
	('COMMIT AND CHAIN', 'transaction control'),
	('ROLLBACK', 'transaction control'),
	('ABORT', 'transaction control'),
	('SAVEPOINT s', 'transaction control'),
	('ROLLBACK TO s', 'transaction control'),
	('RELEASE s', 'transaction control'),
	('PREPARE TRANSACTION ''x''', 'transaction control'),
	('COMMIT PREPARED ''x''', 'transaction control'),
	('ROLLBACK PREPARED ''x''', 'transaction control'),
	('LISTEN c', 'LISTEN'),
	('VACUUM', 'VACUUM'),
	('VACUUM (ANALYZE) t', 'VACUUM'),
	('CLUSTER', 'CLUSTER without a table'),
	('CREATE INDEX CONCURRENTLY i ON t (a)', 'CREATE INDEX CONCURRENTLY'),
	('CREATE UNIQUE INDEX CONCURRENTLY ON t (a)', 'CREATE INDEX CONCURRENTLY'),
	('CREATE SCHEMA s CREATE INDEX CONCURRENTLY i ON t (a)', 'CREATE INDEX CONCURRENTLY'),
	('DROP INDEX CONCURRENTLY i', 'DROP INDEX CONCURRENTLY'),
	('REINDEX INDEX CONCURRENTLY i', 'REINDEX CONCURRENTLY'),
	('REINDEX (CONCURRENTLY) TABLE t', 'REINDEX CONCURRENTLY'),
	('REINDEX SCHEMA s', 'REINDEX SCHEMA'),
	('REINDEX DATABASE d', 'REINDEX DATABASE'),
	('REINDEX SYSTEM d', 'REINDEX SYSTEM'),
	('ALTER TABLE t DETACH PARTITION p CONCURRENTLY', 'DETACH PARTITION CONCURRENTLY'),
	('DISCARD ALL', 'DISCARD ALL'),
	('CREATE DATABASE d', 'CREATE DATABASE'),
	('DROP DATABASE d', 'DROP DATABASE'),
	('ALTER DATABASE d SET TABLESPACE t', 'ALTER DATABASE SET TABLESPACE'),
	('CREATE TABLESPACE t LOCATION ''/x''', 'CREATE TABLESPACE'),
	('DROP TABLESPACE t', 'DROP TABLESPACE'),
	('ALTER SYSTEM SET work_mem = ''1MB''', 'ALTER SYSTEM'),
	('ALTER SYSTEM RESET ALL', 'ALTER SYSTEM'),
	('SET standard_conforming_strings = off', 'SET standard_conforming_strings = off'),
	('SET LOCAL "Standard_Conforming_Strings" TO ''false''',
		'SET standard_conforming_strings = off'),
	('COPY t FROM STDIN', 'COPY FROM STDIN whose data do not end'),
	('COPY t TO STDOUT', 'COPY TO STDOUT'),
	('COPY (SELECT 1) TO STDOUT', 'COPY TO STDOUT'),
	('CREATE SUBSCRIPTION s CONNECTION '''' PUBLICATION p', 'CREATE SUBSCRIPTION with create_slot'),
	('ALTER SUBSCRIPTION s REFRESH PUBLICATION', 'ALTER SUBSCRIPTION ... REFRESH'),
	('ALTER SUBSCRIPTION s ADD PUBLICATION p', 'ALTER SUBSCRIPTION with refresh');
SELECT is(r.code || ': ' || r.message, '0A000: ' || what || ' is not allowed in the deploy script',
	'illegal: ' || script)
FROM illegal, pg_temp.publish_refusal(script) r;
SELECT is_empty(
	$$SELECT script, r FROM illegal,
		pg_temp.publish_refusal('SELECT 1;' || script || '; SELECT 2') r
	WHERE r.code IS DISTINCT FROM '0A000'
		OR r.detail <> 'Line 1, column 10 of the deploy script.'$$,
	'illegal statements are found behind others, with their place');
SELECT is_empty(
	$$SELECT script, r FROM illegal,
		pg_temp.publish_refusal(E'SELECT 1;\n\n\t-- COMMIT;\n /* a /* b */ */ ' || script) r
	WHERE r.detail <> 'Line 4, column 18 of the deploy script.'$$,
	'the place is where the statement begins, behind spaces and comments');
SELECT is_empty($$SELECT script FROM illegal, pg_temp.publish_refusal(script) r WHERE r.hint = ''$$,
	'each refusal says what would be right');
SELECT is((pg_temp.publish_refusal('SELECT ''äöü€'', 1; COMMIT')).detail,
	'Line 1, column 19 of the deploy script.',
	'columns are counted in characters');

SELECT is((pg_temp.publish_refusal('BEGIN; SELECT 1; COMMIT')).hint,
	'hotswap begins and ends the transaction that a script runs in; leave them out, or publish with'
	|| ' transactional => false.', 'the way out of BEGIN and COMMIT');

-- Commands of psql.
SELECT is(r.code || ': ' || r.message || ' / ' || r.detail || ' / ' || r.hint,
	'42601: "' || command || '" is a command of psql, not of SQL / Line ' || place
	|| ' of the deploy script. / Publish the file with hotswap-publish, or leave the command out.',
	'command of psql: ' || script)
FROM (VALUES (E'\\restrict Ab9', '\restrict', '1, column 1'),
	(E'SELECT 1;\n\\connect d', '\connect', '2, column 1'),
	(E'SELECT ''ä'';\n  \\i ../x.sql', '\i', '2, column 3'),
	(E'SELECT 1\n\\gset', '\gset', '2, column 1'),
	(E'SELECT 1;\n\\! ls', '\!', '2, column 1')) c (script, command, place),
	pg_temp.publish_refusal(script) r;
SELECT is((pg_temp.publish_refusal(E'SELECT 1;\n\\copy t from x')).hint,
	'Use COPY ... FROM STDIN with the data in the script, or COPY with a file on the server.',
	'the way out of \copy');

-- A byte order mark.
SELECT is(hotswap.publish_version('mark', '1', E'\ufeffSELECT 1', E'\ufeffSELECT true'),
	hotswap.publish_version('mark', '2', 'SELECT 1', 'SELECT true'), 'a mark is taken off');
SELECT results_eq($$SELECT deploy_sql, verify_sql FROM hotswap.module_version
	WHERE (module, version) = ('mark', '1')$$, $$VALUES ('SELECT 1', 'SELECT true')$$,
	'before the script is stored');
SELECT is(hotswap.module_signing_payload('mark', '3', E'\ufeffSELECT 1'),
	hotswap.module_signing_payload('mark', '3', 'SELECT 1'), 'and signed');

-- Which script it was.
SELECT throws_ok($$SELECT hotswap.publish_version('m', '1', 'SELECT 1', 'COMMIT')$$, '0A000',
	'transaction control is not allowed in the verify script', 'the verify script is checked');
SELECT throws_ok($$SELECT hotswap.publish_version('m', '1', 'SELECT 1', NULL, 'COMMIT')$$, '0A000',
	'transaction control is not allowed in the revert script', 'the revert script is checked');

-- The session's settings do not change what a script says.
SET standard_conforming_strings = off;
SET escape_string_warning = off;
SELECT is((pg_temp.publish_refusal($$SELECT '\'; COMMIT; --'$$)).message,
	'transaction control is not allowed in the deploy script', 'a backslash is a backslash');
RESET standard_conforming_strings;
RESET escape_string_warning;

-- Empty scripts, and those that do nothing.
SELECT throws_ok($$SELECT hotswap.publish_version('m', '1', '')$$, '22023',
	'deploy script is empty', 'an empty deploy script');
SELECT throws_ok($$SELECT hotswap.publish_version('m', '1', 'SELECT 1', '')$$, '22023',
	'verify script is empty', 'an empty verify script');
SELECT throws_ok($$SELECT hotswap.publish_version('m', '1', 'SELECT 1', NULL, E'\ufeff')$$,
	'22023', 'revert script is empty', 'an empty revert script');
SELECT lives_ok(format('SELECT hotswap.publish_version(''nothing%s'', ''1'', %L, %2$L, %2$L)',
	ordinal, script), format('nothing: %L', script))
FROM unnest('{" ","
	",;," ; ; ","-- only","/* a comment */;"}'::text[])
	WITH ORDINALITY s (script, ordinal);

-- Syntax errors.
SELECT throws_ok($$SELECT hotswap.publish_version('m', '1', 'SELEC 1')$$, '42601',
	'syntax error at or near "SELEC"', 'a syntax error');
SELECT throws_ok($$SELECT hotswap.publish_version('m', '1', 'SELECT 1', 'SELECT (1')$$, '42601',
	'syntax error at end of input', 'a syntax error at the end');
SELECT throws_ok($$SELECT hotswap.publish_version('m', '1', 'SELECT ''a')$$, '42601',
	'unterminated quoted string at or near "''a"', 'an unterminated string');
SELECT throws_ok($$SELECT hotswap.publish_version('m', '1', 'SELECT /* a')$$, '42601',
	'unterminated /* comment at or near "/* a"', 'an unterminated comment');
SELECT is((pg_temp.publish_refusal(E'SELECT 1;\nSELECT ''ä'', FROM;')).detail,
	'Line 2, column 13 of the deploy script.',
	'the place of a syntax error');
SELECT alike((pg_temp.publish_refusal(E'SELECT 1;\nSELECT FROM FROM;')).context,
	'deploy script, line 2%',
	'its context names the script');
SELECT is((pg_temp.publish_refusal(repeat(E'SELECT 1;\n', 2000) || E'\n SELEC 1;')).detail,
	'Line 2002, column 2 of the deploy script.', 'the place in a script of many lines');
SELECT is((pg_temp.publish_refusal(repeat('SELECT ''ä'';', 2000) || 'SELEC 1;')).detail,
	'Line 1, column 22001 of the deploy script.', 'the place in a script of one long line');
SELECT is((pg_temp.publish_refusal(repeat('SELECT ''ä'';', 2000) || 'COMMIT;'
	|| repeat('SELECT ''ä'';', 2000))).detail,
	'Line 1, column 22001 of the deploy script.', 'the place of a refused statement in one');
SELECT is((pg_temp.publish_refusal(E'SELECT 1;\r\n\r\nCOMMIT;')).detail,
	'Line 3, column 1 of the deploy script.',
	'lines may end in CR LF');
SELECT is((pg_temp.publish_refusal('CREATE ASSERTION a CHECK (true)')).code, '0A000',
	'other errors of the grammar keep their SQLSTATE');

-- Large and deep scripts.
SELECT is((pg_temp.publish_refusal(repeat(
	'SELECT 12345678901234567890123456789012345678901234567890;',
	16777216 / 60))).message,
	NULL, 'a script of 16 MB and 280,000 statements');
SELECT is((pg_temp.publish_refusal(rpad('SELECT 1 --', 16777216, 'x'))).message, NULL,
	'exactly 16 MB');
SELECT is((pg_temp.publish_refusal(rpad('SELECT 1 --', 16777217, 'x'))).message,
	'"deploy_sql" is too large: 16777217 bytes',
	'one byte more');
SELECT is((pg_temp.publish_refusal(rpad(E'SELECT 1;\n', 16777215, 'ä') || ' %')).code, '22023',
	'the limit counts bytes, not characters');
SELECT is((pg_temp.publish_refusal(repeat('SELECT 1;', 1800000) || 'COMMIT')).detail,
	'Line 1, column 16200001 of the deploy script.',
	'a refused statement at the end of 16 MB in one line');
SELECT alike((pg_temp.publish_refusal('SELECT ' || repeat('(', 100000) || '1'
	|| repeat(')', 100000))).code,
	'%_',
	'nesting without end is an error, not a crash');
SELECT is((pg_temp.publish_refusal('SELECT ' || repeat('1+', 100000) || '1')).message, NULL,
	'a long expression is not too deep for the grammar');

-- The script is not run.
SELECT lives_ok($$SELECT hotswap.publish_version('m', 'not-run',
	'DROP TABLE legal; SELECT 1/0; SELECT no_such_function()')$$,
	'a script is not run when it is published');
SELECT ok((SELECT count(*) > 0 FROM legal), 'indeed');

SELECT * FROM finish();
