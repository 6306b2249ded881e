# A project of Alembic: what "alembic upgrade --sql" prints, two branches that are merged, of which
# production gets one as a hotfix, and back.
use strict;
use warnings;

use HotswapPublish;
use HotswapTest;
use Test::More;

my $server = story_cluster('story_alembic');

# What Alembic prints about its own table.
sub added
{
	return "INSERT INTO alembic_version (version_num) VALUES ('$_[0]')"
	  . ' RETURNING alembic_version.version_num';
}

sub removed
{
	return "DELETE FROM alembic_version WHERE alembic_version.version_num = '$_[0]'";
}

sub set_to
{
	return "UPDATE alembic_version SET version_num='$_[0]'"
	  . " WHERE alembic_version.version_num = '$_[1]'";
}

# Of a revision: what it builds on, its statement and the way back, and what is booked of both.
my %step = (
	'1a' => [ '', 'CREATE TABLE a (id INTEGER NOT NULL, PRIMARY KEY (id))', 'DROP TABLE a',
		added('1a'), removed('1a') ],
	'2b' => [ '1a', 'ALTER TABLE a ADD COLUMN b TEXT', 'ALTER TABLE a DROP COLUMN b',
		set_to('2b', '1a'), set_to('1a', '2b') ],
	'3c' => [ '2b', 'ALTER TABLE a ADD COLUMN c TEXT', 'ALTER TABLE a DROP COLUMN c',
		set_to('3c', '2b'), set_to('2b', '3c') ],
	'3d' => [ '2b', 'ALTER TABLE a ADD COLUMN d TEXT', 'ALTER TABLE a DROP COLUMN d',
		added('3d'), removed('3d') ],
	'4e' => [ '3c, 3d', 'ALTER TABLE a ADD COLUMN e TEXT', 'ALTER TABLE a DROP COLUMN e',
		removed('3c') . ";\n\n" . set_to('4e', '3d'),
		set_to('3d', '4e') . ";\n\n" . added('3c') ]);

# upgrade(REVISION, ...): "alembic upgrade base:heads --sql" of these
sub upgrade
{
	my $text = "BEGIN;\n\nCREATE TABLE alembic_version (\n    version_num VARCHAR(32) NOT NULL, \n"
	  . "    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)\n);\n\n";

	for (@_)
	{
		my ($from, $up, undef, $booked) = @{ $step{$_} };
		$text .= "-- Running upgrade $from -> $_\n\n$up;\n\n$booked;\n\n";
	}
	return "${text}COMMIT;\n\n";
}

# downgrade(REVISION, ...): "alembic downgrade heads:base --sql"
sub downgrade
{
	my $text = "BEGIN;\n\n";

	for (reverse @_)
	{
		my ($from, undef, $down, undef, $booked) = @{ $step{$_} };
		$text .= "-- Running downgrade $_ -> $from\n\n$down;\n\n$booked;\n\n";
	}
	return "${text}DROP TABLE alembic_version;\n\nCOMMIT;\n\n";
}

sub output_of { return ('upgrade.sql' => upgrade(@_), 'downgrade.sql' => downgrade(@_)); }

sub booked_on
{
	return sql("SELECT string_agg(version_num, ', ' ORDER BY version_num)
		FROM $_[0].alembic_version");
}

# ---- a line ----

my $project = folder(output_of('1a', '2b'));
publishes('a line is published', <<'OUT', '--module', 'app', $project);
published app 1a
published app 2b, builds on 1a
2 published, 0 unchanged
OUT
is((deploy('app', '2b', 'production'))[0], 'succeeded', 'and deployed');
is(booked_on('prod'), '2b', 'Alembic finds what it would have written');

# ---- two branches: one in development, the other in production ----

write_files($project, output_of('1a', '2b', '3c'));
publishes('a branch', <<'OUT', '--module', 'app', $project);
published app 3c, builds on 2b
1 published, 2 unchanged
OUT
is((deploy('app', '3c', 'development'))[0], 'succeeded', 'is tried in development');

write_files($project, output_of('1a', '2b', '3c', '3d'));
publishes('another branch is a hotfix', <<'OUT', '--module', 'app', $project);
published app 3d, builds on 2b
1 published, 3 unchanged
OUT
is((deploy('app', '3d', 'production'))[0], 'succeeded', 'it comes to production');
is(runs('dev', 'app') . runs('prod', 'app'), '{3c}{3d}', 'past development');

# ---- the merge ----

write_files($project, output_of('1a', '2b', '3c', '3d', '4e'));
publishes('a merge builds on both', <<'OUT', '--module', 'app', $project);
published app 4e, builds on 3c, 3d
1 published, 4 unchanged
OUT
my ($status, $id) = deploy('app', '4e', 'production');
is($status, 'succeeded', 'it is deployed');
is(sql(q{SELECT string_agg(node || ' ' || step, ', ' ORDER BY node, swap) FROM hotswap.node_history
	WHERE step >= '3'}), 'dev 3c, dev 3d, dev 4e, prod 3d, prod 3c, prod 4e',
	'each node got what it lacked');
is(booked_on('dev') . ' ' . booked_on('prod'), '4e 4e', 'Alembic finds the merge');

# ---- and back ----

$id = sql("SELECT hotswap.rollback('$id', 'the merge is wrong')");
is(sql("CALL hotswap.await('$id', '60 s', NULL)"), 'succeeded', 'it is rolled back');
is(runs('prod', 'app'), '{3d}', 'to the hotfix');
is(sql(q{SELECT string_agg(attname, ', ' ORDER BY attnum) FROM pg_attribute
	WHERE attrelid = 'prod.a'::regclass AND attnum > 0 AND NOT attisdropped}), 'id, b, d',
	'what it brought is gone');
is(booked_on('prod'), '2b, 3d', 'and Alembic finds what it would have written');
is((deploy('app', '4e', 'production', 'reapply => true'))[0], 'succeeded', 'it can come again');
is(booked_on('prod'), '4e', 'whole');

# ---- a revision is what it was ----

$step{'3c'}[0] = '1a';
write_files($project, output_of('1a', '2b', '3c', '3d', '4e'));
like((publish('--module', 'app', $project))[2],
	qr/^hotswap-publish: app 3c \(upgrade\.sql\) is published with other parents: \{2b\}$/m,
	'another parent is refused');

check_invariants($server, 'postgres');
done_testing(20);
