# What is on disk when: starts and ends of tasks are committed without waiting for it
# (src/run/session.c, src/pipeline/stage_tasks.c, src/deployment/wait.c).  The server is stopped
# as if its power had failed.
use strict;
use warnings;

use HotswapTest;
use Test::More;

my $limit = 3;
my $node = hotswap_cluster(
	'durable',
	'hotswap.retry_base' => '50ms',
	'hotswap.retry_limit' => $limit,
	autovacuum => 'off',
	# What was committed asynchronously is lost by a crash, as far as it can be.
	wal_writer_delay => '10s');

sub sql { return $node->safe_psql('postgres', $_[0]); }

# What somebody sees by looking at a table, which flushes nothing.
sub wait_to_see
{
	return wait_for($node, 'postgres',
		"SELECT status = 'succeeded' FROM hotswap.deployment WHERE id = '$_[0]'");
}

# Versions of a module that say in which order they were swapped in, and how much of WAL there was.
sub publish
{
	my ($modules, $versions) = @_;
	return sql(qq(SELECT count(hotswap.publish_version('m' || m, v::text,
			format('INSERT INTO swapped (module, version, wal)
				VALUES (%s, %s, pg_current_wal_insert_lsn())', m, v)))
		FROM generate_series(1, $modules) m, generate_series(1, $versions) v));
}

sub power_failure
{
	$node->stop('immediate');
	return $node->start;
}

sql(q(CREATE ROLE one LOGIN; CREATE SCHEMA one AUTHORIZATION one
		CREATE TABLE swapped (n bigserial, module int, version int, wal pg_lsn);
	SELECT hotswap.register_node('development', 'one', run_as => 'one', schema => 'one')));

# ---- nobody waits for the disk, but who calls wait() or await() ----

# The role's setting is the server's own, and there is no standby to wait for.
publish(1, 60);
my $unflushed = 0;
for my $version (1 .. 20)
{
	wait_to_see(sql("SELECT hotswap.deploy('m1', '$version', 'development')"));
	$unflushed += sql('SELECT max(wal) > pg_current_wal_flush_lsn() FROM one.swapped') eq 't';
}
cmp_ok($unflushed, '>', 0, 'that a deployment has succeeded can be seen before it is on disk');

for my $how ('SELECT hotswap.wait(%s)', 'CALL hotswap.await(%s)')
{
	for my $version (21 .. 25)
	{
		my $id = sql("SELECT hotswap.deploy('m1', '$version', 'development')");
		# whoever returns from it has this session's word
		sql(sprintf($how, "'$id'"));
		is(sql('SELECT max(wal) <= pg_current_wal_flush_lsn() FROM one.swapped'),
			't', "what has ended is on disk when \"$how\" returns");
	}
}

my $id = sql(q(SELECT hotswap.deploy('m1', '26', 'development')));
is(sql("SELECT hotswap.wait('$id')"), 'succeeded', 'the end that is reported');
power_failure();
is( sql("SELECT count(*) FROM hotswap.audit_log WHERE subject_id = '$id' AND event = 'succeed'
		AND subject = 'deployment' AND at < pg_postmaster_start_time()"),
	'1', 'and that survives a power failure');

# ---- what was only seen may be lost, but never one without the other ----

for my $version (27 .. 32)
{
	$id = sql("SELECT hotswap.deploy('m1', '$version', 'development')");
	wait_to_see($id);
	power_failure();
	is( sql("SELECT (SELECT count(*) FROM one.swapped WHERE version = $version)
			= (SELECT count(*) FROM hotswap.node_module WHERE deployment_id = '$id')
			OR (SELECT count(*) FROM hotswap.work_item) > 0"),
		't', 'the swap and its record are there, or neither');
	is(sql("SELECT hotswap.wait('$id', '170 s')"), 'succeeded', 'then it is done again');
}
is( sql(q(SELECT count(*), count(DISTINCT version) FROM one.swapped
		WHERE version BETWEEN 27 AND 32)),
	'6|6', 'each once');

# ---- stops in the middle of many ----

my ($modules, $versions) = (20, 20);
sql('TRUNCATE one.swapped');
sql(q(SELECT hotswap.stop_dispatching('the queue is filled')));
sql(qq(SELECT count(hotswap.publish_version('d' || m, v::text,
		format('INSERT INTO swapped (module, version) VALUES (%s, %s)', m, v)))
	FROM generate_series(1, $modules) m, generate_series(1, $versions) v;
	SELECT count(hotswap.deploy('d' || m, v::text, 'development'))
	FROM generate_series(1, $versions) v, generate_series(1, $modules) m));
sql('SELECT hotswap.start_dispatching()');
for my $stop (1 .. 4)
{
	wait_for($node, 'postgres',
		"SELECT count(*) >= $stop * 60 FROM hotswap.deployment
			WHERE module ~ '^d' AND status = 'succeeded'");
	power_failure();
}
wait_for($node, 'postgres', 'SELECT count(*) = 0 FROM hotswap.work_item');
is( sql(q(SELECT status, count(*) FROM hotswap.deployment WHERE module ~ '^d' GROUP BY 1)),
	'succeeded|' . $modules * $versions, 'after four power failures all have succeeded');
is( sql(q(SELECT count(*), count(DISTINCT (module, version)) FROM one.swapped)),
	join('|', ($modules * $versions) x 2), 'none was lost and none done twice');
is( sql(q(SELECT count(*) FROM (SELECT version,
			row_number() OVER (PARTITION BY module ORDER BY n) AS place
		FROM one.swapped) s WHERE version <> place)),
	'0', 'in the order of each lane');
check_invariants($node, 'postgres');

# ---- a script that brings the server down ----

# What it does is done for it: its executor is killed, each time it runs.
sql(q(SELECT hotswap.publish_version('deadly', '1', 'SELECT pg_sleep(600)')));
$id = sql(q(SELECT hotswap.deploy('deadly', '1', 'development')));
my $asleep = q(SELECT pid FROM pg_stat_activity
	WHERE backend_type = 'hotswap executor' AND wait_event = 'PgSleep');
my ($runs, $pid) = (0, 0);
while ($runs <= $limit + 1)
{
	wait_for($node, 'postgres', qq(SELECT status = 'failed' OR EXISTS ($asleep AND pid <> $pid)
		FROM hotswap.deployment WHERE id = '$id'));
	last if status_of($node, $id) eq 'failed';
	$pid = sql($asleep);
	$runs++;
	kill 9, $pid;
}
cmp_ok($runs, '>=', $limit, 'a script that brings the server down is tried as often as any other');
cmp_ok($runs, '<=', $limit + 1, 'but for the first attempt, which may go down with it');
is( sql("SELECT status, message FROM hotswap.deployments WHERE id = '$id'"),
	'failed|the executor ended during the last attempt',
	'and then it has failed');
check_invariants($node, 'postgres');

done_testing();
