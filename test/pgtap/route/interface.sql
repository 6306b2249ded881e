-- What a routed version may consist of, and the entries to it (src/route/interface.c,
-- src/route/content.c, src/route/watch.c).
SELECT plan(44);
\ir ../include/routed.sql
SELECT routed_node('acme') AS node \gset
SELECT hotswap.configure_module('billing', routed => true, retain_versions => 0) \g /dev/null
CREATE TABLE acme.fee (amount int);
SELECT format('ALTER TABLE acme.fee OWNER TO %I', named('acme')) \gexec

-- What a script does outside of its schema is refused, with its name.
SELECT publish('out1', 'CREATE TABLE acme.t (i int)'),
	publish('out2', 'ALTER TABLE acme.fee ADD COLUMN vat int'),
	publish('out3', 'DROP TABLE acme.fee'),
	publish('out4', 'CREATE OR REPLACE FUNCTION acme.f() RETURNS int LANGUAGE sql RETURN 1'),
	publish('out5', 'CREATE OR REPLACE FUNCTION f() RETURNS trigger LANGUAGE plpgsql
		AS ''BEGIN RETURN NULL; END''; CREATE TRIGGER f AFTER INSERT ON acme.fee
		EXECUTE FUNCTION f()'),
	publish('in1', 'CREATE TABLE t (i int)'),
	publish('in2', 'CREATE AGGREGATE a (int) (SFUNC = int4pl, STYPE = int)'),
	publish('in3', 'CREATE TYPE pair AS (a int, b int);
		CREATE OR REPLACE FUNCTION f(p pair[]) RETURNS int LANGUAGE sql RETURN 1'),
	publish('in4', 'CREATE FUNCTION f() RETURNS int LANGUAGE sql RETURN 1'),
	publish('in6', 'CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql RETURN 1;
		DO $$ BEGIN EXECUTE (SELECT ''DROP TABLE '' || oid::regclass FROM pg_class
		WHERE relnamespace = current_schema()::regnamespace AND relkind = ''r''); END $$'),
	publish('in5', 'CREATE OR REPLACE FUNCTION one() RETURNS int LANGUAGE sql RETURN 1;
		CREATE OR REPLACE FUNCTION f(i int DEFAULT one()) RETURNS int LANGUAGE sql RETURN i')
	\g /dev/null
CALL swap('out1') \gset
SELECT is(:'said'::text, 'version "out1" of module "billing" cannot be routed | Its deploy '
	'script changes what is not in schema "acme:billing@a": table acme.t.',
	'a table is made elsewhere');
CALL swap('out2') \gset
SELECT matches(:'said'::text, 'changes what .*: table acme.fee.$', 'changed');
CALL swap('out3') \gset
SELECT matches(:'said'::text, 'changes what .*: table fee.$', 'dropped');
CALL swap('out4') \gset
SELECT matches(:'said'::text, 'changes what .*: function acme.f\(\).$', 'a function');
CALL swap('out5') \gset
SELECT matches(:'said'::text, 'changes what .*: trigger f on table acme.fee.$', 'a trigger');
CALL swap('in1') \gset
SELECT is(:'said'::text, 'version "in1" of module "billing" cannot be routed | It makes more than '
	'functions, procedures, types and views: table "acme:billing@a".t.', 'a table of the version');
CALL swap('in2') \gset
SELECT matches(:'said'::text, 'It makes more than .*: function "acme:billing@a".a\(integer\).$',
	'an aggregate');
CALL swap('in3') \gset
SELECT matches(:'said'::text, 'Types of the version are in the signatures of its functions: '
	'"acme:billing@a".f\("acme:billing@a".pair\[\]\) \("acme:billing@a".pair\[\]\).$',
	'types that differ in each version');
CALL swap('in4') \gset
SELECT matches(:'said'::text, 'It makes function f without OR REPLACE.$', 'no OR REPLACE');
CALL swap('in6') \gset
SELECT matches(:'said'::text, 'Its deploy script drops the table in schema "acme:billing@a" that '
	'callers hold.$', 'what hotswap has made there is dropped');
CALL swap('in5') \gset
SELECT matches(:'said'::text, 'Defaults of arguments are the version''s own: '
	'acme.f\(integer\) uses function "acme:billing@a".one\(\).$',
	'a default that is the version''s');
SELECT hotswap.publish_version('billing', 'vacuum', 'VACUUM acme.fee', transactional => false)
	\g /dev/null
CALL swap('vacuum') \gset
SELECT matches(:'said'::text, 'It does not run in a transaction.$', 'not in a transaction');
SELECT is_empty($$SELECT FROM hotswap.route_slot$$, 'nothing stays');
SELECT ok(to_regnamespace('"acme:billing@a"') IS NULL, 'no schema');

-- Temporary objects and types and views of its own are nobody's business.
SELECT publish('own', 'CREATE TEMP TABLE t AS SELECT 1 AS i;
	CREATE TYPE pair AS (a int, b int); CREATE VIEW v AS SELECT (1, 2)::pair AS p;
	CREATE OR REPLACE FUNCTION f(i int DEFAULT 1, OUT j int, OUT k text) LANGUAGE sql
		BEGIN ATOMIC SELECT (p).a, (p).b::text FROM v; END;
	CREATE OR REPLACE FUNCTION s(i int) RETURNS SETOF int LANGUAGE sql COST 7 ROWS 3
		IMMUTABLE STRICT PARALLEL SAFE RETURN i;
	CREATE OR REPLACE PROCEDURE p(INOUT i int) LANGUAGE plpgsql AS ''BEGIN i = i + 1; END''')
	\g /dev/null
CALL swap('own') \gset
SELECT is(:'said'::text, 'succeeded', 'types and views');
SELECT results_eq($$SELECT p::text FROM acme.f() p$$, $$VALUES ('(1,2)')$$, 'used inside');
SELECT results_eq($$SELECT pg_get_functiondef(oid) ~ 'STABLE PARALLEL SAFE STRICT COST 7 ROWS 3'
	FROM pg_proc WHERE oid = 'acme.s'::regproc$$, $$VALUES (true)$$,
	'an entry has what the planner asks of the function, but is STABLE');
CREATE PROCEDURE add_one(INOUT i int) LANGUAGE plpgsql AS $$BEGIN CALL acme.p(i); END$$;
CALL add_one(1) \gset
SELECT is(:i, 2, 'a procedure');
SELECT is((SELECT count(*)::int FROM pg_proc p JOIN pg_language l ON l.oid = prolang
	WHERE lanname = 'hotswap'), 3, 'three entries');

-- What callers know is the same in all versions.
SELECT publish('default', 'CREATE OR REPLACE FUNCTION f(i int DEFAULT 2, OUT j int, OUT k text)
		LANGUAGE sql RETURN (1, ''2'');
	CREATE OR REPLACE FUNCTION s(i int) RETURNS SETOF int LANGUAGE sql ROWS 4 VOLATILE RETURN i'),
	publish('result', 'CREATE OR REPLACE FUNCTION s(i int) RETURNS int LANGUAGE sql
		IMMUTABLE STRICT PARALLEL SAFE COST 7 RETURN i') \g /dev/null
CALL swap('default') \gset
SELECT matches(:'said'::text, '^version "default" of module "billing" cannot be routed | The '
	'arguments or their defaults of .*f\(integer\) differ from what callers of the other versions '
	'know.$', 'a default');
CALL swap('result') \gset
SELECT matches(:'said'::text, 'The result, .*rows of .*s\(integer\) differ', 'a result');

-- A function that is used is not taken away.
CREATE VIEW uses AS SELECT * FROM acme.s(1);
SELECT publish('less', 'CREATE OR REPLACE FUNCTION f(i int DEFAULT 1, OUT j int, OUT k text)
	LANGUAGE sql BEGIN ATOMIC SELECT 3, ''3''::text; END') \g /dev/null
CALL swap('less') \gset
SELECT matches(:'said'::text, 'It lacks functions that are used: view public.uses uses '
	'acme.s\(integer\).$',
	'a function less, with a view');
DROP VIEW uses;
CALL swap('less') \gset
SELECT is(:'said'::text, 'succeeded', 'without');
SELECT results_eq('SELECT j FROM acme.f()', 'VALUES (3)', 'the others are called');
SELECT is(attempt('SELECT acme.s(1)'), '42883', 'what is gone is not');
SELECT is((SELECT count(*)::int FROM pg_proc p JOIN pg_language l ON l.oid = prolang
	WHERE lanname = 'hotswap'), 3, 'its entry is there for those who have the version before');
SELECT publish('least', 'CREATE OR REPLACE FUNCTION f(i int DEFAULT 1, OUT j int, OUT k text)
	LANGUAGE sql BEGIN ATOMIC SELECT 4, ''4''::text; END') \g /dev/null
CALL swap('least') \gset
SELECT is(:'said'::text, 'succeeded', 'when that is replaced, with its types and views');
SELECT is((SELECT count(*)::int FROM pg_proc p JOIN pg_language l ON l.oid = prolang
	WHERE lanname = 'hotswap'), 1, 'the entries go');
SELECT is((SELECT count(*)::int FROM pg_depend WHERE refclassid = 'pg_namespace'::regclass
	AND refobjid = '"acme:billing@a"'::regnamespace), 2, 'all that is left is the version''s');

-- What somebody has made in a slot is not dropped.
CREATE TABLE "acme:billing@b".keep (i int);
SELECT publish('next', 'CREATE OR REPLACE FUNCTION f(i int DEFAULT 1, OUT j int, OUT k text)
	LANGUAGE sql RETURN (5, ''5''::text)') \g /dev/null
CALL swap('next') \gset
SELECT is(:'said'::text, 'schema "acme:billing@b" cannot be used for another version | The version '
	'in it did not make table "acme:billing@b".keep.', 'a table');
DROP TABLE "acme:billing@b".keep;
CALL swap('next') \gset
SELECT is(:'said'::text, 'succeeded', 'without it');

-- Something else is in the place of an entry.
CREATE FUNCTION acme.other() RETURNS int LANGUAGE sql RETURN 1;
SELECT publish('other', 'CREATE OR REPLACE FUNCTION other() RETURNS int LANGUAGE sql RETURN 2'),
	hotswap.configure_module('m2', routed => true),
	publish('1', 'CREATE OR REPLACE FUNCTION f(i int DEFAULT 1) RETURNS int LANGUAGE sql RETURN 1',
		'm2') \g /dev/null
CALL swap('other') \gset
SELECT matches(:'said'::text, 'In schema "acme" there is already a function with the name and the '
	'arguments of "acme:billing@[ab]".other\(\), which is not the module''s.$',
	'somebody''s function');
CALL swap('1', module => 'm2') \gset
SELECT matches(:'said'::text, 'which is not the module''s.$', 'an entry of another module');

-- A module that was called directly: its functions become entries, whatever uses them.
SELECT publish(n::text, format('CREATE OR REPLACE FUNCTION g(i int) RETURNS int
		LANGUAGE plpgsql IMMUTABLE AS ''BEGIN RETURN i * %s; END''', n), 'm3')
	FROM generate_series(1, 3) n \g /dev/null
CALL swap('1', module => 'm3') \gset
CREATE VIEW shows AS SELECT acme.g(1);
CREATE INDEX ON acme.fee (acme.g(amount));
ALTER TABLE acme.fee ADD computed int GENERATED ALWAYS AS (acme.g(amount)) STORED;
SELECT hotswap.configure_module('m3', routed => true) \g /dev/null
CALL swap('2', module => 'm3') \gset
SELECT matches(:'said'::text, 'Its functions are used where they must be IMMUTABLE: '
	'default value for column computed of table acme.fee, index acme.fee_g_idx.$',
	'a generated column and an index');
DROP INDEX acme.fee_g_idx;
ALTER TABLE acme.fee DROP computed;
CREATE STATISTICS acme.of_g ON (acme.g(amount)) FROM acme.fee;
CALL swap('2', module => 'm3') \gset
SELECT matches(:'said'::text, ': statistics object acme.of_g.$', 'statistics');
DROP STATISTICS acme.of_g;
ALTER TABLE acme.fee ADD twice int GENERATED ALWAYS AS (acme.g(amount)) STORED;
CALL swap('2', module => 'm3') \gset
SELECT matches(:'said'::text, ': default value for column twice of table acme.fee.$',
	'a generated column');
ALTER TABLE acme.fee DROP twice;
CREATE TABLE acme.parts (i int) PARTITION BY RANGE (acme.g(i));
CALL swap('2', module => 'm3') \gset
SELECT matches(:'said'::text, ': table acme.parts.$', 'a partition key');
DROP TABLE acme.parts;
CREATE TABLE acme.once (i int, EXCLUDE USING btree ((acme.g(i)) WITH =));
CALL swap('2', module => 'm3') \gset
SELECT matches(:'said'::text, ': index acme.once_g_excl.$', 'an exclusion constraint');
DROP TABLE acme.once;
CALL swap('2', module => 'm3') \gset
SELECT is(:'said'::text, 'succeeded', 'a view');
SELECT results_eq('SELECT g FROM shows', 'VALUES (2)', 'shows the version that is called');
PREPARE g AS SELECT acme.g(1);
SET plan_cache_mode = force_generic_plan;
EXECUTE g \g /dev/null
SELECT hotswap.rollback(:'d', 'x') AS r \gset
SELECT is(hotswap.wait(:'r', '60 s'), 'succeeded', 'the version from before comes into a slot');
SELECT results_eq('SELECT g FROM shows', 'VALUES (1)', 'and is called');
SELECT is(attempt('EXECUTE g'), '1', 'where it was thought to be constant, too');
RESET plan_cache_mode;

-- What brought the module to the node is taken back: its entries go.
DROP VIEW shows;
SELECT hotswap.configure_module('m4', routed => true),
	publish('1', 'CREATE OR REPLACE FUNCTION h() RETURNS int LANGUAGE sql RETURN 1', 'm4')
	\g /dev/null
CALL swap('1', module => 'm4') \gset
SELECT hotswap.rollback(:'d', 'x') AS r \gset
SELECT hotswap.wait(:'r', '60 s') AS said \gset
SELECT is(:'said' || ' ' || attempt('SELECT acme.h()'), 'succeeded 42883', 'a first version');

SELECT * FROM finish();
