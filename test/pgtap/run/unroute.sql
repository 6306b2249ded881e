-- A routed module is called directly again: unroute() (src/run/unroute.c, src/route/plain.c).
SELECT plan(21);
\ir ../include/routed.sql

SELECT routed_node('acme') AS node \gset
SELECT named('caller') AS caller, named('stranger') AS stranger, named('acme') AS acme \gset
CREATE ROLE :"caller" LOGIN;
CREATE ROLE :"stranger" LOGIN;
SELECT hotswap.configure_module('billing', routed => true) \g /dev/null
SELECT publish('1', 'CREATE OR REPLACE FUNCTION tax(n int DEFAULT 3) RETURNS int LANGUAGE sql
	AS ''SELECT n''') \g /dev/null
SELECT publish('2', format($$
	CREATE TYPE kind AS ENUM ('old', 'new');
	CREATE OR REPLACE FUNCTION tax(n int DEFAULT 3) RETURNS int LANGUAGE plpgsql
		AS 'BEGIN RETURN n * 2 + 2; END';
	CREATE VIEW rates AS SELECT 'new'::kind AS k;
	CREATE OR REPLACE FUNCTION twice(n int) RETURNS int STABLE
		BEGIN ATOMIC SELECT 2 * tax(n) + count(k)::int FROM rates; END;
	CREATE OR REPLACE FUNCTION own() RETURNS text LANGUAGE sql SET search_path FROM CURRENT
		AS 'SELECT current_setting(''search_path'')';
	CREATE OR REPLACE FUNCTION secret() RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 42';
	REVOKE ALL ON FUNCTION secret() FROM PUBLIC;
	GRANT EXECUTE ON FUNCTION secret() TO %I;
	CREATE OR REPLACE PROCEDURE go(INOUT n int) LANGUAGE plpgsql AS 'BEGIN COMMIT; n = n + 1; END'
	$$, :'caller')) \g /dev/null
CALL swap('1') \gset
CALL swap('2') \gset
SELECT is(:'said'::text, 'succeeded', 'a module is routed');
SELECT 'acme.tax'::regproc::oid AS tax \gset
CREATE TABLE bill (n int, CHECK (acme.tax(n) > 0));

-- What is refused.
SELECT throws_ok($$SELECT hotswap.unroute('x')$$, 'P0002',
	'module "x" does not exist', 'none such');
SELECT dblink_connect('caller', connection_of(current_user)) \g /dev/null
SELECT dblink_exec('caller', 'BEGIN') \g /dev/null
SELECT is((SELECT t FROM dblink('caller', 'SELECT acme.tax(5)') d (t int)), 12, 'who has called');
SELECT throws_ok($$SELECT hotswap.unroute('billing')$$, '55006',
	'version "2" of module "billing" is in use', 'and goes on');
SELECT dblink_exec('caller', 'COMMIT') \g /dev/null
CREATE TABLE "acme:billing@a".mine ();
SELECT throws_ok($$SELECT hotswap.unroute('billing')$$, '55000',
	'schema "acme:billing@a" cannot be used for another version', 'what no version has made');
DROP TABLE "acme:billing@a".mine;
SELECT publish('busy', 'SELECT pg_advisory_xact_lock_shared(4713); SELECT 1 / 0') \g /dev/null
SELECT pg_advisory_lock(4713) \g /dev/null
SELECT hotswap.deploy('billing', 'busy', 'development') AS d \gset
CALL until('at_gate(4713)');
SELECT throws_ok($$SELECT hotswap.unroute('billing')$$, '55006',
	format('module "billing" is being changed on node %s', :'node'), 'while it is deployed');
SELECT pg_advisory_unlock(4713) \g /dev/null
SELECT hotswap.wait(:'d', '60 s') \g /dev/null
SELECT is(hotswap.unroute('billing', gen_random_uuid()), 0, 'a node that has nothing of it');

-- Then it is as if it had never been routed.
SELECT is(hotswap.unroute('billing', :'node'), 1, 'unroute');
SELECT is(acme.tax(5), 12, 'the version that callers got');
SELECT is((SELECT format('%s %s', p.oid, l.lanname) FROM pg_proc p JOIN pg_language l
	ON l.oid = p.prolang WHERE p.oid = 'acme.tax'::regproc), :'tax' || ' plpgsql',
	'in the place of the entry');
SELECT is(acme.twice(5), 25, 'a body that is parsed');
SELECT is(acme.own(), 'acme', 'a search_path of its own');
SELECT is(as_role(:'caller', 'SELECT acme.secret()'), '42', 'who might call a function');
SELECT is(as_role(:'stranger', 'SELECT acme.secret()'), '42501', 'who might not');
SELECT is((SELECT count(*)::int FROM pg_namespace WHERE nspname LIKE '%billing@%'), 0,
	'the slots are dropped');
SELECT is((SELECT detail FROM hotswap.audit_log WHERE event = 'unroute'), jsonb_build_object(
	'module', 'billing', 'node', :'node', 'version', '2'), 'the audit log says so');
SELECT lives_ok($$SELECT hotswap.configure_module('billing', routed => false)$$,
	'so it need not be routed any more');
SELECT lives_ok('INSERT INTO bill VALUES (1)', 'what used an entry uses the function');

-- And back.
SELECT hotswap.configure_module('billing', routed => true) \g /dev/null
SELECT publish_tax(7) \g /dev/null
CALL swap('7') \gset
SELECT is(:'said'::text, 'succeeded', 'the next version is routed again');

-- A function that runs as somebody else goes on doing so.
SELECT named('payer') AS payer \gset
CREATE ROLE :payer;
SELECT format('GRANT %I TO %I', :'payer', :'acme') \gexec
GRANT CREATE ON SCHEMA acme TO :payer;
SELECT hotswap.configure_module('pays', routed => true), publish('1', format('
	CREATE OR REPLACE FUNCTION pays() RETURNS text LANGUAGE sql SECURITY DEFINER
		AS ''SELECT current_user'';
	DO $$ BEGIN EXECUTE format(''GRANT CREATE ON SCHEMA %%I TO %1$I'', current_schema()); END $$;
	ALTER FUNCTION pays() OWNER TO %1$I', :'payer'), 'pays') \g /dev/null
CALL swap('1', module => 'pays') \gset
SELECT is(acme.pays(), :'payer'::text, 'a function of another owner');
SELECT hotswap.unroute('pays') \g /dev/null
SELECT is(acme.pays(), :'payer'::text, 'stays that owner''s');
SELECT format('DROP OWNED BY %I CASCADE', :'payer') \gexec
DROP ROLE :payer;

SELECT * FROM finish();
