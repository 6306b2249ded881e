-- What preview() says of routed modules before their scripts run (src/route/forecast.c).
SELECT plan(17);
\ir ../include/routed.sql
SELECT routed_node('acme') AS node \gset
SELECT hotswap.configure_module('billing', routed => true, retain_versions => 1) \g /dev/null

CREATE FUNCTION forecast(version text, module text DEFAULT 'billing') RETURNS SETOF text
		LANGUAGE sql AS $$
	SELECT trim(w) FROM hotswap.preview(module, version, 'development') p,
		string_to_table(p.routing, ';') WITH ORDINALITY w (w, n) ORDER BY n
$$;

-- A first version, the next one, and one that takes the place of the first.
SELECT publish('1', 'CREATE OR REPLACE FUNCTION rate() RETURNS int LANGUAGE sql AS ''SELECT 1'';
	CREATE OR REPLACE FUNCTION old(a int, b text[]) RETURNS int LANGUAGE sql AS ''SELECT 1''')
	\g /dev/null
SELECT publish('2', 'CREATE OR REPLACE FUNCTION rate() RETURNS int LANGUAGE sql AS ''SELECT 2'';
	CREATE OR REPLACE PROCEDURE pay(OUT sum int, INOUT n int) LANGUAGE sql AS ''SELECT 1, 1''')
	\g /dev/null
SELECT publish('3', 'CREATE OR REPLACE FUNCTION rate() RETURNS int LANGUAGE sql AS ''SELECT 3''')
	\g /dev/null
SELECT results_eq($$SELECT forecast('1')$$, $$VALUES
	('is installed into schema "acme:billing@a"'),
	('entries that are made: acme.rate(), acme.old(integer,text[])')$$, 'a first version');
CALL swap('1') \gset
SELECT is((SELECT string_agg(entry, ' ' ORDER BY entry) FROM hotswap.entries),
	'acme.old(integer,text[]) acme.rate()', 'makes what was foretold');
SELECT results_eq($$SELECT forecast('2')$$, $$VALUES
	('is installed into schema "acme:billing@b"'),
	('entries that are made: acme.pay(integer,integer)'), ('entries that stay: acme.rate()'),
	('entries that it has no function for: acme.old(integer,text[])')$$, 'the next one');
CALL swap('2') \gset
SELECT is(:'said'::text, 'succeeded', 'deployed');
SELECT is((SELECT string_agg(entry, ' ' ORDER BY entry) FROM hotswap.entries),
	'acme.old(integer,text[]) acme.pay(integer) acme.rate()', 'with these entries');
SELECT results_eq($$SELECT forecast('3') LIMIT 1$$, $$VALUES ('is installed into schema '
	'"acme:billing@a", in place of version "1" if nobody has called that')$$,
	'one whose place is another''s');
SELECT is((SELECT count(*)::int FROM hotswap.preview('billing', '2', 'development')
	WHERE routing IS NOT NULL), 0, 'nothing is said where nothing is done');

-- What is still installed.
CALL swap('3') \gset
SELECT results_eq($$SELECT forecast('2')$$, $$VALUES
	('is installed in schema "acme:billing@b" already')$$, 'an earlier version');

-- What will be refused.
CREATE TYPE acme.word AS ENUM ('a');
SELECT publish('4', 'CREATE FUNCTION a() RETURNS int LANGUAGE sql AS ''SELECT 1'';
	CREATE OR REPLACE FUNCTION acme.b() RETURNS int LANGUAGE sql AS ''SELECT 1'';
	CREATE OR REPLACE PROCEDURE rate() LANGUAGE sql AS ''SELECT 1'';
	CREATE TYPE own AS ENUM (''a'');
	CREATE OR REPLACE FUNCTION c(x own) RETURNS int LANGUAGE sql AS ''SELECT 1'';
	CREATE OR REPLACE FUNCTION d(x word, y rates.n%TYPE) RETURNS int LANGUAGE sql AS ''SELECT 1'';
	CREATE OR REPLACE FUNCTION e(x word) RETURNS TABLE (n int) LANGUAGE sql AS ''SELECT 1''')
	\g /dev/null
SELECT set_eq($$SELECT forecast('4') OFFSET 1$$, $$VALUES
	('entries that are made: acme.a(), acme.e(acme.word)'),
	('entries that it has no function for: acme.pay(integer)'),
	('functions with types that are not there yet: c, d'),
	('refused: a is made without OR REPLACE, acme.b has a schema in front of its name, '
	'the kind of acme.rate() differs')$$, 'what cannot be is said');
CALL swap('4') \gset
SELECT matches(:'said'::text, 'a without OR REPLACE|cannot be routed', 'and so it comes');
SELECT publish('5', 'CREATE OR REPLACE FUNCTION rate() RETURNS SETOF int LANGUAGE sql
	AS ''SELECT 1''') \g /dev/null
SELECT is((SELECT f FROM forecast('5') f WHERE f ~ '^refused'),
	'refused: the result of acme.rate() differs', 'another result');
SELECT hotswap.publish_version('billing', '6', 'SELECT 1', transactional => false) \g /dev/null
SELECT is((SELECT f FROM forecast('6') f WHERE f ~ '^refused'),
	'refused: it does not run in a transaction', 'what runs outside of transactions');

-- Functions of others, and those of a module that was called directly.
CREATE FUNCTION acme.mine() RETURNS int LANGUAGE sql AS 'SELECT 1';
SELECT publish('7', 'CREATE OR REPLACE FUNCTION mine() RETURNS int LANGUAGE sql AS ''SELECT 1''')
	\g /dev/null
SELECT is((SELECT f FROM forecast('7') f WHERE f ~ '^refused'),
	'refused: acme.mine() is there and is not the module''s', 'somebody''s function');
SELECT publish('1', 'CREATE OR REPLACE FUNCTION plain() RETURNS int LANGUAGE sql AS ''SELECT 1''',
	'other'), publish('2', 'CREATE OR REPLACE FUNCTION plain() RETURNS int LANGUAGE sql
	AS ''SELECT 2''', 'other') \g /dev/null
CALL swap('1', module => 'other') \gset
SELECT is((SELECT count(*)::int FROM hotswap.preview('other', '2', 'development')
	WHERE routing IS NOT NULL), 0, 'a module that is called directly');
SELECT hotswap.configure_module('other', routed => true) \g /dev/null
SELECT results_eq($$SELECT forecast('2', 'other')$$, $$VALUES
	('is installed into schema "acme:other@a"'),
	('functions that become entries: acme.plain()')$$, 'becomes one that is routed');
CALL swap('2', module => 'other') \gset
SELECT is(:'said'::text, 'succeeded', 'as was foretold');

-- A node whose schema nobody has said.
SELECT format('CREATE ROLE %I LOGIN', named('bare')) \gexec
SELECT hotswap.register_node('development', 'bare', run_as => named('bare')::regrole) \g /dev/null
SELECT is((SELECT routing FROM hotswap.preview('billing', '3', 'development',
	nodes => '{bare}')), 'is installed into a schema of its own', 'a node without a schema');

SELECT * FROM finish();
