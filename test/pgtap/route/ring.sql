-- Versions of a routed module on a node: installing, calling, going back, and using slots anew
-- (src/route/ring.c, src/route/content.c, src/run/routed.c).
SELECT plan(31);
\ir ../include/routed.sql

-- Two versions, and callers.
SELECT routed_node('acme') AS node \gset
SELECT hotswap.configure_module('billing', routed => true) \g /dev/null
SELECT publish_tax(n) FROM generate_series(1, 9) n \g /dev/null
CALL swap('1') \gset
SELECT is(:'said'::text, 'succeeded', 'a first version is installed');
SELECT is(acme.tax(5), 5, 'called through its entry');
SELECT is(acme.tax(), 3, 'with its default');
PREPARE tax AS SELECT acme.tax(5);
EXECUTE tax \g /dev/null
CALL swap('2') \gset
SELECT is(:'said'::text, 'succeeded', 'a second one');
SELECT is(acme.tax(5), 10, 'is called from its commit on');
SELECT is(attempt('EXECUTE tax'), '10', 'by prepared statements as well');
SELECT results_eq($$SELECT slot, version, retired_at IS NULL FROM hotswap.route_slot
	ORDER BY slot COLLATE "C"$$, $$VALUES ('acme:billing@a', '1', false),
	('acme:billing@b', '2', true)$$, 'both are installed');
SELECT results_eq($$SELECT p.pronamespace::regnamespace::text, p.proowner::regrole::text
	FROM pg_proc p WHERE proname = 'tax' ORDER BY p.oid$$,
	format($$VALUES ('"acme:billing@a"', %1$L), ('acme', %1$L), ('"acme:billing@b"', %1$L)$$,
	named('acme')), 'in schemas of the role');

-- Going back is a row of the route.
SELECT hotswap.rollback(:'d', 'it is slow') AS r \gset
SELECT is(hotswap.wait(:'r', '60 s'), 'succeeded', 'rollback');
SELECT is(acme.tax(5), 5, 'calls the version before');
SELECT is((SELECT count(*)::int FROM hotswap.route_slot), 2, 'which was still installed');
SELECT is((SELECT version FROM hotswap.nodes WHERE id = :'node'), '1', 'the node says so');

-- A ring: what is older than the versions that are retained is replaced.
CALL swap('3') \gset
CALL swap('4') \gset
SELECT is((SELECT count(*)::int FROM hotswap.route_slot), 3, 'two earlier ones are retained');
SELECT 'acme:billing@a'::regnamespace::oid AS schema, oid AS tax FROM pg_proc
	WHERE pronamespace = '"acme:billing@a"'::regnamespace \gset
CALL swap('5') \gset
SELECT results_eq($$SELECT slot, version FROM hotswap.route_slot ORDER BY generation$$,
	$$VALUES ('acme:billing@c', '3'), ('acme:billing@b', '4'), ('acme:billing@a', '5')$$,
	'the oldest goes');
SELECT is(acme.tax(5), 25, 'and callers get the new one in its place');
SELECT is((SELECT oid FROM pg_proc WHERE pronamespace = '"acme:billing@a"'::regnamespace),
	:'tax'::oid, 'functions are replaced, not made anew');

-- A transaction that has called a version keeps it, whatever is installed meanwhile.
SELECT dblink_connect('caller', connection_of(current_user)) \g /dev/null
SELECT dblink_exec('caller', 'BEGIN') \g /dev/null
SELECT is((SELECT t FROM dblink('caller', 'SELECT acme.tax(5)') d (t int)), 25, 'who has called');
CALL swap('6') \gset
CALL swap('7') \gset
CALL swap('8') \gset
CALL swap('9') \gset
SELECT is((SELECT t FROM dblink('caller', 'SELECT acme.tax(5)') d (t int)), 25,
	'gets the same version until the end');
SELECT is((SELECT version FROM hotswap.route_slot WHERE slot = 'acme:billing@a'), '5',
	'its slot is not used');
SELECT results_eq($$SELECT environment, node, module, version, slot, share, since IS NOT NULL,
	deployment_id, transactions FROM hotswap.routes WHERE share > 0 OR transactions > 0
	ORDER BY version$$, format($$VALUES ('development', 'acme', 'billing', '5', 'acme:billing@a', 0,
	false, NULL::uuid, 1), ('development', 'acme', 'billing', '9', 'acme:billing@c', 10000,
	true, %L, 0)$$, :'d'), 'routes says who has which version');
SELECT results_eq($$SELECT node_id::text, module, entry, cardinality(versions)
	FROM hotswap.entries$$, format($$VALUES (%L, 'billing', 'acme.tax(integer)', 4)$$, :'node'),
	'entries says what is called');
SELECT dblink_exec('caller', 'COMMIT') \g /dev/null
SELECT is((SELECT t FROM dblink('caller', 'SELECT acme.tax(5)') d (t int)), 45, 'then the last');
SELECT is(as_role(current_user, 'SELECT acme.tax(5)', '-c search_path=pg_catalog'), '45',
	'whatever the caller''s search_path is');

-- Somebody's column is of a type of a version: that is not dropped, nor is the column.
SELECT hotswap.configure_module('kinds', routed => true, retain_versions => 0),
	publish(n::text, format($$CREATE TYPE kind AS ENUM ('k%1$s');
		CREATE OR REPLACE FUNCTION k() RETURNS text LANGUAGE plpgsql
			AS 'BEGIN RETURN ''k%1$s''; END'$$, n), 'kinds')
	FROM generate_series(1, 3) n \g /dev/null
CALL swap('1', module => 'kinds') \gset
CREATE TABLE mine AS SELECT 'k1'::"acme:kinds@a".kind AS k;
CALL swap('2', module => 'kinds') \gset
CALL swap('3', module => 'kinds') \gset
SELECT matches(:'said'::text, 'cannot drop .* because other objects depend on', 'a column');
SELECT is(acme.k() || ' ' || (SELECT k FROM mine), 'k2 k1', 'is kept');
DROP TABLE mine;
CALL swap('3', module => 'kinds') \gset
SELECT is(:'said'::text || ' ' || acme.k(), 'succeeded k3', 'without it the slot is used');

-- A slot has nothing of the rights that the version before gave, and took.
SELECT named('payer') AS payer \gset
CREATE ROLE :payer;
SELECT format('GRANT %I TO %I', :'payer', named('acme')) \gexec
SELECT hotswap.configure_module('rights', routed => true, retain_versions => 0),
	publish(n::text, format('CREATE OR REPLACE FUNCTION pay() RETURNS int LANGUAGE sql'
		' AS ''SELECT %1$s''; CREATE OR REPLACE FUNCTION own() RETURNS int LANGUAGE sql'
		' AS ''SELECT %1$s'';', n) || CASE n WHEN 1 THEN format('
			REVOKE EXECUTE ON FUNCTION pay() FROM PUBLIC; GRANT EXECUTE ON FUNCTION pay() TO %1$I;
			COMMENT ON FUNCTION pay() IS ''of the first'';
			DO $$ BEGIN EXECUTE
				format(''GRANT CREATE ON SCHEMA %%I TO %1$I'', current_schema()); END $$;
			ALTER FUNCTION own() OWNER TO %1$I', :'payer') ELSE '' END, 'rights')
	FROM generate_series(1, 3) n \g /dev/null
CREATE FUNCTION rights(name text) RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' ', proowner::regrole, proacl, obj_description(oid, 'pg_proc')) FROM pg_proc
	WHERE oid = ('"acme:rights@a".' || name)::regproc
$$;
CALL swap('1', module => 'rights') \gset
SELECT matches(rights('pay'), 'of the first$', 'a version says whose its functions are');
SELECT '"acme:rights@a".pay'::regproc::oid AS pay \gset
CALL swap('2', module => 'rights') \gset
CALL swap('3', module => 'rights') \gset
SELECT is(rights('pay') || ', ' || rights('own'), named('acme') || ', ' || named('acme'),
	'the next one in its place has those of new functions');
SELECT is('"acme:rights@a".pay'::regproc::oid, :'pay'::oid, 'which are the same');

-- Slots are open to whom the schema of the node is.
REVOKE USAGE ON SCHEMA acme FROM PUBLIC;
GRANT USAGE ON SCHEMA acme TO :payer;
CREATE FUNCTION open_to() RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(DISTINCT replace(a.grantee::regrole::text, '-', 'PUBLIC'), ' ')
	FROM pg_namespace n, aclexplode(nspacl) a WHERE nspname ~ '^acme:rights@'
		AND a.grantee <> nspowner AND a.privilege_type = 'USAGE'
$$;
SELECT is(open_to(), 'PUBLIC', 'as of their installation');
CALL swap('2', module => 'rights') \gset
SELECT is(open_to(), :'payer'::text, 'and of the next deployment');
REVOKE USAGE ON SCHEMA acme FROM :payer;
SELECT format('DROP OWNED BY %I', :'payer') \gexec
DROP ROLE :payer;

SELECT * FROM finish();
