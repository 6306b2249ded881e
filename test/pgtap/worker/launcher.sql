-- The processes of this database, as everybody can see them (src/worker/launcher.c).
SELECT plan(3);

CREATE ROLE worker_launcher_node LOGIN;
CREATE SCHEMA w AUTHORIZATION worker_launcher_node;
SELECT hotswap.publish_version('m', '1', 'SELECT 1'),
	hotswap.register_node('development', 'w', run_as => 'worker_launcher_node',
		schema => 'w') \g /dev/null

-- An executor has something to do, and stays for a while.
SELECT hotswap.deploy('m', '1', 'development') AS d \gset
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'a task was run');
SELECT results_eq($$SELECT kind, role::text COLLATE "default" FROM hotswap.workers
	WHERE kind = 'launcher' OR database = current_database() ORDER BY kind$$,
	$$VALUES ('dispatcher', NULL), ('executor', 'worker_launcher_node' COLLATE "default"),
		('launcher', NULL)$$, 'the workers');
SELECT results_eq($$SELECT backend_type, usename::text COLLATE "default" FROM pg_stat_activity
	WHERE datname = current_database() AND backend_type LIKE 'hotswap%' ORDER BY 1$$,
	$$SELECT 'hotswap dispatcher', rolname::text COLLATE "default" FROM pg_roles WHERE oid = 10
		UNION ALL SELECT 'hotswap executor', 'worker_launcher_node'$$, 'and in pg_stat_activity');
SELECT * FROM finish();
