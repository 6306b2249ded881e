# What cannot be done with one deployment, or in one part of the housekeeping, harms no other, and
# health() and explain() tell of it: a visit that fails or finds no memory, a row that is locked, a
# commit that fails, an event trigger in the way (src/dispatch/batch.c, src/operations/retention.c,
# src/operations/health.c).
use strict;
use warnings;

use HotswapTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = hotswap_cluster('trouble', 'hotswap.idempotency_ttl' => '1s');

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub health
{
	return sql("SELECT status || ': ' || detail FROM hotswap.health()
		WHERE component = '$_[0]'");
}

sub deploy { return sql("SELECT hotswap.deploy('$_[0]', '$_[1]', 'development')"); }

# Another deployment, of a tenant that has nothing to do with it, comes to its end at once.
my $version = 0;

sub others_go_on
{
	my ($name) = @_;

	$version++;
	sql("SELECT hotswap.publish_version('other', '$version', 'SELECT 1')");
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(sql("SELECT hotswap.wait('@{[ deploy('other', $version) ]}', '20 s')"), 'succeeded', $name);
	return;
}

sub is_healthy
{
	my ($component, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return ok(wait_for($node, 'postgres',
		"SELECT status = 'ok' FROM hotswap.health() WHERE component = '$component'"), $name);
}

sql(q(CREATE ROLE app LOGIN; CREATE SCHEMA app AUTHORIZATION app;
	SELECT hotswap.register_node('development', 'n', run_as => 'app', schema => 'app');
	SELECT hotswap.publish_version('bad', v, 'SELECT 1') FROM unnest('{1,2,3,4}'::text[]) v;
	CREATE FUNCTION public.guard() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
	IF NEW.module = 'bad' AND NEW.version = TG_ARGV[0] THEN
		RAISE 'this one cannot be changed' USING ERRCODE = TG_ARGV[1];
	END IF;
	RETURN NEW; END$$));

# guard(VERSION, SQLSTATE, DEFERRED): a trigger of somebody's that fails for one version, or the
# commit does.
sub guard
{
	my ($bad, $sqlstate, $deferred) = @_;
	sql('CREATE ' . ($deferred ? 'CONSTRAINT ' : '')
		  . 'TRIGGER guard AFTER UPDATE ON hotswap.deployment '
		  . ($deferred ? 'DEFERRABLE INITIALLY DEFERRED ' : '')
		  . "FOR EACH ROW EXECUTE FUNCTION public.guard('$bad', '$sqlstate')");
	return;
}

# ---- a visit that fails, and whose failure cannot be recorded; want of memory; at the commit ----

for my $case (
	[ '1', '42P01', 0, 'a visit fails' ],
	[ '2', '53200', 0, 'a visit finds no memory' ],
	[ '3', '23514', 1, 'a batch cannot be committed' ])
{
	my ($bad, $sqlstate, $deferred, $what) = @$case;

	guard($bad, $sqlstate, $deferred);
	my @crowd = map { deploy('other', $version) } 1 .. ($version ? 5 : 0);
	my $id = deploy('bad', $bad);
	others_go_on("$what: another one goes on");
	ok(wait_for($node, 'postgres',
		"SELECT detail ~ ' [2-9] times since .*: this one cannot be changed'
		FROM hotswap.explain('$id') WHERE reason = 'it is set aside'"),
		"$what: explain() tells with which error, and it is tried again");
	like(health('visits'), qr/^critical:\ 1\ deployments\ are\ set\ aside,\ the\ first\ is\ $id,
		\ since\ .*\ times:\ this\ one\ cannot\ be\ changed$/x,
		"$what: health() tells");
	is(status_of($node, $id), 'queued', "$what: it waits");
	like(health('dispatcher'), qr/^ok: /, "$what: the dispatcher does not fail");
	sql('DROP TRIGGER guard ON hotswap.deployment');
	is(sql("SELECT hotswap.wait('$id', '60 s')"), 'succeeded',
		"$what: when the cause is gone it goes on");
	is_healthy('visits', "$what: all is well again");
}

# ---- a locked row, by a session and by a forgotten prepared transaction ----

sql(q(SELECT hotswap.stop_dispatching('for the test')));
my $id = deploy('bad', '4');
sql(qq(BEGIN; SELECT hotswap.cancel('$id', 'no more'); PREPARE TRANSACTION 'forgotten'));
sql('SELECT hotswap.start_dispatching()');
others_go_on('a row is locked: another one goes on');
is(sql("SELECT detail, unblocked_by FROM hotswap.explain('$id')
	WHERE reason = 'somebody else has its row'"),
	"The row is locked by prepared transaction 'forgotten'.|the end of that transaction",
	'explain() names the prepared transaction');
ok(wait_for($node, 'postgres', "SELECT status = 'warning'
	AND detail ~ 'the rows of 1 deployments are locked, the first is $id'
	FROM hotswap.health() WHERE component = 'visits'"), 'health() tells of it');
sql(q(ROLLBACK PREPARED 'forgotten'));
is(sql("SELECT hotswap.wait('$id', '60 s')"), 'succeeded', 'then it goes on');
is_healthy('visits', 'a row was locked: all is well again');

sql(q(SELECT hotswap.publish_version('slow', '1',
	'SELECT pg_advisory_xact_lock_shared(4711)')));
my $holder = $node->background_psql('postgres');
$holder->query_safe('SELECT pg_advisory_lock(4711)');
$id = deploy('slow', '1');
wait_at_gate($node, 4711, 1);
my $other = $node->background_psql('postgres');
$other->query_safe("BEGIN; SELECT 1 FROM hotswap.deployment WHERE id = '$id' FOR KEY SHARE;
	SAVEPOINT s; SELECT hotswap.cancel('$id', 'no more')");
my $pid = $other->query_safe('SELECT pg_backend_pid()');
is(sql("SELECT detail FROM hotswap.explain('$id') WHERE reason = 'somebody else has its row'"),
	"The row is locked by process $pid.", 'explain() names the session, also of a savepoint');
$other->query_safe('ROLLBACK');
$other->quit;
$holder->quit;
is(sql("SELECT hotswap.wait('$id', '60 s')"), 'succeeded', 'then it goes on');

# ---- one part of the housekeeping ----

sql(q(SELECT hotswap.deploy('other', '1', 'development', 'a key')));
sql(q(CREATE FUNCTION public.refuse() RETURNS event_trigger LANGUAGE plpgsql
	AS $$BEGIN RAISE 'only with a ticket'; END$$));
my ($next) = sql(q(SELECT 'audit_event_'
	|| to_char(now() AT TIME ZONE 'UTC' + '1 month', 'YYYYMM')));
sql("DROP TABLE hotswap.$next");
sql(q(CREATE EVENT TRIGGER refuse ON ddl_command_start WHEN TAG IN ('CREATE TABLE')
	EXECUTE FUNCTION public.refuse()));
wait_for($node, 'postgres', 'SELECT bool_and(expires_at < now()) FROM hotswap.idempotency_key');

sub restart_dispatcher
{
	my $old = dispatcher_pid($node, 'postgres');
	sql("SELECT pg_terminate_backend($old)");
	return wait_for($node, 'postgres', "SELECT count(*) = 1 FROM pg_stat_activity
		WHERE backend_type = 'hotswap dispatcher' AND datname = 'postgres' AND pid <> $old");
}
restart_dispatcher();
ok(wait_for($node, 'postgres', 'SELECT count(*) = 0 FROM hotswap.idempotency_key'),
	'the other parts of the housekeeping are done');
like(health('housekeeping'),
	qr/^warning:\ since\ .*,\ \d+\ times:
		\ could\ not\ make\ partitions\ of\ the\ audit\ log:\ only\ with\ a\ ticket$/x,
	'health() tells which was not, and why');
sql('DROP EVENT TRIGGER refuse');

# ---- much of it: what is due is done in between ----

sql(q(INSERT INTO hotswap.idempotency_key (tenant_id, scope, key, fingerprint, expires_at)
	SELECT id, 'orders', n, '', now() - interval '1 min'
	FROM hotswap.tenant, generate_series(1, 200000) n));
# Each step of the removal takes a while, so that it cannot be over before the other one has begun.
sql(q(CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS
	$$BEGIN PERFORM pg_sleep(0.2); RETURN NULL; END$$;
	CREATE TRIGGER dawdle BEFORE DELETE ON hotswap.idempotency_key
		FOR EACH STATEMENT EXECUTE FUNCTION dawdle()));
restart_dispatcher();
others_go_on('while much is removed another one goes on');
isnt(sql('SELECT count(*) FROM hotswap.idempotency_key'), '0', '... before all of it is removed');
sql('DROP TRIGGER dawdle ON hotswap.idempotency_key');
ok(wait_for($node, 'postgres', 'SELECT count(*) = 0 FROM hotswap.idempotency_key'),
	'in the end it is');
ok(wait_for($node, 'postgres', "SELECT to_regclass('hotswap.$next') IS NOT NULL"),
	'then it is done, too');
is_healthy('housekeeping', 'all is well again');
check_invariants($node, 'postgres');

done_testing();
