# A routed module through crashes in the middle of an activation, and those who hold its versions:
# prepared transactions, old ones, and standbys.
use strict;
use warnings;

use HotswapTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# The sessions of the test do not wait for a standby.
$ENV{PGOPTIONS} = '-c synchronous_commit=local';
my $node;
my $version = 0;

sub sql { return $node->safe_psql('postgres', $_[0]); }

# What a caller gets, who waits for nobody.
sub answer { return sql(q(SET statement_timeout = '30s'; SELECT agree(acme.one(), acme.two()))); }

sub slots
{
	return sql(q(SELECT string_agg(concat_ws(' ', right(slot, 1), version), ', '
		ORDER BY slot COLLATE "C") FROM hotswap.route_slot));
}

# A version that comes to the gates 4711, before it has made anything, and 4712, at its commit.
sub publish
{
	$version++;
	sql(qq(SELECT hotswap.publish_version('billing', '$version', \$s\$
		SELECT pg_advisory_xact_lock_shared(4711);
		INSERT INTO swapped VALUES ('$version');
		CREATE VIEW ones AS SELECT 1;
		CREATE OR REPLACE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT $version';
		CREATE OR REPLACE FUNCTION two() RETURNS int LANGUAGE plpgsql
			AS 'BEGIN RETURN $version; END' \$s\$, 'SELECT one() = two()')));
	return;
}

sub deploy
{
	publish();
	return sql("SELECT hotswap.deploy('billing', '$version', 'development')");
}

sub succeeds
{
	my ($d, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is(sql("SELECT hotswap.wait('$d', '60 s')"), 'succeeded', $name);
}

# A dispatcher that begins keeps house; a month of long ago is the last that goes.
sub keep_house
{
	my $month = 'hotswap.audit_event_202001';
	my $pid = dispatcher_pid($node, 'postgres');

	sql(qq(CREATE TABLE $month (LIKE hotswap.audit_event INCLUDING ALL);
		ALTER TABLE hotswap.audit_event ATTACH PARTITION $month
			FOR VALUES FROM ('2020-01-01 00:00:00+00') TO ('2020-02-01 00:00:00+00');
		SELECT pg_terminate_backend($pid)));
	wait_for($node, 'postgres', "SELECT to_regclass('$month') IS NULL");
	return;
}

# A server with a routed module; sql() and all the others are about it from now on.
sub begin
{
	my ($name) = @_;

	$node = hotswap_cluster($name, streaming => 1, 'hotswap.retry_base' => '50ms',
		'hotswap.retry_limit' => 10, 'hotswap.deployment_retention' => '1min');
	$version = 0;
	sql(q(CREATE ROLE acme LOGIN; CREATE SCHEMA acme AUTHORIZATION acme;
		SET ROLE acme;
		CREATE TABLE acme.swapped (version text);
		CREATE FUNCTION acme.wait() RETURNS trigger LANGUAGE plpgsql
			AS 'BEGIN PERFORM pg_advisory_xact_lock_shared(4712); RETURN NULL; END';
		CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON acme.swapped DEFERRABLE INITIALLY DEFERRED
			FOR EACH ROW EXECUTE FUNCTION acme.wait();
		RESET ROLE;
		CREATE FUNCTION agree(a int, b int) RETURNS int LANGUAGE plpgsql AS $$
			BEGIN
				IF a <> b THEN RAISE 'mixed: % %', a, b; END IF;
				RETURN a;
			END $$;
		SELECT hotswap.register_node('development', 'acme', run_as => 'acme', schema => 'acme');
		SELECT hotswap.configure_module('billing', routed => true, retain_versions => 1)));
	succeeds(deploy(), 'a version');
	return is(answer(), '1', 'is called');
}

# ---- an old transaction, which has called something: slots made by hand ----

begin('holders');
sql(slurp_file("$ENV{TESTDIR}/bench/route.sql"));
sql('DROP EVENT TRIGGER n');

sub swap_by_hand
{
	my ($v) = @_;
	sql(qq(INSERT INTO hotswap.route (tenant_id, node_id, module, epoch, slot, generation, version)
		SELECT '11111111-1111-4111-8111-111111111111', '11111111-1111-4111-8111-111111111111',
			module, nextval('hotswap.epoch_seq'), slot_of(module, $v), 1, $v
		FROM unnest(ARRAY['m', 'n']) module));
	return;
}
swap_by_hand(1);
my $old = $node->background_psql('postgres', on_error_stop => 0);
$old->query_safe('BEGIN');
is($old->query_safe('SELECT n()'), '1', 'an old transaction');
swap_by_hand(-1);
swap_by_hand(-1);

# ---- faults in the middle ----

my $holders = $node;
begin('life');

# Until an executor is there, in the middle of the commit of the next version.
my %points = (
	'before it has made anything' => sub { wait_at_gate($node, 4711, 1) },
	'before its commit' => sub { wait_at_gate($node, 4712, 1) },
	'when its commit is on disk' => sub {
		wait_for($node, 'postgres', q(SELECT count(*) = 1 FROM pg_stat_activity
			WHERE backend_type = 'hotswap executor' AND wait_event = 'SyncRep'));
	});
my %faults = (
	'kill -9' => sub {
		my $launcher = sql(q(SELECT pid FROM hotswap.workers WHERE kind = 'launcher'));
		my $pid = sql(q(SELECT pid FROM hotswap.workers WHERE kind = 'executor'
			AND deployment_id IS NOT NULL));

		kill(9, $pid) == 1 or die "there is no process $pid";
		wait_for($node, 'postgres', qq(SELECT count(*) = 1 FROM hotswap.workers
			WHERE kind = 'launcher' AND pid <> $launcher));
	},
	'immediate stop' => sub { $node->stop('immediate'); $node->start });

sub break_off
{
	my ($point, $fault) = @_;
	my $name = "$fault $point";
	my $committed = $point =~ /on disk/;
	my $gate = $point =~ /anything/ ? 4711 : 4712;
	my $holder = $node->background_psql('postgres', on_error_stop => 0);
	my $before = answer();

	$holder->query_safe("SELECT pg_advisory_lock($gate)");
	if ($committed)
	{
		sql(q(ALTER SYSTEM SET synchronous_standby_names = 'away'));
		$node->reload;
		wait_for($node, 'postgres',
			q(SELECT setting = 'away' FROM pg_settings WHERE name = 'synchronous_standby_names'));
	}
	my $d = deploy();
	wait_at_gate($node, $gate, 1);
	$holder->query_safe("SELECT pg_advisory_unlock($gate)") if $committed;
	$points{$point}->();
	is(answer(), $before, "$name: callers have the version before, and do not wait");

	# Nobody tries again until it has been looked at.
	sql(q(SELECT hotswap.stop_dispatching('a fault')));
	$faults{$fault}->();
	eval { $holder->quit };
	is(answer(), $committed ? $version : $before, "$name: afterwards " .
		($committed ? 'they have the new one' : 'as well'));
	is(sql(q(SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'acme:billing@_')),
		sql('SELECT count(*) FROM hotswap.route_slot'), "$name: no slot is half made");
	sql(q(ALTER SYSTEM RESET synchronous_standby_names));
	$node->reload;
	sql(q(SELECT hotswap.start_dispatching()));
	succeeds($d, "$name: it is done");
	is(answer(), $version, "$name: once");
	is(sql("SELECT count(*) FROM hotswap.route WHERE deployment_id = '$d'"), '1',
		"$name: by one row");
	return;
}

for my $fault (sort keys %faults)
{
	break_off($_, $fault) for sort keys %points;
}

# ---- those who hold a version ----

$node->stop;
$node = $holders;
$version = 1;

# A prepared transaction.
succeeds(deploy(), 'another version');
my $held = $version;
sql(q(BEGIN; SELECT agree(acme.one(), acme.two()); PREPARE TRANSACTION 'holder'));

# A standby, where one transaction has called the version, and one has a snapshot.
$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('life_standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->append_conf('postgresql.conf', "max_standby_streaming_delay = '100ms'");
$standby->start;
my $caller = $standby->background_psql('postgres', on_error_stop => 0);
$caller->query_safe('BEGIN');
is($caller->query_safe('SELECT acme.one()'), $held, 'a standby');
my $snapshot = $standby->background_psql('postgres', on_error_stop => 0);
$snapshot->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ');
$snapshot->query_safe('SELECT 1');

succeeds(deploy(), 'one more') for 1 .. 3;
keep_house();
like(slots(), qr/ $held(,|$)/, 'what a prepared transaction has called stays');
is(sql(q(SELECT status FROM hotswap.health() WHERE component = 'housekeeping')), 'ok',
	'which is no fault');
sql(q(COMMIT PREPARED 'holder'));

# Nor is one dropped that something needs, or that somebody has locked: it is not waited for long.
my $slot = sql("SELECT slot FROM hotswap.route_slot WHERE version = '$held'");
my $locker = $node->background_psql('postgres', on_error_stop => 0);
$locker->query_safe('BEGIN');
$locker->query_safe(qq(LOCK TABLE "$slot".ones IN ACCESS SHARE MODE));
keep_house();
like(sql(q(SELECT status, detail FROM hotswap.health() WHERE component = 'housekeeping')),
	qr/^warning.*schema "$slot": canceling statement due to lock timeout/,
	'health() tells of one that is locked');
$locker->query_safe('ROLLBACK');
$locker->quit;
sql(qq(CREATE VIEW needs AS SELECT "$slot".one()));
keep_house();
my $health = sql(q(SELECT status, detail FROM hotswap.health() WHERE component = 'housekeeping'));
like($health, qr/^warning.*could not drop slots of routed modules: schema "$slot": cannot drop/,
	'health() tells of one that something needs');
sql('DROP VIEW needs');
keep_house();
is(slots() =~ tr/,//, 1, 'then it goes: one version is retained');
$node->wait_for_catchup($standby);
like(slurp_file($standby->logfile), qr/conflict with recovery/,
	'on the standby it is a conflict with recovery');
my $said = eval { $snapshot->query('SELECT acme.one()'); $snapshot->{stderr} } // '';
my $conflicts = () = slurp_file($standby->logfile) =~ /conflict with recovery/g;
ok($said =~ /the version of module "billing" that the transaction calls has been removed/ ||
		$conflicts == 2, 'who has a snapshot there is told to repeat, or it is one as well');
is($standby->safe_psql('postgres', 'SELECT agree(acme.one(), acme.two())'), $version,
	'others go on');
unlike(slurp_file($standby->logfile), qr/does not exist|cache lookup/, 'nobody misses a function');
eval { $_->quit } for $caller, $snapshot;
$standby->stop;

# Rows stay as long as there is a transaction from before they were old.
wait_for($node, 'postgres', q(SELECT max(clock_timestamp() - xact_start) > '62 s'
	FROM pg_stat_activity WHERE state = 'idle in transaction'));
sql(q(UPDATE hotswap.route SET created_at = '2020-01-01' WHERE module IN ('m', 'n')));
keep_house();
is(sql(q(SELECT count(*) FROM hotswap.route WHERE module IN ('m', 'n'))), '6',
	'rows that the old transaction may need are there');
is($old->query_safe('SELECT m()'), '1', 'and needed');
$old->query_safe('COMMIT');
keep_house();
ok(wait_for($node, 'postgres', q(SELECT count(*) = 2 FROM hotswap.route
	WHERE module IN ('m', 'n'))), 'then they go');
is($old->query_safe('SELECT same(m(), n())'), '-1', 'all but the last');
$old->quit;
check_invariants($node, 'postgres');
done_testing();
