# hotswap-publish and folders for it, and for the stories from the first version to the hotfix and
# back a server with a node in development and one in production.
package HotswapPublish;

use strict;
use warnings;

use File::Basename qw(dirname);
use File::Path qw(make_path);
use HotswapTest;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

use Exporter 'import';
our @EXPORT = qw(publish folder write_files publishes publish_server story_cluster sql deploy runs);

my $folders = 0;
my $server;

# publish(ARGUMENT...): exit status, output, errors
sub publish
{
	my ($out, $err) = ('', '');

	IPC::Run::run([ 'hotswap-publish', @_ ], '<', \'', '>', \$out, '2>', \$err);
	return ($? >> 8, $out, $err);
}

# write_files(FOLDER, FILE => TEXT, ...): bytes as they are; undef removes a file
sub write_files
{
	my ($folder, %files) = @_;

	while (my ($name, $text) = each %files)
	{
		if (!defined $text)
		{
			unlink("$folder/$name") or die "$name: $!";
			next;
		}
		make_path(dirname("$folder/$name"));
		open my $file, '>:raw', "$folder/$name" or die "$name: $!";
		print $file $text;
		close $file or die "$name: $!";
	}
	return;
}

# folder(FILE => TEXT, ...): a new folder with these files
sub folder
{
	my $folder = PostgreSQL::Test::Utils::tempdir() . '/f' . ++$folders;

	make_path($folder);
	write_files($folder, @_);
	return $folder;
}

# publishes(NAME, EXPECTED, ARGUMENT...): it succeeds, and prints that
sub publishes
{
	my ($name, $expected, @arguments) = @_;
	my ($status, $out, $err) = publish(@arguments);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is("$status\n$out", "0\n$expected", $name) || diag($err);
}

# publish_server(NAME): a server that the programs of the client find
sub publish_server
{
	$server = hotswap_cluster(@_);
	$ENV{PGHOST} = $server->host;
	$ENV{PGPORT} = $server->port;
	$ENV{PGDATABASE} = 'postgres';
	return $server;
}

# story_cluster(NAME): the same; its development has a node "dev", production a node "prod",
# each with a schema of that name; nobody has to approve.
sub story_cluster
{
	my ($name) = @_;

	publish_server($name);
	sql(q{SELECT hotswap.set_approval_policy('production', 0)});
	for (([ development => 'dev' ], [ production => 'prod' ]))
	{
		my ($environment, $node) = @$_;
		sql(qq{CREATE ROLE story_$node LOGIN; CREATE SCHEMA $node AUTHORIZATION story_$node;
			SELECT hotswap.register_node('$environment', '$node', run_as => 'story_$node',
				schema => '$node')});
	}
	return $server;
}

sub sql { return $server->safe_psql('postgres', $_[0]); }

# deploy(MODULE, VERSION, ENVIRONMENT [, OPTIONS]): how it ends, and its id
sub deploy
{
	my ($module, $version, $environment, $options) = @_;
	my $more = defined $options ? ", $options" : '';
	my $id = sql("SELECT hotswap.deploy('$module', '$version', '$environment'$more)");

	return (sql("CALL hotswap.await('$id', '60 s', NULL)"), $id);
}

# runs(NODE, MODULE): the heads of what it runs
sub runs
{
	my ($node, $module) = @_;

	return sql("SELECT heads FROM hotswap.node_history WHERE node = '$node'
		AND module = '$module' ORDER BY swap DESC LIMIT 1");
}

1;
