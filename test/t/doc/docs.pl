# The documents: every example in them runs, prints what they say it prints, and together they leave
# nothing out and say nothing twice.
#
# The fences of a page are one psql session, from top to bottom, in a database and a folder of its
# own; a page that tells the reader to run doc/setup.sql begins with that:
#	```sql          has to succeed
#	```sql fails    has to end with an error
#	```sh run       run by sh, beside psql; its last command has to succeed
#	```sh file=...  written to a file of this name, for the others
#	```text         directly behind one that is run: what it prints, but for spaces at line ends
#	```mermaid      the same, of a diagram
use strict;
use warnings;

use File::Find;
use HotswapTest;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

# scripts/check puts them beside the folder test.
my $root = $ENV{TESTDIR};

sub find_files
{
	my ($folder, $pattern) = @_;
	my @found;

	find({ no_chdir => 1, wanted => sub { push @found, $_ if /$pattern/ } }, "$root/$folder");
	return sort @found;
}

# columns(LINE): how wide it is, in characters of UTF-8
sub columns
{
	my ($line) = @_;

	utf8::decode($line) or die "not UTF-8: $line";
	return length $line;
}

my @pages = ('README.md', map { substr $_, length("$root/") } find_files('doc', qr/\.md$/));
my %text = map { $_ => slurp_file("$root/$_") } @pages;

# ---- what a page consists of ----

# lines(TEXT): a list of { number, text, fence }; fence is undef outside of a fence, else what
# stands behind its opening mark. The marks themselves belong to the fence.
sub lines
{
	my ($text) = @_;
	my (@lines, $fence);

	for my $line (split /\n/, $text)
	{
		my $ends = defined $fence && $line eq '```';
		$fence = $1 if !defined $fence && $line =~ /^```(.*)$/;
		push @lines, { number => @lines + 1, text => $line, fence => $fence };
		undef $fence if $ends;
	}
	die 'a fence does not end' if defined $fence;
	return @lines;
}

# examples(TEXT): a list of { line, kind, body, output }; output is undef where none is promised.
sub examples
{
	my ($text) = @_;
	my (@examples, $open);
	my $follows = 0;

	for my $line (lines($text))
	{
		if (!defined $line->{fence})
		{
			$follows = 0 if $line->{text} =~ /\S/;
		}
		elsif (!defined $open)
		{
			$open = { line => $line->{number}, kind => $line->{fence}, body => '' };
		}
		elsif ($line->{text} ne '```')
		{
			$open->{body} .= "$line->{text}\n";
		}
		else
		{
			my $is_run = $open->{kind} =~ /^(?:sql|sql fails|sh run)$/;
			$examples[-1]->{output} = $open->{body}
			  if $follows && $open->{kind} =~ /^(?:text|mermaid)$/;
			push @examples, $open if $is_run || $open->{kind} =~ /^sh file=/;
			$follows = $is_run;
			undef $open;
		}
	}
	return @examples;
}

# rows(TEXT): the cells of the table rows, headings left out
sub rows
{
	my ($text) = @_;
	my @lines = split /\n/, $text;
	my @rows;

	for my $i (0 .. $#lines)
	{
		next if $lines[$i] !~ /^\|/ || $lines[$i] =~ /^\| ---/;
		next if ($lines[ $i + 1 ] // '') =~ /^\| ---/;
		push @rows, [ map { s/^\s+|\s+$//gr } split /\|/, substr($lines[$i], 1) ];
	}
	return @rows;
}

sub section
{
	my ($page, $heading) = @_;

	return $1 if $text{$page} =~ /^#+ \Q$heading\E\n(.*?)(?=^#|\z)/ms;
	die "$page has no section \"$heading\"";
}

sub code_words { return $_[0] =~ /`([\w.]+)/g }

# ---- the examples ----

# One script for psql, with a line before and one behind the output of each example.
sub script
{
	my $script = '';

	for my $i (0 .. $#_)
	{
		my ($kind, $body) = @{ $_[$i] }{qw(kind body)};
		my $stop = $kind eq 'sql' ? 'on' : 'off';
		$body = "\\! sh $i.sh; echo \$? > $i.status\n" if $kind eq 'sh run';
		$body = '' if $kind =~ /^sh file=/;
		$script .= "\\set ON_ERROR_STOP $stop\n\\echo <<< $i\n$body\\echo >>> $i :ERROR\n";
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
	my ($example, $printed, $failed) = @_;
	my $name = "line $example->{line}";
	my $fails = $example->{kind} eq 'sql fails';

	like($example->{body}, qr/(?:;|\\\w[^\n]*)\s*\z/, "$name is complete")
	  if $example->{kind} =~ /^sql/;
	is($failed, $fails ? 'true' : 'false', "$name " . ($fails ? 'fails' : 'succeeds'))
	  or diag($printed);
	is(trimmed($printed), trimmed($example->{output}), "$name prints what is stated")
	  if defined $example->{output};
	return;
}

# Runs the examples of a page; returns what psql printed.
sub run_page
{
	my ($node, $folder, @examples) = @_;
	# psql sets it with the first statement; a page may have none.
	my $setup = "\\set ERROR false\n";
	my $printed = '';

	for my $i (0 .. $#examples)
	{
		my ($kind, $body) = @{ $examples[$i] }{qw(kind body)};
		append_to_file("$folder/$i.sh", $body) if $kind eq 'sh run';
		append_to_file("$folder/$1", $body) if $kind =~ /^sh file=([\w.]+)$/;
	}
	$setup .= "\\i $root/doc/setup.sql\n" if grep { $_->{uses_setup} } @examples;
	local @ENV{qw(PGHOST PGPORT PGDATABASE PGCLIENTENCODING)} =
	  ($node->host, $node->port, 'shop', 'UTF8');
	IPC::Run::run([ 'psql', '-X' ], '<', \($setup . script(@examples)), '>&', \$printed,
		init => sub { chdir $folder or die "cannot go to $folder" },
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	return $printed;
}

sub check_page
{
	my ($node, $page) = @_;
	my @examples = examples($text{$page});
	my $folder = PostgreSQL::Test::Utils::tempdir();
	my $printed;

	$examples[0]->{uses_setup} = $text{$page} =~ m{\\i doc/setup\.sql} && $page ne 'doc/README.md';
	$printed = run_page($node, $folder, @examples);
	for my $i (0 .. $#examples)
	{
		if ($printed !~ /^<<< $i\n(.*?)^>>> $i (\w+)$/ms)
		{
			fail("line $examples[$i]->{line} is run to its end");
			diag($printed =~ /^<<< $i\n(.*)/ms ? $1 : $printed);
			last;
		}
		my ($output, $failed) = ($1, $2);
		$failed = slurp_file("$folder/$i.status") ne "0\n" ? 'true' : 'false'
		  if $examples[$i]->{kind} eq 'sh run';
		check_example($examples[$i], $output, $failed);
	}
	return;
}

# Each page finds an empty database and no roles but its own.
sub check_examples
{
	my $node = hotswap_cluster('docs');

	for my $page (grep { examples($text{$_}) } @pages)
	{
		$node->safe_psql('postgres', 'CREATE DATABASE shop');
		subtest $page => sub { check_page($node, $page) };
		$node->safe_psql('postgres', 'DROP DATABASE shop');
		$node->safe_psql('postgres', $node->safe_psql('postgres',
			q{SELECT format('DROP ROLE %I;', rolname) FROM pg_roles WHERE oid >= 16384}));
	}
	return $node;
}

# ---- nothing is left out, nothing said twice ----

# is_same_list(FOUND, EXPECTED, NAME): the same words, each once, in any order
sub is_same_list
{
	my ($found, $expected, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(join("\n", sort @$found), join("\n", sort @$expected), $name);
	return;
}

sub query { return split /\n/, $_[0]->safe_psql('postgres', $_[1]) }

sub function_names
{
	return query($_[0], q{
		SELECT DISTINCT proname FROM pg_proc WHERE pronamespace = 'hotswap'::regnamespace
		AND has_function_privilege('public', oid, 'EXECUTE')});
}

# What a user can see of the extension has one place in the manual, and one line in its index.
sub check_names
{
	my ($node) = @_;
	my $functions = join "\n", map { $text{$_} } grep { m{^doc/functions/} } @pages;
	my %name = (
		Functions => [ function_names($node) ],
		Views => [ query($node, q{
			SELECT relname FROM pg_class
			WHERE relnamespace = 'hotswap'::regnamespace AND relkind = 'v'}) ],
		Settings => [ query($node, q{SELECT name FROM pg_settings WHERE name LIKE 'hotswap.%'}) ]);
	my %place = (
		Functions => [ $functions =~ /^## (\w+)\(/mg ],
		Views => [ $text{'doc/views.md'} =~ /^## (\w+)$/mg ],
		Settings => [ $text{'doc/settings.md'} =~ /^\| `([\w.]+)`/mg ]);

	for my $kind (sort keys %name)
	{
		is_same_list($place{$kind}, $name{$kind}, "$kind have one place each");
		is_same_list([ section('doc/README.md', $kind) =~ /^- \[`([\w.]+)/mg ],
			$name{$kind}, "$kind have one line each in the index");
	}
	for my $column (query($node, q{
		SELECT relname, attname FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
		WHERE relnamespace = 'hotswap'::regnamespace AND relkind = 'v' AND attnum > 0}))
	{
		my ($view, $name) = split /\|/, $column;
		like(section('doc/views.md', $view), qr/`$name`/, "$view.$name is described");
	}
	return;
}

# The capabilities of the type, and the functions that each is for, by page and by capability.
sub check_capabilities
{
	my ($node) = @_;
	my (@listed, %by_page, %by_capability);

	for my $row (rows(section('doc/operations/security.md', 'Access')))
	{
		my ($capability, $may, $includes) = @$row;
		my $needs = $capability =~ s/`//gr;

		push @listed, $needs if defined $includes;
		$needs .= ', all tenants' if !defined $includes && $needs ne 'none';
		push @{ $by_capability{$_} }, $needs for code_words($may =~ s/; and .*//r);
	}
	is_same_list(\@listed,
		[ query($node, q{SELECT unnest(enum_range(NULL::hotswap.capability))}) ],
		'access lists the capabilities');
	for my $page (grep { m{^doc/functions/\w+\.md$} && !/README/ } @pages)
	{
		my @rows = grep { $_->[0] =~ /^\[`\w+`\]\(#/ } rows($text{$page});
		my @names = map { code_words($_->[0]) } @rows;

		is(join("\n", @names), join("\n", sort @names), "$page is in order");
		is_same_list(\@names, [ $text{$page} =~ /^## (\w+)\(/mg ], "$page has a table of it");
		$by_page{ (code_words($_->[0]))[0] } = $_->[1] =~ s/`//gr =~ s/ for all/, all/r for @rows;
	}
	is_deeply(
		{ map { $_ => $by_capability{$_} // 'nothing' } keys %by_page },
		{ map { $_ => [ $by_page{$_} ] } keys %by_page },
		'both lists give each function to the same capability');
	return;
}

# source(): the C code in one piece
sub source { return join "\n", map { slurp_file($_) } find_files('src', qr/\.[ch]$/) }

# The errors that the code raises.
sub check_errors
{
	my $source = source();
	my $data = `pg_config --sharedir`;
	my (%state, %known);

	chomp $data;
	my $codes = slurp_file("$data/errcodes.txt");
	$state{$2} = $1 while $codes =~ /^(\w{5})\s+\w\s+(ERRCODE_\w+)/mg;
	while ($source =~ /(ERRCODE_\w+)\s+MAKE_SQLSTATE\(([^)]*)\)/g)
	{
		my ($name, $letters) = ($1, $2);
		$state{$name} = join '', $letters =~ /'(.)'/g;
	}
	for my $title ('Of the functions', 'Of tasks and deployments', 'Of calls of a routed module')
	{
		my %times;

		$times{ $_->[0] }++ for rows(section('doc/errors.md', $title));
		is(join(', ', grep { $times{$_} > 1 } sort keys %times), '', "$title: each once");
		%known = (%known, %times);
	}
	my %raised = map { $_ => $state{$_} // die $_ } $source =~ /errcode\((ERRCODE_\w+)\)/g;
	# Only for who calls a trigger function by hand.
	delete $raised{ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED};
	is(join(', ', grep { !$known{ $raised{$_} } } sort keys %raised), '', 'each error is listed');
	return;
}

# What health() can say: each component has its meaning and its remedy, and there are no others.
sub check_health
{
	my %component;
	my $source = source();
	my %said = map { $_ => 1 } $source =~ /health_report\(\s*result, "(\w+)"/g;

	$component{ $_->[0] } = 1 for rows(section('doc/operations/watch.md', 'health()'));
	is(join(', ', sort keys %component), join(', ', sort keys %said),
		'every component of health() is in doc/operations/watch.md');
	is_same_list([ map { $_->[0] } rows(section('doc/functions/operations.md', 'health()')) ],
		[ keys %said ], 'each once in the reference');
	return;
}

# The reasons that explain() can give.
sub check_explain
{
	my $source = source() =~ s/" INT64_FORMAT "|%d/N/gr =~ s/\\"%s\\"/'...'/gr;
	my @said = grep { defined }
	  $source =~ /explain_add\(e,\s*(?:\w+\([^"]*)?"([^"]*)"(?:\s*:\s*"([^"]*)")?/g;

	my @rows = rows(section('doc/functions/operations.md', 'explain(...)'));

	is_same_list([ map { $_->[0] =~ tr/"/'/r } @rows ], \@said,
		'each reason of explain() is listed once');
	return;
}

# The events of the audit log: the transitions of the machines, and what the code names itself.
sub check_events
{
	my ($node) = @_;
	my $source = source();
	my %prefix = (deployment => '', tenant => '',
		stage => 'stage.', task => 'task.', approval => 'approval.');
	my (%event, %listed);

	for my $machine (keys %prefix)
	{
		my $diagram = $node->safe_psql('postgres', "SELECT hotswap.state_diagram('$machine')");
		$event{"$prefix{$machine}$_"} = 1 for $diagram =~ /: (\w+)$/mg;
	}
	# Most events are called as the function that causes them; others stand in the call that
	# writes them. bring_up is the name of a kind of deployments, seen_tenants what a planner calls.
	$event{$1} = 1 while $source =~ /"((?:approval|freeze|rollout)\.[a-z_]+)"/g;
	$event{$_} = 1
	  for grep { /_/ && !/^(?:bring_up|seen_tenants)$/ && index($source, qq("$_")) >= 0 }
	  function_names($node);
	while ($source =~ /\b(?:audit_tenant|audit_add|\w+_audit)\(([^;{]*?)\);/gs)
	{
		my $arguments = $1 =~ s/audit_detail\(.*//sr;
		$event{$1} = 1 if $arguments =~ /^[^"]*"([a-z_]+)"/;
	}
	for my $row (rows(section('doc/views.md', 'audit_log')))
	{
		next if $row->[0] !~ /^(?:the )?(?:tenant|deployment)\b/;
		$listed{$_}++ for code_words($row->[1]);
	}
	is_same_list([ keys %listed ], [ keys %event ], 'the events of the audit log are listed');
	is(join(', ', grep { $listed{$_} > 1 } sort keys %listed), 'resume',
		'each once, but for what both a tenant and a deployment can do');
	return;
}

# ---- the form ----

# Words of a heading as GitHub makes an anchor of them.
sub anchor { return lc($_[0]) =~ s/[^\w -]//gr =~ tr/ /-/r }

sub anchors
{
	my ($page) = @_;

	return map { $_->{text} =~ /^#+ (.*)$/ ? anchor($1) : () }
	  grep { !defined $_->{fence} } lines($text{$page});
}

# links(PAGE): a list of { line, file, anchor } of what it links to in the repository
sub links
{
	my ($page) = @_;
	my $folder = $page =~ m{^(.*)/} ? "$1/" : '';
	my @links;

	for my $line (grep { !defined $_->{fence} } lines($text{$page}))
	{
		while ($line->{text} =~ /\]\(([^)#]*)(?:#([^)]*))?\)/g)
		{
			my ($target, $anchor) = ($1, $2);
			next if $target =~ /^https?:/;
			my $file = $target eq '' ? $page : "$folder$target";
			1 while $file =~ s{[^/]+/\.\./}{};
			push @links, { line => $line->{number}, file => $file, anchor => $anchor };
		}
	}
	return @links;
}

sub is_dead
{
	my ($link) = @_;
	my ($file, $anchor) = @$link{qw(file anchor)};

	return !-e "$root/$file" || (defined $anchor && !grep { $_ eq $anchor } anchors($file));
}

sub check_form
{
	my %linked = ('README.md' => 1);

	for my $page (@pages)
	{
		my @links = links($page);
		my @prose = grep { !defined $_->{fence} && $_->{text} !~ /^\|/ } lines($text{$page});
		my @long = grep { columns($_->{text}) > 110 } @prose;

		is(join(', ', map { "line $_->{line}" } grep { is_dead($_) } @links), '',
			"$page: no dead links");
		is(join(', ', map { "line $_->{number}" } @long), '', "$page: no prose over 110 columns");
		$linked{ $_->{file} } = 1 for grep { $_->{file} ne $page } @links;
	}
	is(join(', ', grep { !$linked{$_} } @pages), '', 'each page can be found');
	return;
}

subtest 'form' => \&check_form;
my $node = check_examples();
subtest 'names' => sub { check_names($node) };
subtest 'capabilities' => sub { check_capabilities($node) };
subtest 'errors' => sub { check_errors() };
subtest 'events' => sub { check_events($node) };
subtest 'health' => sub { check_health() };
subtest 'explain' => sub { check_explain() };

done_testing();
