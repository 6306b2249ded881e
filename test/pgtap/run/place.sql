-- Where in a script an error is: the line, the column, and the lines around it (src/run/place.c).
SELECT plan(49);

CREATE ROLE hotswap_test_place LOGIN;
CREATE SCHEMA t AUTHORIZATION hotswap_test_place;
SELECT hotswap.register_node('development', 't', run_as => 'hotswap_test_place', schema => 't')
	\g /dev/null
CREATE TABLE t.log (what text);
GRANT ALL ON t.log TO hotswap_test_place;

\ir ../include/request.sql
CREATE TEMP TABLE request (ordinal serial, what text, line integer, col integer, excerpt text,
	script text, id uuid);

INSERT INTO request (what, line, col, excerpt, script)
VALUES ('a statement', 4, 3, 'LINE 3: SELECT 2,
LINE 4:   "ä" FROM log;
          ^', E'SELECT 1;\n\nSELECT 2,\n  "ä" FROM log;'),
	('one without a position, after comments', 3, 9, 'LINE 2: /* b
LINE 3:  ä c */ SELECT 1/0;
                ^
LINE 4: SELECT 2', E'-- a\n/* b\n ä c */ SELECT 1/0;\nSELECT 2'),
	('the first line', 1, 8, 'LINE 1: SELECT missing;
               ^
LINE 2: SELECT 1', E'SELECT missing;\nSELECT 1\n'),
	('a query in DO', 4, 15, 'LINE 3:  PERFORM 1;
LINE 4:  PERFORM ''x'', missing FROM log;
                      ^
LINE 5: END$$', E'DO $$\nBEGIN\n\tPERFORM 1;\n\tPERFORM ''x'', missing FROM log;\nEND$$'),
	('an assignment', 3, 2, 'LINE 2: BEGIN
LINE 3:  x := 1;
         ^
LINE 4: END$$', E'DO $$\nBEGIN\n\tx := 1;\nEND$$'),
	('a body in PL/pgSQL', 4, 13, 'LINE 3: BEGIN
LINE 4:   RETURN 1 +;
                    ^
LINE 5: END$$', E'SELECT 1;
CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$\nBEGIN\n  RETURN 1 +;\nEND$$'),
	('a body in SQL', 3, 9, 'LINE 2: CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$
LINE 3:  SELECT missing
                ^
LINE 4: $$', E'SELECT 1;\nCREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$\n SELECT missing\n$$'),
	('a body in quotes', 3, 17, 'LINE 2:   SELECT ''''a'''';
LINE 3:   SELECT ''''a'''', missing
                        ^
LINE 4: ''', E'CREATE FUNCTION f() RETURNS int LANGUAGE sql AS ''\n  SELECT ''''a'''';
  SELECT ''''a'''', missing\n'''),
	('the end of a body in quotes', 3, 16, 'LINE 2: BEGIN
LINE 3:   PERFORM ''''a'''''';
                       ^', E'DO ''\nBEGIN\n  PERFORM ''''a'''''';'),
	('a standard body', 3, 9, 'LINE 2: BEGIN ATOMIC
LINE 3:  SELECT missing;
                ^
LINE 4: END', E'CREATE FUNCTION f() RETURNS int LANGUAGE sql\nBEGIN ATOMIC\n SELECT missing;\nEND'),
	('a query with INTO', 4, 13, 'LINE 3: BEGIN
LINE 4:   SELECT 1, missing INTO x FROM log;
                    ^
LINE 5: END$$', E'DO $$\nDECLARE x int;\nBEGIN\n  SELECT 1, missing INTO x FROM log;\nEND$$'),
	('PERFORM in quotes', 3, 18, 'LINE 2: BEGIN
LINE 3:   PERFORM ''''a'''', missing FROM log;
                         ^
LINE 4: END''', E'DO ''\nBEGIN\n  PERFORM ''''a'''', missing FROM log;\nEND'''),
	('a function that the script has made', 3, 18, 'LINE 2: BEGIN
LINE 3:   RETURN (SELECT missing FROM log);
                         ^
LINE 4: END$$;', E'CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$\nBEGIN
  RETURN (SELECT missing FROM log);\nEND$$;\nSELECT f()'),
	('dynamic SQL', 2, 10, 'LINE 1: DO $$BEGIN
LINE 2: EXECUTE ''NONSENSE'';
                 ^
LINE 3: END$$', E'DO $$BEGIN\nEXECUTE ''NONSENSE'';\nEND$$'),
	('what stands there twice', 2, 1, 'LINE 1: SELECT 1;
LINE 2: DO $$BEGIN
        ^
LINE 3: IF missing THEN NULL; END IF;',
		E'SELECT 1;\nDO $$BEGIN\nIF missing THEN NULL; END IF;\nIF missing THEN NULL; END IF;
END$$'),
	('what does not stand there', 1, 1, 'LINE 1: DO $$BEGIN
        ^
LINE 2: EXECUTE ''NON'' || ''SENSE'';', E'DO $$BEGIN\nEXECUTE ''NON'' || ''SENSE'';\nEND$$'),
	('only a part of a word', 1, 1, 'LINE 1: DO $$BEGIN EXECUTE ''N'' || ''O''; END$$ -- NOT, XNO
        ^', 'DO $$BEGIN EXECUTE ''N'' || ''O''; END$$ -- NOT, XNO'),
	('a long line', 2, 107, 'LINE 1: SELECT 1, ''' || repeat('x', 49) || '...
LINE 2: ...' || repeat('ä', 37) || ''', missing, ''' || repeat('b', 10) || '...
                                                   ^
LINE 3: SELECT 3', 'SELECT 1, ''' || repeat('x', 51) || E''',\r\n\t\t''' || repeat('ä', 100)
		|| ''', missing, ''' || repeat('b', 100) || E''';\r\nSELECT 3'),
	('wide characters and tabs', 1, 14, 'LINE 1: SELECT ''漢'' , missing
                      ^', E'SELECT ''漢''\t, missing'),
	('data', 4, 1, 'LINE 3: 1
LINE 4: two
        ^
LINE 5: \.', E'CREATE TABLE x (i int);\nCOPY x FROM STDIN;\n1\ntwo\n\\.\n');
UPDATE request SET id = pg_temp.request(script);
SELECT is(hotswap.wait(id, '60 s'), 'failed', what) FROM request ORDER BY ordinal;
SELECT is((s.line, s."column", s.excerpt)::text, (r.line, r.col, r.excerpt)::text,
	r.what || ': the place')
FROM request r CROSS JOIN LATERAL pg_temp.swap_of(r.id) s ORDER BY r.ordinal;
SELECT is((SELECT count(*) FROM request r CROSS JOIN LATERAL pg_temp.swap_of(r.id) s
	WHERE s.position IS DISTINCT FROM s."column" + length((SELECT
		coalesce(string_agg(l || E'\n', ''), '')
		FROM string_to_table(r.script, E'\n') WITH ORDINALITY x (l, n) WHERE n < s.line))),
	0::bigint, 'the position is the same place');

-- Which script it is.
SELECT pg_temp.request('SELECT 1', E'SELECT true;\nSELECT false') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'failed', 'a verify script');
SELECT is((SELECT concat_ws(' ', script, line, "column") FROM hotswap.tasks
	WHERE deployment_id = :'d' AND kind = 'swap'), 'verify 2 1', 'has places of its own');
SELECT hotswap.publish_version('graph', 'a', 'SELECT 1', parents => '{}'),
	hotswap.publish_version('graph', 'b', E'SELECT 1;\n  SELECT 1/0', parents => '{a}') \g /dev/null
SELECT hotswap.deploy('graph', 'b', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'failed', 'a version on another one');
SELECT is((SELECT concat_ws(' ', step, script, line, "column") FROM hotswap.tasks
	WHERE deployment_id = :'d' AND kind = 'swap'), 'b deploy 2 3', 'says whose script it is');

-- A trigger that runs at the end belongs to no statement; what succeeds has no place.
SELECT pg_temp.request($$CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS
	'BEGIN RAISE ''no''; END';
CREATE CONSTRAINT TRIGGER c AFTER INSERT ON log DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION no();
CREATE TEMP TABLE x ();
INSERT INTO log VALUES (1)$$) AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'failed', 'a trigger that is deferred');
SELECT is((SELECT concat_ws(' ', message, script, line, excerpt) FROM hotswap.tasks
	WHERE deployment_id = :'d' AND kind = 'swap'), 'no deploy', 'has no place');
CREATE SEQUENCE t.tries;
GRANT ALL ON t.tries TO hotswap_test_place;
SELECT pg_temp.request('DO $$BEGIN IF nextval(''tries'') = 1 THEN RAISE ''not yet''
	USING ERRCODE = ''40001''; END IF; END$$') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'one that succeeds in the end');
SELECT is((SELECT concat_ws(' ', attempt, line, "column", excerpt) FROM hotswap.tasks
	WHERE deployment_id = :'d' AND kind = 'swap'), '2', 'has no place either');

SELECT * FROM finish();
