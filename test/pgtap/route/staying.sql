-- Why earlier versions are still installed, as explain() says it (src/route/staying.c).
SELECT plan(7);
\ir ../include/routed.sql
SELECT routed_node('acme') AS node \gset
SELECT hotswap.configure_module('billing', routed => true, retain_versions => 1,
	retain_for => '1 day') \g /dev/null
SELECT publish_tax(n) FROM generate_series(1, 4) n \g /dev/null
CREATE FUNCTION staying(d uuid) RETURNS TABLE (version text, why text, until text)
		LANGUAGE sql AS $$
	SELECT substring(detail FROM '^Version "(.*)" of module "billing" is in schema "acme:billing@'
		'[a-z]" for node "acme": '), substring(detail FROM '": (.*)\.$'), unblocked_by
	FROM hotswap.explain(d) WHERE reason = 'an earlier version is still installed'
$$;

-- Those that are retained, by their number and by their time.
CALL swap('1') \gset
SELECT is_empty(format('SELECT staying(%L)', :'d'), 'a first version has none before it');
CALL swap('2') \gset
CALL swap('3') \gset
SELECT results_eq(format('SELECT version, why FROM staying(%L)', :'d'), $$VALUES
	('2', 'it is one of those that are retained'), ('1', 'it is retained for a while')$$,
	'they are retained');
SELECT is((SELECT until FROM staying(:'d') WHERE version = '1'),
	(SELECT 'the time ' || retired_at + interval '1 day' FROM hotswap.route_slot
	WHERE version = '1'), 'until a time');
SELECT hotswap.configure_module('billing', retain_for => '0') \g /dev/null
SELECT is((SELECT why FROM staying(:'d') WHERE version = '1'),
	'no version has needed its place since', 'one that only its place keeps');

-- Those that somebody has called, or may call.
SELECT dblink_connect('caller', connection_of(current_user)) \g /dev/null
SELECT pid FROM dblink('caller', 'SELECT pg_backend_pid()') b (pid int) \gset
SELECT dblink_exec('caller', 'BEGIN') \g /dev/null
SELECT t FROM dblink('caller', 'SELECT acme.tax(5)') d (t int) \g /dev/null
SELECT dblink_exec('caller', 'SAVEPOINT a') \g /dev/null
CALL swap('4') \gset
SELECT hotswap.configure_module('billing', retain_versions => 0) \g /dev/null
SELECT results_eq(format('SELECT version, why, until FROM staying(%L)', :'d'),
	format($$VALUES ('3', 'process %s has called it', 'the end of that transaction'),
	('2', 'no version has needed its place since', 'the next version')$$, :'pid'),
	'who has called one is named');
SELECT dblink_exec('caller', 'COMMIT') \g /dev/null
CALL swap('3') \gset
SELECT dblink_exec('caller', 'BEGIN ISOLATION LEVEL REPEATABLE READ') \g /dev/null
SELECT t FROM dblink('caller', 'SELECT 1') d (t int) \g /dev/null
CALL swap('2') \gset
SELECT is((SELECT why FROM staying(:'d') WHERE version = '3'),
	format('process %s may have a snapshot from when it was called', :'pid'),
	'and who has a snapshot of its time');
SELECT dblink_exec('caller', 'COMMIT') \g /dev/null
SELECT dblink_exec('caller', 'BEGIN') \g /dev/null
SELECT t FROM dblink('caller', 'SELECT acme.tax(5)') d (t int) \g /dev/null
SELECT dblink_exec('caller', 'PREPARE TRANSACTION ''staying''') \g /dev/null
CALL swap('3') \gset
SELECT is((SELECT why FROM staying(:'d') WHERE version = '2'),
	'a prepared transaction has called it', 'one that is prepared has no process');
SELECT dblink_exec('caller', 'ROLLBACK PREPARED ''staying''') \g /dev/null

SELECT * FROM finish();
