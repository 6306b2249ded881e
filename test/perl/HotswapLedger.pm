# Deployments that keep books: every script writes into a ledger of its node what it does, in the
# transaction that hotswap records it in. So what hotswap says can be compared with what happened.
package HotswapLedger;

use strict;
use warnings;

use Test::More;

use Exporter 'import';
our @EXPORT = qw(ledger_node publish_booked check_ledgers);

# The schemas of the nodes that have a ledger.
my @schemas;

# ledger_node(NODE, SCHEMA, ROLE, ENVIRONMENT, TENANT): a node of that name, with its ledger.
sub ledger_node
{
	my ($node, $schema, $role, $environment, $tenant) = @_;

	$node->safe_psql('postgres', qq(
		CREATE SCHEMA $schema AUTHORIZATION $role
			CREATE TABLE ledger (n bigserial, module text, version text, entry text,
				xid xid8 DEFAULT pg_current_xact_id());
		SELECT hotswap.register_node('$environment', '$schema', run_as => '$role',
			schema => '$schema', tenant => '$tenant')));
	push @schemas, $schema;
	return;
}

# publish_booked(MODULE, VERSION, TENANT, parts): the SQL that publishes a version whose scripts do
# what the parts "deploy", "verify" and "revert" say, and keep the books. revert => undef: it has no
# revert script.
sub publish_booked
{
	my ($module, $version, $tenant, %part) = @_;
	my $book = sub { "INSERT INTO ledger (module, version, entry)
		VALUES ('$module', '$version', '$_[0]');" };
	my $deploy = $book->('swap') . ($part{deploy} // '');
	my $verify = "SELECT count(*) > 0 FROM ledger WHERE module = '$module';"
	  . ($part{verify} // '');
	my $revert = 'NULL';

	$revert = "\$script\$" . $book->('revert') . ($part{revert} // '') . "\$script\$"
	  unless exists $part{revert} && !defined $part{revert};
	return "SELECT hotswap.publish_version('$module', '$version', \$script\$$deploy\$script\$,
		\$script\$$verify\$script\$, $revert, tenant => '$tenant');\n";
}

# The entries of all ledgers, and what node_module says, both numbered in their order: entry i of
# the one belongs to row i of the other.
sub books
{
	my $ledgers = join ' UNION ALL ', map { "SELECT '$_' AS node, * FROM $_.ledger" } @schemas;

	return qq(WITH ledger AS (SELECT *,
				row_number() OVER (PARTITION BY node, module ORDER BY n) AS i
			FROM ($ledgers) l),
		registry AS (SELECT n.name AS node, m.module, m.version, m.swap, m.deployment_id,
				row_number() OVER w AS i, lag(m.version, 2) OVER w AS before_last
			FROM hotswap.node_module m JOIN hotswap.node n ON n.id = m.node_id
			WHERE n.kind = 'database'
			WINDOW w AS (PARTITION BY n.id, m.module ORDER BY m.swap)));
}

# check_ledgers(NODE): the registry is what happened, entry by entry; no deployment swapped a node
# twice without going back in between, and what runs on its nodes is what its tasks say.
sub check_ledgers
{
	my ($node) = @_;
	my $books = books();

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($node->safe_psql('postgres', qq($books
		SELECT node, module, i, l.entry, l.version, r.version, r.deployment_id
		FROM ledger l FULL JOIN registry r USING (node, module, i)
		WHERE l.n IS NULL OR r.swap IS NULL OR r.version IS DISTINCT FROM
			CASE l.entry WHEN 'swap' THEN l.version ELSE r.before_last END
		ORDER BY 1, 2, 3 LIMIT 20)), '', 'the registry is what happened on the nodes');
	is($node->safe_psql('postgres', q(
		WITH swap AS (SELECT t.node_id, t.tenant_id, t.deployment_id,
				count(*) FILTER (WHERE t.status = 'succeeded') AS held
			FROM hotswap.task t WHERE t.kind = 'swap' GROUP BY 1, 2, 3),
		done AS (SELECT m.node_id, m.tenant_id, m.deployment_id,
				count(*) FILTER (WHERE m.version IS NOT DISTINCT FROM d.version)
				- count(*) FILTER (WHERE m.version IS DISTINCT FROM d.version) AS held
			FROM hotswap.node_module m JOIN hotswap.deployment d
				ON d.tenant_id = m.tenant_id AND d.id = m.deployment_id GROUP BY 1, 2, 3)
		SELECT deployment_id, node_id, coalesce(s.held, 0) AS tasks, coalesce(d.held, 0) AS registry
		FROM swap s FULL JOIN done d USING (tenant_id, deployment_id, node_id)
		WHERE coalesce(s.held, 0) <> coalesce(d.held, 0) OR coalesce(d.held, 0) NOT IN (0, 1)
		LIMIT 20)), '', 'what a deployment holds is what its tasks say, and once a node');
	return;
}

1;
