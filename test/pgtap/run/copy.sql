-- COPY ... FROM STDIN in scripts, with its data below it (src/run/copy.c).
SELECT plan(34);

SELECT named('node') AS node \gset
CREATE ROLE :"node" LOGIN;
ALTER ROLE :"node" SET client_encoding = 'LATIN1';
CREATE SCHEMA t AUTHORIZATION :"node";
SELECT hotswap.register_node('development', 't', run_as => :'node', schema => 't') \g /dev/null

\ir ../include/request.sql
CREATE FUNCTION pg_temp.refusal_of(script text) RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' / ', code, message, detail, hint)
	FROM refusal(format('SELECT hotswap.publish_version(''x'', ''1'', %L)', script))
$$;

-- What pg_dump writes.
SELECT pg_temp.request(E'CREATE TABLE a (id int, b text);
COPY t.a (id, b) FROM stdin;
1\tü € '' " $$ /*
2\t\\N
3\tDROP TABLE a; \\\\.
\\.


CREATE TABLE "stdin" (x text DEFAULT ''-- COPY x FROM stdin;'');
COPY "stdin" FROM STDOUT;\r
one\r
\\.\r
SELECT count(*) FROM "stdin";') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'a dump');
SELECT results_eq('SELECT id, b FROM t.a ORDER BY id', $$VALUES (1, 'ü € '' " $$ || '$$' || $$ /*'),
	(2, NULL), (3, 'DROP TABLE a; \.')$$, 'its data are there, in the encoding of the script');
SELECT results_eq('SELECT * FROM t.stdin', $$VALUES ('one')$$, 'lines that end with CR LF');
SELECT doesnt_match((SELECT message FROM hotswap.stages
	WHERE deployment_id = :'d' AND kind = 'scan'),
	'DROP', 'rules are not about data');

-- Two on a line, one without rows, and what stands behind them.
SELECT matches(pg_temp.refusal_of(E'COPY a FROM stdin; SELECT 1
\\.
;COMMIT'), '^0A000 / transaction control.*Line 3, column 2 ', 'SQL goes on behind data');
SELECT pg_temp.request(E'CREATE TABLE b (x int); COPY a FROM stdin; COPY b FROM stdin; DELETE FROM b
4\tfour
\\.
1
2
\\.
WHERE x = 2; COPY b FROM STDIN;
\\.
') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'each takes the lines that come next');
SELECT results_eq('SELECT x FROM t.b', 'VALUES (1)', 'and what stands around them is SQL');

-- CSV, options, triggers, defaults, partitions, conditions.
SELECT pg_temp.request(E'CREATE TABLE c (id int GENERATED ALWAYS AS IDENTITY, x text,
	twice text GENERATED ALWAYS AS (x || x) STORED) PARTITION BY LIST (id);
CREATE TABLE c1 PARTITION OF c FOR VALUES IN (1, 2);
CREATE TABLE c2 PARTITION OF c DEFAULT;
CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN NEW.x = upper(NEW.x); RAISE WARNING ''%'', NEW.x; RETURN NEW; END $$;
CREATE TRIGGER shout BEFORE INSERT ON c FOR EACH ROW EXECUTE FUNCTION shout();
COPY c (x) FROM STDIN WITH (FORMAT csv, HEADER, NULL ''-'') WHERE length(x) > 1;
x
"a
b,"
-
s
cc
\\.
CREATE TABLE d (id int); COPY d FROM STDIN WITH (FREEZE);
1
\\.
') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'CSV with a header and a condition');
SELECT results_eq('SELECT x, tableoid::regclass::text FROM t.c ORDER BY id',
	$$VALUES (E'A\nB,', 't.c1'), ('CC', 't.c2')$$, 'triggers and partitions');
SELECT results_eq('SELECT twice FROM t.c2', $$VALUES ('CCCC')$$, 'generated columns');

-- Errors point to the line of the data.
SELECT pg_temp.request(E'CREATE TABLE e (id int CHECK (id < 9));\n-- ü\nCOPY e FROM STDIN;
1
ü
\\.') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'failed', 'a wrong value');
SELECT is((pg_temp.swap_of(:'d')).sqlstate, '22P02', 'is what it is');
SELECT matches((pg_temp.swap_of(:'d')).context,
	'^COPY e, line 2, column id: "ü"\nline 5 of the deploy script\n',
	'its lines, in the data and in the script');
SELECT is((pg_temp.swap_of(:'d')).position, 67, 'and its position');
SELECT pg_temp.request(E'CREATE TABLE e (id int CHECK (id < 9));\nCOPY e FROM STDIN;
1
9
2
\\.
SELECT 1/0') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'failed', 'a constraint');
SELECT matches((pg_temp.swap_of(:'d')).context, 'line 4 of the deploy script\n', 'and its line');
SELECT pg_temp.request(E'CREATE TABLE e (id int);\nCOPY e FROM STDIN;
1
\\.
  SELECT 1/0') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'failed', 'an error behind data');
SELECT is((pg_temp.swap_of(:'d')).position, 52, 'has its own position');
SELECT pg_temp.request(E'COPY a (id, nothing) FROM STDIN;\n\\.') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'failed', 'a missing column');
SELECT is((s).sqlstate || ' ' || (s).position, '42703 1', 'is an error of the statement')
FROM pg_temp.swap_of(:'d') s;
SELECT pg_temp.request(E'SELECT 1;\nCOPY a FROM STDIN WHERE nothing;\n\\.') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'failed', 'a missing column in the condition');
SELECT is((s).sqlstate || ' ' || (s).position, '42703 35', 'is found where it is')
FROM pg_temp.swap_of(:'d') s;

-- Rights are those of the role; what COPY refuses, it refuses here.
CREATE TABLE t.closed (x int);
CREATE TABLE t.half (x int, y int);
GRANT INSERT (x) ON t.half TO :"node";
CREATE TABLE t.rows (x int);
ALTER TABLE t.rows ENABLE ROW LEVEL SECURITY;
GRANT INSERT ON t.rows TO :"node";
CREATE TABLE t.made (x int, y int GENERATED ALWAYS AS (x) STORED);
GRANT ALL ON t.made TO :"node";
CREATE TEMP TABLE refused (ordinal serial, what text, code text, id uuid);
INSERT INTO refused (what, code, id) SELECT what, code, pg_temp.request(script || E';\n1\n\\.')
FROM (VALUES ('a table of others', '42501', 'COPY closed FROM STDIN'),
	('a column of others', '42501', 'COPY half (y) FROM STDIN'),
	('row security', '0A000', 'COPY rows FROM STDIN'),
	('a generated column', '42P10', 'COPY made (x) FROM STDIN WHERE made IS NULL OR y > 1'),
	('a table of hotswap''s', '42501', 'COPY hotswap.task FROM STDIN'),
	('a transaction that only reads', '25006',
		'SET TRANSACTION READ ONLY; COPY half (x) FROM STDIN')) s (what, code, script);
SELECT hotswap.wait(id, '60 s') FROM refused \g /dev/null
SELECT is((pg_temp.swap_of(id)).sqlstate, code, what) FROM refused ORDER BY ordinal;
SELECT pg_temp.request(E'COPY half (x) FROM STDIN;\n1\n\\.', E'COPY half (x) FROM STDIN;
2
\\.
SELECT true') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'a column of its own, and a verify script');
SELECT results_eq('SELECT x FROM t.half', 'VALUES (1)', 'which leaves nothing');

-- Publishing refuses what cannot be.
SELECT is(pg_temp.refusal_of(script), '0A000 / ' || what
	|| ' is not allowed in the deploy script / Line 2, column 1 of the deploy script. / ' || way)
FROM (VALUES (E'\nCOPY a FROM STDIN;\n1', 'COPY FROM STDIN whose data do not end',
		'The data stand in the script: in the lines after the statement, up to a line "\.".'),
	(E'\nCOPY a FROM STDIN BINARY;\n\\.', 'COPY FROM STDIN in the binary format',
		'Write the data in the text or the CSV format.'),
	(E'\nCOPY a FROM STDIN (ENCODING ''utf8'');\n\\.', 'COPY FROM STDIN with ENCODING',
		'The data have the encoding of the script; leave ENCODING out.'),
	(E'\nCOPY a TO STDOUT', 'COPY TO STDOUT',
		'Nobody reads what a script writes; leave it out, or use COPY with a file or program on the'
		|| ' server.')) s (script, what, way);
SELECT * FROM finish();
