-- What differs between versions and between environments: diff_versions(), diff_environments()
-- (src/deployment/diff.c, src/base/diff.c).
SELECT plan(27);
\ir ../include/graph.sql
SELECT hotswap.set_approval_policy('staging', 0), hotswap.set_approval_policy('production', 0)
	\g /dev/null

-- Versions: a unified diff for each script that differs.
SELECT hotswap.publish_version('v', '1', E'SELECT 1;\nSELECT 2;\nSELECT 3;\nSELECT 4;\nSELECT 5;\n',
	'SELECT true', 'SELECT 1', parents => '{}') \g /dev/null
SELECT hotswap.publish_version('v', '2', E'SELECT 1;\nSELECT 2;\nSELECT 3;\nSELECT 4;\nSELECT 6;\n',
	'SELECT true', parents => '{1}', install_sql => E'SELECT 7;\nSELECT 8') \g /dev/null
SELECT is(hotswap.diff_versions('v', '1', '2'), $$--- 1.deploy
+++ 2.deploy
@@ -2,4 +2,4 @@
 SELECT 2;
 SELECT 3;
 SELECT 4;
-SELECT 5;
+SELECT 6;
--- 1.revert
+++ /dev/null
@@ -1 +0,0 @@
-SELECT 1
\ No newline at end of file
--- /dev/null
+++ 2.install
@@ -0,0 +1,2 @@
+SELECT 7;
+SELECT 8
\ No newline at end of file
$$, 'what leads from one to the other');
SELECT is(hotswap.diff_versions('v', '1', '1'), '', 'nothing leads from a version to itself');
SELECT hotswap.tag_version('v', 'old', '1') \g /dev/null
SELECT is(hotswap.diff_versions('v', 'old', '2'), hotswap.diff_versions('v', '1', '2'), 'by a tag');
SELECT hotswap.publish_version('p', '1', 'SELECT 1'), hotswap.publish_version('p', '2', 'SELECT 1',
	requires => '{a >= 1,!b}'), hotswap.publish_version('p', '3', 'SELECT 1',
	transactional => false) \g /dev/null
SELECT is(hotswap.diff_versions('p', '2', '3'), $$--- 2.properties
+++ 3.properties
@@ -1,3 +1 @@
-transactional true
-requires !b
-requires a >= 1
+transactional false
$$, 'what else says what is done');

-- What is refused.
SELECT throws_ok(format('SELECT hotswap.diff_versions(%s)', arguments), code, message, message)
FROM (VALUES ('''v'', ''1'', ''9''', 'P0002', 'version "9" of module "v" does not exist'),
	('''x'', ''1'', ''1''', 'P0002', 'version "1" of module "x" does not exist'),
	('''v'', NULL, ''1''', '22023', '"a" must not be null'),
	('''v'', ''1'', '' ''', '22023', '"b" must not be blank')) a (arguments, code, message);
UPDATE hotswap.module_version SET deploy_sql = 'SELECT 9' WHERE module = 'p' AND version = '3';
SELECT throws_ok($$SELECT hotswap.diff_versions('p', '1', '3')$$, 'XX001', NULL,
	'scripts that were altered');

-- Any two texts: what is said, done to the old one, makes the new one.
CREATE FUNCTION patch(old text, diff text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	lines text[] = regexp_split_to_array(old, '\n');
	done integer = 0;
	result text[] = '{}';
	line text;
	part text[];
BEGIN
	FOREACH line IN ARRAY regexp_split_to_array(rtrim(diff, E'\n'), '\n') LOOP
		part = regexp_match(line, '^@@ -(\d+)(?:,(\d+))? \+');
		IF part IS NOT NULL THEN
			WHILE done < part[1]::integer - CASE WHEN part[2] = '0' THEN 0 ELSE 1 END LOOP
				done = done + 1;
				result = result || lines[done];
			END LOOP;
		ELSIF line ~ '^[ -](?!--)' THEN
			done = done + 1;
			IF lines[done] IS DISTINCT FROM substr(line, 2) THEN
				RAISE 'line % is not "%"', done, line;
			END IF;
		END IF;
		IF part IS NULL AND line ~ '^[ +](?!\+\+)' THEN
			result = result || substr(line, 2);
		END IF;
	END LOOP;
	RETURN array_to_string(result || lines[done + 1:], E'\n');
END $$;
CREATE FUNCTION some_lines(count integer, kinds integer) RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(string_agg(format('SELECT %s;', floor(random() * kinds)), E'\n'), '') || E'\n'
	FROM generate_series(1, count)
$$;
SELECT setseed(0.5) \g /dev/null
SELECT hotswap.publish_version('r', i::text, 'SELECT 0;' || E'\n' || some_lines(i % 40, 1 + i % 7))
FROM generate_series(1, 150) i \g /dev/null
CREATE TABLE compared AS SELECT a.deploy_sql AS old, b.deploy_sql AS new,
	hotswap.diff_versions('r', a.version, b.version) AS diff
FROM hotswap.versions a JOIN hotswap.versions b ON a.module = 'r' AND b.module = 'r'
	AND b.version::integer = 1 + a.version::integer * 7 % 150;
SELECT is((SELECT count(*) FROM compared WHERE diff <> ''), (SELECT count(*) FROM compared
	WHERE old <> new), 'what differs has a difference');
SELECT is_empty('SELECT * FROM compared WHERE patch(old, diff) <> new',
	'what is said, done to the old text, makes the new one');
SELECT is_empty($$SELECT * FROM compared WHERE diff ~ E'\n-[^\n]*(\n[^-+@][^\n]*){7}'$$,
	'no more than three equal lines before a hunk ends, twice that between changes');

-- The fewest lines are said to differ.
SELECT hotswap.publish_version('s', '1', E'SELECT 1;\nSELECT 2;\nSELECT 3;\nSELECT 1;\nSELECT 2;\n'
	'SELECT 2;\nSELECT 1;\n'), hotswap.publish_version('s', '2', E'SELECT 3;\nSELECT 2;\n'
	'SELECT 1;\nSELECT 2;\nSELECT 1;\nSELECT 3;\n') \g /dev/null
SELECT is((SELECT count(*) FROM regexp_matches(hotswap.diff_versions('s', '1', '2'),
	'^[-+]SELECT', 'gn')), 5::bigint, 'five edits lead from ABCABBA to CBABAC');

-- Large ones: time and memory are bounded.
SELECT hotswap.publish_version('l', '1', 'SELECT 0;' || E'\n' || string_agg(format('SELECT %s;', i),
	E'\n') || E'\n'), hotswap.publish_version('l', '2', 'SELECT 0;' || E'\n'
	|| string_agg(format('SELECT %s;', -i), E'\n') || E'\n') FROM generate_series(1, 5000) i
	\g /dev/null
SELECT hotswap.publish_version('l', n::text, 'SELECT 0;' || repeat(E'\n', 500000) || 'SELECT ' || n)
FROM generate_series(5, 6) n \g /dev/null
SELECT is(count(*), 10000::bigint, 'beyond the limit of edits all lines are said to differ')
	FROM regexp_matches(hotswap.diff_versions('l', '1', '2'), '^[-+]SELECT', 'gn');
SELECT is(patch(a.deploy_sql, hotswap.diff_versions('l', '1', '2')) = b.deploy_sql, true,
	'which is true') FROM hotswap.versions a JOIN hotswap.versions b
	ON a.module = 'l' AND a.version = '1' AND b.module = 'l' AND b.version = '2';
SELECT is(hotswap.diff_versions('l', '5', '6'), E'--- 5.deploy\n+++ 6.deploy\n'
	'Texts of together more than 1000000 lines are not compared.\n', 'and some are not compared');

-- Environments.
SELECT logging_node('development', 'd1') \g /dev/null
SELECT logging_node('development', 'd2') \g /dev/null
SELECT logging_node('qa', 'q') \g /dev/null
SELECT publish_step('1', '{}'), publish_step('2', '{1}'), publish_step('2.1', '{1}'),
	publish_step('3', '{2,2.1}') \g /dev/null
SELECT is_empty($$SELECT * FROM hotswap.diff_environments('m', 'development', 'qa')$$,
	'neither runs anything');
CALL deploy_to('2', 'qa') \gset
SELECT is(:'said'::text, 'succeeded', 'both run 2');
SELECT is_empty($$SELECT * FROM hotswap.diff_environments('m', 'development', 'qa')$$,
	'which is no difference');
CALL deploy_to('3', 'development') \gset
SELECT results_eq($$SELECT * FROM hotswap.diff_environments('m', 'development', 'qa')$$,
	$$VALUES ('development', '2.1', '{d1,d2}'::text[], '{q}'::text[]),
	('development', '3', '{d1,d2}', '{q}')$$, 'what development is ahead by, in order');
SELECT results_eq($$SELECT * FROM hotswap.diff_environments('m', 'qa', 'development')$$,
	$$SELECT * FROM hotswap.diff_environments('m', 'development', 'qa')$$,
	'the other way round it is the same');
SELECT logging_node('qa', 'q2') \g /dev/null
SELECT results_eq($$SELECT * FROM hotswap.diff_environments('m', 'development', 'qa')
	WHERE version IN ('2', '3')$$, $$VALUES ('development', '2', '{d1,d2}'::text[],
	'{q2}'::text[]), ('development', '3', '{d1,d2}', '{q,q2}')$$,
	'a node that runs nothing lacks all of it');
SELECT results_eq($$SELECT environment, version, nodes, missing
	FROM hotswap.diff_environments('m', 'qa', 'production')$$,
	$$VALUES ('qa', '1', '{q}'::text[], '{}'::text[]), ('qa', '2', '{q}', '{}')$$,
	'an environment without nodes runs nothing');
SELECT hotswap.deploy('r', '5', 'development') AS d \gset
SELECT hotswap.wait(:'d', '60 s') \g /dev/null
SELECT hotswap.deploy('r', '6', 'development') AS d \gset
SELECT hotswap.wait(:'d', '60 s') \g /dev/null
SELECT results_eq($$SELECT * FROM hotswap.diff_environments('r', 'development', 'qa')$$,
	$$VALUES ('development', '6', '{d1,d2}'::text[], '{q,q2}'::text[])$$,
	'of complete versions the one that runs');
SELECT throws_ok(format('SELECT hotswap.diff_environments(%s)', arguments), code, message, message)
FROM (VALUES ('''none'', ''qa'', ''qa''', 'P0002', 'module "none" does not exist'),
	('''m'', ''qa'', ''none''', 'P0002', 'environment "none" does not exist'),
	('''m'', NULL, ''qa''', '22023', '"a" must not be null')) a (arguments, code, message);
SELECT * FROM finish();
