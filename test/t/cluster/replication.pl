# Who replicates hotswap's tables, or sets session_replication_role, does not go round its triggers.
use strict;
use warnings;

use HotswapTest;
use PostgreSQL::Test::Cluster;
use Test::More;

my $node = hotswap_cluster('replication', streaming => 'logical');

sub sql { return $node->safe_psql($_[1] // 'postgres', $_[0]); }

# A session of joe's that keeps what it has been told: may it publish?
my $version = 0;
sub session
{
	my $session = $node->background_psql($_[0],
		extra_params => [ '-U', 'joe' ],
		on_error_stop => 0);
	$session->query_safe('\\set VERBOSITY sqlstate');
	return $session;
}

sub may
{
	my ($session) = @_;
	$version++;
	$session->{stderr} = '';
	my $out = $session->query(
		"SELECT length(hotswap.publish_version('m', '$version', 'SELECT $version'))");
	return $out eq '64' ? 'yes' : $session->{stderr} =~ /42501/ ? 'no' : "$out $session->{stderr}";
}

sql(q(CREATE ROLE joe LOGIN; SELECT hotswap.register_node('development', 'n')));

# ---- a session with session_replication_role = replica ----

my $joe = session('postgres');
for my $way (q(SELECT hotswap.revoke_access('joe', 'deployer')), 'DELETE FROM hotswap.access',
	'TRUNCATE hotswap.access')
{
	sql(q(SELECT hotswap.grant_access('joe', 'deployer')));
	is(may($joe), 'yes', 'who is granted something may');
	sql("SET session_replication_role = replica; $way");
	is(may($joe), 'no', "after $way it may not");
}
$joe->quit;
like(refusal($node, "SET session_replication_role = replica; $_"), qr/55000/, "$_ is refused")
  for 'DELETE FROM hotswap.audit_event', q(UPDATE hotswap.audit_event SET reason = 'x'),
  'TRUNCATE hotswap.audit_event', 'TRUNCATE hotswap.audit_event_default',
  map { "TRUNCATE hotswap.$_" } split /\n/, sql(q(SELECT relname FROM pg_class
	WHERE relname ~ '^audit_event_[0-9]{6}$' AND relispartition AND relkind = 'r'));

# ---- a subscription ----

sql('CREATE DATABASE copy');
sql(q(CREATE EXTENSION hotswap; SELECT hotswap.register_node('development', 'n')), 'copy');
sql(q(CREATE PUBLICATION p FOR TABLE hotswap.access;
	SELECT pg_create_logical_replication_slot('s', 'pgoutput')));
$node->safe_psql('copy', sprintf(q(CREATE SUBSCRIPTION s CONNECTION '%s' PUBLICATION p
	WITH (create_slot = false, slot_name = 's', copy_data = false)),
	$node->connstr('postgres') =~ s/'/''/gr));
$joe = session('copy');
is(may($joe), 'no', 'nothing was granted here');
sql(q(SELECT hotswap.grant_access('joe', 'deployer', all_tenants => true)));
wait_for($node, 'copy', 'SELECT count(*) = 1 FROM hotswap.access');
is(may($joe), 'yes', 'what is replicated counts');
sql(q(SELECT hotswap.revoke_access('joe', 'deployer', all_tenants => true)));
wait_for($node, 'copy', 'SELECT count(*) = 0 FROM hotswap.access');
is(may($joe), 'no', 'and so does its end');
$joe->quit;
sql('DROP SUBSCRIPTION s', 'copy');

$node->stop('fast');
done_testing();
