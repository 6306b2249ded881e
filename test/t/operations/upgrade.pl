# ALTER EXTENSION hotswap UPDATE: whatever release the installation comes from (test/fixtures/), it
# ends up as a new one would be, keeps its rows and what was granted, and goes on with its work. As
# long as library and extension differ, everything says so and nothing works.
use strict;
use warnings;

use HotswapTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = hotswap_cluster('upgrade');
my $current = sql(q{SELECT extversion FROM pg_extension WHERE extname = 'hotswap'}, 'postgres');
my @releases = map { m{hotswap--(.*)\.sql$} } glob("$ENV{TESTDIR}/test/fixtures/hotswap--*.sql");
my $file = "$PostgreSQL::Test::Utils::tmp_check/rows";

sub sql { return $node->safe_psql($_[1], $_[0]); }

sub health
{
	my ($db) = @_;
	return sql(q{SELECT status || ': ' || detail FROM hotswap.health()
		WHERE component = 'version'}, $db);
}

sub dispatchers_are
{
	my ($db, $count, $name) = @_;
	return ok(
		wait_for($node, 'postgres', "SELECT count(*) FROM pg_stat_activity
			WHERE datname = '$db' AND backend_type = 'hotswap dispatcher'", $count),
		$name);
}

# ---- what is compared ----

# Everything that the extension has made, a line each; partitions of months are no members of it.
my $catalog = <<'SQL';
SET search_path = pg_catalog;
CREATE FUNCTION pg_temp.acl(aclitem[]) RETURNS text LANGUAGE sql AS
	'SELECT string_agg(a::text, '','' ORDER BY a::text) FROM unnest($1) a';
CREATE TEMP VIEW ours AS
	SELECT c.*, obj_description(c.oid, 'pg_class') AS description FROM pg_class c
	WHERE c.relnamespace = 'hotswap'::regnamespace AND c.relname !~ '^audit_event_\d';
CREATE TEMP VIEW members AS
	SELECT d.* FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
	WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname = 'hotswap';

SELECT concat_ws(' | ', 'extension', extversion, extnamespace::regnamespace, extrelocatable)
FROM pg_extension WHERE extname = 'hotswap'
UNION ALL
SELECT concat_ws(' | ', 'configuration', c::regclass, w)
FROM pg_extension e, unnest(e.extconfig, e.extcondition) u (c, w) WHERE e.extname = 'hotswap'
UNION ALL
SELECT concat_ws(' | ', 'member', pg_describe_object(classid, objid, objsubid)) FROM members
UNION ALL
SELECT concat_ws(' | ', 'schema', nspname, nspowner::regrole, pg_temp.acl(nspacl),
	obj_description(oid, 'pg_namespace'))
FROM pg_namespace WHERE nspname = 'hotswap'
UNION ALL
SELECT concat_ws(' | ', 'relation', relname, relkind, relpersistence, relreplident,
	relispartition, relowner::regrole, reloptions::text, pg_temp.acl(relacl),
	pg_get_partkeydef(oid), pg_get_expr(relpartbound, oid), description)
FROM ours
UNION ALL
SELECT concat_ws(' | ', 'column', relname,
	row_number() OVER (PARTITION BY relname ORDER BY attnum), attname,
	format_type(atttypid, atttypmod), attnotnull, attcollation::regcollation, attstorage,
	attcompression, attidentity, attgenerated, attstattarget, pg_get_expr(adbin, adrelid),
	pg_temp.acl(attacl), col_description(ours.oid, attnum))
FROM ours
	JOIN pg_attribute a ON a.attrelid = ours.oid AND attnum > 0 AND NOT attisdropped
	LEFT JOIN pg_attrdef d ON adrelid = ours.oid AND adnum = attnum
WHERE relkind NOT IN ('i', 'I')
UNION ALL
SELECT concat_ws(' | ', 'constraint', relname, conname, contype, convalidated,
	pg_get_constraintdef(c.oid))
FROM pg_constraint c JOIN ours ON ours.oid = conrelid
UNION ALL
SELECT concat_ws(' | ', 'index', pg_get_indexdef(indexrelid), indisvalid, indisreplident)
FROM pg_index JOIN ours ON ours.oid = indrelid
UNION ALL
SELECT concat_ws(' | ', 'trigger', pg_get_triggerdef(t.oid), tgenabled,
	obj_description(t.oid, 'pg_trigger'))
FROM pg_trigger t JOIN ours ON ours.oid = tgrelid WHERE NOT tgisinternal
UNION ALL
SELECT concat_ws(' | ', 'view', relname, pg_get_viewdef(oid)) FROM ours WHERE relkind = 'v'
UNION ALL
SELECT concat_ws(' | ', 'sequence', relname, seqtypid::regtype, seqstart, seqincrement, seqmax,
	seqmin, seqcache, seqcycle)
FROM pg_sequence JOIN ours ON ours.oid = seqrelid
UNION ALL
SELECT concat_ws(' | ', 'function', pg_get_functiondef(oid), proowner::regrole,
	pg_temp.acl(proacl), obj_description(oid, 'pg_proc'))
FROM pg_proc WHERE pronamespace = 'hotswap'::regnamespace
UNION ALL
SELECT concat_ws(' | ', 'enum', typname, typowner::regrole, pg_temp.acl(typacl),
	obj_description(t.oid, 'pg_type'), (SELECT string_agg(enumlabel, ',' ORDER BY enumsortorder)
		FROM pg_enum WHERE enumtypid = t.oid))
FROM pg_type t WHERE typnamespace = 'hotswap'::regnamespace AND typtype = 'e'
UNION ALL
SELECT concat_ws(' | ', 'privileges for pg_dump',
	pg_describe_object(p.classoid, p.objoid, p.objsubid), pg_temp.acl(p.initprivs))
FROM pg_init_privs p JOIN members m ON m.classid = p.classoid AND m.objid = p.objoid
ORDER BY 1
SQL

# Tables and their columns, as a list of table => 'column,column'.
sub tables
{
	my ($db) = @_;
	return map { split / / } split /\n/, sql(q{
		SELECT c.relname || ' ' || string_agg(quote_ident(attname), ',' ORDER BY attnum)
		FROM pg_class c
			JOIN pg_attribute a ON a.attrelid = c.oid AND attnum > 0 AND NOT attisdropped
		WHERE relkind IN ('r', 'p') AND NOT relispartition
			AND relnamespace = 'hotswap'::regnamespace
		GROUP BY c.relname}, $db);
}

# What a table holds in some columns, in an order that does not depend on where the rows lie.
sub content
{
	my ($db, $table, $columns) = @_;
	return sql("SELECT count(*) || ' ' || md5(string_agg(t::text, '|' ORDER BY t::text))
		FROM (SELECT $columns FROM hotswap.$table) t", $db);
}

# ---- what the installation holds ----

sql('CREATE ROLE team; CREATE DATABASE source', 'postgres');
sql(q{
	CREATE EXTENSION hotswap;
	SELECT hotswap.create_tenant('Acme', 'acme', 'it@acme.example', 'starter') AS tenant \gset
	SELECT hotswap.activate_tenant(:'tenant');
	SELECT hotswap.set_quota(:'tenant', 'nodes', 7);
	SELECT hotswap.define_resource('moons');
	SELECT hotswap.consume_quota(:'tenant', 'moons', 2);
	SELECT hotswap.grant_access('team', 'operator');
	SELECT hotswap.grant_access('team', 'viewer', all_tenants => true);
	SELECT hotswap.set_approval_policy('production', 1, '{team}');
	SELECT hotswap.register_node('qa', 'q');
	CREATE SCHEMA p;
	SELECT hotswap.register_node('production', 'p', schema => 'p');
	SELECT hotswap.publish_version('app', v, format('CREATE OR REPLACE FUNCTION public.app()
		RETURNS text LANGUAGE sql AS $$SELECT %L::text$$', v)) FROM unnest('{1,2}'::text[]) v;
	SELECT hotswap.lease_lock('r', '1 day');
	SELECT hotswap.claim_idempotency_key('s', 'k', '{}');
	SELECT hotswap.deploy('app', '1', 'production') AS d \gset
	SELECT hotswap.cancel(:'d', 'changed our minds');
	SELECT hotswap.deploy('app', '1', 'qa') AS d \gset
	SELECT hotswap.wait(:'d', '60 s');
	SELECT hotswap.stop_dispatching('an update')}, 'source');
my $again = q{SELECT hotswap.deploy('app', '2', 'qa', idempotency_key => 'before')};
my $queued = sql($again, 'source');

# Releases before this one knew no such notices, nor this strategy.
sql(q{DELETE FROM hotswap.notification WHERE event = 'ended';
	UPDATE hotswap.environment SET strategy = 'direct'}, 'source');

# fill(DATABASE): the rows of source, as far as there are columns for them.
sub fill
{
	my ($db) = @_;
	my %from = tables('source');
	my %to = tables($db);

	foreach my $table (grep { $from{$_} } sort keys %to)
	{
		my %has = map { $_ => 1 } split /,/, $from{$table};
		my $columns = join ',', grep { $has{$_} } split /,/, $to{$table};

		$node->safe_psql('source', "\\copy (SELECT $columns FROM hotswap.$table) TO '$file'");
		$node->safe_psql($db, "SET session_replication_role = replica;
			\\copy hotswap.$table ($columns) FROM '$file'");
	}
	foreach my $sequence (qw(swap_seq token_seq))
	{
		my $last = sql("SELECT last_value FROM hotswap.$sequence", 'source');
		sql("SELECT setval('hotswap.$sequence', $last)", $db);
	}
	sql('UPDATE hotswap.installation SET database_oid =
		(SELECT oid FROM pg_database WHERE datname = current_database())', $db);
	return;
}

# ---- from each release ----

ok(scalar @releases, 'there is a release to come from');
sql('CREATE DATABASE fresh', 'postgres');
sql('CREATE EXTENSION hotswap', 'fresh');
my $fresh = sql($catalog, 'fresh');
cmp_ok(scalar(split /\n/, $fresh), '>', 500, 'a fresh installation has much to compare');

foreach my $old (@releases)
{
	my $db = "from_$old" =~ tr/./_/r;
	my $differ = qr/extension "hotswap" has version \Q$old\E, but the library has \Q$current\E/;

	sql("CREATE DATABASE $db", 'postgres');
	sql("CREATE EXTENSION hotswap VERSION '$old'", $db);
	isnt(sql($catalog, $db), $fresh, "$old is another one");
	fill($db);
	my %tables = tables($db);
	my %before = map { $_ => content($db, $_, $tables{$_}) } keys %tables;

	# The library is the new one already.
	like(health($db), qr/^critical: extension \Q$old\E, library \Q$current\E: .*UPDATE/,
		'before the update health() names both versions');
	is(sql(q{SELECT string_agg(component, ',') FROM hotswap.health()}, $db),
		'version,preload,launcher,executors,dispatcher,visits,housekeeping',
		'and looks into no table');
	foreach my $call (q{SELECT hotswap.deploy('app', '1', 'qa')}, 'CALL hotswap.work()',
		q{SELECT hotswap.explain('00000000-0000-7000-8000-000000000001')},
		q{SELECT hotswap.publish_version('app', '9', 'SELECT 1')},
		q{SELECT hotswap.module_signing_payload('app', '9', 'SELECT 1')},
		q{SELECT hotswap.configure_environment('qa')},
		'SELECT hotswap.visible_tenants()', q{SELECT hotswap.lease_lock('x', '1 s')})
	{
		like(refusal($node, $call, db => $db),
			qr/ERROR:  55000: $differ.*HINT:  Run ALTER EXTENSION/s,
			"refused: $call");
	}
	dispatchers_are($db, 0, 'no dispatcher works');

	# What an administrator has granted and revoked is no part of the extension.
	sql('REVOKE EXECUTE ON FUNCTION hotswap.adopt FROM PUBLIC;
		GRANT EXECUTE ON FUNCTION hotswap.adopt TO team;
		GRANT SELECT ON hotswap.deployments TO team', $db);
	sql('ALTER EXTENSION hotswap UPDATE', $db);
	is( sql(q{SELECT has_function_privilege('public', 'hotswap.adopt()', 'EXECUTE'),
			has_function_privilege('team', 'hotswap.adopt()', 'EXECUTE'),
			has_table_privilege('team', 'hotswap.deployments', 'SELECT')}, $db),
		'f|t|t', 'what was granted and revoked stays so');
	sql('GRANT EXECUTE ON FUNCTION hotswap.adopt TO PUBLIC;
		REVOKE EXECUTE ON FUNCTION hotswap.adopt FROM team;
		REVOKE SELECT ON hotswap.deployments FROM team', $db);

	# Now it is what a new installation is.
	my %want = map { $_ => 1 } split /\n/, $fresh;
	my %have = map { $_ => 1 } split /\n/, sql($catalog, $db);
	is(join("\n", grep { !$have{$_} } sort keys %want), '', 'nothing is missing');
	is(join("\n", grep { !$want{$_} } sort keys %have), '', 'nothing is left over');
	is(content($db, $_, $tables{$_}), $before{$_}, "$_ has the same rows") for sort keys %tables;
	is(sql('SELECT * FROM hotswap.verify_audit()', $db), '', 'the audit chain is whole');

	# And it works.
	dispatchers_are($db, 1, 'the dispatcher comes');
	is(health($db), "ok: $current", 'health() is content');
	is(sql($again, $db), $queued, 'what was requested before is known');
	sql('SELECT hotswap.start_dispatching()', $db);
	is(sql("SELECT hotswap.wait('$queued', '60 s')", $db), 'succeeded', 'and is done');
	is(sql('SELECT public.app()', $db), '2', 'as it was to be');
	my $next = sql(q{SELECT hotswap.deploy('app', '1', 'qa')}, $db);
	is(sql("SELECT hotswap.wait('$next', '60 s')", $db), 'succeeded', 'so is what is new');
	check_invariants($node, $db);
}

# ---- the other way round: the extension is updated under a library that is running ----

# An update changes the version and makes functions, which is what is watched.
sub become
{
	my ($version, $command) = @_;
	return sql("BEGIN; UPDATE pg_extension SET extversion = '$version' WHERE extname = 'hotswap';
		$command; COMMIT", 'postgres');
}

my $session = $node->background_psql('postgres', on_error_stop => 0);
my $call = "SELECT hotswap.grant_access('team', 'viewer');\n\\echo :SQLSTATE";

like($session->query($call), qr/00000/, 'a session works with hotswap');
dispatchers_are('postgres', 1, 'so does a dispatcher');
become('99.0', 'CREATE EXTENSION pgtap');
dispatchers_are('postgres', 0, 'it leaves when the extension has another version');
like($session->query($call), qr/55000/, 'the session works no more');
like(health('postgres'), qr/^critical: extension 99\.0, library \Q$current\E: .*restart/,
	'health() says what to do');
become($current, 'DROP EXTENSION pgtap');
dispatchers_are('postgres', 1, 'when they fit again, the dispatcher is back');
like($session->query($call), qr/00000/, 'and the session goes on');
$session->quit;

done_testing();
