-- Slots that nobody needs any more are dropped, never under a caller (src/run/surplus.c,
-- src/route/ring.c). CALL work() deploys, and keeps house at its end.
SELECT plan(21);
\ir ../include/routed.sql
SET client_min_messages = error;
CREATE SCHEMA acme;
SELECT hotswap.register_node('development', 'acme', run_as => current_user::regrole,
	schema => 'acme') AS node \gset
SELECT hotswap.configure_module('billing', routed => true, retain_versions => 1) \g /dev/null
SELECT publish_tax(n) FROM generate_series(1, 9) n \g /dev/null

-- Who has called a version, and who has a snapshot from when it was called.
CREATE FUNCTION opens(name text, query text, level text = 'READ COMMITTED') RETURNS text
	LANGUAGE sql AS $$
	SELECT dblink_connect(name, connection_of(current_user));
	SELECT dblink_exec(name, 'BEGIN ISOLATION LEVEL ' || level);
	SELECT r FROM dblink(name, query) d (r text)
$$;
CREATE FUNCTION slots(of_module text = 'billing') RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(right(nspname, 1) || coalesce(' ' || version, ''), ', ' ORDER BY nspname)
	FROM pg_namespace LEFT JOIN hotswap.route_slot ON slot = nspname
	WHERE nspname LIKE 'acme:' || of_module || '@_'
$$;

SELECT hotswap.deploy('billing', '1', 'development') \g /dev/null
CALL hotswap.work();
SELECT opens('c1', 'SELECT acme.tax(5)') \g /dev/null
SELECT hotswap.deploy('billing', '2', 'development') \g /dev/null
CALL hotswap.work();
SELECT opens('c2', 'SELECT acme.tax(5)') \g /dev/null
SELECT hotswap.deploy('billing', '3', 'development') \g /dev/null
CALL hotswap.work();
SELECT opens('c3', 'SELECT acme.tax(5)') \g /dev/null
SELECT hotswap.deploy('billing', '4', 'development') \g /dev/null
CALL hotswap.work();
SELECT is(slots(), 'a 1, b 2, c 3, d 4', 'each new version came into a new slot');
SELECT is((SELECT string_agg(t, ' ') FROM (VALUES ('c1'), ('c2'), ('c3')) c (name),
	dblink(name, 'SELECT acme.tax(5)') d (t text)), '5 10 15', 'as the others are called');
SELECT dblink_exec('c1', 'COMMIT') \g /dev/null
CALL hotswap.work();
SELECT is(slots(), 'b 2, c 3, d 4', 'what nobody has called any more goes');
SELECT is((SELECT t FROM dblink('c2', 'SELECT acme.tax(5)') d (t int)), 10,
	'not what somebody has');
SELECT dblink_exec('c2', 'COMMIT'), dblink_exec('c3', 'COMMIT') \g /dev/null
CALL hotswap.work();
SELECT is(slots(), 'c 3, d 4', 'the version before stays');

-- A snapshot.
SELECT is(opens('s', 'SELECT 1', 'REPEATABLE READ'), '1', 'a snapshot');
SELECT hotswap.deploy('billing', '5', 'development') \g /dev/null
CALL hotswap.work();
SELECT hotswap.deploy('billing', '6', 'development') \g /dev/null
CALL hotswap.work();
CALL hotswap.work();
SELECT is(slots(), 'a 6, c 5, d 4', 'keeps what it may come to');
SELECT is((SELECT t FROM dblink('s', 'SELECT acme.tax(5)') d (t int)), 20, 'and comes to it');
SELECT dblink_exec('s', 'COMMIT') \g /dev/null
CALL hotswap.work();
SELECT is(slots(), 'a 6, c 5', 'until it ends');

-- Versions are retained for a time.
SELECT hotswap.configure_module('billing', retain_for => '1 h') \g /dev/null
SELECT hotswap.deploy('billing', '7', 'development') \g /dev/null
CALL hotswap.work();
SELECT hotswap.deploy('billing', '8', 'development') AS d8 \gset
CALL hotswap.work();
SELECT is(slots(), 'a 6, b 7, c 5, d 8', 'whatever is deployed in it');
SELECT hotswap.deploy('billing', '6', 'development', allow_revert => true) \g /dev/null
CALL hotswap.work();
SELECT is(acme.tax(5)::text || ' ' || slots(), '30 a 6, b 7, c 5, d 8',
	'they need not be installed again');

-- What somebody's objects need stays, and does not keep others.
CREATE VIEW uses AS SELECT "acme:billing@b".tax(1);
SELECT hotswap.configure_module('m2', routed => true, retain_versions => 0),
	publish(n::text, format('CREATE OR REPLACE FUNCTION f%s() RETURNS int LANGUAGE sql RETURN %s',
		n % 2, n), 'm2')
	FROM generate_series(1, 4) n \g /dev/null
SELECT hotswap.deploy('m2', '1', 'development') \g /dev/null
CALL hotswap.work();
SELECT opens('m2', 'SELECT acme.f1()') \g /dev/null
SELECT hotswap.deploy('m2', '2', 'development') \g /dev/null
CALL hotswap.work();
SELECT opens('m2b', 'SELECT acme.f0()') \g /dev/null
SELECT hotswap.deploy('m2', '4', 'development') \g /dev/null
CALL hotswap.work();
SELECT is(slots('m2'), 'a 1, b 2, c 4', 'another module');
SELECT dblink_exec('m2', 'COMMIT') \g /dev/null
UPDATE hotswap.route_slot SET retired_at = retired_at - interval '1 h';
CALL hotswap.work();
SELECT is(slots(), 'a 6, b 7, d 8', 'a slot that is needed is not dropped');
SELECT is(slots('m2'), 'b 2, c 4', 'those of other modules are');
SELECT is((SELECT string_agg(entry, ' ' ORDER BY entry) FROM hotswap.entries WHERE module = 'm2'),
	'acme.f0()', 'with entries that lead nowhere');
DROP VIEW uses;
CREATE TABLE "acme:billing@b".mine ();
CALL hotswap.work();
SELECT is(slots(), 'a 6, b 7, d 8', 'nor one that has what no version has made');
DROP TABLE "acme:billing@b".mine;
CALL hotswap.work();
SELECT is(slots(), 'a 6, d 8', 'without that it is');

-- A schema that was dropped by hand.
SELECT dblink_exec('m2b', 'COMMIT') \g /dev/null
SELECT hotswap.configure_module('billing', retain_for => '0') \g /dev/null
DROP SCHEMA "acme:billing@d" CASCADE;
SELECT hotswap.deploy('billing', '9', 'development') \g /dev/null
CALL hotswap.work();
SELECT is((SELECT string_agg(version, ' ' ORDER BY generation) FROM hotswap.route_slot
	WHERE module = 'billing'), '6 9', 'is forgotten');

-- Names that are too long differ, and there are 26 of them.
SELECT hotswap.configure_module(repeat('m', 60) || i, routed => true),
	publish('1', format('CREATE OR REPLACE FUNCTION l%s() RETURNS int LANGUAGE sql RETURN %1$s', i),
		repeat('m', 60) || i), hotswap.deploy(repeat('m', 60) || i, '1', 'development')
	FROM generate_series(1, 2) i \g /dev/null
CALL hotswap.work();
SELECT is(acme.l1() || ' ' || acme.l2(), '1 2', 'long names');
SELECT results_eq($$SELECT DISTINCT octet_length(nspname), nspname ~ '^acme:m+~[0-9a-f]{8}@a$'
	FROM pg_namespace WHERE nspname LIKE 'acme:mm%'$$, 'VALUES (63, true)',
	'of the longest length');
SELECT publish('1', 'CREATE OR REPLACE FUNCTION g() RETURNS int LANGUAGE sql RETURN 1', 'm3'),
	hotswap.configure_module('m3', routed => true) \g /dev/null
SELECT format('CREATE SCHEMA "acme:m3@%s"', chr(i)) FROM generate_series(97, 122) i \gexec
SELECT hotswap.deploy('m3', '1', 'development') AS d3 \gset
CALL hotswap.work();
SELECT is((SELECT sqlstate || ' ' || message FROM hotswap.tasks WHERE deployment_id = :'d3'
	AND message IS NOT NULL), '53400 module "m3" has no slot left', 'when all are there');
SELECT * FROM finish();
