# Tenants and the dispatcher: whose turn it is, how many of a tenant run at a time, and what happens
# to them when a tenant is suspended, an executor or the dispatcher killed, the server restarted.
#
# Scripts wait at gates: advisory locks that the test holds.  Orders are those of the starts, never
# of times.
use strict;
use warnings;

use HotswapTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $gate = 4711;
my $node = hotswap_cluster(
	'tenant_dispatch',
	'hotswap.max_executors' => 4,
	'hotswap.lock_timeout' => '170s',
	'hotswap.retry_base' => '20ms',
	'hotswap.retry_limit' => 10);
my $holder;

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub close_gate
{
	$holder = $node->background_psql('postgres');
	$holder->query_safe("SELECT pg_advisory_lock($gate)");
	return;
}

sub open_gate
{
	$holder->quit if $holder;
	undef $holder;
	return;
}

# Makes a tenant with environments "one" and "two" and a node in each; returns its id.
sub make_tenant
{
	my ($name, $tier) = @_;
	my $id = sql("SELECT hotswap.create_tenant('$name', '$name-x', '$name\@example.com', '$tier')");

	sql(qq(SELECT hotswap.activate_tenant('$id');
		CREATE ROLE "$name" LOGIN;
		CREATE SCHEMA "$name" AUTHORIZATION "$name";
		CREATE SCHEMA "${name}_two" AUTHORIZATION "$name";
		SELECT hotswap.configure_environment('one', 1, tenant => '$id'),
		hotswap.configure_environment('two', 2, tenant => '$id');
		SELECT hotswap.register_node('one', 'n', run_as => '$name', schema => '$name',
			tenant => '$id'),
			hotswap.register_node('two', 'n', run_as => '$name', schema => '${name}_two',
				tenant => '$id')));
	return $id;
}

# Publishes a version of so many modules.
sub publish
{
	my ($tenant, $modules, $version, $script) = @_;

	# what runs already is not swapped in again: no two versions are alike
	sql(qq(SELECT hotswap.publish_version('m' || i, '$version',
		\$script\$$script -- $version\$script\$,
		tenant => '$tenant')
		FROM generate_series(1, $modules) i));
	return;
}

sub deploy
{
	my ($tenant, $first, $last, $version, $more) = @_;

	return split /\n/, sql(qq(SELECT hotswap.deploy('m' || i, '$version', 'one',
		tenant => '$tenant'@{[ $more // '' ]})
		FROM generate_series($first, $last) i));
}

sub call { return sql("SET hotswap.tenant = '$_[0]'; SELECT $_[1]"); }

# The names of the tenants whose deployments of a version were started, in this order.
sub starts
{
	my ($version) = @_;

	return split /\n/, sql(qq(SELECT t.name FROM hotswap.deployment d
		JOIN hotswap.tenant t ON t.id = d.tenant_id
		WHERE d.version = '$version' AND d.started_at IS NOT NULL ORDER BY d.started_at));
}

sub wait_for_end
{
	return wait_for($node, 'postgres', 'SELECT count(*) = 0 FROM hotswap.work_item');
}

# How many of a tenant are in a status.
sub count_of
{
	my ($tenant, $status) = @_;

	return sql("SELECT count(*) FROM hotswap.deployment
		WHERE tenant_id = '$tenant' AND status = '$status'");
}

sub worker_pid
{
	my ($kind) = @_;

	return sql("SELECT pid FROM hotswap.workers WHERE kind = '$kind' AND database = 'postgres'
		ORDER BY deployment_id IS NULL LIMIT 1");
}

my $wait = "SELECT pg_advisory_xact_lock_shared($gate)";

# ---- a thousand and one ----

my $many = make_tenant('many', 'custom');
my $single = make_tenant('single', 'custom');
publish($many, 1000, 1, 'SELECT 1');
publish($single, 60, 1, 'SELECT 1');
sql(q(SELECT hotswap.stop_dispatching('until all are there')));
deploy($many, 1, 1000, 1);
my ($id) = deploy($single, 1, 1, 1);
sql('SELECT hotswap.start_dispatching()');
wait_for_end();
my @starts = starts(1);
my ($place) = grep { $starts[$_] eq 'single' } 0 .. $#starts;
is(scalar @starts, 1001, 'a thousand deployments of one tenant, and one of another');
cmp_ok($place, '<=', 2, 'that one starts after two of the others at most');
cmp_ok(sql(q(SELECT count(*) FROM hotswap.task
	WHERE kind = 'swap' AND finished_at < (SELECT t.finished_at FROM hotswap.task t
		JOIN hotswap.tenant n ON n.id = t.tenant_id WHERE n.name = 'single' AND t.kind = 'swap'))),
	'<', 100, 'and is not held up after that');
is(sql("SELECT count(*) FROM hotswap.deployment WHERE status = 'succeeded'"), '1001',
	'all succeed');

# ---- no credit for the past ----

# One of them has had a thousand turns, the other one nearly none, in the life of the same
# dispatcher.
# All executors are busy when both have something waiting.
publish($many, 60, 2, 'SELECT 1');
publish($single, 60, 2, 'SELECT 1');
publish($many, 10, 'gate', $wait);
close_gate();
deploy($many, 1, 4, 'gate');
wait_at_gate($node, $gate, 4);
deploy($many, 5, 8, 'gate');
deploy($many, 11, 50, 2);
deploy($single, 11, 50, 2);
wait_for_idle_dispatcher($node);
is_deeply([ starts(2) ], [], 'no executor is free');
like(sql("SET hotswap.tenant = '$single'; SELECT reason || ': ' || detail || ' ' || unblocked_by
	FROM hotswap.explain("
		. "(SELECT id FROM hotswap.deployment WHERE tenant_id = '$single' AND status = 'queued'
			LIMIT 1))"),
	qr/^it\ waits\ for\ its\ turn:\ 4\ of\ at\ most\ 4\ executors\ are\ busy\.
		\ an\ executor\ that\ has\ finished\ its\ task$/x,
	'explain() says no more than that');
open_gate();
wait_for_end();
@starts = starts(2);
my $ahead = 0;
my $worst = 0;
for (@starts)
{
	$ahead += $_ eq 'single' ? 1 : -1;
	$worst = abs $ahead if abs $ahead > $worst;
}
is(scalar @starts, 80, 'both have forty waiting');
cmp_ok($worst, '<=', 2, 'they take turns, whatever each had before');

# ---- two to one, with a restart in between, and a priority ----

my $free = make_tenant('free', 'free');
my $starter = make_tenant('starter', 'starter');
for my $tenant ($free, $starter)
{
	sql("SELECT hotswap.set_quota('$tenant', 'concurrent_deployments', NULL)");
	publish($tenant, 300, 3, 'SELECT 1');
}
publish($many, 1, 3, 'SELECT 1');
sql(q(SELECT hotswap.stop_dispatching('until all are there')));
deploy($free, 1, 300, 3);
deploy($starter, 1, 300, 3);
deploy($many, 1, 1, 3, ', priority => 1');
sql('SELECT hotswap.start_dispatching()');
wait_for($node, 'postgres', q(SELECT count(*) >= 100 FROM hotswap.deployment
	WHERE version = '3' AND started_at IS NOT NULL));
$node->stop('fast');
$node->start;
my $before = sql(q(SELECT count(*) FROM hotswap.deployment
	WHERE version = '3' AND started_at IS NOT NULL));
note("restarted after $before of 601");
wait_for_end();
@starts = starts(3);
is(shift @starts, 'many', 'a priority goes before all shares');
my %had = (free => 0, starter => 0);
my $bound = 0;
for (@starts)
{
	$had{$_}++;
	last if $had{starter} == 300;
	my $off = abs($had{starter} - 2 * $had{free});
	$bound = $off if $off > $bound;
}
is($had{starter}, 300, 'twice the weight: it has all its turns first');
# each start of the dispatcher may round once
cmp_ok($bound, '<=', 6, 'twice the turns, all the time, over a restart');
cmp_ok(abs($had{free} - 150), '<=', 3, 'when one has had 300, the other has had 150');
is(sql(q(SELECT count(*) FROM hotswap.deployment WHERE version = '3' AND status = 'succeeded')),
	'601', 'all succeed');

# ---- never more than the quota, and nothing leaks ----

my $one = make_tenant('one', 'free');
my $three = make_tenant('three', 'starter');
my %quota = ($one => 1, $three => 3);
my $version = 0;

# A round: so many of each wait at the gate, the others stand aside; then something happens to those
# that run.
sub round
{
	my ($what, $happen) = @_;

	$version++;
	for my $tenant ($one, $three)
	{
		publish($tenant, 6, "r$version", $wait);
	}
	close_gate();
	deploy($_, 1, 6, "r$version") for $one, $three;
	wait_at_gate($node, $gate, 4);
	wait_for_idle_dispatcher($node);
	subtest "$what: at the quota" => sub {
		plan tests => 6;
		for my $tenant ($one, $three)
		{
			my $n = $quota{$tenant};
			is(count_of($tenant, 'running'), $n, "$n of $n run");
			is(count_of($tenant, 'queued'), 6 - $n, 'the others wait');
			like(sql(qq(SET hotswap.tenant = '$tenant';
				SELECT reason || '. ' || detail || ' ' || unblocked_by FROM hotswap.explain(
					(SELECT max(id::text)::uuid FROM hotswap.deployment
						WHERE tenant_id = '$tenant' AND status = 'queued')))),
				qr/^the\ tenant\ has\ $n\ of\ $n\ deployments\ running\.
					\ They\ are:\ ([0-9a-f-]{36}(,\ )?){$n}\.
					\ the\ end\ of\ one\ of\ them,
					\ or\ a\ higher\ quota\ of\ concurrent_deployments$/mx,
				'explain() says so');
		}
	};
	$happen->();
	open_gate();
	wait_for_end();
	for my $tenant ($one, $three)
	{
		is( sql(qq(SELECT coalesce(max(n), 0)
			FROM (SELECT sum(delta) OVER (ORDER BY at, delta) AS n FROM (
				SELECT started_at AS at, 1 AS delta FROM hotswap.deployment
				WHERE tenant_id = '$tenant' AND version = 'r$version' AND started_at IS NOT NULL
				UNION ALL SELECT finished_at, -1 FROM hotswap.deployment
				WHERE tenant_id = '$tenant' AND version = 'r$version' AND started_at
					IS NOT NULL) e) s)),
			$quota{$tenant},
			"$what: never more than $quota{$tenant} at a time");
	}
	return;
}

sub kill_worker
{
	my ($kind) = @_;
	my $pid = worker_pid($kind);

	# Everybody goes with it, the session that holds the gate too.
	kill 'KILL', $pid or die "no process $pid";
	$holder->{run}->finish if $holder;
	undef $holder;
	wait_for($node, 'postgres', 'SELECT true');
	wait_for($node, 'postgres', "SELECT count(*) = 1 FROM hotswap.workers
		WHERE kind = 'dispatcher' AND database = 'postgres' AND pid <> $pid");
	return;
}

round('undisturbed', sub { });
round('failure', sub {
	# A statement that somebody cancels is no transient error.
	sql(q(SELECT pg_cancel_backend(pid) FROM hotswap.workers
		WHERE kind = 'executor' AND deployment_id IS NOT NULL));
	});
cmp_ok(sql("SELECT count(*) FROM hotswap.deployment
	WHERE version = 'r$version' AND status <> 'succeeded'"), '>=', 1, 'some have failed');
round('cancel', sub {
	for my $tenant ($one, $three)
	{
		sql(qq(SET hotswap.tenant = '$tenant'; SELECT hotswap.cancel(id, 'for the test')
			FROM hotswap.deployment WHERE tenant_id = '$tenant' AND status = 'running'));
	}
	# what waited is let in, up to the quota again
	wait_for($node, 'postgres', "SELECT count(*) = 4 FROM hotswap.deployment
		WHERE version = 'r$version' AND status = 'cancelled'");
	wait_at_gate($node, $gate, 4);
	});
is(sql("SELECT count(*) FROM hotswap.deployment
	WHERE version = 'r$version' AND status = 'cancelled'"), '4', 'four were cancelled');
round('killed executor', sub { kill_worker('executor') });
round('killed dispatcher', sub { kill_worker('dispatcher') });
round('terminated executors', sub {
	sql(q(SELECT pg_terminate_backend(pid) FROM hotswap.workers
		WHERE kind = 'executor' AND deployment_id IS NOT NULL));
	});
round('reload', sub {
	# everything is loaded anew, what runs as well
	call($one, q(hotswap.configure_environment('three', 3)));
	wait_for_idle_dispatcher($node);
	is(count_of($_, 'running'), $quota{$_}, 'none is counted twice, and none is forgotten')
		for $one, $three;
	});
round('undisturbed again', sub { });

# A higher quota lets more in at once.  Executors of others are idle: one makes room for it.
publish($one, 6, 'h', $wait);
close_gate();
deploy($one, 1, 4, 'h');
wait_at_gate($node, $gate, 1);
sql("SELECT hotswap.set_quota('$one', 'concurrent_deployments', 2)");
wait_at_gate($node, $gate, 2);
wait_for_idle_dispatcher($node);
is(count_of($one, 'running'), '2', 'a higher quota lets another one in');
sql("SELECT hotswap.set_quota('$one', 'concurrent_deployments', 0)");
open_gate();
wait_for($node, 'postgres', "SELECT count(*) = 0 FROM hotswap.deployment
	WHERE tenant_id = '$one' AND status = 'running'");
wait_for_idle_dispatcher($node);
is(count_of($one, 'queued'), '2', 'a quota of zero lets nobody in');
sql("SELECT hotswap.clear_quota('$one', 'concurrent_deployments')");
wait_for_end();
is(sql(q(SELECT count(*) FROM hotswap.deployment WHERE version = 'h' AND status = 'succeeded')),
	'4', 'all are done in the end');

# ---- suspended in the middle ----

sub deploy_to_two { return call($_[0], "hotswap.deploy('m1', '$_[1]', 'two')"); }

publish($three, 2, 's', $wait);
close_gate();
$id = deploy_to_two($three, 's');
wait_at_gate($node, $gate, 1);
is(sql("SELECT hotswap.suspend_tenant('$three', 'unpaid bills')"), 'suspended',
	'suspended while one is in the middle of its script');
wait_for_idle_dispatcher($node);
is(status_of($node, $id), 'running', 'it goes on');
open_gate();
wait_for($node, 'postgres', "SELECT status = 'paused' FROM hotswap.deployment WHERE id = '$id'");
is(sql("SELECT string_agg(status::text, ' ' ORDER BY ordinal) FROM hotswap.stage
	WHERE deployment_id = '$id'"),
	'succeeded succeeded skipped succeeded pending pending', 'to the end of its stage');
is(sql(qq(SET hotswap.tenant = '$three'; SELECT * FROM hotswap.explain('$id'))),
	'the tenant is suspended|unpaid bills|hotswap.resume_tenant()', 'explain() says why');
is(sql(qq(SET hotswap.tenant = '$three'; SELECT hotswap.wait('$id', '0 s'))), 'paused',
	'so does wait()');
for my $how ('fast', 'immediate')
{
	$node->stop($how);
	$node->start;
	wait_for_idle_dispatcher($node);
	is(status_of($node, $id), 'paused', "it is paused after a restart ($how)");
}
$holder = $node->background_psql('postgres');
$holder->query_until(qr/waiting/,
	"SET hotswap.tenant = '$three';\n\\echo waiting\nSELECT hotswap.wait('$id');\n\\echo ended\n");
is(sql("SELECT hotswap.resume_tenant('$three')"), 'active', 'resumed');
like($holder->query_until(qr/ended/, ''), qr/succeeded/,
	'it goes on to its end by itself, and wakes who waits for it');
open_gate();
is(sql("SELECT string_agg(event, ' ' ORDER BY seq) FROM hotswap.audit_log
	WHERE subject_id = '$id' AND event IN ('start', 'pause', 'resume', 'succeed')"),
	'start pause resume succeed', 'the audit log tells it all');

# What is paused can be cancelled, also while the tenant is suspended.
publish($three, 1, 't', $wait);
close_gate();
$id = deploy_to_two($three, 't');
wait_at_gate($node, $gate, 1);
sql("SELECT hotswap.suspend_tenant('$three', 'unpaid bills')");
open_gate();
wait_for($node, 'postgres', "SELECT status = 'paused' FROM hotswap.deployment WHERE id = '$id'");
is(call($three, "hotswap.cancel('$id', 'no more')"), 'running', 'cancel() of a paused one');
is(call($three, "hotswap.wait('$id', '60 s')"), 'cancelled', 'ends it');
sql("SELECT hotswap.resume_tenant('$three')");

# An executor that is killed in a suspended tenant: the attempt is repeated, for its wave was begun.
publish($three, 1, 'u', $wait);
close_gate();
$id = deploy_to_two($three, 'u');
wait_at_gate($node, $gate, 1);
sql("SELECT hotswap.suspend_tenant('$three', 'unpaid bills')");
sql(q(SELECT pg_terminate_backend(pid) FROM hotswap.workers
	WHERE kind = 'executor' AND deployment_id IS NOT NULL));
wait_for($node, 'postgres', "SELECT max(attempt) = 2 FROM hotswap.task
	WHERE deployment_id = '$id'");
wait_at_gate($node, $gate, 1);
open_gate();
wait_for($node, 'postgres', "SELECT status = 'paused' FROM hotswap.deployment WHERE id = '$id'");
is(sql("SELECT string_agg(status || ' ' || attempt, ' ') FROM hotswap.task
	WHERE deployment_id = '$id'"), 'succeeded 2', 'a wave that was begun is finished');
sql("SELECT hotswap.resume_tenant('$three')");
wait_for_end();
is(status_of($node, $id), 'succeeded', 'then it goes on');

# ---- leaving ----

publish($three, 4, 'v', $wait);
close_gate();
my @ids = deploy($three, 1, 4, 'v');
wait_at_gate($node, $gate, 3);
is(sql("SELECT hotswap.deprovision_tenant('$three', 'gone elsewhere')"), 'deprovisioning',
	'a tenant leaves');
wait_for_idle_dispatcher($node);
is(status_of($node, $ids[3]), 'cancelled', 'what waited is cancelled');
is(status_of($node, $ids[0]), 'running', 'what runs goes on');
open_gate();
wait_for_end();
is(sql(q(SELECT status, count(*) FROM hotswap.deployment WHERE version = 'v' GROUP BY 1
	ORDER BY 1)), "succeeded|3\ncancelled|1", 'to its end');

check_invariants($node, 'postgres');
done_testing();
