# Faults of every kind, in a random order, while clients request, repeat, cancel, retry and approve:
# nothing is lost, nothing happens twice, and the registry is what happened on the nodes.
#
# FAULTS=n: how many (200). FAULT_SEED=n: the random numbers of an earlier run, which prints its
# seed; the numbers are the same then, the moments that faults and requests meet are not.
# FAULTS_VERBOSE=1: tells of each.
use strict;
use warnings;

use HotswapClient;
use HotswapFaults;
use HotswapLedger;
use HotswapTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $faults = $ENV{FAULTS} || 200;
# The dispatcher keeps what has not ended in memory: a few hundred deployments, and its plans.
my $dispatcher_limit_kb = 65_536;
my @modules = qw(m1 m2 m3 m4);
my @environments = qw(development qa production);
my $versions = 12;

# What a client may be told of while such things go on; it asks again.
my $try_again = qr/^(08...|57P0[123]|57014|53300|40001|40P01|55P03|YH003)$/;

my $node = hotswap_cluster(
	'faults',
	max_connections => 60,
	deadlock_timeout => '50ms',
	log_line_prefix => '%m [%p] %b %e %q%u@%d %a ',
	'hotswap.cancel_grace' => '500ms',
	'hotswap.lock_timeout' => '300ms',
	'hotswap.retry_base' => '20ms',
	'hotswap.retry_limit' => 6,
	'hotswap.retry_max_delay' => '200ms',
	'hotswap.statement_timeout' => '2s');
# The postmaster cannot begin anew while a process stands still.
my $seed = begin_faults($node, $ENV{FAULT_SEED}, before_crash => sub { end_lasting(1) });
note("FAULTS=$faults FAULT_SEED=$seed");
my %tenant;			# name => id
my @roles = qw(owner1 owner2 owner3);
my @orders;			# what clients want to be deployed
my @clients;		# other requests under way
my @lasting;		# faults that go on: { until => number of a fault, undo => sub }
my %count;			# what happened, for the record
my $number = 0;		# of the fault

sub a_tenant { return $tenant{ pick(sort keys %tenant) }; }

# How a client speaks for a tenant.
sub of { return (options => "-c statement_timeout=10s -c hotswap.tenant=$_[0]"); }

sub sql { return $node->safe_psql('postgres', $_[0]); }

# ---- what there is to be deployed ----

# Versions by what becomes of them.
my @kinds = (
	(sub { () }) x 6,
	sub { (revert => undef) },
	sub { (deploy => 'SELECT pg_sleep(0.1)') },
	sub { (deploy => 'SELECT pg_sleep(0.02)', verify => 'SELECT pg_sleep(0.02)') },
	# On one node of two: the other one goes back.
	sub { (deploy => q(DO $$BEGIN IF current_schema ~ 'b$' THEN RAISE 'no'; END IF; END$$)) },
	sub { (verify => q(SELECT current_schema !~ 'a$')) },
	sub { (deploy => 'SELECT pg_sleep(60)') },
	# Transient, in every second attempt.
	sub { (deploy => q(DO $$BEGIN IF random() < 0.5 THEN
		RAISE 'again' USING ERRCODE = '40001'; END IF; END$$)) },
	# A revert that fails, in every second attempt.
	sub { (deploy => q(DO $$BEGIN IF current_schema ~ 'b$' THEN RAISE 'no'; END IF; END$$),
		revert => q(DO $$BEGIN IF random() < 0.5 THEN RAISE 'no way back'; END IF; END$$)) },
	sub { (deploy => 'LOCK TABLE public.x; SELECT pg_sleep(0.03); LOCK TABLE public.y') });

sub prepare
{
	sql(join ';', map { "CREATE ROLE $_ LOGIN" } @roles, 'approver');
	sql(q(CREATE TABLE x (); CREATE TABLE y (); GRANT ALL ON x, y TO PUBLIC;
		CREATE FUNCTION maybe(deployment uuid) RETURNS boolean LANGUAGE sql
			AS 'SELECT random() < 0.8';
		CREATE FUNCTION slowly(deployment uuid) RETURNS void LANGUAGE sql
			AS 'SELECT pg_sleep(0.05)';
		SELECT hotswap.grant_access('approver', 'approver', all_tenants => true)));
	for my $name (qw(t1 t2 t3))
	{
		my $id = sql("SELECT hotswap.create_tenant('$name', 'sub$name', '$name\@faults.example',
			'enterprise')");
		$tenant{$name} = $id;
		sql("SELECT hotswap.activate_tenant('$id')");
		ledger_node($node, "${name}_dev", pick(@roles), 'development', $id);
		ledger_node($node, "${name}_qa_$_", pick(@roles), 'qa', $id) for 'a', 'b';
		ledger_node($node, "${name}_prod_$_", pick(@roles), 'production', $id) for 'a', 'b';
		sql(join '', map { my $module = $_;
			map { publish_booked($module, $_, $id, pick(@kinds)->()) } 1 .. $versions } @modules);
		sql("SELECT hotswap.register_hook('validate', 'public.maybe(uuid)', 'm1', tenant => '$id'),
			hotswap.register_hook('test', 'public.slowly(uuid)', 'm2', tenant => '$id')");
	}
	# One of them may not have all that it wants at once.
	sql("SELECT hotswap.set_quota('$tenant{t3}', 'concurrent_deployments', 2)");
	return;
}

# ---- clients ----

# A request that its clients repeat until they have an answer.
sub new_order
{
	my $key = 'order ' . (1 + @orders);
	my @options = ("idempotency_key => '$key'", 'priority => ' . pick(0, 0, 0, 1, -1));
	my $tenant = a_tenant();
	my $module = pick(@modules);
	my $version = 1 + int rand $versions;
	my $environment = pick(@environments);

	push @options, "require_approval => '{qa}'" if $environment ne 'development' && chance(0.2);
	push @options, q(run_at => clock_timestamp()::date + interval '0 s') if chance(0.1);
	push @orders, {
		key => $key,
		tenant => $tenant,
		sql => "SELECT hotswap.deploy('$module', '$version', '$environment', "
		  . join(', ', @options) . ')',
		clients => [],
		ids => {} };
	send_order($orders[-1]) for 1 .. pick(1, 1, 2, 3);
	return;
}

sub send_order
{
	my ($order) = @_;
	push @{ $order->{clients} }, HotswapClient->new($node, $order->{sql}, of($order->{tenant}));
	return;
}

sub read_order
{
	my ($order) = @_;
	my @busy;

	for my $client (@{ $order->{clients} })
	{
		if (!$client->answered) { push @busy, $client; next; }
		if (defined $client->value) { $order->{ids}{ $client->value } = 1; }
		# The server cannot tell the two indexes of REINDEX CONCURRENTLY apart.
		elsif ($client->{error} !~ $try_again && $client->{message} !~ /_ccnew"/)
		{
			fail("$order->{sql}: $client->{error} $client->{message}");
			$order->{refused} = 1;
		}
		$client->vanish;
	}
	$order->{clients} = \@busy;
	return;
}

sub open_orders
{
	return grep { @{ $_->{clients} } || !(%{ $_->{ids} } || $_->{refused}) } @orders;
}

# Other requests, of a tenant; what they are told does not matter, as long as it makes sense.
sub request
{
	my ($tenant, $sql, %param) = @_;

	push @clients, HotswapClient->new($node, $sql, of($tenant), %param);
	return $clients[-1];
}

sub read_clients
{
	my @busy;

	for my $client (@clients)
	{
		if (!$client->answered) { push @busy, $client; next; }
		my $error = $client->{error} // '';
		fail("$client->{sql}: $error $client->{message}") if $error =~ /^(XX|22|42|P0|YH001)/;
		$client->vanish;
	}
	@clients = @busy;
	return;
}

sub read_all
{
	read_order($_) for grep { @{ $_->{clients} } } @orders;
	read_clients();
	return;
}

# One that was accepted, and not long ago.
sub an_order
{
	my @accepted = grep { %{ $_->{ids} } } @orders;

	@accepted = splice @accepted, -40 if @accepted > 40;
	return @accepted ? pick(@accepted) : undef;
}

sub id_of { return (keys %{ $_[0]{ids} })[0]; }

# vote("approve", TENANT, COUNT): on so many of those that wait for it.
sub vote
{
	my ($decision, $tenant, $count) = @_;
	return request($tenant, qq(SELECT hotswap.$decision(deployment_id, environment, 'as it is')
		FROM hotswap.approvals WHERE status = 'pending' AND tenant_id = '$tenant' LIMIT $count),
		user => 'approver');
}

# What people do, other than to request.
sub some_requests
{
	my $order = an_order() // return;
	my $id = id_of($order);
	my $tenant = $order->{tenant};

	vote('approve', $tenant, 5) if chance(0.5);
	vote('reject', $tenant, 1) if chance(0.03);
	request($tenant, "SELECT hotswap.cancel('$id', 'not any more')") if chance(0.08);
	request($tenant, qq(SELECT hotswap.retry(id) FROM hotswap.deployment
		WHERE status IN ('failed', 'rolled_back', 'rollback_failed') AND tenant_id = '$tenant'
		ORDER BY random() LIMIT 1)) if chance(0.2);
	request($tenant, "SELECT hotswap.wait('$id', '1 s')") if chance(0.2);
	request($tenant, "SELECT * FROM hotswap.explain('$id')") if chance(0.1);
	request($tenant, 'SELECT * FROM hotswap.health()') if chance(0.1);
	request($tenant,
		'BEGIN; LOCK TABLE public.y; SELECT pg_sleep(0.03); LOCK TABLE public.x; COMMIT')
	  if chance(0.1);
	send_order(pick(@orders)) if chance(0.3);
	return;
}

# ---- faults ----

# Goes on for some faults, and is undone then; undo returns whether that was possible.
sub lasts
{
	my ($undo, $max) = @_;
	push @lasting, { until => $number + 1 + int rand($max // 5), undo => $undo };
	return;
}

# Ends those that are over, or all.
sub end_lasting
{
	my ($all) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;

	do
	{
		@lasting = grep { !($all || $_->{until} <= $number) || !$_->{undo}->() } @lasting;
		read_all();
		die 'a fault cannot be undone' if $all && time > $deadline;
	  } while ($all && @lasting);
	return;
}

sub client_backend
{
	return soon(q(SELECT pid FROM pg_stat_activity WHERE application_name = 'client'
		AND pid <> pg_backend_pid() ORDER BY state = 'active' DESC, random() LIMIT 1));
}

sub freeze
{
	my ($pid) = @_;

	return unless defined $pid && kill('STOP', $pid);
	stopped($pid);
	lasts(sub { kill 'CONT', $pid; 1 });
	return;
}

sub set
{
	my ($name, @values) = @_;
	ask("ALTER SYSTEM SET hotswap.$name = '" . pick(@values) . "'");
	ask('SELECT pg_reload_conf()');
	return;
}

# A client that has begun something and is thinking.
sub idle_in_transaction
{
	my ($sql) = @_;
	my $client = HotswapClient->new($node, "BEGIN; $sql", options => '-c lock_timeout=200ms');

	$client->finish;
	lasts(sub { $client->vanish; 1 });
	return;
}

sub lock_row
{
	my ($table) = @_;
	my $of_open = $table =~ /^(deployment|installation|node)/ ? '' : q(WHERE deployment_id IN
		(SELECT deployment_id FROM hotswap.work_item));
	$of_open = 'WHERE id IN (SELECT deployment_id FROM hotswap.work_item)'
	  if $table eq 'deployment';
	idle_in_transaction("SELECT FROM hotswap.$table $of_open ORDER BY random() LIMIT 2
		FOR UPDATE SKIP LOCKED");
	return;
}

# Sessions until the server takes no more.
sub fill_slots
{
	my @sessions;

	for (1 .. 60)
	{
		push @sessions, HotswapClient->new($node, 'SELECT 1', user => 'approver')->finish;
		last if $sessions[-1]{gone};
	}
	lasts(sub { $_->vanish for @sessions; 1 }, 3);
	return;
}

# A transaction that waits for its second phase; what its name was stays in the order of the faults.
sub prepared
{
	my ($order, $sql) = @_;
	my $name = "prepared $number";
	my $end = pick('COMMIT', 'COMMIT', 'ROLLBACK');

	return if defined ask("BEGIN; SET LOCAL hotswap.tenant = '$order->{tenant}'; $sql;
		PREPARE TRANSACTION '$name'")->{error};
	lasts(sub { return !defined ask("$end PREPARED '$name'")->{error} });
	return;
}

my @hotswap_tables = qw(deployment stage task work_item node_module node environment approval
  idempotency_key module_version tenant audit_event installation);

my @faults = (
	[ 2, executor_killed => sub { crash(worker('executor')) } ],
	[ 2, dispatcher_killed => sub { crash(worker('dispatcher')) } ],
	[ 1, launcher_killed => sub { crash(worker('launcher')) } ],
	[ 2, backend_killed => sub { crash(client_backend()) } ],
	[ 2, immediate_stop => sub { end_lasting(1); $node->stop('immediate'); $node->start } ],
	[ 2, restart => sub { end_lasting(1); $node->restart } ],
	[ 8, executor_terminated => sub { signal('pg_terminate_backend', worker('executor')) } ],
	[ 6, dispatcher_terminated => sub { signal('pg_terminate_backend', worker('dispatcher')) } ],
	[ 4, launcher_terminated => sub { signal('pg_terminate_backend', worker('launcher')) } ],
	[ 6, client_terminated => sub { signal('pg_terminate_backend', client_backend()) } ],
	[ 6, executor_cancelled => sub { signal('pg_cancel_backend', worker('executor')) } ],
	[ 4, dispatcher_cancelled => sub { signal('pg_cancel_backend', worker('dispatcher')) } ],
	[ 2, launcher_cancelled => sub { signal('pg_cancel_backend', worker('launcher')) } ],
	[ 8, executor_frozen => sub { freeze(worker('executor')) } ],
	[ 3, dispatcher_frozen => sub { freeze(worker('dispatcher')) } ],
	[ 3, launcher_frozen => sub { freeze(worker('launcher')) } ],
	[ 8, client_killed => sub { $_->vanish
		for grep { chance(0.5) } map { @{ $_->{clients} } } @orders;
		$_->vanish for grep { chance(0.5) } @clients } ],
	[ 3, max_executors => sub { set('max_executors', 1, 2, 4, 6) } ],
	[ 2, min_executors => sub { set('min_executors', 0, 1, 3) } ],
	[ 2, batch_size => sub { set('batch_size', 1, 4, 64) } ],
	[ 2, idle_timeout => sub { set('executor_idle_timeout', '100ms', '60s') } ],
	[ 2, retry_limit => sub { set('retry_limit', 1, 3, 10) } ],
	[ 2, lock_timeout => sub { set('lock_timeout', '20ms', '300ms', '1s') } ],
	[ 2, cancel_grace => sub { set('cancel_grace', '1ms', '500ms') } ],
	[ 4, line_stopped => sub { ask("SELECT hotswap.stop_dispatching('a fault')");
		lasts(sub { request(a_tenant(), 'SELECT hotswap.start_dispatching()'); 1 }, 3) } ],
	[ 3, tenant_suspended => sub { my $id = a_tenant();
		ask("SELECT hotswap.suspend_tenant('$id', 'a fault')");
		lasts(sub { request($id, "SELECT hotswap.resume_tenant('$id')"); 1 }, 3) } ],
	( map { my $table = $_; [ 3, "${table}_row_locked" => sub { lock_row($table) } ] }
		qw(deployment task stage work_item node_module) ),
	[ 1, installation_row_locked => sub { lock_row('installation') } ],
	[ 1, node_row_locked => sub { lock_row('node') } ],
	[ 2, table_locked => sub { idle_in_transaction('LOCK TABLE hotswap.' . pick(@hotswap_tables)
		. ' IN ' . pick('SHARE', 'EXCLUSIVE', 'ACCESS EXCLUSIVE') . ' MODE') } ],
	[ 10, ddl => sub { request(a_tenant(), sprintf(pick('VACUUM FULL %s', 'REINDEX TABLE %s',
		'VACUUM FREEZE %s',
		'REINDEX TABLE CONCURRENTLY %s', 'ANALYZE %s', 'ALTER TABLE %s SET (fillfactor = 60)',
		'ALTER INDEX %s_pkey SET (fillfactor = 80)'),
		'hotswap.' . pick(grep { $_ ne 'audit_event' } @hotswap_tables)),
		options => '-c lock_timeout=300ms -c statement_timeout=3s') } ],
	[ 4, slots_filled => \&fill_slots ],
	[ 3, request_prepared => sub { new_order(); prepared($orders[-1], $orders[-1]{sql}) } ],
	[ 2, cancel_prepared => sub { my $order = an_order() // return;
		prepared($order, "SELECT hotswap.cancel('" . id_of($order) . "', 'prepared')") } ],
	[ 1, row_prepared => sub { my $order = an_order() // return;
		prepared($order, q(SELECT FROM hotswap.deployment WHERE id IN
		(SELECT deployment_id FROM hotswap.work_item) LIMIT 1 FOR UPDATE SKIP LOCKED)) } ]);
my @lots = map { ($_) x $_->[0] } @faults;

# ---- the run ----

# How far it is: it has changed when anything has gone on.
sub progress
{
	my $client = ask(q(SELECT (SELECT last_value FROM hotswap.swap_seq), count(*) FILTER
			(WHERE finished_at IS NULL AND id IN (SELECT deployment_id FROM hotswap.work_item)),
		count(*) FILTER (WHERE finished_at IS NOT NULL), sum(audit_seq) FROM hotswap.deployment));
	return $client->{rows}[0] // [];
}

# Clients go on until something has happened.
sub go_on
{
	my $before = progress();
	my $start = time;
	my $now;

	do
	{
		read_all();
		$now = progress();
	  } while ("@$before" eq "@$now" && time - $start < STANDSTILL);
	new_order() for grep { !@$now || $now->[1] < 30 } 1 .. 4;
	send_order($_) for grep { !@{ $_->{clients} } } open_orders();
	some_requests();
	return;
}

sub storm
{
	new_order() for 1 .. 10;
	while ($number < $faults)
	{
		$number++;
		end_lasting(0);
		my $fault = pick(@lots);
		note(sprintf '%d: %s', $number, $fault->[1]) if $ENV{FAULTS_VERBOSE};
		$count{ $fault->[1] }++;
		$fault->[2]->();
		go_on();
	}
	return;
}

# Everything as it should be, and what was begun ends.
sub calm
{
	end_lasting(1);
	# Who has been answered, goes; there is room again.
	do { read_all() } while defined ask('SELECT 1')->{error};
	wait_for($node, 'postgres', q(SELECT count(*) = 1 FROM hotswap.workers
		WHERE kind = 'dispatcher'));
	sql('ALTER SYSTEM RESET ALL');
	sql('SELECT pg_reload_conf()');
	sql('SELECT hotswap.start_dispatching() FROM hotswap.installation
		WHERE stop_reason IS NOT NULL');
	sql(q(SELECT hotswap.resume_tenant(id) FROM hotswap.tenant WHERE status = 'suspended'));
	my $start = time;
	while (my @open = open_orders())
	{
		last if time - $start > $PostgreSQL::Test::Utils::timeout_default;
		send_order($_) for grep { !@{ $_->{clients} } } @open;
		select undef, undef, undef, 0.01;
		read_order($_) for @open;
	}
	# Nobody refuses or cancels any more; every vote is for it.
	until ((ask('SELECT count(*) = 0 FROM hotswap.deployment WHERE finished_at IS NULL')->value
		// '') eq 't')
	{
		last if time - $start > $PostgreSQL::Test::Utils::timeout_default;
		vote('approve', $_, 50)->finish for values %tenant;
		read_clients();
	}
	$_->finish for @clients;
	read_clients();
	return;
}

# ---- what must be so ----

sub check_orders
{
	is(join(', ', map { $_->{key} } open_orders()), '', 'every client got an answer');
	is(join(', ', map { $_->{key} } grep { keys %{ $_->{ids} } > 1 } @orders), '',
		'all who used a key got the same deployment');
	is(sql('SELECT idempotency_key, count(*) FROM hotswap.deployment GROUP BY 1
		HAVING count(*) <> 1'), '', 'a key made one deployment');
	my $told = join ', ', map { "('$_->{key}', '" . (keys %{ $_->{ids} })[0] . "'::uuid)" }
	  grep { %{ $_->{ids} } } @orders;
	is(sql("SELECT * FROM (VALUES $told) t (key, id) WHERE NOT EXISTS
		(SELECT FROM hotswap.deployment d WHERE d.id = t.id AND d.idempotency_key = t.key)"), '',
		'what clients were told of is there');
	return;
}

sub check_rows
{
	is(sql(q(SELECT d.id, d.status, s.kind, s.status FROM hotswap.deployment d JOIN hotswap.stage s
			ON s.tenant_id = d.tenant_id AND s.deployment_id = d.id
		WHERE s.status IN ('running', 'waiting_approval')
			OR d.status = 'succeeded' AND s.status NOT IN ('succeeded', 'skipped'))), '',
		'no stage is on its way, and all of what has succeeded are done');
	is(sql(q(SELECT id, status FROM hotswap.deployment WHERE (cancel_requested_at IS NOT NULL)
		AND status NOT IN ('cancelled', 'rollback_failed', 'rolled_back'))), '',
		'what was to be cancelled did not go on to its end');
	# Anything else would not have been made by a script of ours or by a fault.
	is(sql(q(SELECT id, status, sqlstate, message, rollback_sqlstate, rollback_message
		FROM hotswap.deployment
		WHERE sqlstate !~ '^(P0001|P0004|57014|57P01|55P03|40001|40P01)$'
			-- 55000, no way back: there is no script, or another deployment has swapped since
			OR rollback_sqlstate !~ '^(55000|P0001|57014|57P01|55P03|40001|40P01)$')), '',
		'what failed did so for a reason that there was');
	is(sql(q(SELECT id, status, deployment_id FROM hotswap.deployment d
			FULL JOIN hotswap.failed_rollback f ON f.deployment_id = d.id
		WHERE (d.status = 'rollback_failed') IS DISTINCT FROM (f.deployment_id IS NOT NULL))), '',
		'what has no way back is known, and nothing else');
	is(sql(q(SELECT a.status, d.status FROM hotswap.approval a JOIN hotswap.deployment d
		ON d.id = a.deployment_id WHERE a.status = 'pending')), '', 'no approval is pending');
	return;
}

sub check_server
{
	wait_for_idle_dispatcher($node);
	is(sql(q(SELECT l.objsubid, l.mode, a.backend_type, a.state FROM pg_locks l
			LEFT JOIN pg_stat_activity a USING (pid)
		WHERE l.locktype = 'advisory' AND a.backend_type <> 'hotswap dispatcher')), '',
		'no advisory lock is left');
	is(sql('SELECT gid FROM pg_prepared_xacts'), '', 'no prepared transaction is left');
	wait_for($node, 'postgres', q(SELECT count(*) = 0 FROM hotswap.workers WHERE state = 'busy'));
	# Scripts of ours have no way back, and health() is loud until that is acknowledged.
	sql(qq(SET hotswap.tenant = '$_'; SELECT hotswap.acknowledge(deployment_id, 'seen')
		FROM hotswap.failed_rollback
		WHERE tenant_id = '$_' AND put_right_by IS NULL AND acknowledged_at IS NULL))
	  for values %tenant;
	is(sql(q(SELECT * FROM hotswap.health() WHERE status <> 'ok')), '', 'hotswap is healthy');

	my $pid = dispatcher_pid($node, 'postgres');
	SKIP:
	{
		my $rss = -r "/proc/$pid/status" ? slurp_file("/proc/$pid/status") : '';
		$rss =~ /^RssAnon:\s+(\d+)/m or skip('the system does not tell', 1);
		cmp_ok($1, '<', $dispatcher_limit_kb, 'the memory of the dispatcher is bounded');
	}
	return;
}

my $begin = time;
prepare();
note(sprintf 'prepared after %.1f s', time - $begin);
storm();
note(sprintf '%d orders, %d crashes, storm over after %.1f s', scalar @orders, crashes(),
	time - $begin);
note(join ', ', map { "$_ $count{$_}" } sort keys %count);
calm();
note(sprintf 'calm after %.1f s', time - $begin);
note(sql('SELECT status, count(*) FROM hotswap.deployment GROUP BY 1 ORDER BY 1'));
check_invariants($node, 'postgres');
check_ledgers($node);
check_orders();
check_rows();
check_server();
check_log();
is(sql('SELECT count(*) > 0 FROM hotswap.node_module'), 't', 'something has been swapped');
ok(Test::More->builder->is_passing, "all is well (FAULT_SEED=$seed repeats it)");
done_testing();
