# Calls of a routed module where a server is more than one session: parallel workers, prepared
# transactions, sessions that are killed, a standby, a dump. Slots are made by bench/route.sql.
use strict;
use warnings;

use HotswapTest;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = hotswap_cluster('primary', streaming => 1, jit => 'off', max_parallel_workers => 8,
	hot_standby_feedback => 'off', wal_level => 'logical');

sub sql { return $node->safe_psql('postgres', $_[0]); }

# swap(V [, END]): callers get the slots of that answer.
sub swap
{
	my ($v, $end) = (@_, 'COMMIT');
	sql(qq(BEGIN; INSERT INTO hotswap.route
			(tenant_id, node_id, module, epoch, slot, generation, version) SELECT
			'11111111-1111-4111-8111-111111111111', '11111111-1111-4111-8111-111111111111',
			module, nextval('hotswap.epoch_seq'), slot_of(module, $v), 1, $v
		FROM unnest(ARRAY['m', 'n']) module; $end));
	return;
}

sql(slurp_file("$ENV{TESTDIR}/bench/route.sql"));
swap(1);

# ---- parallel workers ----

sql(q(CREATE TABLE big AS SELECT g AS i FROM generate_series(1, 100000) g;
	ALTER TABLE big SET (parallel_workers = 4);
	ANALYZE big;
	CREATE ROLE app LOGIN; GRANT SELECT ON big TO app;
	DO $$
	DECLARE f regprocedure;
	BEGIN
		FOR f IN SELECT p.oid FROM pg_proc p JOIN pg_namespace s ON s.oid = p.pronamespace
			WHERE proname IN ('m', 'n') AND s.nspname IN ('public', 'm@a', 'm@b', 'n@a', 'n@b') LOOP
			EXECUTE format('ALTER FUNCTION %s PARALLEL SAFE', f);
		END LOOP;
	END $$));
my $parallel = q(SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0;
	SET parallel_leader_participation = off; SET min_parallel_table_scan_size = 0;);
my $answers = 'SELECT min(m() + n() + 0 * i), max(m() + n() + 0 * i) FROM big';
like(sql("$parallel EXPLAIN (ANALYZE, COSTS OFF) $answers"), qr/Workers Launched: [1-4]/,
	'workers make the calls');

for my $role (qw(postgres app))
{
	my $session = $node->background_psql('postgres', on_error_stop => 1,
		extra_params => [ '-U', $role ]);

	$session->query_safe($parallel);
	$session->query_safe('BEGIN');
	is($session->query_safe('SELECT m()'), '1', "$role: the leader has called something");
	swap(-1);
	is($session->query_safe($answers), '2|2', "$role: its workers call the same");
	$session->query_safe('COMMIT');
	is($session->query_safe($answers), '-2|-2', "$role: and the new version with it");

	$session->query_safe('BEGIN');
	is($session->query_safe($answers), '-2|-2', "$role: the first call is a worker's");
	swap(1);
	is($session->query_safe('SELECT m() + n()'), '-2', "$role: the leader follows");
	is($session->query_safe($answers), '-2|-2', "$role: and the next workers");
	$session->query_safe('COMMIT');

	$session->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ');
	$session->query_safe('SELECT 1');
	swap(-1);
	is($session->query_safe($answers), '2|2', "$role: a snapshot is the workers' as well");
	$session->query_safe('COMMIT');
	swap(1);
	$session->quit;
}

# What only workers have called is let go at their end; what comes in its place is not called
# instead.
my $leader = $node->background_psql('postgres', on_error_stop => 0);
$leader->query_safe("$parallel BEGIN");
is($leader->query_safe($answers), '2|2', 'only workers have called something');
swap(-1);
sql('ALTER TABLE "m@a".hotswap_slot_1 RENAME TO hotswap_slot_2');
$leader->query('SELECT m()');
like($leader->{stderr}, qr/the version of module "m" that the transaction calls has been removed/,
	'the leader does not get another version');
$leader->quit;
sql('ALTER TABLE "m@a".hotswap_slot_2 RENAME TO hotswap_slot_1');
swap(1);
like(refusal($node, q(SET hotswap.pin = '1 10 0'), options => [ '-U', 'app' ]), qr/42501/,
	'nobody sets what leaders hand over');

# Who asks for versions does without workers, also with a plan that has some.
unlike(sql("SET hotswap.route = 'x=1'; $parallel EXPLAIN (ANALYZE, COSTS OFF) $answers"),
	qr/Workers Launched: [1-4]/, 'a tester has no workers');

# ---- transactions that outlive their sessions, and sessions that do not outlive theirs ----

my $holders = q(FROM pg_locks WHERE relation = '"m@a".hotswap_slot_1'::regclass);

sub held { return sql("SELECT count(*) $holders"); }

sql("BEGIN; SELECT m(); PREPARE TRANSACTION 'pinned'");
is(held(), '1', 'a prepared transaction holds what it has called');
sql("COMMIT PREPARED 'pinned'");
is(held(), '0', 'until it is committed');
swap(-1, "PREPARE TRANSACTION 'swap'");
is(sql('SELECT m()'), '1', 'a prepared swap is none yet');
sql("COMMIT PREPARED 'swap'");
is(sql('SELECT m()'), '-1', 'and is one then');
swap(1);

my $victim = $node->background_psql('postgres', on_error_stop => 0);
$victim->query_safe('BEGIN');
$victim->query_safe('SELECT m()');
is(held(), '1', 'a session holds it');
sql("SELECT pg_terminate_backend(pid) $holders");
wait_for($node, 'postgres', "SELECT count(*) = 0 $holders");
pass('who is ended lets it go');
eval { $victim->quit };

# A crash in the middle of swaps leaves one or the other.
my $swapper = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c',
	'CALL swap_on()' ], '<', \undef, '>', \my $out, '2>', \my $err);
wait_for($node, 'postgres', 'SELECT n > 100 FROM swaps');
$node->stop('immediate');
$swapper->finish;
$node->start;
is(sql('SELECT same(m(), n(), (SELECT v FROM data))') ** 2, 1, 'after a crash all is of one swap');
sql("INSERT INTO inserted DEFAULT VALUES");

# ---- an apply worker ----

# It has no search_path, and each transaction that it applies is one: a default, a trigger and a
# constraint in it call one version.
$node->safe_psql('postgres', 'CREATE DATABASE publisher TEMPLATE template0');
$node->safe_psql('publisher', q(CREATE TABLE inserted (k integer);
	CREATE PUBLICATION p FOR TABLE inserted;
	SELECT pg_create_logical_replication_slot('s', 'pgoutput')));
swap(1);
sql(q(TRUNCATE inserted; ALTER TABLE inserted ADD k integer CHECK (k * m() = 7 * n()),
	ENABLE ALWAYS TRIGGER n) . ';' . sprintf(q(CREATE SUBSCRIPTION s CONNECTION '%s'
	PUBLICATION p WITH (create_slot = false, slot_name = 's', copy_data = false)),
	$node->connstr('publisher') =~ s/'/''/gr));
for my $v (1, -1, 1)
{
	swap($v);
	$node->safe_psql('publisher', 'INSERT INTO inserted VALUES (7), (7)');
	wait_for($node, 'postgres', qq(SELECT count(*) > 0 FROM inserted WHERE v = $v));
	is(sql('SELECT DISTINCT v, w FROM inserted'), "$v|$v", "an apply worker calls version $v");
	sql('TRUNCATE inserted');
}
sql(q(ALTER SUBSCRIPTION s DISABLE));
sql(q(ALTER SUBSCRIPTION s SET (slot_name = NONE)));
sql(q(DROP SUBSCRIPTION s; ALTER TABLE inserted DROP k, ENABLE TRIGGER n));
$node->poll_query_until('postgres',
	q(SELECT NOT active FROM pg_replication_slots WHERE slot_name = 's'));
$node->safe_psql('publisher', q(SELECT pg_drop_replication_slot('s')));

# ---- a dump ----

# Schema "a" is loaded before the rows of the route, and its CHECK needs the module.
sql(q(CREATE SCHEMA a; CREATE TABLE a.checked (i integer CHECK (i * m() <> 0));
	INSERT INTO a.checked SELECT generate_series(1, 10)));
swap(-1);
my $dump = $node->basedir . '/dump';
command_ok([ 'pg_dump', '-Fc', '-f', $dump, $node->connstr('postgres') ], 'a dump');
$node->safe_psql('postgres', 'CREATE DATABASE restored TEMPLATE template0');
command_ok([ 'pg_restore', '-e', '-d', $node->connstr('restored'), $dump ], 'is restored');
is($node->safe_psql('restored', 'SELECT count(*) FROM a.checked'), '10',
	'with the rows that need an entry before there is a route');
is($node->safe_psql('restored', 'SELECT same(m(), n(), m_nested(), n_sql())'), '-1',
	'and calls what was called');
is($node->safe_psql('restored', q(SELECT nextval('hotswap.epoch_seq') > max(epoch)
	FROM hotswap.route)), 't', 'epochs go on');

# Other databases have neither extension nor route.
$node->safe_psql('postgres', 'CREATE DATABASE bare TEMPLATE template0');
is($node->safe_psql('bare', qq($parallel CREATE TABLE big AS SELECT generate_series(1, 1000) i;
	ALTER TABLE big SET (parallel_workers = 4); SELECT count(*) FROM big)), '1000',
	'nothing is handed over in a database without hotswap');
like(refusal($node, 'DROP EXTENSION hotswap', db => 'restored'), qr/2BP01.*depends on language/s,
	'the extension stays as long as there are entries');
$node->safe_psql('restored', 'DROP EXTENSION hotswap CASCADE');
is($node->safe_psql('restored', q(SELECT count(*) FROM pg_proc WHERE proname = 'm_nested')), '2',
	'with CASCADE they go, and what they called stays');

# ---- a standby ----

$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->append_conf('postgresql.conf', "max_standby_streaming_delay = '100ms'");
$standby->start;
is($standby->safe_psql('postgres', 'SELECT same(m(), n(), m_nested())'), '-1', 'a standby');
my $reader = $standby->background_psql('postgres', on_error_stop => 0);
$reader->query_safe('BEGIN');
is($reader->query_safe('SELECT m()'), '-1', 'calls');
my $snapshot = $standby->background_psql('postgres', on_error_stop => 0);
$snapshot->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ');
$snapshot->query_safe('SELECT 1');
swap(1);
$node->wait_for_catchup($standby);
is($standby->safe_psql('postgres', 'SELECT same(m(), n())'), '1', 'it gets the swap');
is($snapshot->query_safe('SELECT same(m(), n())'), '-1', 'a snapshot there has the old version');
$snapshot->query_safe('COMMIT');
is($reader->query_safe('SELECT m()'), '-1', 'so has who has called it');
# The slot is taken away on the primary, which knows nothing of the reader there.
sql('ALTER TABLE "m@b".hotswap_slot_1 RENAME TO hotswap_slot_2');
$node->wait_for_catchup($standby);
like(slurp_file($standby->logfile), qr/conflict with recovery/,
	'and is cancelled when the slot is taken away, as by any DROP TABLE');
eval { $_->quit } for $reader, $snapshot;
is($standby->safe_psql('postgres', 'SELECT m()'), '1', 'the others go on');
$standby->stop;
done_testing();
