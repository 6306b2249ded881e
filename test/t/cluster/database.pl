# Databases and the extension come, go and move: the workers follow, and stand in nobody's way.
use strict;
use warnings;

use HotswapTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

# The log of a worker that leaves is one for debugging.
my $node = hotswap_cluster('database', log_min_messages => 'debug1');

# A script that waits for a gate which all databases see: it needs no session in its own one.
my $gated = q{DO $$ BEGIN
	WHILE NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'gate') LOOP
		PERFORM pg_catalog.pg_sleep(0.01);
	END LOOP;
END $$};

sub dispatcher
{
	my ($db) = @_;
	return "backend_type = 'hotswap dispatcher' AND datname = '$db'";
}

sub wait_for_dispatchers
{
	my ($db, $count) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return wait_for($node, 'postgres',
		'SELECT count(*) FROM pg_stat_activity WHERE ' . dispatcher($db), $count);
}

# A module of which each version leaves its name behind, and a node.
sub furnish
{
	my ($db) = @_;
	$node->safe_psql($db, qq{
		CREATE TABLE done (version text);
		SELECT hotswap.publish_version('app', v, format('INSERT INTO public.done VALUES (%L)', v))
			FROM unnest('{1,2,3}'::text[]) v;
		SELECT hotswap.publish_version('app',
			'gated', \$s\$$gated; INSERT INTO public.done VALUES ('gated')\$s\$);
		SELECT hotswap.publish_version('app', 'sleeping', 'SELECT pg_sleep(60)');
		SELECT hotswap.register_node('development', 'n')});
	return;
}

sub make_database
{
	my ($db) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $db");
	$node->safe_psql($db, 'CREATE EXTENSION hotswap');
	furnish($db);
	return;
}

sub deploy
{
	my ($db, $version) = @_;
	return $node->safe_psql($db, "SELECT hotswap.deploy('app', '$version', 'development')");
}

sub ends_well
{
	my ($db, $id, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($node->safe_psql($db, "SELECT hotswap.wait('$id', '60 s')"), 'succeeded', $name);
	return;
}

# Until an executor sleeps in a script; returns which attempt of the deployment's task that is.
sub attempt_running
{
	my ($db, $id) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	wait_for($node, $db,
		"SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'hotswap executor'"
		  . " AND datname = '$db' AND state = 'active' AND query ~ 'pg_sleep'", 1);
	return $node->safe_psql($db,
		"SELECT attempt FROM hotswap.task WHERE deployment_id = '$id' AND kind = 'swap'");
}

sub deploy_and_run
{
	my ($db, $version) = @_;
	my $id = deploy($db, $version);
	attempt_running($db, $id);
	return $id;
}

# Work in a database of its own, through all of what follows.
make_database('bystander');
wait_for_dispatchers('bystander', 1);
my $bystander_pid = dispatcher_pid($node, 'bystander');
my $bystander_id = deploy_and_run('bystander', 'gated');

# CREATE EXTENSION that is rolled back, while the launcher is made to look into the database. When
# the dispatcher of the database made after it is there, the launcher has seen all of it.
$node->safe_psql('postgres', 'CREATE DATABASE ghost');
my $session = $node->background_psql('ghost');
$session->query_safe('BEGIN; CREATE EXTENSION hotswap');
make_database('one');
wait_for_dispatchers('one', 1);
$session->query_safe('ROLLBACK');
$session->quit;
make_database('two');
wait_for_dispatchers('two', 1);
ok(wait_for_dispatchers('ghost', 0), 'CREATE EXTENSION rolled back leaves no dispatcher');

# Several databases at once: all are requested before any result is looked at.
my %ids = map { $_ => deploy($_, '1') } qw(one two);
ends_well($_, $ids{$_}, "database $_ deploys") for sort keys %ids;
isnt(dispatcher_pid($node, 'one'), dispatcher_pid($node, 'two'),
	'each with a dispatcher of its own');
is($node->safe_psql($_, 'SELECT version FROM done'), '1', "once, in database $_") for qw(one two);

# DROP EXTENSION that is rolled back: the dispatcher runs into its locks meanwhile, and forgets it.
$session = $node->background_psql('one');
my $id = $session->query_safe(
	"SELECT hotswap.deploy('app', '2', 'development', run_at => clock_timestamp() + '2 s')");
$session->query_safe('BEGIN; DROP EXTENSION hotswap');
wait_for($node, 'postgres',
	"SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE " . dispatcher('one'));
$session->query_safe('ROLLBACK');
$session->quit;
ends_well('one', $id, 'after DROP EXTENSION rolled back what was due is deployed');
ends_well('one', deploy('one', '3'), 'and what is requested then');

# DROP EXTENSION ends the dispatcher and its executors; CREATE EXTENSION brings another one.
$node->safe_psql('one', 'DROP EXTENSION hotswap');
ok(wait_for_dispatchers('one', 0), 'DROP EXTENSION ends the dispatcher');
ok(wait_for($node, 'postgres',
	"SELECT count(*) FROM pg_stat_activity WHERE backend_type ~ '^hotswap' AND datname = 'one'", 0),
	'and the executors');
$node->safe_psql('one', 'DROP TABLE done; CREATE EXTENSION hotswap');
ok(wait_for_dispatchers('one', 1), 'CREATE EXTENSION again starts one');
$node->safe_psql('postgres', 'DROP DATABASE one');
make_database('one');
ends_well('one', deploy('one', '1'), 'a database made again under the same name deploys');

# DROP and CREATE in one transaction: the tables are new, and so is what the dispatcher knows.
$node->safe_psql('two', q{BEGIN; DROP EXTENSION hotswap; DROP TABLE done; CREATE EXTENSION hotswap;
	COMMIT});
furnish('two');
ends_well('two', deploy('two', '1'), 'an extension replaced in one transaction deploys');

# DROP DATABASE that fails for a client's session: its workers were sent away in vain, so they come
# back and start the task again, and the attempt does not count.
make_database('kept');
$id = deploy_and_run('kept', 'gated');
$session = $node->background_psql('kept');
$session->query_safe('SELECT 1');
my ($rc, $out, $err) = $node->psql('postgres', 'DROP DATABASE kept');
like($err, qr/is being accessed by other users/, 'DROP DATABASE fails while a client is connected');
like($err, qr/There is 1 other session/, 'and only for the client');
$session->quit;
ok(wait_for_dispatchers('kept', 1), 'the database has a dispatcher again');
is(attempt_running('kept', $id), 1, 'the task runs again, and the attempt has not counted');

# Somebody who may not drop the database cannot send its workers away.
$node->safe_psql('postgres', 'CREATE ROLE stranger LOGIN CREATEDB');
my $pid = dispatcher_pid($node, 'kept');
for my $command ('DROP DATABASE kept', 'ALTER DATABASE kept RENAME TO stolen',
	'CREATE DATABASE loot TEMPLATE kept')
{
	($rc, $out, $err) = $node->psql('postgres', $command, extra_params => [ '-U', 'stranger' ]);
	like($err, qr/must be owner|permission denied/, "refused: $command");
}
is(dispatcher_pid($node, 'kept'), $pid, 'and the workers have not been disturbed');

# RENAME with a task running: it is repeated under the new name. Being sent away is no failure, so
# the dispatcher does not come back later each time.
my $began = time;
for my $name (('renamed', 'kept') x 3, 'renamed')
{
	my $old = $name eq 'kept' ? 'renamed' : 'kept';
	$node->safe_psql('postgres', "ALTER DATABASE $old RENAME TO $name");
	wait_for_dispatchers($name, 1);
	is(attempt_running($name, $id), 1, 'after RENAME the task runs again, at its first attempt');
}
cmp_ok(time - $began, '<', 60, 'seven times within a minute');

# Whoever sends a dispatcher away signals it more than once (these commands until it has gone, and a
# stopping server twice); that must not keep it from giving the attempt back.
$pid = dispatcher_pid($node, 'renamed');
$node->safe_psql('postgres', "SET log_min_messages = error; SET client_min_messages = error;
	SELECT count(pg_terminate_backend($pid)) FROM generate_series(1, 20000)");
wait_for($node, 'postgres', 'SELECT count(*) FROM pg_stat_activity WHERE ' . dispatcher('renamed')
	. " AND pid <> $pid", 1);
is(attempt_running('renamed', $id), 1,
	'a dispatcher that is signalled many times gives the attempt back');

# A copy of a database at work: it knows that it is one, and leaves the work alone until adopted.
$node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE renamed');
ok(wait_for_dispatchers('copy', 1), 'a copy has a dispatcher');
is(attempt_running('renamed', $id), 1, 'the original goes on');
$node->safe_psql('postgres', 'CREATE ROLE gate');
ends_well('renamed', $id, 'and ends');
is($node->safe_psql('renamed', q{SELECT string_agg(version, ',') FROM done}), 'gated',
	'what was broken off a dozen times has been done once');
wait_for($node, 'postgres',
	"SELECT state = 'idle' AND wait_event_type = 'Extension' FROM pg_stat_activity WHERE "
		. dispatcher('copy'));
is($node->safe_psql('copy', "SELECT status FROM hotswap.health() WHERE component = 'dispatching'"),
	'critical', 'health() of the copy says that it does not dispatch');
is($node->safe_psql('copy', "SELECT unblocked_by FROM hotswap.explain('$id')
	WHERE reason = 'this database is a copy'"),
	'hotswap.adopt()', 'and explain() why');
my $second = deploy('copy', '1');
is($node->safe_psql('copy', "SELECT hotswap.wait('$second', '1 s')"), 'queued',
	'a new request does not start');
is($node->safe_psql('copy', 'SELECT count(*) FROM done'), '0', 'nothing has been done there');
$node->safe_psql('copy', 'SELECT hotswap.adopt()');
ends_well('copy', $_, 'after adopt() it works off its queue') for ($id, $second);
is($node->safe_psql('copy', q{SELECT string_agg(version, ',') FROM done}), 'gated,1', 'once each');
is($node->safe_psql('copy', "SELECT status FROM hotswap.health() WHERE component = 'dispatching'"),
	'ok', 'and health() is content');

# DROP DATABASE without FORCE: of one that idles, and of one whose script would run for a minute.
is($node->psql('postgres', 'DROP DATABASE copy'), 0, 'DROP DATABASE with an idle dispatcher');
deploy_and_run('renamed', 'sleeping');
is($node->psql('postgres', 'DROP DATABASE renamed'), 0, 'DROP DATABASE with a task running');

# A dispatcher that is just starting must not stand in the way either: one session, no pause.
($rc, $out, $err) = $node->psql('postgres',
	"CREATE DATABASE brief TEMPLATE two;\nDROP DATABASE brief;\n" x 20, on_error_stop => 0);
is($err, '', 'a copy can be dropped as soon as it is made');
$node->safe_psql('postgres', 'DROP DATABASE IF EXISTS brief WITH (FORCE)');

# The same in slow motion. The postmaster is stopped, so that a dispatcher is asked for before the
# command, and starts when the command has seen none and waits for pg_database.
$node->safe_psql('postgres', 'CREATE DATABASE late TEMPLATE template0');
make_database('witness');
wait_for_dispatchers('witness', 1);
wait_for_dispatchers('late', 0);
my %slow = map { $_ => $node->background_psql($_ eq 'maker' ? 'late' : 'postgres',
	on_error_stop => 0) } qw(guard maker dropper);
my $since = -s $node->logfile;

sub until_true
{
	my ($query) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
	until ($slow{guard}->query_safe("SELECT pg_stat_clear_snapshot(); $query") =~ /t$/)
	{
		die "waited in vain for: $query" if time > $deadline;
	}
	return;
}

$slow{guard}->query_safe('BEGIN; LOCK TABLE pg_database IN SHARE MODE');
my $now = $slow{guard}->query_safe('SELECT clock_timestamp()');
kill STOP => $node->{_pid};
my $all_well = eval {
	$slow{maker}->query_safe('CREATE EXTENSION hotswap');
	$slow{maker}->quit;
	until_true("SELECT state = 'idle' AND state_change > '$now' FROM pg_stat_activity
		WHERE backend_type = 'hotswap launcher'");
	$slow{dropper}->query_until(qr/^sent/m, "\\echo sent\nDROP DATABASE late;\n");
	until_true("SELECT count(*) = 1 FROM pg_stat_activity
		WHERE query ~ '^DROP DATABASE late' AND wait_event_type = 'Lock'");
	1;
};
kill CONT => $node->{_pid};
die $@ unless $all_well;
my $left = qr/background worker "hotswap dispatcher" .* exited with exit code 0/;
until (slurp_file($node->logfile, $since) =~ $left)
{
	last if $slow{guard}->query_safe('SELECT pg_stat_clear_snapshot();
		SELECT count(*) FROM pg_stat_activity WHERE ' . dispatcher('late')) =~ /1$/;
}
$slow{guard}->query_safe('COMMIT');
$slow{dropper}->query('SELECT 1');
is($slow{dropper}->{stderr}, '', 'one that was asked for before the command makes way');
$slow{$_}->quit for qw(guard dropper);
$node->safe_psql('postgres', 'DROP DATABASE witness');

# The extension in template1, so that every new database has it; made by somebody who may not send
# workers of template1 away. The launcher has seen template1 when it has seen what was made after
# it.
$node->safe_psql('template1', 'CREATE EXTENSION hotswap');
$node->safe_psql('postgres', 'CREATE DATABASE three TEMPLATE template0');
$node->safe_psql('three', 'CREATE EXTENSION hotswap');
wait_for_dispatchers('three', 1);
($rc, $out, $err) = $node->psql('postgres', 'CREATE DATABASE heir',
	extra_params => [ '-U', 'stranger' ]);
is($err, '', 'CREATE DATABASE with the extension in template1');
if ($rc == 0)
{
	furnish('heir');
	ends_well('heir', deploy('heir', '1'), 'the new database deploys');
}
$node->safe_psql('template1', 'DROP EXTENSION hotswap');

# Everything else went on all the time.
ends_well('bystander', $bystander_id, 'another database was not disturbed: its task ended');
is($node->safe_psql('bystander', "SELECT attempt FROM hotswap.task
	WHERE deployment_id = '$bystander_id' AND kind = 'swap'"),
	'1', 'at its first attempt');
is(dispatcher_pid($node, 'bystander'), $bystander_pid, 'with its first dispatcher');
is(dispatcher_pid($node, 'ghost'), '', 'and the database without extension still has none');
check_invariants($node, $_) for qw(bystander one two);

done_testing();
