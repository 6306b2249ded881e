# The documents: every SQL example in them runs, prints what they say it prints, and the manual
# leaves nothing out.
#
# The fences of a document are one psql session, from top to bottom, in a database of its own:
#	```sql         has to succeed
#	```sql fails   has to end with an error
#	```text        directly behind one of them: what psql prints, but for spaces at the end of lines
use strict;
use warnings;

use HotswapTest;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

my @documents = ('README.md', 'doc/manual.md');

# scripts/check puts them beside the folder test.
my $root = $ENV{TESTDIR};

# examples(TEXT): a list of { line, sql, fails, output }; output is undef where none is promised.
sub examples
{
	my ($text) = @_;
	my @examples;
	my ($kind, $body, $start, $follows);
	my $line = 0;

	for (split /\n/, $text)
	{
		$line++;
		if (defined $kind && $_ eq '```')
		{
			if ($kind =~ /^sql( fails)?$/)
			{
				push @examples, { line => $start, sql => $body, fails => defined $1 };
				$follows = 1;
			}
			else
			{
				$examples[-1]->{output} = $body if $kind eq 'text' && $follows;
				$follows = 0;
			}
			undef $kind;
		}
		elsif (defined $kind) { $body .= "$_\n"; }
		elsif (/^```(.*)$/) { ($kind, $body, $start) = ($1, '', $line); }
		elsif (/\S/) { $follows = 0; }
	}
	die "line $start: the fence does not end" if defined $kind;
	return @examples;
}

# One script for psql, with a line before and one behind the output of each example.
sub script
{
	my $script = '';

	for my $i (0 .. $#_)
	{
		my $stop = $_[$i]->{fails} ? 'off' : 'on';
		$script .= "\\set ON_ERROR_STOP $stop\n\\echo <<< $i\n$_[$i]->{sql}\\echo >>> $i :ERROR\n";
	}
	return $script;
}

sub trimmed
{
	my ($text) = @_;

	$text =~ s/[ \t]+$//mg;
	$text =~ s/\n+\z//;
	return $text;
}

sub check_example
{
	my ($name, $example, $printed, $failed) = @_;

	like($example->{sql}, qr/(?:;|\\\w[^\n]*)\s*\z/, "$name is complete");
	is($failed, $example->{fails} ? 'true' : 'false',
		"$name " . ($example->{fails} ? 'fails' : 'succeeds'))
	  or diag($printed);
	is(trimmed($printed), trimmed($example->{output}), "$name prints what is stated")
	  if defined $example->{output};
	return;
}

sub check_document
{
	my ($document) = @_;
	my $name = $document =~ s/\W/_/gr;
	my $node = hotswap_cluster($name);
	my @examples = examples(slurp_file("$root/$document"));
	my $printed = '';

	cmp_ok(@examples, '>', 0, 'there are examples');
	$node->safe_psql('postgres', 'CREATE DATABASE shop');
	local $ENV{PGCLIENTENCODING} = 'UTF8';
	IPC::Run::run([ 'psql', '-X', '-d', $node->connstr('shop') ],
		'<', \script(@examples), '>&', \$printed,
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	for my $i (0 .. $#examples)
	{
		my $at = "line $examples[$i]->{line}";
		if ($printed !~ /^<<< $i\n(.*?)^>>> $i (\w+)$/ms)
		{
			fail("$at is run to its end");
			diag($printed =~ /^<<< $i\n(.*)/ms ? $1 : $printed);
			last;
		}
		check_example($at, $examples[$i], $1, $2);
	}
	return $node;
}

# What a user can see of the extension is named in the manual.
sub check_names
{
	my ($node) = @_;
	my $manual = slurp_file("$root/doc/manual.md");
	my %missing;

	for (split /\n/, $node->safe_psql('postgres', q{
		SELECT 'function', '### ' || proname || '(' FROM pg_proc
			WHERE pronamespace = 'hotswap'::regnamespace AND prorettype
				NOT IN ('trigger'::regtype, 'internal'::regtype)
		UNION ALL SELECT 'view', '### ' || relname FROM pg_class
			WHERE relnamespace = 'hotswap'::regnamespace AND relkind = 'v'
		UNION ALL SELECT 'column', '`' || attname || '`' FROM pg_attribute
		JOIN pg_class c ON c.oid = attrelid
			WHERE relnamespace = 'hotswap'::regnamespace AND relkind = 'v' AND attnum > 0
		UNION ALL SELECT 'setting', '| `' || name || '`' FROM pg_settings
		WHERE name LIKE 'hotswap.%'}))
	{
		my ($kind, $text) = split /\|/, $_, 2;
		push @{ $missing{$kind} }, $text if index($manual, $text) < 0;
	}
	is(join(', ', @{ $missing{$_} // [] }), '', "the manual names every $_")
	  for qw(function view column setting);
	return;
}

my %node;
for my $document (@documents)
{
	subtest $document => sub { $node{$document} = check_document($document); };
}
check_names($node{'doc/manual.md'});

done_testing();
