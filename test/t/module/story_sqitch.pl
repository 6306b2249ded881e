# A project of Sqitch, from its first tag over changes that are reworked to a hotfix of production,
# and back.
use strict;
use warnings;

use HotswapPublish;
use HotswapTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $server = story_cluster('story_sqitch');

# Each change of the plan is a line, and a second long.
sub plan_of
{
	my $second = 0;

	return "%syntax-version=1.0.0\n%project=shop\n\n"
	  . join '',
	  map { sprintf "$_ 2024-03-01T08:00:%02dZ Ann <ann\@shop.example>\n", $second++ } @_;
}

sub in_transaction { return "BEGIN;\n$_[0]\nCOMMIT;\n"; }

sub total
{
	my ($what) = @_;

	return in_transaction("CREATE OR REPLACE FUNCTION total() RETURNS int LANGUAGE sql AS \$\$\n"
		. "\tSELECT $what FROM orders\n\$\$;");
}

sub total_on { return sql("SET search_path = $_[0]; SELECT total()"); }

# ---- the first tag ----

my $project = folder(
	'sqitch.plan' => plan_of('customers', 'orders [customers]', 'total', '@v1.0'),
	'deploy/customers.sql' => in_transaction('CREATE TABLE customers (id int PRIMARY KEY);'),
	'verify/customers.sql' => "BEGIN;\nSELECT id FROM customers;\nROLLBACK;\n",
	'revert/customers.sql' => in_transaction('DROP TABLE customers;'),
	'deploy/orders.sql' => in_transaction(
		"CREATE TABLE orders (id int PRIMARY KEY, customer int REFERENCES customers);\n"
		  . 'INSERT INTO customers VALUES (1); INSERT INTO orders VALUES (1, 1), (2, 1);'),
	'revert/orders.sql' => in_transaction('DROP TABLE orders; DELETE FROM customers;'),
	'deploy/total.sql' => total('count(*)::int'),
	'revert/total.sql' => in_transaction('DROP FUNCTION total();'));

publishes('a plan is published', <<'OUT', $project);
published shop customers
published shop orders, builds on customers
published shop total, builds on orders
tagged shop total as @v1.0
3 published, 0 unchanged
OUT
is((deploy('shop', '@v1.0', 'production'))[0], 'succeeded', 'its tag is deployed');
is(runs('dev', 'shop') . runs('prod', 'shop'), '{total}{total}', 'to each environment');

# ---- a change is reworked, twice ----

# As "sqitch rework" does: the files of before get the name of the tag, and revert to them is new.
write_files($project,
	'sqitch.plan' => plan_of('customers', 'orders [customers]', 'total', '@v1.0',
		'total [total@v1.0]', '@v1.1'),
	'deploy/total@v1.0.sql' => total('count(*)::int'),
	'revert/total@v1.0.sql' => in_transaction('DROP FUNCTION total();'),
	'deploy/total.sql' => total('2 * count(*)::int'),
	'revert/total.sql' => total('count(*)::int'));
publishes('what is reworked is a version of its own', <<'OUT', $project);
published shop total#2, builds on total
tagged shop total#2 as @v1.1
1 published, 3 unchanged
OUT
is((deploy('shop', '@v1.1', 'production'))[0], 'succeeded', 'the second tag is deployed');
is(total_on('prod'), '4', 'and runs');

my @second = ('customers', 'orders [customers]', 'total', '@v1.0', 'total [total@v1.0]', '@v1.1');
write_files($project,
	'sqitch.plan' => plan_of(@second, 'total [total@v1.1]', 'notes [orders]'),
	'deploy/total@v1.1.sql' => total('2 * count(*)::int'),
	'revert/total@v1.1.sql' => total('count(*)::int'),
	'deploy/total.sql' => total('3 * count(*)::int'),
	'revert/total.sql' => total('2 * count(*)::int'),
	'deploy/notes.sql' => in_transaction('ALTER TABLE orders ADD note text;'),
	'revert/notes.sql' => in_transaction('ALTER TABLE orders DROP note;'));
publishes('once more', <<'OUT', $project);
published shop total#3, builds on total#2
published shop notes, builds on total#3
2 published, 4 unchanged
OUT
is((deploy('shop', 'notes', 'development'))[0], 'succeeded', 'and tried in development');
is(total_on('dev') . total_on('prod'), '64', 'production runs the second');

# ---- a hotfix of what runs in production ----

my $branch = folder(
	'sqitch.plan' => plan_of(@second, 'limit [orders]', '@v1.1.1'),
	'deploy/limit.sql' => in_transaction('ALTER TABLE orders ADD CHECK (id < 1000);'),
	'revert/limit.sql' => in_transaction('ALTER TABLE orders DROP CONSTRAINT orders_id_check;'));
system('cp', '-n', map({ "$project/$_" } 'deploy', 'revert', 'verify'), '-R', $branch);
write_files($branch,
	'deploy/total.sql' => total('2 * count(*)::int'),
	'revert/total.sql' => total('count(*)::int'));
my ($status, $out, $err) = publish($branch);
is("$status\n$out", <<'OUT', 'a branch from the tag has the hotfix behind it') or diag($err);
0
published shop limit, builds on total#2
tagged shop limit as @v1.1.1
1 published, 4 unchanged
OUT
like($err, qr/^hotswap-publish: shop notes is not in the folder/m, 'what it lacks is said');
is((deploy('shop', '@v1.1.1', 'production'))[0], 'succeeded', 'it comes to production');
is(runs('dev', 'shop') . runs('prod', 'shop'), '{notes}{limit}', 'past development');

# ---- both lines come together ----

write_files($project,
	'sqitch.plan' => plan_of(@second, 'total [total@v1.1]', 'notes [orders]', 'limit [orders]',
		'@v1.1.1', 'labels [orders]', '@v1.2'),
	map({ my $direction = $_;
		"$direction/limit.sql" => slurp_file("$branch/$direction/limit.sql") }
		qw(deploy revert)),
	'deploy/labels.sql' => in_transaction('ALTER TABLE orders ADD label text;'),
	'revert/labels.sql' => in_transaction('ALTER TABLE orders DROP label;'));
publishes('the next change builds on both', <<'OUT', $project);
published shop labels, builds on notes, limit
tagged shop labels as @v1.2
1 published, 7 unchanged
OUT
($status, my $id) = deploy('shop', '@v1.2', 'production');
is($status, 'succeeded', 'it is deployed');
is(sql(q{SELECT string_agg(step, ', ' ORDER BY swap) FROM hotswap.node_history
	WHERE node = 'dev' AND step IN ('total#3', 'notes', 'limit', 'labels')}),
	'total#3, notes, limit, labels', 'development got what it lacked');
is(sql(q{SELECT string_agg(step, ', ' ORDER BY swap) FROM hotswap.node_history
	WHERE node = 'prod' AND step IN ('total#3', 'notes', 'limit', 'labels')}),
	'limit, total#3, notes, labels', 'so did production, in its order');

# ---- and back ----

$id = sql("SELECT hotswap.rollback('$id', 'the labels are wrong')");
is(sql("CALL hotswap.await('$id', '60 s', NULL)"), 'succeeded', 'it is rolled back');
is(runs('prod', 'shop'), '{limit}', 'to the hotfix');
is(total_on('prod'), '4', 'a change that had been reworked as well');
is((deploy('shop', '@v1.2', 'production'))[0], 'failed', 'and does not come again unasked');
is((deploy('shop', '@v1.2', 'production', 'reapply => true'))[0], 'succeeded',
	'but when asked for');
publishes('nothing of it changes a file', "0 published, 8 unchanged\n", $project);

check_invariants($server, 'postgres');
done_testing(24);
