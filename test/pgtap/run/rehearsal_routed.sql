-- A rehearsal of a version of a routed module installs it, verifies it, and leaves neither a slot
-- nor callers who get it (src/run/rehearsal.c, src/run/routed.c, src/run/record.c).
SELECT plan(21);
\ir ../include/routed.sql
SELECT routed_node('acme') AS acme \gset
SELECT hotswap.configure_module('billing', routed => true, retain_versions => 1),
	hotswap.configure_environment('development', rehearse_max_lock => '1 min') \g /dev/null
SELECT publish_tax(n) FROM generate_series(1, 4) n \g /dev/null
CREATE PROCEDURE rehearse(version text, INOUT said text DEFAULT NULL) LANGUAGE plpgsql AS $$
DECLARE
	d uuid = hotswap.deploy('billing', version, 'development', rehearse => true);
BEGIN
	COMMIT;
	PERFORM hotswap.wait(d, '60 s');
	COMMIT;
	SELECT concat_ws(' ', t.status, t.sqlstate, t.message, '|' || t.detail) INTO said
	FROM hotswap.tasks t WHERE t.deployment_id = d AND t.kind = 'swap';
END $$;
-- What callers and people see of the module.
CREATE FUNCTION seen() RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' | ',
		(SELECT string_agg(concat(slot, version, share, retired_at), ',' ORDER BY slot)
			FROM hotswap.routes),
		(SELECT string_agg(concat(entry, versions), ',' ORDER BY entry) FROM hotswap.entries),
		(SELECT string_agg(concat(oid, nspname, obj_description(oid, 'pg_namespace')), ','
			ORDER BY oid) FROM pg_namespace WHERE nspname LIKE 'acme%'),
		(SELECT string_agg(concat(oid, proname, prosrc), ',' ORDER BY oid) FROM pg_proc
			WHERE pronamespace IN (SELECT oid FROM pg_namespace WHERE nspname LIKE 'acme%')),
		(SELECT string_agg(oid::regclass::text, ',' ORDER BY oid) FROM pg_class
			WHERE relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname LIKE 'acme%')),
		(SELECT count(*) FROM hotswap.route), (SELECT count(*) FROM hotswap.node_module))
$$;

-- Before it has been there at all.
SELECT seen() AS before \gset
CALL rehearse('1') \gset
SELECT is(:'said'::text, 'succeeded', 'the first version of the module');
SELECT is(seen(), :'before', 'has left no slot, no entry and no route');
CALL swap('1') \gset
SELECT is(:'said'::text || acme.tax(5), 'succeeded5', 'and can be deployed');

-- Beside one that is called.
SELECT seen() AS before \gset
SELECT dblink_connect('caller', connection_of(current_user)),
	dblink_exec('caller', 'BEGIN') \g /dev/null
SELECT is((SELECT r FROM dblink('caller', 'SELECT acme.tax(5)') d (r int)), 5, 'one is called');
CALL rehearse('2') \gset
SELECT is(:'said'::text, 'succeeded', 'the next one is rehearsed beside it');
SELECT is(seen(), :'before', 'in a slot that is gone');
SELECT is(acme.tax(5), 5, 'who calls gets what was there');
SELECT is((SELECT r FROM dblink('caller', 'SELECT acme.tax(5)') d (r int)), 5,
	'who was calling, too');
SELECT dblink_exec('caller', 'COMMIT') \g /dev/null
SELECT results_eq('SELECT node, step, module, version, direction::text FROM hotswap.rehearsals
	ORDER BY deployment_id DESC LIMIT 1', $$VALUES ('acme', 1, 'billing', '2', 'up')$$,
	'it is a step of its version');
SELECT is((SELECT count(*) FROM hotswap.rehearsal_locks WHERE mode = 'AccessExclusiveLock'),
	0::bigint, 'and locks nobody out');

-- Back to one that is still installed: nothing but a row of the route, which is not written.
CALL swap('2') \gset
SELECT seen() AS before \gset
CALL rehearse('1') \gset
SELECT is(:'said'::text, 'succeeded', 'one that is installed');
SELECT is(seen() || acme.tax(5), :'before' || 10, 'is not called by its rehearsal');

-- Into the slot of an earlier one.
CALL swap('3') \gset
SELECT seen() AS before \gset
CALL rehearse('4') \gset
SELECT is(:'said'::text, 'succeeded', 'one that takes the place of another');
SELECT is(seen() || acme.tax(5), :'before' || 15, 'gives it back');
SELECT hotswap.set_route('billing', '2', 5000) \g /dev/null
SELECT seen() AS before \gset
CALL rehearse('4') \gset
SELECT is(:'said'::text || seen(), 'succeeded' || :'before', 'a share of the callers stays');
SELECT hotswap.set_route('billing', '2', 0) \g /dev/null

-- What fails, fails as on the day.
SELECT publish('bad', 'CREATE OR REPLACE FUNCTION tax(n int DEFAULT 4) RETURNS int
	LANGUAGE sql AS ''SELECT n''') \g /dev/null
SELECT seen() AS before \gset
CALL rehearse('bad') \gset
SELECT matches(:'said'::text, '^failed .* "bad" of module "billing" cannot be routed',
	'a version that does not fit');
SELECT is(seen() || acme.tax(5), :'before' || 15, 'leaves nothing either');

-- Where it must have been rehearsed.
SELECT hotswap.configure_environment('development', require_rehearsal => true) \g /dev/null
CALL rehearse('4') \gset
SELECT hotswap.deploy('billing', '4', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'it counts for the deployment');
SELECT is(acme.tax(5), 20, 'which swaps');
SELECT hotswap.configure_environment('development', require_rehearsal => false,
	strategy => 'blue_green') \g /dev/null

-- What blue_green installs first is rehearsed where there is nothing to be installed beside.
SELECT hotswap.configure_module('other', routed => true) \g /dev/null
SELECT publish('1', 'CREATE OR REPLACE FUNCTION other() RETURNS int LANGUAGE sql AS ''SELECT 1''',
	'other') \g /dev/null
SELECT hotswap.deploy('other', '1', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'a module that comes by blue_green');
SELECT is(acme.other(), 1, 'is there after it');

SELECT * FROM finish();
