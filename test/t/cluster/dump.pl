# pg_dump and psql bring everything to another database, which does not start by itself, and the
# extension can be dropped there without a trace.
use strict;
use warnings;

use HotswapTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = hotswap_cluster('dump');
my $file = "$PostgreSQL::Test::Utils::tmp_check/dump.sql";

# Every table of the schema with its number of rows, the audit log's partitions one by one.
sub row_counts
{
	my ($db) = @_;
	return $node->safe_psql($db, q{
		SELECT string_agg(c.oid::regclass || ' ' || (xpath('/row/n/text()',
			query_to_xml(format('SELECT count(*) AS n FROM ONLY %s', c.oid::regclass), false, true,
				'')))[1], E'\n'
			ORDER BY c.oid::regclass::text)
		FROM pg_class c WHERE c.relkind IN ('r', 'p')
			AND c.relnamespace = 'hotswap'::regnamespace});
}

# What a table holds, in an order that does not depend on where its rows lie.
sub content
{
	my ($db, $table) = @_;
	return $node->safe_psql($db, "SELECT md5(string_agg(t::text, '|' ORDER BY t::text))
		FROM hotswap.$table t");
}

sub health
{
	my ($db, $component) = @_;
	return $node->safe_psql($db, "SELECT status FROM hotswap.health()
		WHERE component = '$component'");
}

sub month
{
	my ($db) = @_;
	return $node->safe_psql($db, q{SELECT count(*) FROM pg_class
		WHERE relnamespace = 'hotswap'::regnamespace AND relname ~ '^audit_event_[0-9]{6}$'
			AND relispartition});
}

# How a deployment ends.
sub ended
{
	my ($db, $id) = @_;
	return $node->safe_psql($db, "SELECT hotswap.wait('$id', '60 s')");
}

# What has come to node c of a module, in order.
sub steps_on_c
{
	my ($db, $module) = @_;
	return $node->safe_psql($db, "SELECT string_agg(direction || ' ' || step, ', ' ORDER BY swap)
		FROM hotswap.node_history WHERE node = 'c' AND module = '$module'");
}

# The original: two customers, each a schema with a role of its own; something of everything.
$node->safe_psql('postgres', 'CREATE ROLE customer_a LOGIN; CREATE ROLE customer_b LOGIN;
	CREATE ROLE customer_c LOGIN; CREATE DATABASE original');
$node->safe_psql('original', q{
	CREATE EXTENSION hotswap;
	CREATE SCHEMA a AUTHORIZATION customer_a;
	CREATE SCHEMA b AUTHORIZATION customer_b;
	SELECT hotswap.register_node('qa', 'a', run_as => 'customer_a', schema => 'a',
		labels => '{"zone": "eu"}');
	SELECT hotswap.register_node('qa', 'b', run_as => 'customer_b', schema => 'b');
	SELECT hotswap.configure_environment('canary', rank => 35);
	SELECT hotswap.publish_version('app', v, format($s$CREATE OR REPLACE FUNCTION app() RETURNS text
		LANGUAGE sql AS $f$SELECT %L::text$f$$s$, v), 'SELECT app() IS NOT NULL',
	'DROP FUNCTION app()')
		FROM unnest('{1,2,3}'::text[]) v;
	SELECT hotswap.publish_version('app', 'bad', 'SELECT 1/0');
	SELECT hotswap.set_rule('qa', 'truncate', 'deny');
	SELECT hotswap.add_signing_key('ci', 'ed25519',
		E'-----BEGIN PUBLIC KEY-----\n'
			'MCowBQYDK2VwAyEAIY0JSa4oieLQ77JMTZcHxBB+AvzdnWPfpRYRDuAaKP8=\n'
			'-----END PUBLIC KEY-----');
	SELECT hotswap.publish_version('ledger', '1.0', 'CREATE TABLE ledger (entry int)',
		revert_sql => 'DROP TABLE ledger', signing_key => 'ci', signature =>
		'\xadb468b93ed97bdac94e39eeda89cbdf46e015241a70bf55ec72b5c5ed0a95e3'
		'941f32ff51af255f14ce5bff81d04744646d8de60e8dd3f7a3e9f5cd3aae400f');
	CREATE FUNCTION checked(deployment uuid) RETURNS boolean LANGUAGE sql AS 'SELECT true';
	SELECT hotswap.register_hook('validate', 'checked(uuid)');
	SELECT hotswap.activate_tenant(hotswap.create_tenant('Acme', 'acme', 'ops@acme.example',
		'starter', '{"crm": 7}'));
	SELECT hotswap.set_quota(hotswap.find_tenant('acme'), 'websites', 9);
	SELECT hotswap.consume_quota(hotswap.find_tenant('acme'), 'websites', 4);
	SELECT hotswap.define_resource('moons');
	SELECT hotswap.set_tier_quota('starter', 'moons', 2);
	SELECT hotswap.configure_tier('starter', weight => 3);
	SELECT hotswap.unreserve_subdomain('shop')});
for my $version (qw(1 bad 2))
{
	my $id = $node->safe_psql('original',
		"SELECT hotswap.deploy('app', '$version', 'qa', 'key $version')");
	is($node->safe_psql('original', "SELECT hotswap.wait('$id', '60 s')"),
		$version eq 'bad' ? 'failed' : 'succeeded', "version $version");
}

# Versions that build on each other, with all that is known of them, on a node of staging: a release
# that went back and is held, a rehearsal, and one that has stopped between two of its statements.
$node->safe_psql('original', q{
	CREATE SCHEMA c AUTHORIZATION customer_c;
	SET ROLE customer_c;
	CREATE TABLE c.book (n int);
	RESET ROLE;
	SELECT hotswap.register_node('staging', 'c', run_as => 'customer_c', schema => 'c');
	SELECT hotswap.set_approval_policy('staging', 0);
	SELECT hotswap.configure_environment('staging', may_skip_environments => true);
	SELECT hotswap.publish_version('chain', n::text, format('CREATE TABLE t%s ()', n), NULL,
		format('DROP TABLE t%s', n), parents => array_remove(ARRAY[nullif(n - 1, 0)::text], NULL))
	FROM generate_series(1, 4) n;
	SELECT hotswap.withdraw_version('chain', '4', 'not that');
	SELECT hotswap.publish_installer('chain', '2', 'CREATE TABLE t1 (); CREATE TABLE t2 ()');
	SELECT hotswap.tag_version('chain', 'latest', '3');
	SELECT hotswap.publish_version('part', '1', 'SELECT 1', NULL, 'SELECT 1',
		requires => '{chain >= 2}');
	SELECT hotswap.publish_release('spring', '{chain=3,part=1}');
	SELECT hotswap.publish_version('outside', '1', 'INSERT INTO book VALUES (1);
		INSERT INTO later VALUES (1)', transactional => false)});
my %wanted = (
	first => q{deploy('chain', '1', 'staging', only_target => true)},
	release => q{deploy_release('spring', 'staging', only_target => true)},
	rehearsal => q{deploy('chain', '2', 'staging', rehearse => true, reapply => true)},
	outside => q{deploy('outside', '1', 'staging', only_target => true)});
my %of;
for my $what (qw(first release back rehearsal outside))
{
	my $call = $wanted{$what} // "rollback('$of{release}', 'not yet')";
	$of{$what} = $node->safe_psql('original', "SELECT hotswap.$call");
	is(ended('original', $of{$what}), $what eq 'outside' ? 'failed' : 'succeeded', $what);
}
is(steps_on_c('original', 'chain'), 'up 1, up 2, up 3, down 3, down 2', 'the chain went back');
is($node->safe_psql('original', q{SELECT string_agg(module || ' ' || version, ', ' ORDER BY module,
	version) FROM hotswap.held_versions}), 'chain 2, chain 3, part 1', 'and is held');
ok(wait_for($node, 'original', q{SELECT count(*) > 0 FROM pg_class
	WHERE relnamespace = 'hotswap'::regnamespace AND relname ~ '^audit_event_[0-9]{6}$'}),
	'there are partitions of the months');
$node->safe_psql('original', q{SELECT hotswap.stop_dispatching('the database moves')});
my $queued = $node->safe_psql('original',
	q{SELECT hotswap.deploy('app', '3', 'qa', metadata => '{"n": 1}')});
my $later = $node->safe_psql('original',
	q{SELECT hotswap.deploy('app', '1', 'qa', run_at => clock_timestamp() + '1 day')});

my @tables = qw(tier resource tier_quota reserved_subdomain tenant quota quota_usage environment
	module module_version node node_module hook deployment stage task
	work_item idempotency_key audit_event installation version_tag withdrawn_version release
	release_module held_version rehearsal statement);
my $counts = row_counts('original');
my %contents = map { $_ => content('original', $_) } @tables;
is(scalar(grep { $contents{$_} eq '' } @tables), 0, 'no table is empty') or diag($counts);

# As if its time had come; whoever dispatches learns it when it loads the tables.
sub make_due
{
	my ($db, $id) = @_;
	$node->safe_psql($db, "UPDATE hotswap.deployment SET run_at = clock_timestamp()
		WHERE id = '$id';
		UPDATE hotswap.work_item SET due_at = clock_timestamp() WHERE deployment_id = '$id'");
	return;
}

# Away and back; in one transaction as well, as a careful administrator would.
$node->command_ok([ 'pg_dump', '-f', $file, $node->connstr('original') ], 'pg_dump');
for my $copy (qw(restored restored_at_once))
{
	my @options = $copy eq 'restored' ? () : ('-1');
	$node->safe_psql('postgres', "CREATE DATABASE $copy TEMPLATE template0");
	$node->command_ok([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', @options, '-o', '/dev/null', '-f',
		$file,
		$node->connstr($copy) ], "psql @options restores it");
	ok(wait_for($node, 'postgres', "SELECT count(*) FROM pg_stat_activity
		WHERE backend_type = 'hotswap dispatcher' AND datname = '$copy' AND state = 'idle'", 1),
		'the copy has a dispatcher');
	is(row_counts($copy), $counts, 'every table has as many rows as in the original');
	is(content($copy, $_), $contents{$_}, "$_ is the same") for @tables;
	is($node->safe_psql($copy, 'SELECT last_value, is_called FROM hotswap.swap_seq'),
		$node->safe_psql('original', 'SELECT last_value, is_called FROM hotswap.swap_seq'),
		'and so is the sequence');
	is($node->safe_psql($copy, 'SELECT * FROM hotswap.verify_audit()'), '',
		'the audit chain is whole');
	cmp_ok(month($copy), '>=', 2, 'the partitions have come along');
	is($node->safe_psql($copy, q{SELECT count(*) FROM hotswap.audit_event_default}), '0',
		'and the events are in them');
	is(health($copy, 'audit'), 'ok', 'as health() says');

	# Neither what was queued nor what is due by now has begun.
	is(health($copy, 'dispatching'), 'critical', 'health(): not ours yet');
	make_due($copy, $later);
	is($node->safe_psql($copy, q{SELECT string_agg(status::text, ',' ORDER BY id)
		FROM hotswap.deployment
		WHERE id IN (SELECT deployment_id FROM hotswap.work_item)}), 'queued,scheduled',
	'nothing has started by itself');

	# Nothing that was changed comes back to what it was in the beginning.
	is($node->safe_psql($copy, q{SELECT hotswap.consume_quota(hotswap.find_tenant('acme'),
		'websites', 2)}), '3',
		'a tenant goes on with what it had left');
	is($node->safe_psql($copy, q{SELECT hotswap.create_tenant('Shop', 'shop', 'a@b.c')
		IS NOT NULL}), 't',
		'a subdomain that was given free is free');
	is($node->safe_psql($copy, q{SELECT weight, quotas->>'moons' FROM hotswap.tiers
		WHERE name = 'starter'}), '3|2',
		'the tiers are as they were configured');

	# Adopted, the line is still stopped, as it was when the dump was made.
	$node->safe_psql($copy, 'SELECT hotswap.adopt()');
	is(health($copy, 'dispatching'), 'warning', 'after adopt() it is stopped');
	like($node->safe_psql($copy, "SELECT detail FROM hotswap.explain('$queued')"),
		qr/the database moves/, 'explain() says so');
	is($node->safe_psql($copy, "SELECT hotswap.wait('$queued', '0.5 s')"), 'queued',
		'and nothing starts');
	$node->safe_psql($copy, 'SELECT hotswap.start_dispatching()');
	is($node->safe_psql($copy, "SELECT hotswap.wait('$_', '60 s')"), 'succeeded',
		'after start_dispatching() it runs') for ($queued, $later);
	is($node->safe_psql($copy, 'SELECT a.app(), b.app()'), '1|1',
		'in the schemas that the dump has brought');
	is($node->safe_psql('original', 'SELECT a.app(), b.app()'), '2|2', 'and in them only');

	# What builds on each other goes on where it was.
	is(ended($copy, $node->safe_psql($copy, q{SELECT hotswap.deploy('chain', 'latest', 'staging',
		only_target => true)})), 'failed', 'what is held is held');
	is(ended($copy, $node->safe_psql($copy, q{SELECT hotswap.deploy_release('spring', 'staging',
		only_target => true, reapply => true)})), 'succeeded', 'a release comes again');
	is(steps_on_c($copy, 'chain'), 'up 1, up 2, up 3, down 3, down 2, up 2, up 3',
		'by the steps that the node lacks');
	$node->safe_psql($copy, 'SET ROLE customer_c; CREATE TABLE c.later (n int)');
	$node->safe_psql($copy, "SELECT hotswap.retry('$of{outside}')");
	is(ended($copy, $of{outside}), 'succeeded', 'what had stopped between statements goes on');
	is($node->safe_psql($copy, 'SELECT count(*) FROM c.book'), '1', 'at the second one');
	check_invariants($node, $copy);
}

# In any order and at once; every row comes along.  Not every partition is there when a row of its
# month comes.
for my $format (qw(c d))
{
	my $archive = "$PostgreSQL::Test::Utils::tmp_check/dump.$format";
	my $copy = "parallel_$format";

	$node->command_ok([ 'pg_dump', "-F$format", '-f', $archive, $node->connstr('original') ],
		"pg_dump -F$format");
	for my $round (1 .. 3)
	{
		$node->safe_psql('postgres', "DROP DATABASE IF EXISTS $copy (FORCE)");
		$node->safe_psql('postgres', "CREATE DATABASE $copy TEMPLATE template0");
		$node->command_ok([ 'pg_restore', '-e', '-j', 4, '-d', $node->connstr($copy), $archive ],
			"pg_restore -F$format -j4");
		is(row_counts($copy), $counts, 'every table has as many rows as in the original');
	}
	is(content($copy, $_), $contents{$_}, "$_ is the same") for @tables;
	is($node->safe_psql($copy, 'SELECT * FROM hotswap.verify_audit()'), '',
		'the audit chain is whole');
	is($node->safe_psql($copy, q{SELECT count(*) FROM pg_trigger t
		JOIN pg_class c ON c.oid = tgrelid
		WHERE c.relnamespace = 'hotswap'::regnamespace AND tgenabled <> 'A'}),
		'0', 'every trigger fires always');
	$node->safe_psql($copy, 'SELECT hotswap.adopt()');
	is(health($copy, 'dispatching'), 'warning', 'adopt() has nothing against it');
}

# One that lacks a part is told.  The tables are those that others refer to.
for my $lost (qw(tenant installation tier module module_version node environment signing_key
	resource deployment work_item))
{
	$node->safe_psql('postgres', 'DROP DATABASE IF EXISTS lacking (FORCE)');
	$node->safe_psql('postgres', 'CREATE DATABASE lacking TEMPLATE template0');
	my $archive = "$PostgreSQL::Test::Utils::tmp_check/dump.c";
	my ($list) = run_command([ 'pg_restore', '-l', $archive ]);
	unlink "$file.list";
	append_to_file("$file.list",
		join '', map { "$_\n" } grep { !/TABLE DATA hotswap $lost / } split /\n/, $list);
	$node->command_ok(
		[ 'pg_restore', '-L', "$file.list", '-d', $node->connstr('lacking'), $archive ],
		"a restore without $lost");
	my $missing = "rows of hotswap.$lost that hotswap.\\w+ refers to are missing";
	like($node->safe_psql('lacking', q{SELECT status, detail FROM hotswap.health()
		WHERE component = 'dispatching'}),
		qr/^critical\|this database was not restored completely: $missing/, 'health() says so');
	my ($rc, $out, $err) = $node->psql('lacking', 'SELECT hotswap.adopt()');
	like($err, qr/not restored completely/, 'and adopt() refuses');
}

# The original and a copy restored into it would fight for nothing: the original still waits.
is($node->safe_psql('original', "SELECT status FROM hotswap.deployment WHERE id = '$queued'"),
	'queued',
	'the original is where it was');
make_due('original', $later);
$node->safe_psql('original', 'SELECT hotswap.start_dispatching()');
is($node->safe_psql('original', "SELECT hotswap.wait('$later', '60 s')"), 'succeeded',
	'and can go on');

# Without CASCADE, although the partitions are not members of the extension.
for my $db (qw(original restored))
{
	is($node->psql($db, 'DROP EXTENSION hotswap'), 0, "DROP EXTENSION in $db");
	is($node->safe_psql($db, q{SELECT count(*) FROM pg_namespace WHERE nspname = 'hotswap'}), '0',
		'the schema is gone');
	is($node->safe_psql($db, q{SELECT count(*) FROM pg_class WHERE relname ~ '^audit_event'}), '0',
		'and every partition');
	is($node->safe_psql($db, 'SELECT a.app(), b.app()'), '1|1', 'what was deployed stays');
	ok(wait_for($node, 'postgres',
		"SELECT count(*) FROM pg_stat_activity WHERE backend_type ~ '^hotswap' AND datname = '$db'",
		0), 'no worker is left');
}
$node->safe_psql('original', 'CREATE EXTENSION hotswap');
is(health('original', 'dispatching'), 'ok', 'and it can be made again');

done_testing();
