# hotswap-publish: what it reads from the folder of each tool, what it refuses, and that it
# publishes what is missing, once, so that it can be deployed.
use strict;
use warnings;

use Compress::Zlib qw(crc32);
use Cwd qw(abs_path);
use Digest::SHA qw(sha1_hex);
use File::Path qw(make_path);
use HotswapPublish;
use HotswapTest;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $fixtures = "$ENV{TESTDIR}/test/fixtures/publish";
my $examples = "$ENV{TESTDIR}/examples/ci";
my $scratch = abs_path(PostgreSQL::Test::Utils::tempdir);

# What each tool's folder needs on the command line.
my %options = (
	flyway => [ '--placeholder', 'nobody=nobody' ],
	numbered => [ '--set', q{who=O'Neil} ]);

# What is there when the last versions have been deployed: what to deploy, a query, its answer.
my %deployed = (
	sqitch => [ [ [ auth => 'roles' ], [ shop => 'total' ] ], q{SELECT total(1) IS NULL}, 't' ],
	flyway => [ [ [ flyway => '10' ], [ 'flyway.open_orders' => 'f2660a4058a4' ] ],
		q{SELECT column_default FROM information_schema.columns
			WHERE table_schema = 'by_flyway' AND column_name = 'name'}, q{'nobody'::text} ],
	'golang-migrate' => [ [ [ 'golang-migrate' => '10' ] ], q{SELECT count(*) FROM orders}, '0' ],
	dbmate => [ [ [ dbmate => '20240302080000' ] ], q{SELECT count(*) FROM customers}, '0' ],
	goose => [ [ [ goose => '2' ] ], q{SELECT one()}, '1' ],
	alembic => [ [ [ alembic => '7a8b' ] ], q{SELECT version_num FROM alembic_version}, '7a8b' ],
	numbered => [ [ [ numbered => '010_name' ] ],
		q{SELECT column_default FROM information_schema.columns
			WHERE table_schema = 'by_numbered' AND column_name = 'name'}, q{'O''Neil'::text} ],
	hotswap => [ [ [ hotswap => '1.1' ] ], q{SELECT name FROM customers}, '' ]);

sub dry_run { return publish('--dry-run', @_); }

# scripts_are(NAME, EXPECTED, ARGUMENT...): the scripts of a folder, as they would be published
sub scripts_are
{
	my ($name, $expected, @arguments) = @_;
	my ($status, $out, $err) = dry_run('--scripts', @arguments);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$out =~ s/^would publish .*\n//mg;
	is($out, $expected, $name) or diag($err);
}

sub refused
{
	my ($name, $pattern, @arguments) = @_;
	my ($status, $out, $err) = dry_run(@arguments);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	subtest $name => sub {
		plan tests => 3;
		is($status, 1, 'exit status');
		is($out, '', 'nothing is listed');
		like($err, $pattern, 'the reason');
	};
}

# ---- each tool's folder ----

my %list = (
	sqitch => <<'LIST',
would publish shop customers parents={} verify revert
would publish shop tables/orders parents={customers} verify revert requires={auth >= users, !legacy}
would publish shop total parents={tables/orders} revert requires={auth >= roles} tag=@v1.0
would publish shop total#2 parents={total} revert tag=@v1.1
LIST
	flyway => <<'LIST',
would publish flyway 1 parents={} revert
would publish flyway 2.1 parents={1} revert install
would publish flyway 10 parents={2.1} non-transactional
would publish flyway.open_orders f2660a4058a4 requires={flyway >= 10}
LIST
	'golang-migrate' => <<'LIST',
would publish golang-migrate 1 parents={} revert
would publish golang-migrate 2 parents={1} revert non-transactional
would publish golang-migrate 10 parents={2}
LIST
	dbmate => <<'LIST',
would publish dbmate 20240301080000 parents={} revert
would publish dbmate 20240302080000 parents={20240301080000} revert non-transactional
LIST
	goose => <<'LIST',
would publish goose 1 parents={} revert
would publish goose 2 parents={1} revert non-transactional
LIST
	alembic => <<'LIST',
would publish alembic 1a2b parents={}
would publish alembic 3c4d parents={1a2b}
would publish alembic 5e6f parents={1a2b} revert
would publish alembic 7a8b parents={3c4d, 5e6f} revert
LIST
	numbered => <<'LIST',
would publish numbered 001_customers parents={}
would publish numbered 002_data parents={001_customers} revert
would publish numbered 010_name parents={002_data}
LIST
	hotswap => <<'LIST');
would publish hotswap 1.0 parents={} verify revert
would publish hotswap 1.1 parents={1.0} revert install
LIST

for my $tool (sort keys %list)
{
	my ($status, $out, $err) = dry_run(@{ $options{$tool} // [] }, "$fixtures/$tool");
	is("$status\n$out", "0\n$list{$tool}", "$tool is recognised and read") or diag($err);
}

my ($status, $out, $err) = dry_run('--module', 'm', '--complete', "$fixtures/hotswap");
is($out, "would publish m 1.0 verify revert\nwould publish m 1.1 revert install\n",
	'complete versions have no parents');

scripts_are('a transaction around a script is taken off, lines stay',
	"-- deploy script\n\nSELECT 1;\n\n-- verify script\n\nSELECT 2;\n\n",
	folder('1.deploy.sql' => "BEGIN;\nSELECT 1;\nCOMMIT;\n",
		'1.verify.sql' => "BEGIN;\nSELECT 2;\nROLLBACK;\n"));

like((dry_run("$fixtures/sqitch"))[2],
	qr{^hotswap-publish: deploy/customers\.sql:3 and 9 more: the transaction around the script},
	'which is said, once');

scripts_are('also when it ends with the file',
	"-- deploy script\n-- first\n -- then\nSELECT 1;\n",
	folder('1.sql' => "-- first\nBEGIN; -- then\nSELECT 1; COMMIT"));

my $alembic = (dry_run('--scripts', '--no-alembic-table', "$fixtures/alembic"))[1];
unlike($alembic, qr/alembic_version/, 'Alembic\'s own statements can be left out');
unlike($alembic, qr/^(BEGIN|COMMIT)/m, 'nor is a transaction left');
like((dry_run('--scripts', "$fixtures/alembic"))[1], qr/INSERT INTO alembic_version/,
	'they are kept unless told');

scripts_are('a baseline is a version when it is the first, else an installer of the one before',
	"-- deploy script\nSELECT 10;\n-- deploy script\nSELECT 11;\n-- install script\nSELECT 12;\n",
	folder('B10__a.sql' => "SELECT 10;\n", 'V11__b.sql' => "SELECT 11;\n",
		'B12__c.sql' => "SELECT 12;\n"));

# ---- what psql does ----

scripts_are('variables get their values, in the forms of psql',
	qq{-- deploy script\nSELECT a.b, 'it''s', "x y", '{1}'::int[], a[1:2], ':v' -- :v\n},
	'--set', 's=a', '--set', q{t=it's}, '--set', 'n=x y',
	folder('1.sql' => qq{SELECT :s.b, :'t', :"n", '{1}'::int[], a[1:2], ':v' -- :v\n}));

scripts_are('a value is read as if it stood there, a \\set of it passed over',
	"-- deploy script\n\nSELECT 'a;b'; SELECT \$x\$;\$x\$;\n",
	'--set', q{v='a;b'; SELECT $x$;}, folder('1.sql' => "\\set v 1\nSELECT :v\$x\$;\n"));

scripts_are('files are included, from the folder or from where the including one is',
	"-- deploy script\n\n\nSELECT 'b';\n\n\n",
	folder('1.sql' => "\\i a/a.sql\n", 'a/a.sql' => "\\ir b.sql\n", 'a/b.sql' => "SELECT 'b';\n"));

scripts_are('data of COPY is data',
	"-- deploy script\nCOPY t FROM STDIN;\n\\N\t:x\t'\n\\.\nSELECT 1;\n",
	folder('1.sql' => "COPY t FROM STDIN;\n\\N\t:x\t'\n\\.\nSELECT 1;\n"));

scripts_are('the lines of pg_dump and a byte order mark are dropped',
	"-- deploy script\n\nSELECT 1;\n\n",
	folder('1.sql' => "\xef\xbb\xbf\\restrict x\nSELECT 1;\n\\unrestrict x\n"));

my $quoted = <<'SQL';
CREATE TABLE "COMMIT;" (a text DEFAULT ');' -- it's
); SELECT 1 - -1, 6/2, E'\\', 'a' 'b', E'', u&'\0041';
SELECT '\x', E'\'\;', $a$ \x COMMIT; $a$; /* \x /* */ COMMIT; */
CREATE FUNCTION f() RETURNS int
BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; END;
SQL
scripts_are('quotes, comments and bodies hide what is in them', "-- deploy script\n$quoted",
	folder('1.sql' => $quoted));

my $long = 'SELECT ' . join(', ', map { "'it''s', ($_)" } 1 .. 2000) . "; -- \\ '\n";
scripts_are('a long line is read in pieces', "-- deploy script\n$long", folder('1.sql' => $long));

like((dry_run('--no-alembic-table', folder('b.sql' => "-- Running upgrade 1 -> 2\n",
	'c.sql' => "-- Running upgrade  -> 1\n")))[1], qr/ 1 parents=\{\}\n.* 2 parents=\{1\}\n\z/,
	'parents come first, whatever file they are in');
like((dry_run(folder('000_a.up.sql' => "SELECT 1;\n")))[1], qr/ 0 parents=\{\}$/,
	'a migration may have number 0');

# ---- what is refused ----

refused('a variable without a value', qr/^hotswap-publish: 1\.sql:2: variable "x" has no value/m,
	folder('1.sql' => "SELECT 1;\nSELECT :x;\n"));
refused('a command of psql', qr/1\.sql:2: \\connect is a command of psql/,
	folder('1.sql' => "SELECT 1;\n\\connect other\n"));
refused('what is behind a command of psql', qr/1\.sql:1: a backslash behind \\set is not/,
	'--set', 'x=1', folder('1.sql' => "\\set x 1 \\\\ SELECT 1;\n"));
refused('ON_ERROR_STOP off', qr/1\.sql:1: a script ends with the first error/,
	folder('1.sql' => "\\set ON_ERROR_STOP 0\n"));
refused('a variable that has itself in its value', qr/1\.sql:1: variable "x" has itself/,
	'--set', 'x=:x', folder('1.sql' => "SELECT :x;\n"));
refused('a script that commits inside of a value', qr/1\.sql:1: the script manages transactions/,
	'--set', 'x=1; COMMIT', folder('1.sql' => "SELECT :x;\n"));
refused('a name of a file with a line feed', qr/1\?\.sql: its name has characters/,
	folder("1\n.sql" => "SELECT 1;\n"));
refused('a file to revert what is not there', qr/2\.down\.sql: there is no "2\.sql"/,
	folder('1.sql' => "SELECT 1;\n", '2.down.sql' => "SELECT 1;\n"));
refused('to undo what is not there', qr/U2__a\.sql: there is no such version/,
	folder('V1__a.sql' => "SELECT 1;\n", 'U2__a.sql' => "SELECT 1;\n"));
refused('other settings of Flyway', qr/V1__a\.sql\.conf: "placeholderReplacement=false"/,
	folder('V1__a.sql' => "SELECT 1;\n", 'V1__a.sql.conf' => "placeholderReplacement=false\n"));
refused('statements before the mark', qr/1_a\.sql:2: stands before the line/,
	folder('1_a.sql' => "-- a\nSELECT 1;\n-- migrate:up\nSELECT 2;\n"));
refused('a circle of revisions', qr/revisions build on each other in a circle/,
	folder('a.sql' => "-- Running upgrade 2 -> 1\n-- Running upgrade 1 -> 2\n"));
refused('a module that cannot be named so', qr/"a b" cannot be the name of a module/,
	'--module', 'a b', folder('1.sql' => "SELECT 1;\n"));
refused('\set of another variable', qr/1\.sql:1: \\set of "x"/, folder('1.sql' => "\\set x 1\n"));
refused('a file outside', qr/1\.sql:1: "\.\.\/x" is not inside/, folder('1.sql' => "\\i ../x\n"));
refused('an absolute path', qr/1\.sql:1: "\/etc\/passwd" is not inside/,
	folder('1.sql' => "\\i /etc/passwd\n"));
refused('files that include each other', qr/include each other/, folder('1.sql' => "\\i 1.sql\n"));
refused('a script that commits in its middle', qr/1\.sql:2: the script manages transactions itself/,
	folder('1.sql' => "SELECT 1;\nCOMMIT;\nSELECT 2;\n"));
refused('a quoted text without end', qr/1\.sql: a quoted text or comment does not end/,
	folder('1.sql' => "SELECT 'x;\n"));
refused('a file of UTF-16', qr/1\.sql: holds a NUL byte/,
	folder('1.sql' => "\xff\xfeS\0E\0L\0E\0C\0T\0"));
refused('an encoding that is not one of servers', qr/1\.sql:1: encoding SJIS is not supported/,
	folder('1.sql' => "SET client_encoding = 'SJIS';\n"));
refused('a placeholder without a value', qr/V1__a\.sql:1: placeholder \$\{who\} has no value/,
	folder('V1__a.sql' => "SELECT '\${who}';\n"));
refused('the time as a placeholder', qr/\$\{flyway:timestamp\} has no value: each run/,
	folder('V1__a.sql' => "-- \${flyway:timestamp}\n"));
refused('callbacks', qr/afterMigrate\.sql: callbacks cannot be published/,
	folder('V1__a.sql' => "SELECT 1;\n", 'afterMigrate.sql' => "SELECT 1;\n"));
refused('migrations in Java', qr/V2__b\.java: migrations in other languages/,
	folder('V1__a.sql' => "SELECT 1;\n", 'V2__b.java' => "class V2__b {}\n"));
refused('migrations in Go', qr/2_b\.go: migrations in other languages/,
	folder('1_a.sql' => "-- +goose Up\nSELECT 1;\n", '2_b.go' => "package x\n"));
refused('two tools in one folder', qr/looks like flyway and like golang-migrate/,
	folder('V1__a.sql' => "SELECT 1;\n", '1_a.up.sql' => "SELECT 1;\n"));
refused('one version twice', qr/V1__a\.sql: the version is in V1_0__b\.sql as well/,
	folder('V1__a.sql' => "SELECT 1;\n", 'V1_0__b.sql' => "SELECT 1;\n"));
refused('a folder without migrations', qr/no migrations of a known form/,
	folder('README' => "x\n"));
refused('a file of --non-transactional that is not there',
	qr/--non-transactional 2\.sql: no version/,
	'--non-transactional', '2.sql', folder('1.sql' => "SELECT 1;\n"));
refused('a change that depends on one behind it', qr/sqitch\.plan:2: "a" requires "b"/,
	folder('sqitch.plan' => "%project=p\na [b] 2024-01-01T00:00:00Z A <a\@b.c>\n",
		'deploy/a.sql' => "SELECT 1;\n"));

my $linked = folder('2.sql' => "SELECT 1;\n");
symlink('/etc/passwd', "$linked/1.sql") or die "symlink: $!";
refused('a symbolic link', qr/"1\.sql" is a symbolic link/, $linked);

my $commits = folder('1.sql' => "SELECT 1;\nCOMMIT;\nSELECT 2;\n");
like((dry_run('--non-transactional', '1.sql', $commits))[1], qr/non-transactional/,
	'when told, a script that commits is non-transactional');

is((publish())[0], 2, 'no folder: wrong usage');
is((publish('--nonsense', $scratch))[0], 2, 'an option that is none: wrong usage');
{
	local $ENV{PGCLIENTENCODING} = 'SJIS';
	is((publish('--dry-run', $commits))[0], 2, 'an encoding that cannot be read: wrong usage');
}
{
	local $ENV{CDPATH} = "$fixtures:/tmp";
	my ($out, $err) = ('', '');
	make_path("$scratch/here/hotswap");
	IPC::Run::run([ 'hotswap-publish', '--dry-run', 'hotswap' ], '<', \'', '>', \$out, '2>', \$err,
		init => sub { chdir "$scratch/here" });
	like($err, qr{no migrations of a known form are in \Q$scratch\E/here/hotswap},
		'a folder is not looked for elsewhere');
}
like((publish('--help'))[1], qr/^Usage:/m, '--help');

# ---- the examples for CI ----

for my $file ("$examples/github-actions.yml", "$examples/gitlab-ci.yml")
{
	my $text = slurp_file($file);
	unlike($text, qr/\t/, "$file has no tabs");
	is_deeply(
		[ grep { !/^(?:#.*|(?:  )*(?:- )?(?:[\w-]+:(?: \S.*)?|[^\s:]\S*(?: .*)?))?$/ }
			  split /\n/, $text ],
		[], "each of its lines is a comment, a key or an item, indented by twos");
	like($text, qr{deploy\.sh migrations shop production}, 'and it deploys');
}
is(system('sh', '-n', "$examples/deploy.sh"), 0, 'deploy.sh can be read by sh');

# ---- with a server ----

publish_server('publish');

is((publish('-d', 'nosuch', "$fixtures/hotswap"))[0], 3, 'no connection');

with_server();
done_testing();

# What Sqitch calls the first change of the fixture: its SHA-1, as of an object of git.
sub sqitch_id
{
	my $text = join "\n", 'project shop', 'uri https://shop.example/', 'change customers',
	  'planner Ann <ann@shop.example>', 'date 2024-03-01T08:00:00Z', '', 'Customers have a name';
	return sha1_hex('change ' . length($text) . "\0$text");
}

# Modules that others require.
sub publish_required
{
	sql(q{SELECT hotswap.publish_version('auth', 'users', 'SELECT 1', parents => '{}'),
		hotswap.publish_version('auth', 'roles', 'SELECT 1', parents => '{users}')});
	return;
}

# Publishes the folder of a tool, twice, and deploys it to a node of its own.
sub check_tool
{
	my ($tool) = @_;
	my @arguments = (@{ $options{$tool} // [] }, "$fixtures/$tool");
	my $versions = () = $list{$tool} =~ /^would/mg;
	my ($status, $out, $err) = publish(@arguments);

	is($status, 0, 'it is published') or diag($err);
	like($out, qr/^$versions published, 0 unchanged$/m, 'each version of it');
	like((publish(@arguments))[1], qr/^0 published, $versions unchanged\n\z/m, 'once');

	my ($wanted, $query, $answer) = @{ $deployed{$tool} };
	my $id = sql(qq{CREATE ROLE "by_$tool" LOGIN; CREATE SCHEMA "by_$tool" AUTHORIZATION "by_$tool";
		SELECT hotswap.register_node('development', '$tool', run_as => '"by_$tool"',
			schema => 'by_$tool')});
	is((deploy(@$_, 'development'))[0], 'succeeded', "@$_ is deployed") for @$wanted;
	is(sql(qq{SET search_path = "by_$tool"; $query}), $answer, 'and did what it says');
	sql("SELECT hotswap.remove_node('$id')");
	return;
}

sub with_server
{
	publish_required();
	for my $tool (sort keys %list)
	{
		subtest $tool => sub { check_tool($tool) };
	}
	is(sql(q{SELECT string_agg(version || ' ' || parents::text, ', ' ORDER BY version)
		FROM hotswap.versions WHERE module = 'alembic'}),
		'1a2b {}, 3c4d {1a2b}, 5e6f {1a2b}, 7a8b {3c4d,5e6f}', 'a merge has two parents');

	is(sql(q{SELECT string_agg(version || ' ' || tags::text, ', ' ORDER BY version)
		FROM hotswap.versions WHERE tags <> '{}'}),
		'total {@v1.0}, total#2 {@v1.1}', 'tags of a plan are tags');
	is(sql(q{SELECT count(*) FROM hotswap.releases WHERE name LIKE 'flyway-%'}), '1',
		'versions and repeatable scripts are one release');
	is(sql(q{SELECT metadata ->> 'sqitch_id' FROM hotswap.versions WHERE version = 'customers'}),
		sqitch_id(), 'a change keeps its id');

	# A changed file is refused, with the difference, and nothing else is published.
	my $changed = folder('1.sql' => "SELECT 1;\n", '2.sql' => "SELECT 2;\nSELECT 'two';\n");
	publish('--module', 'changed', $changed);
	append_to_file("$changed/1.sql", "SELECT 11;\n");
	append_to_file("$changed/3.sql", "SELECT 3;\n");
	my ($status, $out, $err) = publish('--module', 'changed', $changed);
	is($status, 1, 'a changed file is refused');
	like($err, qr/^\+\+\+ 1\.sql\n\@\@ line 2 \@\@\n SELECT 1;\n\+SELECT 11;$/m,
		'the difference is shown');
	append_to_file("$changed/2.down.sql", "SELECT 4;\n");
	like((publish('--module', 'changed', $changed))[2], qr/^\+\+\+ 2\.down\.sql$/m,
		'with the file that it is in');
	is(sql(q{SELECT count(*) FROM hotswap.versions WHERE module = 'changed'}), '2',
		'and nothing was published');

	# So is another parent.
	my $other = folder('a.sql' => "-- Running upgrade  -> 1a2b\nSELECT 1;\n"
		. "-- Running upgrade 1a2b -> 3c4d\nSELECT 2;\n");
	publish('--module', 'other', $other);
	append_to_file("$other/b.sql", "-- Running upgrade  -> 0000\nSELECT 0;\n");
	is((publish('--module', 'other', $other))[0], 0, 'another root is published');
	system('sed', '-i', 's/1a2b -> 3c4d/0000 -> 3c4d/', "$other/a.sql");
	like((publish('--module', 'other', $other))[2], qr/is published with other parents: \{1a2b\}/,
		'a version with other parents is refused');

	# Out of order: what comes after builds on both.
	my $hotfix = folder('V1__a.sql' => "SELECT 1;\n", 'V3__c.sql' => "SELECT 3;\n");
	publish('--module', 'hotfix', $hotfix);
	append_to_file("$hotfix/V2__b.sql", "SELECT 2;\n");
	append_to_file("$hotfix/V4__d.sql", "SELECT 4;\n");
	like((publish('--module', 'hotfix', $hotfix))[1],
		qr/^published hotfix 2, builds on 1, out of order$/m,
		'a hotfix builds on what stands before it');
	is(sql(q{SELECT array(SELECT unnest(parents) ORDER BY 1) FROM hotswap.versions
		WHERE module = 'hotfix' AND version = '4'}), '{2,3}', 'the next version on both');

	# Sizes, encodings and names.
	my $odd = folder("1_it's \"odd\" \\ \$x\$.sql" => 'SELECT 1; -- ' . 'x' x 300_000 . "\n",
		'2.sql' => "SET client_encoding = 'LATIN1';\nSELECT 'caf\xe9';\n");
	is((publish('--module', 'odd', $odd))[0], 0, 'a large file, an odd name, an encoding');
	is(sql(q{SELECT version || length(deploy_sql) FROM hotswap.versions
		WHERE module = 'odd' AND version LIKE '1%'}),
		q{1_it's "odd" \ $x$300014}, 'the large file is whole, the name as it is');
	is(sql(q{SELECT strpos(deploy_sql, U&'caf\00E9') > 0 FROM hotswap.versions
		WHERE module = 'odd' AND version = '2'}), 't', 'the encoding is honoured');

	# Complete versions: the same content is the same version.
	my $complete = folder('1.deploy.sql' => "SELECT 1;\n");
	publish('--module', 'complete', '--complete', $complete);
	append_to_file("$complete/2.deploy.sql", "SELECT 1;\n");
	like((publish('--module', 'complete', '--complete', $complete))[1],
		qr/^unchanged complete: it is version 1$/m, 'a new name for the same content');
	is(sql(q{SELECT count(*) FROM hotswap.versions WHERE module = 'complete'}), '1',
		'publishes nothing');

	# A module is one project's.
	like((publish('--module', 'odd', folder('3.sql' => "SELECT 1;\n")))[2],
		qr/^hotswap-publish: odd 3 \(3\.sql\) cannot follow: the module has versions/m,
		'another folder under the same name is refused');
	unlink "$hotfix/V4__d.sql";
	append_to_file("$hotfix/V5__e.sql", "SELECT 5;\n");
	like((publish('--module', 'hotfix', $hotfix))[2],
		qr/^hotswap-publish: hotfix 4 is not in the folder, what is new does not build on it$/m,
		'a version whose file is gone is named');

	# What the server refuses is said by the line of the file.
	my $wrong = folder('1.sql' => "\\i a.sql\nSELECT 1;\nVACUUM t;\n", 'a.sql' => "SELECT 2;\n\n");
	($status, $out, $err) = publish('--module', 'wrong', $wrong);
	is("$status$out", '3', 'a statement that cannot run in a transaction is refused');
	like($err, qr/^hotswap-publish: 1\.sql:3: VACUUM is not allowed in the deploy script$/m,
		'by the line of the file');
	like($err, qr/^hotswap-publish: that is: --non-transactional 1\.sql, or the mark/m,
		'with what to do');
	my $vacuum = folder('1.sql' => "CREATE TABLE w (id int);\nVACUUM w;\n");
	is((publish('--module', 'vacuum', '--non-transactional', '1.sql', $vacuum))[0], 0,
		'it is published when told');
	append_to_file("$wrong/a.sql", "CREATE TABEL t ();\n");
	like((publish('--module', 'wrong', $wrong))[2],
		qr/^hotswap-publish: a\.sql:3: syntax error at or near "TABEL"$/m, 'of an included one');
	sql(q{CREATE ROLE publish_guest LOGIN});
	($status, $out, $err) = publish('-U', 'publish_guest', "$fixtures/alembic");
	is($status, 3, 'so is who may not publish');
	like($err, qr/^hotswap-publish: .*: permission denied/m, 'with the reason');
	unlike($err, qr{script\.sql}, 'not by the line of a script that nobody has written');

	# A job of CI.
	sql(q{CREATE ROLE ci_app LOGIN; CREATE SCHEMA ci_app AUTHORIZATION ci_app;
		SELECT hotswap.register_node('development', 'ci', run_as => 'ci_app',
			schema => 'ci_app')});
	my $job = folder('1.sql' => "CREATE TABLE t (id int);\n",
		'2.sql' => "ALTER TABLE t ADD n int;\n");
	is_deeply([ job($job, 'job', 'development') ], [ 0, 'job 2 in development: succeeded' ],
		'deploy.sh deploys the last version');
	my $flyway = folder('V1__a.sql' => "CREATE TABLE a (id int);\n",
		'R__seen.sql' => "CREATE OR REPLACE VIEW seen AS SELECT id FROM a;\n");
	my ($released, $last) = job($flyway, 'seen', 'development');
	like("$released $last", qr/^0 seen-[0-9a-f]{12} in development: succeeded$/,
		'or the release that the folder has become');
	is(sql(q{SELECT string_agg(module || ' ' || direction, ', ' ORDER BY swap)
		FROM hotswap.node_history WHERE module LIKE 'seen%'}), 'seen up, seen.seen up',
		'what is repeatable after the migrations');
	append_to_file("$job/3.sql", "SELECT 1/0;\n");
	is_deeply([ job($job, 'job', 'development') ], [ 1, 'job 3 in development: failed' ],
		'and fails with it');
	is((job($wrong, 'wrong', 'development'))[0], 3,
		'what the server says to hotswap-publish is what it says');

	# The commands of the jobs for GitHub and GitLab, in a folder as they expect it.
	sql(q{CREATE SCHEMA ci_prod AUTHORIZATION ci_app;
		SELECT hotswap.set_approval_policy('production', 0),
			hotswap.register_node('production', 'ci', run_as => 'ci_app', schema => 'ci_prod')});
	for my $service ('github-actions', 'gitlab-ci')
	{
		my @commands = slurp_file("$examples/$service.yml") =~ /^ +(?:run:|-) ((?:hot|ci).*)$/mg;
		my $checkout = folder('migrations/1.sql' => "CREATE TABLE \"$service\" (id int);\n");
		mkdir "$checkout/ci" or die "mkdir: $!";
		symlink("$examples/deploy.sh", "$checkout/ci/deploy.sh") or die "symlink: $!";
		my @ends = map { run_line($checkout, s/\bshop\b/$service/r) } @commands;
		is_deeply(\@ends,
			[ "0 would publish $service 1 parents={}", "0 $service 1 in production: succeeded" ],
			"the jobs of $service.yml check and deploy");
	}
	subtest 'nodes are adopted' => \&adopts;
}

# adopted(ARGUMENT...): exit status, and the rows without ids of deployments, which have to succeed
sub adopted
{
	my ($status, $out, $err) = publish('--adopt', @_);
	my @rows = map { s/^development\t//r } grep { /^development\t/ } split /\n/, $out;

	for (@rows)
	{
		next if !s/\t(\w{8}-[\w-]{27})$//;
		my $end = sql("CALL hotswap.await('$1', '60 s', NULL)");
		diag("adoption of $_: $end") if $end ne 'succeeded';
		$status = $end if $end ne 'succeeded';
	}
	diag($err) if $status;
	return join "\n", $status, @rows;
}

# A node whose registries say what ran there.
sub adopts
{
	my $sha = sha1_hex(slurp_file("$fixtures/sqitch/deploy/customers.sql"));
	my $crc = crc32(slurp_file("$fixtures/flyway/V1__customers.sql") =~ s/\n//gr);
	my @flyway = ('--node', 'main', @{ $options{flyway} }, "$fixtures/flyway");

	$crc -= 2**32 if $crc >= 2**31;
	sql(qq{CREATE ROLE app LOGIN; CREATE SCHEMA app AUTHORIZATION app;
		SELECT hotswap.register_node('development', 'main', run_as => 'app', schema => 'app');
		CREATE TABLE app.alembic_version (version_num text);
		INSERT INTO app.alembic_version VALUES ('3c4d'), ('5e6f');
		CREATE TABLE app.goose_db_version (id serial, version_id bigint, is_applied boolean);
		INSERT INTO app.goose_db_version (version_id, is_applied) VALUES (0, true), (2, true);
		CREATE TABLE app.flyway_schema_history (installed_rank int, version text,
			description text, type text, checksum int, success boolean);
		INSERT INTO app.flyway_schema_history VALUES (1, '1', 'customers', 'SQL', $crc, true);
		CREATE SCHEMA sqitch;
		CREATE TABLE sqitch.changes (change_id text, script_hash text, project text);
		INSERT INTO sqitch.changes SELECT metadata ->> 'sqitch_id', '$sha', 'shop'
		FROM hotswap.versions WHERE module = 'shop' AND version = 'customers';
		CREATE TABLE app.customers (id int, name text);
		CREATE TABLE app.schema_migrations (version bigint, dirty boolean);
		INSERT INTO app.schema_migrations VALUES (2, false);
		GRANT SELECT ON app.customers TO app});

	is(adopted('--node', 'main', "$fixtures/alembic"), "0\nmain\talembic\t3c4d, 5e6f",
		'several heads are several versions');
	is(adopted('--node', 'main', "$fixtures/sqitch"), "0\nmain\tshop\tcustomers",
		'Sqitch knows changes by their ids');
	is(adopted(@flyway), "0\nmain\tflyway\t1", 'Flyway by versions and checksums');
	is(adopted('--node', 'main', "$fixtures/golang-migrate"), "0\nmain\tgolang-migrate\t2",
		'golang-migrate has the last one');
	is(sql(q{SELECT string_agg(DISTINCT direction::text, ' ') FROM hotswap.node_history
		WHERE node = 'main'}), 'declared', 'nothing has run');

	# What does not fit is refused, and named.
	like(adopted('--node', 'main', "$fixtures/goose"),
		qr/\A1\nmain\tgoose\t2\trefused: 2 ran and 1, which it builds on, did not\z/, 'a gap');
	sql(q{UPDATE app.flyway_schema_history SET checksum = checksum + 1});
	like(adopted(@flyway), qr/\trefused: 1 ran with another script than V1__customers\.sql$/m,
		'another script');
	sql(q{UPDATE app.schema_migrations SET dirty = true});
	like(adopted('--node', 'main', "$fixtures/golang-migrate"), qr/\trefused: 2 did not succeed$/m,
		'a migration that failed');
	sql(q{INSERT INTO app.alembic_version VALUES ('9z')});
	like(adopted('--node', 'main', "$fixtures/alembic"),
		qr/\trefused: the registry has 9z, the folder has not$/m, 'a revision that nobody has');

	# A registry is the node's, and must not run anything as who adopts.
	sql(q{DROP TABLE app.schema_migrations;
		CREATE VIEW app.schema_migrations AS SELECT 2 AS version, false AS dirty});
	like(adopted('--node', 'main', "$fixtures/golang-migrate"),
		qr/\trefused: app\.schema_migrations is not a plain table of built-in types$/m, 'a view');
	sql(q{CREATE DOMAIN app.number AS text;
		ALTER TABLE app.alembic_version ALTER version_num TYPE app.number});
	like(adopted('--node', 'main', "$fixtures/alembic"),
		qr/\trefused: app\.alembic_version is not a plain table of built-in types$/m,
		'a type of its own');

	is((publish('--adopt', '--node', 'other', "$fixtures/goose"))[0], 3, 'there is no such node');
	return;
}

# run_line(FOLDER, COMMAND): exit status of sh with it, and its last line
sub run_line
{
	my ($folder, $command) = @_;
	my ($out, $err) = ('', '');

	IPC::Run::run([ 'sh', '-c', $command ], '<', \'', '>', \$out, '2>', \$err,
		init => sub { chdir $folder });
	diag($err) if $?;
	return ($? >> 8) . ' ' . (split /\n/, $out)[-1];
}

# job(ARGUMENT...): exit status of deploy.sh, and its last line
sub job
{
	my ($out, $err) = ('', '');

	IPC::Run::run([ "$examples/deploy.sh", @_ ], '<', \'', '>', \$out, '2>', \$err);
	diag($err) if $? && $? >> 8 > 3;
	return ($? >> 8, (split /\n/, $out)[-1]);
}
