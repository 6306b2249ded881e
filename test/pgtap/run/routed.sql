-- Versions of a routed module that do not stay: what fails on one node is taken back on the others,
-- and old snapshots have what was called then (src/run/routed.c).
SELECT plan(13);
\ir ../include/routed.sql
SELECT routed_node('acme') AS acme, routed_node('beta') AS beta \gset
SELECT named('caller') AS caller \gset
CREATE ROLE :"caller" LOGIN;
SELECT hotswap.configure_module('billing', routed => true) \g /dev/null
SELECT publish_tax(1) \g /dev/null
CALL swap('1') \gset
SELECT is(:'said'::text, 'succeeded', 'a version');

-- The next one waits on beta until the test has seen it on acme, and fails.
SELECT hotswap.publish_version('billing', '2', 'CREATE OR REPLACE FUNCTION tax(n int DEFAULT 3)
	RETURNS int LANGUAGE plpgsql AS ''BEGIN RETURN n * 2; END''', format('SELECT CASE'
	' WHEN current_user = %L THEN pg_advisory_xact_lock_shared(4713) IS NULL ELSE true END',
	named('beta'))) \g /dev/null
SELECT pg_advisory_lock(4713) \g /dev/null
SELECT hotswap.deploy('billing', '2', 'development', on_failure => 'back') AS d \gset
CALL until('at_gate(4713) AND EXISTS (SELECT FROM hotswap.route WHERE version = ''2'')');
SELECT is(acme.tax(5) || ' ' || beta.tax(5), '10 5', 'a node is ahead');
SELECT dblink_connect('rr', connection_of(current_user)),
	dblink_exec('rr', 'BEGIN ISOLATION LEVEL REPEATABLE READ') \g /dev/null
SELECT is((SELECT r FROM dblink('rr', 'SELECT 1') d (r int)), 1, 'a snapshot of that');
SELECT pg_advisory_unlock(4713) \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'rolled_back', 'the other fails');
SELECT is(acme.tax(5) || ' ' || beta.tax(5), '5 5', 'it is taken back');
SELECT is((SELECT r FROM dblink('rr', 'SELECT acme.tax(5) || '' '' || beta.tax(5)') d (r text)),
	'10 5', 'not for the snapshot');
SELECT dblink_exec('rr', 'COMMIT') \g /dev/null
SELECT is((SELECT string_agg(version, ' ' ORDER BY epoch) FROM hotswap.route
	WHERE node_id = :'acme'), '1 2 1', 'by a row of the route');
SELECT is((SELECT string_agg(version, ' ' ORDER BY epoch) FROM hotswap.route
	WHERE node_id = :'beta'), '1', 'where there was one to be taken back');
SELECT is((SELECT string_agg(version || ' ' || (share > 0), ', ' ORDER BY version)
	FROM hotswap.routes WHERE node_id = :'acme'), '1 true, 2 false', 'both are installed');

-- Functions that run as their owner, deployed: the version's role.
SELECT publish('3', 'CREATE OR REPLACE FUNCTION tax(n int DEFAULT 3) RETURNS int LANGUAGE plpgsql
	AS ''BEGIN RETURN n * 3; END''; CREATE OR REPLACE FUNCTION who() RETURNS text LANGUAGE sql
	SECURITY DEFINER SET search_path FROM CURRENT AS ''SELECT current_user || tax(1)''')
	\g /dev/null
CALL swap('3') \gset
SELECT is(as_role(:'caller', 'SELECT acme.who()'), named('acme') || '3',
	'a function that is SECURITY DEFINER, of the same version');

-- A right that is taken is missed by a session that goes on.
SELECT dblink_connect('c', connection_of(:'caller')) \g /dev/null
SELECT is((SELECT r FROM dblink('c', 'SELECT acme.tax(5)') d (r int)), 15, 'a session calls');
SELECT format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', oid::regprocedure) FROM pg_proc
	WHERE proname = 'tax' AND pronamespace::regnamespace::text ~ 'acme:' \gexec
SELECT is((SELECT code FROM refusal($$SELECT * FROM dblink('c', 'SELECT acme.tax(5)') d (r int)$$)),
	'42501', 'and does not any more');
SELECT is(acme.tax(5), 15, 'others do');
SELECT * FROM finish();
