-- Entries where hotswap is not preloaded: the first call loads it (src/route/pin.c).
SELECT plan(10);
\ir ../include/routed.sql
SET client_min_messages = error;
CREATE SCHEMA acme;
SELECT hotswap.register_node('development', 'acme', run_as => current_user::regrole,
	schema => 'acme') \g /dev/null
SELECT hotswap.configure_module('billing', routed => true) \g /dev/null
SELECT publish_tax(n) FROM generate_series(1, 3) n \g /dev/null
SELECT hotswap.deploy('billing', '1', 'development') \g /dev/null
CALL hotswap.work();
SELECT hotswap.deploy('billing', '2', 'development') AS d \gset
CALL hotswap.work();

-- A session that has nothing of the library.
SELECT is(as_role(current_user, 'SELECT acme.tax(5)'), '10', 'a call');
SELECT is(as_role(current_user, $$SELECT string_agg(acme.tax(i)::text, ' ')
	FROM generate_series(1, 3) i$$), '2 4 6', 'calls');
SELECT is(as_role(current_user, 'SELECT acme.tax(5)', '-c hotswap.route=billing=1'), '5',
	'a setting from before it is there');
SELECT is(as_role(current_user, 'SELECT acme.tax(5)', '-c hotswap.route=billing'), '10',
	'or one that it would not take');

-- Transactions keep what they have called, or have a snapshot of.
SELECT dblink_connect(c, connection_of(current_user)) FROM unnest('{rc,rr}'::text[]) c \g /dev/null
SELECT dblink_exec('rc', 'BEGIN'), dblink_exec('rr', 'BEGIN ISOLATION LEVEL REPEATABLE READ')
\g /dev/null
SELECT is((SELECT t FROM dblink('rc', 'SELECT acme.tax(5)') d (t int)), 10, 'who has called');
SELECT is((SELECT t FROM dblink('rr', 'SELECT 1') d (t int)), 1, 'who has a snapshot');
SELECT hotswap.rollback(:'d', 'x') AS r \gset
CALL hotswap.work();
SELECT is(status_of(:'r'), 'succeeded', 'a rollback waits for nobody');
SELECT is(acme.tax(5), 5, 'callers get the version before');
SELECT is((SELECT string_agg(t, ' ') FROM (VALUES ('rc'), ('rr')) c (name),
	dblink(name, 'SELECT acme.tax(5)') d (t text)), '10 10', 'not those two');
SELECT dblink_exec('rc', 'COMMIT'), dblink_exec('rr', 'COMMIT') \g /dev/null

-- The hook that tells workers what their leader has called comes with the first call; before it,
-- they have the snapshot.
CREATE TABLE big AS SELECT i FROM generate_series(1, 10000) i;
ALTER TABLE big SET (parallel_workers = 2);
SELECT format('ALTER FUNCTION %s PARALLEL SAFE', oid::regprocedure) FROM pg_proc
	WHERE proname = 'tax' \gexec
\set workers '-c parallel_setup_cost=0 -c parallel_tuple_cost=0'
\set workers :workers ' -c parallel_leader_participation=off -c min_parallel_table_scan_size=0'
SELECT is(as_role(current_user, 'SELECT min(acme.tax(1) + 0 * i) || max(acme.tax(1) + 0 * i)::text
	FROM big', :'workers'), '11', 'workers');
SELECT * FROM finish();
