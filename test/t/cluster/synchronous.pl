# A synchronous standby that is away: whose commits wait, and who says so (src/operations/health.c,
# src/operations/explain.c, src/dispatch/batch.c).
use strict;
use warnings;

use HotswapTest;
use PostgreSQL::Test::Cluster;
use Test::More;

# The sessions of the test do not wait for the standby.
$ENV{PGOPTIONS} = '-c synchronous_commit=local';
my $node = hotswap_cluster('synchronous', streaming => 1, synchronous_standby_names => 'away');

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub deploy
{
	return sql("SELECT hotswap.deploy('m', '1', '$_[0]')");
}

sub replication
{
	my ($options) = @_;
	local $ENV{PGOPTIONS} = $options;
	return sql("SELECT status FROM hotswap.health() WHERE component = 'replication'");
}

# One role whose commits wait for the standby, as the server's setting says, and one whose do not.
sql(q(CREATE ROLE patient LOGIN; CREATE SCHEMA patient AUTHORIZATION patient;
	CREATE ROLE hasty LOGIN; CREATE SCHEMA hasty AUTHORIZATION hasty;
	ALTER ROLE hasty SET synchronous_commit = 'local';
	SELECT hotswap.publish_version('m', '1', 'CREATE TABLE t ()', NULL, 'DROP TABLE t'),
		hotswap.configure_environment('other', rank => 5),
		hotswap.register_node('other', 'hasty', run_as => 'hasty', schema => 'hasty')));

# ---- the standby is away ----

is(replication('-c synchronous_commit=on'), 'critical', 'health() says that commits wait');
is(replication('-c synchronous_commit=local'), 'warning', 'which those of the caller do not');

my $hasty = deploy('other');
is(sql("SELECT hotswap.wait('$hasty', '60 s')"), 'succeeded',
	'a role that does not wait for the standby is deployed');

sql(q(SELECT hotswap.register_node('other', 'patient', run_as => 'patient', schema => 'patient')));
my $patient = deploy('other');
wait_for($node, 'postgres', qq(SELECT EXISTS (SELECT FROM hotswap.explain('$patient')
	WHERE reason = 'the commit of a task waits for a synchronous standby'
		AND detail LIKE 'The swap on patient, in process %')));
is(sql("SET statement_timeout = '60 s'; SELECT hotswap.cancel('$patient', 'the standby is away')"),
	'running', 'cancel() does not wait for anybody');
like(sql("SELECT hotswap.wait('$patient', '0')"), qr/^(?:running|rolling_back)$/,
	'which leaves the end to who does');

# ---- and comes back, or is not asked for any more ----

sql(q(ALTER SYSTEM SET synchronous_standby_names = ''));
$node->reload;
is(sql("SELECT hotswap.wait('$patient', '60 s')"), 'cancelled', 'then it is cancelled');
is(sql("SELECT to_regclass('patient.t')"), '', 'and nothing is left');
is(replication(''), 'ok', 'all is well');
check_invariants($node, 'postgres');
done_testing();
