-- The time that a script sets itself for each of its statements (src/run/script.c).
SELECT plan(13);

CREATE ROLE hotswap_test_limit LOGIN;
ALTER ROLE hotswap_test_limit SET statement_timeout = '1ms';
CREATE SCHEMA t AUTHORIZATION hotswap_test_limit;
SELECT hotswap.register_node('development', 't', run_as => 'hotswap_test_limit', schema => 't')
	\g /dev/null
CREATE FUNCTION pg_temp.request(version text, script text, verify text DEFAULT NULL) RETURNS uuid
	LANGUAGE plpgsql AS $$
BEGIN
	PERFORM hotswap.publish_version('m', version, script, verify);
	RETURN hotswap.deploy('m', version, 'development');
END $$;
CREATE TEMP TABLE request (version text, what text, status text, code text, id uuid);

INSERT INTO request
SELECT version, what, status, code, pg_temp.request(version, script, verify)
FROM (VALUES ('1', 'a statement that takes longer', 'failed', '57014',
		'SET statement_timeout = 50; SELECT pg_sleep(600)', NULL),
	('2', 'two of less than that each', 'succeeded', NULL,
		'SET statement_timeout = ''2s''; SELECT pg_sleep(1.1); SELECT pg_sleep(1.1)', NULL),
	('3', 'one that catches it', 'succeeded', NULL, 'SET statement_timeout = 50;
		DO $$BEGIN PERFORM pg_sleep(600); EXCEPTION WHEN query_canceled THEN END$$;
		DO $$BEGIN PERFORM pg_sleep(600); EXCEPTION WHEN query_canceled THEN END$$', NULL),
	('4', 'set and taken back', 'succeeded', NULL,
		'SET LOCAL statement_timeout = 50; SET statement_timeout = 0; SELECT pg_sleep(0.1)', NULL),
	('5', 'the next script', 'succeeded', NULL,
		'SET statement_timeout = 50; SELECT 1', 'SELECT pg_sleep(0.1)'),
	('6', 'the role''s', 'succeeded', NULL, 'SELECT pg_sleep(0.1)',
		'SELECT current_setting(''statement_timeout'') = ''0''')) v
	(version, what, status, code, script, verify);
SELECT is(hotswap.wait(id, '60 s')::text, status, what) FROM request ORDER BY version;
SELECT is((SELECT sqlstate FROM hotswap.tasks WHERE deployment_id = id AND kind = 'swap'), code,
	what || ': the error') FROM request ORDER BY version;
SELECT is((SELECT message FROM hotswap.tasks WHERE deployment_id = id AND kind = 'swap'),
	'canceling statement due to statement timeout', 'which says why')
FROM request WHERE version = '1';

SELECT * FROM finish();
