# The extension in a database where somebody has laid traps: the installation uses none of them and
# depends on none, nor does anything afterwards, whoever calls and whatever the settings are.
use strict;
use warnings;

use HotswapTest;
use HotswapTraps;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = hotswap_cluster('hostile_install');
my $include = slurp_file("$ENV{TESTDIR}/test/dependencies.sql");

sub sql { return $node->safe_psql($_[1] // 'victim', $_[0]); }

# what goes wrong when somebody runs SQL
sub refused
{
	my ($role, $sql, $db) = @_;
	return refusal($node, $sql, db => $db // 'victim', options => [ '-U', $role ]);
}

sub log_size { return -s $node->logfile; }

# Everything in the schema whose meaning was settled when it was made.
my $definitions = q(SET search_path = pg_catalog; SET quote_all_identifiers = on;
	SELECT string_agg(d, E'\n' ORDER BY d) FROM (
		SELECT c.relname || ': ' || pg_get_viewdef(c.oid) FROM pg_class c
		WHERE c.relkind = 'v' AND c.relnamespace = 'hotswap'::regnamespace
		UNION ALL SELECT c.relname || '.' || a.attname || ': '
			|| format_type(a.atttypid, a.atttypmod)
				|| coalesce(' ' || pg_get_expr(d.adbin, d.adrelid), '')
			FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
			LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
			WHERE c.relnamespace = 'hotswap'::regnamespace AND c.relname !~ '^audit_event_\d'
		UNION ALL SELECT conname || ': ' || pg_get_constraintdef(oid) FROM pg_constraint
		WHERE connamespace = 'hotswap'::regnamespace
			AND conrelid::regclass::text !~ 'audit_event_\d'
		UNION ALL SELECT pg_get_indexdef(indexrelid) FROM pg_index
		JOIN pg_class ON pg_class.oid = indexrelid
		WHERE relnamespace = 'hotswap'::regnamespace AND relname !~ '^audit_event_\d'
		UNION ALL SELECT pg_get_triggerdef(oid) FROM pg_trigger
		WHERE tgrelid::regclass::text ~ '^"hotswap"' AND NOT tgisinternal
			AND tgrelid::regclass::text !~ 'audit_event_\d'
		UNION ALL SELECT pg_get_functiondef(oid) FROM pg_proc
		WHERE pronamespace = 'hotswap'::regnamespace) x (d));

sql('CREATE ROLE mallory LOGIN; CREATE ROLE m1 LOGIN; CREATE ROLE m2 LOGIN;
	CREATE DATABASE victim TEMPLATE template0', 'postgres');
set_traps($node, 'victim', 'mallory');
my $start = log_size();
like(refused('postgres', q(SET search_path = mallory, pg_catalog; SELECT now())), qr/sprung/,
	'a function is a trap that works');
like(refused('postgres', q(SET search_path = mallory, pg_catalog;
	SELECT 'a'::pg_catalog.text = 'b'::pg_catalog.text)), qr/sprung/, 'an operator, too');
like(sprung($node, $start), qr/sprung: now\(\) as postgres.*sprung: operator 98 as postgres/s,
	'and it is seen');
sql('ALTER ROLE mallory NOSUPERUSER', 'postgres');
ok(sql(q(SELECT count(*) FROM pg_operator WHERE oprnamespace = 'mallory'::regnamespace)) > 500
	&& sql(q(SELECT count(*) FROM pg_proc WHERE pronamespace = 'mallory'::regnamespace)) > 2000,
	'there are many');
$start = log_size();

# ---- who must not install, and where it must not be installed ----

like(refused('mallory', 'CREATE EXTENSION hotswap'),
	qr/42501: permission denied to create extension/, 'not for everybody');
like(refused('postgres', 'CREATE EXTENSION hotswap SCHEMA mallory'),
	qr/0A000: .*must be installed in schema "pg_catalog"/, 'not into another schema');
is(refused('mallory', q(CREATE SCHEMA hotswap; CREATE TABLE hotswap.tenant (id uuid);
	CREATE FUNCTION hotswap.deploy(text, text, text) RETURNS uuid
	LANGUAGE plpgsql AS $$BEGIN PERFORM mallory.spring('deploy'); RETURN NULL; END$$)),
	'', 'somebody makes a schema of our name');
like(refused('postgres', 'CREATE EXTENSION hotswap'), qr/42P06: schema "hotswap" already exists/,
	'then the installation fails');
is(sql(q(SELECT count(*) FROM pg_extension WHERE extname = 'hotswap')), '0', 'and leaves nothing');
like(refused('mallory', q(CREATE FUNCTION hotswap.adopt() RETURNS void
	LANGUAGE c AS '$libdir/hotswap', 'hotswap_adopt')), qr/42501/,
	'nobody else binds our C functions');
is(sql(q(SELECT count(*) FROM pg_stat_activity
	WHERE datname = 'victim' AND backend_type ~ 'hotswap')), '0',
	'no worker comes for that schema');
is(refused('mallory', 'SET client_min_messages = warning; DROP SCHEMA hotswap CASCADE'), '',
	'it goes away again');

# ---- installation ----

sql(q(ALTER DATABASE victim SET search_path = mallory, public, pg_catalog;
	ALTER ROLE postgres IN DATABASE victim SET search_path = mallory, public, pg_catalog));
is(sql(q(CREATE TEMP TABLE tenant (id pg_catalog.uuid); CREATE TEMP VIEW pg_locks AS
	SELECT mallory.spring('temp'), l.* FROM pg_catalog.pg_locks l;
	CREATE DOMAIN pg_temp.regrole AS pg_catalog.oid CHECK (mallory.spring('temp type'));
	CREATE DOMAIN pg_temp.text AS pg_catalog.text CHECK (mallory.spring('temp type'));
	CREATE EXTENSION hotswap)), '', 'with traps all over, first in the path and in the session');
is(sprung($node, $start), '', 'none is sprung');
is(sql("SET search_path = pg_catalog; $include SELECT * FROM foreign_dependency"), '',
	'nothing of it depends on them');
is(sql($definitions), sql($definitions, 'postgres'), 'everything means what it means elsewhere');
is(sql(q(SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) 'mallory'),
	'postgres'), 'f', 'nobody has risen');
like(refused('mallory', $_), qr/42501/, "not for everybody: $_")
	foreach q(CREATE FUNCTION hotswap.deploy(text, text, text) RETURNS uuid
		LANGUAGE sql AS 'SELECT NULL::uuid'), 'CREATE TABLE hotswap.x ()',
	'ALTER SCHEMA hotswap RENAME TO x', 'DROP EXTENSION hotswap',
	'ALTER EXTENSION hotswap ADD SCHEMA mallory',
	'CREATE TRIGGER t BEFORE INSERT ON hotswap.deployment EXECUTE FUNCTION mallory.spring()',
	'COMMENT ON SCHEMA hotswap IS NULL', 'ALTER TABLE hotswap.deployment ENABLE ROW LEVEL SECURITY',
	'CREATE RULE r AS ON SELECT TO hotswap.deployment DO INSTEAD SELECT 1';

# ---- use ----

# What people and roles have set, for better or worse; each may do so for itself.
my %setting = (
	search_path => 'mallory, public, pg_temp, pg_catalog',
	standard_conforming_strings => 'off',
	escape_string_warning => 'off',
	transform_null_equals => 'on',
	array_nulls => 'off',
	DateStyle => 'German',
	IntervalStyle => 'sql_standard',
	TimeZone => 'Pacific/Chatham',
	bytea_output => 'escape',
	row_security => 'off',
	enable_indexscan => 'off',
	default_transaction_deferrable => 'on',
	quote_all_identifiers => 'on',
	plan_cache_mode => 'force_custom_plan',
	jit_above_cost => '0',
	extra_float_digits => '-15',
	xmloption => 'document',
	check_function_bodies => 'off',
);
my $settings = join '', map { "ALTER ROLE ROLE IN DATABASE victim SET $_ = "
	. (/^(search_path)$/ ? $setting{$_} : "'$setting{$_}'") . ";\n" } sort keys %setting;
sql($settings =~ s/ROLE ROLE/ROLE $_/gr) foreach qw(m1 m2 mallory postgres);
sql($settings =~ s/ROLE ROLE IN //gr);
foreach my $role ('m1', 'm2')
{
	sql(qq(CREATE SCHEMA $role AUTHORIZATION $role; CREATE TABLE $role.done (n pg_catalog.int4);
		ALTER TABLE $role.done OWNER TO $role;
		GRANT $role TO mallory;
		ALTER ROLE $role IN DATABASE victim SET default_transaction_isolation = 'serializable';
		ALTER ROLE $role IN DATABASE victim SET default_transaction_read_only = 'on'));
}
$node->restart;
$start = log_size();

# Every function that is not asked about elsewhere here, with arguments that are mostly wrong, and
# every view.
my $catalog = q(SET search_path = pg_catalog;
	SELECT CASE p.prokind WHEN 'p' THEN 'CALL ' ELSE 'SELECT * FROM '
		END || p.oid::regproc || '(' ||
		concat_ws(', ', VARIADIC ARRAY(SELECT CASE format_type(t, NULL) WHEN 'text' THEN '''x'''
			WHEN 'uuid' THEN '''00000000-0000-7000-8000-000000000001'''
			WHEN 'jsonb' THEN '''{}''' WHEN 'interval' THEN '''0''' WHEN 'boolean' THEN 'true'
				WHEN 'regrole' THEN '''m1''' WHEN 'text[]' THEN '''{x}''' ELSE 'NULL' END
		FROM unnest(p.proargtypes) WITH ORDINALITY a (t, n) ORDER BY n)) || ')'
	FROM pg_proc p WHERE p.pronamespace = 'hotswap'::regnamespace AND p.prorettype
		NOT IN ('trigger'::regtype, 'internal'::regtype, 'language_handler'::regtype)
	UNION ALL SELECT 'SELECT * FROM ' || c.oid::regclass FROM pg_class c
	WHERE c.relkind = 'v' AND c.relnamespace = 'hotswap'::regnamespace ORDER BY 1);

sub use_all
{
	my ($role, $module) = @_;
	my @calls = split /\n/, sql($catalog);
	my $temp = q(CREATE TEMP TABLE tenant (id pg_catalog.uuid); CREATE TEMP VIEW pg_locks AS
		SELECT mallory.spring('temp'), l.* FROM pg_catalog.pg_locks l;
		CREATE TEMP TABLE deployment (id pg_catalog.uuid, status pg_catalog.text);
		CREATE DOMAIN pg_temp.uuid AS pg_catalog.uuid CHECK (mallory.spring('temp type'));
		CREATE DOMAIN pg_temp.regrole AS pg_catalog.oid CHECK (mallory.spring('temp type')););

	is(refused($role, qq(\\set ON_ERROR_STOP 0\n\\set VERBOSITY sqlstate\n$temp) . join '',
		map { "$_;\n" } @calls)
		=~ s/^.*ERROR:  (22023|P0002|42501|55000|23505|2D000|YH...|42704)$//gmr =~ s/\s//gr, '',
		"$role calls everything");
	is(refused($role, qq($temp
		SELECT hotswap.publish_version('$module', '1', 'INSERT INTO done VALUES (1)',
			'SELECT 1', 'DELETE FROM done');
		SELECT hotswap.register_node('production', '$module', run_as => '$module',
			schema => '$module');
		SELECT hotswap.deploy('$module', '1', 'production',
			metadata => '{"a": "it''s"}') AS d \\gset
		SELECT hotswap.approve(:'d', 'production');
		SELECT hotswap.wait(:'d', '60 s');
		SELECT hotswap.deploy('$module', '1', 'production', idempotency_key => '$module',
			run_at => '2100-01-01') AS d \\gset
		SELECT hotswap.deploy('$module', '1', 'production', idempotency_key => '$module',
			run_at => '2100-01-01');
		SELECT * FROM hotswap.explain(:'d'); SELECT * FROM hotswap.approvals;
		SELECT hotswap.cancel(:'d', 'x'); SELECT hotswap.wait(:'d', '60 s');
		BEGIN; SELECT hotswap.acquire_lock('l', '1 s'), hotswap.lease_lock('$module', '1 h', '0');
		SELECT * FROM hotswap.locks; COMMIT;
		SELECT hotswap.release_all_locks())), '', "$role publishes, deploys and cancels");
	is(sprung($node, $start), '', 'no trap is sprung');
	return;
}

sql(q(GRANT EXECUTE ON ALL ROUTINES IN SCHEMA hotswap TO mallory; GRANT
	SELECT ON ALL TABLES IN SCHEMA hotswap TO mallory));
sql(q(SELECT hotswap.grant_access('mallory', c::pg_catalog.text)
	FROM pg_catalog.unnest(pg_catalog.enum_range(NULL::hotswap.capability)) c));
sql(q(SELECT hotswap.set_approval_policy('production', 1, allow_self_approval => true)));
use_all('postgres', 'm1');
use_all('mallory', 'm2');
is(sql(q(SET search_path = pg_catalog; SELECT string_agg(status || ' ' || n, ', ' ORDER BY status)
	FROM (SELECT status, count(*) AS n FROM hotswap.deployments GROUP BY 1) x)),
	'succeeded 2, cancelled 2', 'the workers have done what was asked for');
is(sql('SET search_path = pg_catalog; SELECT (SELECT sum(n) FROM m1.done),
	(SELECT sum(n) FROM m2.done)'), '2|1', 'on their nodes');
is(sql('SELECT * FROM hotswap.verify_audit()'), '', 'the audit chain is whole, with any settings');

# ---- the extension goes, and somebody takes its place at once ----

sql('DROP EXTENSION hotswap');
is(refused('mallory', q(CREATE SCHEMA hotswap;
	CREATE TABLE hotswap.installation (a pg_catalog.int4); CREATE VIEW hotswap.work_item AS
	SELECT mallory.spring('work_item') AS tenant_id)), '', 'after it');
wait_for($node, 'postgres', q(SELECT count(*) FROM pg_stat_activity
	WHERE datname = 'victim' AND backend_type ~ 'hotswap'), '0');
is(sprung($node, $start), '', 'no trap is sprung');
is(sql(q(SELECT rolsuper FROM pg_roles WHERE rolname = 'mallory'), 'postgres'), 'f',
	'nobody has risen');
unlike(slurp_file($node->logfile), qr/ (PANIC|TRAP|terminated by signal)|ERROR:  XX/,
	'and nothing has broken');

done_testing();
