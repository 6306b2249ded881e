# A project of Flyway: migrations and repeatable ones as releases, a hotfix out of order, a
# baseline, and back.
use strict;
use warnings;

use HotswapPublish;
use HotswapTest;
use Test::More;

my $server = story_cluster('story_flyway');

sub view
{
	return "CREATE OR REPLACE VIEW summary AS SELECT count(*) AS n, '$_[0]' AS v FROM a;\n";
}

sub seen_on { return sql("SELECT v FROM $_[0].summary"); }

# published(NAME, PATTERN, ARGUMENT...): it succeeds and prints that; the name of the release
sub published
{
	my ($name, $pattern, @arguments) = @_;
	my ($status, $out, $err) = publish(@arguments);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	like("$status\n$out", qr/\A0\n$pattern\z/, $name) or diag($err);
	my ($release) = $out =~ /^release (\S+)$/m;
	return $release;
}

# deploy_release(RELEASE, ENVIRONMENT): how that ends, and the id of the deployment
sub deploy_release
{
	my ($release, $environment) = @_;
	my $id = sql("SELECT hotswap.deploy_release('$release', '$environment')");

	return (sql("CALL hotswap.await('$id', '60 s', NULL)"), $id);
}

# ---- the first release ----

my @arguments = ('--module', 'shop', '--placeholder', 'kind=text');
my %begin = (
	'V1__a.sql' => "CREATE TABLE a (id int, name \${kind});\n",
	'U1__a.sql' => "DROP TABLE a;\n",
	'V2__b.sql' => "ALTER TABLE a ADD b int;\n",
	'U2__b.sql' => "ALTER TABLE a DROP b;\n",
	'repeatable/R__summary.sql' => view('one'));
my $main = folder(%begin);
my $first = published('migrations and what is repeatable are a release',
	qr/published shop 1\npublished shop 2, builds on 1\npublished shop\.summary [0-9a-f]{12}
release shop-[0-9a-f]{12}\n3 published, 0 unchanged\n/, @arguments, $main);
is((deploy_release($first, 'production'))[0], 'succeeded', 'it is deployed');
is(sql(q{SELECT requires FROM hotswap.versions WHERE module = 'shop.summary'}), '{"shop >= 2"}',
	'what is repeatable requires what it was published with');
is(published('nothing new is the same release',
	qr/release shop-[0-9a-f]{12}\n0 published, 3 unchanged\n/, @arguments, $main), $first,
	'under the same name');

# ---- the second one, as far as development ----

write_files($main,
	'V3__c.sql' => "ALTER TABLE a ADD c int;\n",
	'U3__c.sql' => "ALTER TABLE a DROP c;\n",
	'repeatable/R__summary.sql' => view('two'));
my $second = published('a repeatable migration that has changed is a version',
	qr/published shop 3, builds on 2\npublished shop\.summary \w+\nrelease \S+\n2 published.*\n/,
	@arguments, $main);
is((deploy_release($second, 'development'))[0], 'succeeded', 'and tried');
is(seen_on('dev') . ' ' . seen_on('prod'), 'two one', 'production runs the one before');

# ---- a hotfix ----

my $branch = folder(%begin,
	'V2_1__fix.sql' => "UPDATE a SET b = 0 WHERE b IS NULL;\nALTER TABLE a ALTER b SET NOT NULL;\n",
	'U2_1__fix.sql' => "ALTER TABLE a ALTER b DROP NOT NULL;\n");
my $hotfix = published('a branch has the hotfix behind what runs in production',
	qr/published shop 2\.1, builds on 2\nrelease \S+\n1 published, 3 unchanged\n/,
	@arguments, $branch);
isnt($hotfix, $first, 'it is another release');
is((deploy_release($hotfix, 'production'))[0], 'succeeded', 'it comes to production');
is(runs('dev', 'shop') . runs('prod', 'shop'), '{3}{2.1}', 'past development');

# ---- both lines come together ----

write_files($main,
	'V2_1__fix.sql' => "UPDATE a SET b = 0 WHERE b IS NULL;\nALTER TABLE a ALTER b SET NOT NULL;\n",
	'U2_1__fix.sql' => "ALTER TABLE a ALTER b DROP NOT NULL;\n",
	'V4__d.sql' => "ALTER TABLE a ADD d int;\n",
	'U4__d.sql' => "ALTER TABLE a DROP d;\n");
my $third = published('the next migration builds on both',
	qr/published shop 4, builds on (?:3, 2\.1|2\.1, 3)\nrelease \S+\n1 published, 5 unchanged\n/,
	@arguments, $main);
my ($status, $deployed) = deploy_release($third, 'production');
is($status, 'succeeded', 'it is deployed');
is(sql(q{SELECT string_agg(node || ' ' || step, ', ' ORDER BY node, swap) FROM hotswap.node_history
	WHERE module = 'shop' AND step NOT IN ('1', '2')}),
	'dev 3, dev 2.1, dev 4, prod 2.1, prod 3, prod 4', 'each node got what it lacked');
is(seen_on('prod'), 'two', 'and the repeatable one came behind');

# A migration out of order, on the main line this time.
write_files($main, 'V3_1__late.sql' => "ALTER TABLE a ADD late int;\n");
published('a migration that comes late is said to be out of order',
	qr/published shop 3\.1, builds on .*, out of order\nrelease \S+\n1 published, 6 unchanged\n/,
	@arguments, $main);

# ---- and back ----

my $back = sql("SELECT hotswap.rollback('$deployed', 'it is too slow')");
is(sql("CALL hotswap.await('$back', '60 s', NULL)"), 'succeeded', 'the release is rolled back');
is(runs('prod', 'shop') . ' ' . seen_on('prod'), '{2.1} one', 'to the hotfix');

# ---- what Flyway would refuse, and a baseline ----

write_files($main, 'V2__b.sql' => "ALTER TABLE a ADD b bigint;\n");
($status, my $out, my $err) = publish(@arguments, $main);
is($status, 1, 'a migration that has changed is refused');
like($err, qr/^-ALTER TABLE a ADD b int;\n\+ALTER TABLE a ADD b bigint;$/m, 'with the difference');

write_files($main,
	'V2__b.sql' => $begin{'V2__b.sql'},
	'B4__all.sql' => "CREATE TABLE a (id int, name text, b int NOT NULL, c int, d int);\n");
like((publish(@arguments, $main))[1], qr/^published an installer of shop 4\n/,
	'a baseline is an installer');
sql(q{CREATE SCHEMA fresh AUTHORIZATION story_prod;
	SELECT hotswap.register_node('production', 'fresh', run_as => 'story_prod',
		schema => 'fresh')});
($status) = deploy('shop', '4', 'production',
	q{nodes => '{fresh}', only_target => true, reapply => true});
is($status, 'succeeded', 'a new node is deployed to');
is(sql(q{SELECT string_agg(step || ' ' || direction, ', ') FROM hotswap.node_history
	WHERE node = 'fresh'}), '4 install', 'by the installer');

check_invariants($server, 'postgres');
done_testing(25);
