# make builds what has changed, and everything when it is for another server.  The compiler is a
# stand-in that only says what it was asked for.
use strict;
use warnings;

use Cwd qw(abs_path);
use PostgreSQL::Test::Utils;
use Test::More;

# A path of its own: from 17 on it is relative.
my $dir = abs_path(PostgreSQL::Test::Utils::tempdir);
my $pg_config = $ENV{PG_CONFIG} // 'pg_config';

sub write_program
{
	my ($name, $text) = @_;
	append_to_file("$dir/$name", "#!/bin/sh\n$text");
	chmod 0755, "$dir/$name";
	return "$dir/$name";
}

my $compiler = write_program('compiler', <<"SH");
while [ \$# -gt 0 ]; do
	case \$1 in
	-c) echo compiled >> $dir/log ;;
	-o) shift; touch "\$1" ;;
	esac
	shift
done
SH

# Another server: the same one under another version.
chomp(my $pgxs = `$pg_config --pgxs`);
system_or_bail('cp', '-RL', $pgxs =~ s{/src/makefiles/pgxs.mk$}{}r, "$dir/pgxs");
my $global = slurp_file("$dir/pgxs/src/Makefile.global");
$global =~ s/^VERSION = .*/VERSION = 99.9/m or die 'no version';
unlink "$dir/pgxs/src/Makefile.global";
append_to_file("$dir/pgxs/src/Makefile.global", $global);
my $other = write_program('pg_config', <<"SH");
[ "\$*" = --pgxs ] && exec echo $dir/pgxs/src/makefiles/pgxs.mk
exec $pg_config "\$@"
SH

system_or_bail('mkdir', "$dir/tree");
system_or_bail('cp', '-R', qw(Makefile hotswap.control bin src sql scripts), "$dir/tree");
system_or_bail('sh', '-c', "rm -f $dir/tree/src/*.o $dir/tree/src/*/*.o");
my $sources = () = glob("$dir/tree/src/*.c $dir/tree/src/*/*.c");

# How many files does make compile?
sub compiled
{
	my ($for) = @_;

	unlink "$dir/log";
	system_or_bail('make', '-s', '-C', "$dir/tree", "PG_CONFIG=$for", "CC=$compiler");
	return -e "$dir/log" ? scalar(split /\n/, slurp_file("$dir/log")) : 0;
}

cmp_ok($sources, '>', 0, 'there is something to compile');
is(compiled($pg_config), $sources, 'the first make compiles everything');
is(compiled($pg_config), 0, 'the second one nothing');
is(compiled($other), $sources, 'for another server everything again');
is(compiled($other), 0, 'once');
is(compiled($pg_config), $sources, 'and so does the way back');
done_testing();
