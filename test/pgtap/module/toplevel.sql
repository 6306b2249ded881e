-- Scripts outside of transactions: what publishing refuses (src/module/toplevel.c).
SELECT plan(34);

CREATE FUNCTION pg_temp.refusal_of(script text, other text DEFAULT 'deploy_sql') RETURNS text
		LANGUAGE sql AS $$
	SELECT concat_ws(' / ', code, message, detail, hint)
	FROM refusal(format('SELECT hotswap.publish_version(''m'', %L, deploy_sql => %L, %s => %L,'
		|| ' parents => ''{}'', transactional => false)', md5(script || other),
		CASE other WHEN 'deploy_sql' THEN script ELSE 'SELECT 1' END,
		CASE other WHEN 'deploy_sql' THEN 'verify_sql' ELSE other END,
		CASE other WHEN 'deploy_sql' THEN 'SELECT true' ELSE script END))
$$;

-- What it may contain.
SELECT is(pg_temp.refusal_of(script), '', script) FROM (VALUES ('VACUUM'),
	('CREATE INDEX CONCURRENTLY i ON t (x)'), ('DROP INDEX CONCURRENTLY i'),
	('REINDEX DATABASE d'), ('ALTER TABLE t DETACH PARTITION p CONCURRENTLY'), ('CLUSTER'),
	('CREATE DATABASE d'), ('ALTER SYSTEM SET work_mem = ''1MB'''), ('DISCARD PLANS'),
	('BEGIN; SAVEPOINT s; CREATE TEMP TABLE x (); ROLLBACK TO s; COMMIT'),
	('START TRANSACTION; ROLLBACK'),
	('CREATE UNLOGGED TABLE u (x int); CREATE VIEW v AS SELECT 1; CREATE SEQUENCE q; SELECT 1'),
	('ALTER SUBSCRIPTION s REFRESH PUBLICATION'), (E'COPY t FROM STDIN;\n1\n\\.')) s (script);

-- What it may not contain.
SELECT matches(pg_temp.refusal_of('SELECT 1; ' || script),
	'^0A000 / ' || what || ' is not allowed in the deploy script / Line 1, column 1[0-9]+ ', script)
FROM (VALUES ('CREATE INDEX CONCURRENTLY ON t (x)', 'CREATE INDEX CONCURRENTLY without a name'),
	('DISCARD ALL', 'DISCARD ALL'), ('LISTEN c', 'LISTEN'),
	('COPY t TO STDOUT', 'COPY TO STDOUT'), ('PREPARE p AS SELECT 1', 'PREPARE'),
	('DECLARE c CURSOR WITH HOLD FOR SELECT 1', 'DECLARE CURSOR'),
	('CREATE TEMP TABLE x ()', 'CREATE TEMPORARY TABLE'),
	('CREATE TEMP TABLE x AS SELECT 1', 'CREATE TEMPORARY TABLE'),
	('SELECT 1 INTO TEMP x', 'SELECT INTO TEMPORARY'),
	('CREATE TEMP VIEW x AS SELECT 1', 'CREATE TEMPORARY VIEW'),
	('CREATE TEMP SEQUENCE x', 'CREATE TEMPORARY SEQUENCE'),
	('COMMIT', 'transaction control without BEGIN'), ('BEGIN; BEGIN', 'BEGIN after BEGIN'),
	('BEGIN; SELECT 1', 'BEGIN without COMMIT'), ('BEGIN; VACUUM; COMMIT', 'VACUUM'),
	('BEGIN; COMMIT AND CHAIN; COMMIT', 'AND CHAIN'),
	('BEGIN; PREPARE TRANSACTION ''x''', 'PREPARE TRANSACTION or its end')) s (script, what);

-- Which script it is.
SELECT is(pg_temp.refusal_of('VACUUM', other), '', other || ' may as well')
FROM unnest('{revert_sql,install_sql}'::text[]) other;
SELECT matches(pg_temp.refusal_of('VACUUM', 'verify_sql'),
	'^0A000 / VACUUM is not allowed in the verify script', 'a verify script leaves nothing');
SELECT * FROM finish();
