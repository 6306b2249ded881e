# Random graphs of versions, on nodes in random states, deployed in a random order while scripts
# fail and the server crashes: preview() says what then happens, the registry is what happened on
# the nodes, nothing runs twice, and what failed has left the nodes as they were.
#
# What shall happen is worked out here a second time, from sets of names.
#
# GRAPH_ROUNDS=n: how many rounds (12), of a deployment a module. GRAPH_SEED=n: the random numbers
# of an earlier run, which prints its seed. GRAPH_VERBOSE=1: tells of each deployment.
use strict;
use warnings;

use HotswapClient;
use HotswapTest;
use List::Util qw(all any first shuffle);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $rounds = $ENV{GRAPH_ROUNDS} || 12;
my $seed = $ENV{GRAPH_SEED} || int(rand(1_000_000)) + 1;
srand $seed;
note("GRAPH_ROUNDS=$rounds GRAPH_SEED=$seed");

my @environments = qw(development qa production);
my %nodes = (development => [qw(d1 d2)], qa => [qw(q1 q2)], production => [qw(p1 p2 p3)]);
my @all_nodes = map { @{ $nodes{$_} } } @environments;

my $node = hotswap_cluster(
	'graph_property',
	'hotswap.max_executors' => 4,
	'hotswap.retry_base' => '5ms',
	'hotswap.retry_max_delay' => '20ms',
	'hotswap.retry_limit' => 30);
my $client;
# name => { versions => in order, each { name, parents, revert, install, verify }; spare => names;
# runs => { node => { name => when it came } } }
my %module;
my %read;		# "node module" => rows of its log that have been compared with the registry
my %fresh;		# the same => what the last of them said
my %count;
my $tick = 1;	# of things that happened on nodes

sub pick { return $_[ int rand @_ ]; }
sub chance { return rand() < $_[0]; }
sub by_name { my ($m, $name) = @_; return first { $_->{name} eq $name } @{ $m->{versions} }; }
sub list { return join ' ', sort @_; }

# What the server says; while it starts, asked again and again.
sub ask
{
	my ($sql) = @_;

	for (1 .. 100 * $PostgreSQL::Test::Utils::timeout_default)
	{
		$client = HotswapClient->new($node, undef) if !$client || $client->{gone};
		$client->send($sql)->finish;
		return @{ $client->{rows} } unless defined $client->{error};
		die "$client->{error} $client->{message}: $sql" if $client->{error} !~ /^(08|57P0)/;
		$client->vanish;
		usleep(10_000);
	}
	die "the server does not come back";
}

# The first column of its first row.
sub value { return (ask($_[0]))[0][0]; }

# ---- graphs ----

sub random_version
{
	my ($name, @before) = @_;
	my @parents;

	# Nearly always the last one; merges of what is near and far; a second root now and then.
	push @parents, $before[-1] if @before && chance(0.6);
	push @parents, pick(@before) while @before && (!@parents && chance(0.95) || chance(0.2));
	my %parents = map { $_->{name} => 1 } @parents;
	return {
		name => $name,
		parents => [ sort keys %parents ],
		revert => chance(0.93),
		install => chance(0.25),
		verify => chance(0.5) };
}

sub literal { return defined $_[0] ? "\$script\$$_[0]\$script\$" : 'NULL'; }

sub publication
{
	my ($name, $v) = @_;
	my $book = sub { "SELECT public.book('$name', '$v->{name}', '$_[0]')" };

	return sprintf q(SELECT hotswap.publish_version('%s', '%s', %s, %s, %s,
			parents => ARRAY[%s]::text[], install_sql => %s);),
	  $name, $v->{name}, literal($book->('up')),
	  literal($v->{verify} ? "SELECT public.verify('$name', '$v->{name}')" : undef),
	  literal($v->{revert} ? $book->('down') : undef),
	  join(', ', map { "'$_'" } @{ $v->{parents} }),
	  literal($v->{install} ? $book->('install') : undef);
}

# Publishes so many versions more.
sub publish
{
	my ($name, $n) = @_;
	my $m = $module{$name};

	for (1 .. $n)
	{
		my $next = shift @{ $m->{spare} } // last;
		push @{ $m->{versions} }, random_version($next, @{ $m->{versions} });
		ask(publication($name, $m->{versions}[-1]));
	}
	return;
}

# A version that nothing needs may go; its name comes back with other content.
sub withdraw
{
	my ($name) = @_;
	my $m = $module{$name};
	my $v = pick(@{ $m->{versions} });
	my $said = value("SELECT attempt('SELECT hotswap.withdraw_version(''$name'',
		''$v->{name}'', ''random'')')");
	my $applied = any { $_->{$v->{name}} } map { $m->{runs}{$_} } @all_nodes;
	my $built_on = any { my $w = $_; any { $_ eq $v->{name} } @{ $w->{parents} } }
	  @{ $m->{versions} };

	$count{"withdrawal $said"}++;
	return if $said eq '55000';
	is($said, '', "$name $v->{name} is withdrawn");
	ok(!$applied && !$built_on, 'nothing needs it');
	@{ $m->{versions} } = grep { $_ != $v } @{ $m->{versions} };
	push @{ $m->{spare} }, $v->{name};
	return;
}

# The names of these and all that they build on.
sub closure
{
	my ($m, @names) = @_;
	my %set;

	while (defined(my $name = pop @names))
	{
		next if $set{$name};
		$set{$name} = $tick;
		my $v = by_name($m, $name) // die "no version $name";
		push @names, @{ $v->{parents} };
	}
	return \%set;
}

sub heads
{
	my ($m, $set) = @_;
	my %parents = map { map { $_ => 1 } @{ by_name($m, $_)->{parents} } } keys %$set;
	return grep { !$parents{$_} } map { $_->{name} } grep { $set->{ $_->{name} } }
	  @{ $m->{versions} };
}

# ---- what shall happen ----

# The installer that is used for a node that runs nothing.
sub installer
{
	my ($m, $wanted) = @_;
	my ($best, $most) = (undef, 0);

	for my $v (grep { $_->{install} && $wanted->{ $_->{name} } } @{ $m->{versions} })
	{
		my $covers = keys %{ closure($m, $v->{name}) };
		($best, $most) = ($v, $covers) if $covers >= $most;
	}
	return $best;
}

# The steps of a node to a version, or "skipped" or "blocked". What came last goes first, where
# versions go.
sub steps
{
	my ($m, $n, $version, $is_target, $others, $allow_revert) = @_;
	my %runs = %{ $m->{runs}{$n} };
	my %order = map { $m->{versions}[$_]{name} => $_ } 0 .. $#{ $m->{versions} };
	my $wanted = closure($m, $version);
	my @more = sort { $runs{$b} <=> $runs{$a} || $order{$b} <=> $order{$a} }
	  grep { !$wanted->{$_} } keys %runs;
	my @steps;

	return 'skipped' if !%runs && $others;
	if ($is_target && $allow_revert && @more)
	{
		return 'blocked' if any { !by_name($m, $_)->{revert} } @more;
		@steps = map { "down $_" } @more;
		delete @runs{@more};
	}
	elsif ($runs{$version})
	{
		return 'skipped' if !$is_target || any { $_ eq $version } heads($m, \%runs);
		return 'blocked';
	}
	return 'skipped' if !$is_target && @more;
	if (!%runs && (my $v = installer($m, $wanted)))
	{
		push @steps, "install $v->{name}";
		%runs = %{ closure($m, $v->{name}) };
	}
	push @steps, map { "up $_->{name}" }
	  grep { $wanted->{ $_->{name} } && !$runs{ $_->{name} } } @{ $m->{versions} };
	return join ' + ', @steps;
}

# node => steps, of the environments on the way.
sub predict
{
	my ($m, $version, $allow_revert, @path) = @_;
	my %plan;

	for my $e (@path)
	{
		my $others = any { %{ $m->{runs}{$_} } } @{ $nodes{$e} };
		$plan{$_} = steps($m, $_, $version, $e eq $path[-1], $others, $allow_revert)
		  for @{ $nodes{$e} };
	}
	return \%plan;
}

# ---- the run ----

sub prepare
{
	# Scripts do what is said for them, and keep the books.
	ask(q(CREATE ROLE app LOGIN;
		CREATE TABLE fault (node text, module text, version text, script text, what text);
		CREATE FUNCTION strike(m text, v text, s text) RETURNS void LANGUAGE plpgsql AS $$
		DECLARE
			this text;
		BEGIN
			FOR this IN SELECT what FROM public.fault WHERE node = current_schema AND module = m
				AND version = v AND script = s
			LOOP
				IF this = 'raise' THEN
					RAISE 'as told';
				ELSIF this = 'again' AND random() < 0.5 THEN
					RAISE 'as told, this time' USING ERRCODE = '40001';
				ELSIF this = 'sleep' THEN
					PERFORM pg_sleep(0.2);
				END IF;
			END LOOP;
		END $$;
		CREATE FUNCTION book(m text, v text, s text) RETURNS void LANGUAGE plpgsql AS $$
		BEGIN
			PERFORM public.strike(m, v, s);
			INSERT INTO log (module, what, version) VALUES (m, s, v);
		END $$;
		CREATE FUNCTION verify(m text, v text) RETURNS boolean LANGUAGE plpgsql AS $$
		BEGIN
			PERFORM public.strike(m, v, CASE WHEN EXISTS (SELECT FROM log WHERE module = m
				AND version = v AND xid = pg_current_xact_id_if_assigned())
				THEN 'verify' ELSE 'validate' END);
			RETURN true;
		END $$;
		CREATE FUNCTION attempt(what text) RETURNS text LANGUAGE plpgsql AS $$
		DECLARE
			said text;
		BEGIN
			EXECUTE what INTO said;
			RETURN said;
		EXCEPTION WHEN OTHERS THEN
			RETURN SQLSTATE;
		END $$;
		GRANT ALL ON fault TO app;
		SELECT hotswap.set_approval_policy('staging', 0),
			hotswap.set_approval_policy('production', 0),
			hotswap.configure_environment('qa', revert_on_failure => false,
				allow_revert => 'anyone'),
			hotswap.configure_environment('development', allow_revert => 'anyone'),
			hotswap.configure_environment('production', allow_revert => 'anyone')));
	for my $e (@environments)
	{
		ask(qq(CREATE SCHEMA $_ AUTHORIZATION app
				CREATE TABLE log (n bigserial, module text, what text, version text, heads text,
					xid xid8 DEFAULT pg_current_xact_id());
			SELECT hotswap.register_node('$e', '$_', run_as => 'app', schema => '$_')))
		  for @{ $nodes{$e} };
	}
	return;
}

# A node that runs some of it from before.
sub declare_state
{
	my ($name, $n) = @_;
	my $m = $module{$name};
	my $set = closure($m, map { pick(@{ $m->{versions} })->{name} } 1 .. pick(1, 1, 1, 2));
	my @heads = heads($m, $set);

	$m->{runs}{$n} = $set;
	ask(qq(INSERT INTO hotswap.node_module (tenant_id, node_id, module, version, digest, swapped_at,
			step, direction, heads)
		SELECT n.tenant_id, n.id, '$name', v.version, v.digest, now(), v.version, 'declared',
			string_to_array('@heads', ' ')
		FROM hotswap.node n JOIN hotswap.module_version v
			ON v.module = '$name' AND v.version = '$heads[-1]' WHERE n.name = '$n';
		INSERT INTO $n.log (module, what, version, heads)
		VALUES ('$name', 'declared', '$heads[-1]', '@heads')));
	return;
}

sub make_modules
{
	for my $i (1 .. 8)
	{
		my $n = pick(1, 2, 3, 5, 8, 12, 20, 30, 40);
		# Nothing follows from the names, whatever is in them.
		my @names = shuffle map { sprintf pick('v%s', 'v%s', '{%s}', '"%s', '%s,', '\\%s',
			'NULL.%s', '$%s*'), $_ } 1 .. $n;

		$module{"m$i"} = {
			versions => [],
			spare => \@names,
			runs => { map { $_ => {} } @all_nodes } };
		publish("m$i", int($n * 0.5) + 1);
		for my $e (@environments)
		{
			# All of an environment at nothing are brought up together.
			next if chance(0.5);
			for (@{ $nodes{$e} })
			{
				declare_state("m$i", $_) if chance(0.7);
			}
		}
	}
	return;
}

# What goes wrong with some steps: faults as they are stored. Most strike in the target, so that
# what other nodes have done there has to go back.
sub random_faults
{
	my ($d) = @_;
	my @run = grep { $d->{plan}{$_} !~ /^(skipped|blocked)$/ } sort keys %{ $d->{plan} };
	my %target = map { $_ => 1 } @{ $nodes{ $d->{path}[-1] } };
	my @last = grep { $target{$_} } @run;
	my @faults;
	my $fault = sub {
		my ($script, $what) = @_;
		my $n = pick(@last && chance(0.8) ? @last : @run);
		my ($direction, $version) = split / /, pick(split / \+ /, $d->{plan}{$n});

		push @faults, {
			node => $n,
			module => $d->{module},
			version => $script eq 'validate' ? $d->{version} : $version,
			script => $script || $direction,
			what => $what };
	};

	return unless @run;
	$fault->(pick('', '', 'verify', 'validate'), 'raise') if chance(0.7);
	$fault->('down', 'raise') if chance(0.3);
	$fault->(pick('', 'down'), 'again') if chance(0.3);
	$fault->(pick('', 'down'), 'sleep') if chance(0.3);
	return @faults;
}

# Does a script that has a fault run on a node, on the way there or in validation?
sub runs_script
{
	my ($d, $n, $script, $version) = @_;
	my $m = $module{ $d->{module} };

	my @steps = split / \+ /, $d->{plan}{$n};

	return any { $_ eq "$script $version" } @steps if $script !~ /^v/;
	return 0 if !by_name($m, $version)->{verify};
	return any { /^(up|install) \Q$version\E$/ } @steps if $script eq 'verify';
	return (any { $_ eq $n } @{ $nodes{ $d->{path}[-1] } })
	  && ($d->{plan}{$n} ne 'skipped' || $m->{runs}{$n}{$version});
}

sub strikes
{
	my ($d, $n) = @_;

	return any { $_->{node} eq $n && $_->{what} eq 'raise'
		  && runs_script($d, $n, @$_{qw(script version)}) } @{ $d->{faults} };
}

# A deployment of a module as it shall go, from what its nodes run now.
sub expect
{
	my ($name, $version, $allow_revert, @path) = @_;
	my $m = $module{$name};

	return {
		module => $name,
		version => $version,
		allow_revert => $allow_revert,
		path => \@path,
		plan => predict($m, $version, $allow_revert, @path),
		before => { %{ $m->{runs} } },
		faults => [] };
}

# Requests one; what preview() says of it is what is expected.
sub request
{
	my ($name) = @_;
	my $m = $module{$name};
	my @path = @environments[ 0 .. int rand @environments ];
	my $d;

	# Much of what one can ask for is refused.
	for (1 .. 3)
	{
		$d = expect($name, pick(@{ $m->{versions} })->{name}, chance(0.4), @path);
		last if all { $_ ne 'blocked' } values %{ $d->{plan} };
	}
	my $what = "'$name', '$d->{version}', '$path[-1]'"
	  . ($d->{allow_revert} ? ', allow_revert => true' : '');
	$d->{faults} = [ random_faults($d) ] if chance(0.5);
	ask('INSERT INTO public.fault VALUES ' . join(', ', map { "('$_->{node}', '$_->{module}',
		'$_->{version}', '$_->{script}', '$_->{what}')" } @{ $d->{faults} })) if @{ $d->{faults} };
	my %said = map { $_->[0] => $_->[1] } ask(qq(SELECT node, coalesce(
			string_agg(direction || ' ' || step_version, ' + ' ORDER BY step),
			substring(min(problem) FROM '^(skipped|blocked): '))
		FROM hotswap.preview($what) GROUP BY node));
	is_deeply(\%said, $d->{plan}, "preview($what)");
	$d->{id} = value("SELECT hotswap.deploy($what)");
	return $d;
}

# Takes up one that has failed.
sub take_up
{
	my ($d) = @_;
	my $again = expect(@$d{qw(module version allow_revert)}, @{ $d->{path} });

	$again->{id} = $d->{id};
	$again->{first} = $d;
	ask("SELECT hotswap.retry('$d->{id}')");
	return $again;
}

# Until nothing is on its way.
sub finish
{
	my $open = 1;

	for (1 .. 100 * $PostgreSQL::Test::Utils::timeout_default)
	{
		$open = value('SELECT count(*) FROM hotswap.work_item');
		last unless $open;
		usleep(5_000);
	}
	is($open, 0, 'everything has ended');
	wait_for_idle_dispatcher($node);
	return;
}

my @blows = (
	executor_killed => sub {
		my ($pid) = map { @$_ } ask(q(SELECT pid FROM hotswap.workers
			WHERE kind = 'executor' AND pid IS NOT NULL
			ORDER BY state = 'busy' DESC, random() LIMIT 1));
		return unless defined $pid && kill 9, $pid;
		ask("SELECT pg_sleep(0.02) WHERE EXISTS (SELECT FROM pg_stat_activity WHERE pid = $pid)");
	},
	executor_terminated => sub { ask(q(SELECT pg_terminate_backend(pid) FROM hotswap.workers
		WHERE kind = 'executor' AND pid IS NOT NULL)) },
	immediate_stop => sub { $node->stop('immediate'); $node->start; });

sub blow
{
	my ($i) = @_;
	my ($what, $do) = @blows[ 2 * $i, 2 * $i + 1 ];

	usleep(int rand 60_000);
	$do->();
	$count{$what}++;
	return;
}

# ---- what must be so ----

# The rows of the logs beside those of the registry since the last time: each is the other, and what
# runs after it is what has been applied and not undone.
sub compare_books
{
	my %log;
	my %registry;

	%fresh = ();
	push @{ $log{"$_->[0] $_->[1]"} }, $_ for ask(join ' UNION ALL ', map {
		"SELECT '$_', module, what, version, heads, n FROM $_.log" } @all_nodes);
	push @{ $registry{"$_->[0] $_->[1]"} }, $_ for ask(q(SELECT n.name, m.module, m.direction,
			m.step, array_to_string(m.heads, ' '), m.swap, m.version
		FROM hotswap.node_module m JOIN hotswap.node n ON n.id = m.node_id));
	for my $key (sort keys %{ { %log, %registry } })
	{
		my ($n, $name) = split / /, $key;
		my @log = sort { $a->[5] <=> $b->[5] } @{ $log{$key} // [] };
		my @registry = sort { $a->[5] <=> $b->[5] } @{ $registry{$key} // [] };

		is(scalar @registry, scalar @log, "$key: as many rows as things that happened");
		return if @registry != @log;
		compare_row($n, $name, $log[$_], $registry[$_]) or return
		  for ($read{$key} // 0) .. $#log;
		$fresh{$key} = [ map { "$_->[2] $_->[3]" } @log[ ($read{$key} // 0) .. $#log ] ];
		$read{$key} = @log;
	}
	return;
}

sub compare_row
{
	my ($n, $name, $log, $row) = @_;
	my $m = $module{$name};
	my $set = { %{ $m->{runs}{$n} } };
	my $where = "$name on $n: $log->[2] $log->[3]";
	my $v = by_name($m, $log->[3]);

	$tick++;
	if ($log->[2] eq 'declared') { $set = closure($m, split / /, $log->[4]); }
	elsif ($log->[2] eq 'down')
	{
		delete $set->{ $log->[3] } or return fail("$where: it did not run");
		return fail("$where: something builds on it") if !any { $_ eq $log->[3] }
			heads($m, $m->{runs}{$n});
	}
	elsif ($log->[2] eq 'install')
	{
		return fail("$where: something ran already") if %$set;
		$set = closure($m, $log->[3]);
	}
	else
	{
		return fail("$where: what it builds on was not there")
		  if any { !$set->{$_} } @{ $v->{parents} };
		return fail("$where: it ran already") if $set->{ $log->[3] };
		$set->{ $log->[3] } = $tick;
	}
	$m->{runs}{$n} = $set;
	my @heads = heads($m, $set);
	return 1 if "$log->[2] $log->[3]" eq "$row->[2] $row->[3]" && $row->[4] eq "@heads"
	  && ($row->[6] // '') eq ($heads[-1] // '');
	return is("@$row[2, 3, 4]", "$log->[2] $log->[3] @heads", "$where: the registry says so");
}

# How a deployment has ended, by what was to be expected of it.
sub check_end
{
	my ($d) = @_;
	my $ended;

	@$d{qw(status message)} = map { @$_ } ask("SELECT status, coalesce(message, '')
		FROM hotswap.deployment WHERE id = '$d->{id}'");
	$d->{what} = "$d->{module} $d->{version} to $d->{path}[-1]";
	$count{ ($d->{first} ? 'again ' : '') . $d->{status} }++;
	note("$d->{what}: $d->{status}: $d->{message}; " . join(', ',
		map { join ' ', @$_{qw(node version script what)} } @{ $d->{faults} }))
	  if $ENV{GRAPH_VERBOSE};
	for my $e (@{ $d->{path} })
	{
		if ($ended) { check_nodes($d, $e); }
		elsif (any { $d->{plan}{$_} eq 'blocked' } @{ $nodes{$e} })
		{
			$ended = 1;
			is($d->{status}, 'failed', "$d->{what}: what is blocked fails");
			like($d->{message}, qr/^version "\Q$d->{version}\E" cannot go to environment "$e"/,
				'and says why');
			check_nodes($d, $e);
		}
		elsif (any { strikes($d, $_) } @{ $nodes{$e} })
		{
			$ended = 1;
			like($d->{status}, qr/^(failed|rolled_back|rollback_failed)$/, "$d->{what}: it fails");
			like($d->{message}, qr/as told/, 'with the message of the script');
			check_failed($d, $e);
			$d->{failed_in} = $e;
		}
		else { check_nodes($d, $e, $d->{plan}); }
	}
	is("$d->{status} $d->{message}", 'succeeded ', "$d->{what}: it succeeds") unless $ended;
	return;
}

# What the nodes of an environment have run is this, or nothing; and so their tasks say.
sub check_nodes
{
	my ($d, $e, $plan) = @_;

	for my $n (@{ $nodes{$e} })
	{
		my $expected = !$plan || $plan->{$n} eq 'skipped' ? '' : $plan->{$n};
		is(join(' + ', @{ $fresh{"$n $d->{module}"} // [] }), $expected,
			"$d->{what}, on $n: what was foretold");
	}
	# Those of an environment that was passed in an earlier attempt stay.
	return if !$plan || $d->{first};
	is_deeply([ ask(qq(SELECT n.name, t.status FROM hotswap.task t
			JOIN hotswap.node n ON n.id = t.node_id
		WHERE t.deployment_id = '$d->{id}' AND t.kind = 'swap' AND n.environment = '$e'
		ORDER BY 1)) ],
		[ map { [ $_, $plan->{$_} eq 'skipped' ? 'skipped' : 'succeeded' ] } @{ $nodes{$e} } ],
		'its tasks are those');
	return;
}

# What a node would run when all had gone well.
sub after
{
	my ($d, $n) = @_;
	my $before = $d->{before}{$n};

	my $wanted = closure($module{ $d->{module} }, $d->{version});

	return $before if $d->{plan}{$n} =~ /^(skipped|blocked)$/;
	return $wanted if $d->{allow_revert} && any { $_ eq $n } @{ $nodes{ $d->{path}[-1] } };
	return { %$before, %$wanted };
}

# In the environment in which it failed, a node is as it was, or has all of it where nothing goes
# back.
sub check_failed
{
	my ($d, $e) = @_;
	my $m = $module{ $d->{module} };
	my $may_stay = $e eq 'qa' || $d->{status} eq 'rollback_failed';

	for my $n (@{ $nodes{$e} })
	{
		my $now = list(keys %{ $m->{runs}{$n} });

		next if $now eq list(keys %{ $d->{before}{$n} });
		ok($may_stay && $now eq list(keys %{ after($d, $n) }),
			"$d->{what}, on $n, $d->{status}: as it was, or with all of it")
		  or diag('before: ' . list(keys %{ $d->{before}{$n} }) . "\nnow: $now");
	}
	check_way_back($d, $e) if $d->{status} eq 'rollback_failed';
	return;
}

# Can a node not go back from all of it?
sub no_way_back
{
	my ($d, $n) = @_;
	my $m = $module{ $d->{module} };

	return any { !$d->{before}{$n}{$_} && !by_name($m, $_)->{revert} } keys %{ after($d, $n) };
}

sub check_way_back
{
	my ($d, $e) = @_;

	ok((any { $_->{what} eq 'raise' && $_->{script} ne 'validate' } @{ $d->{faults} })
		|| (any { no_way_back($d, $_) } @{ $nodes{$e} }),
		"$d->{what}: there is a reason that it cannot go back");
	return;
}

# When a rollback that failed has been taken up and nothing goes wrong: who can go back has gone.
sub check_resumed
{
	my ($d) = @_;
	my $first = $d->{first};
	my $m = $module{ $d->{module} };
	my $stays = 0;

	for my $n (@{ $nodes{ $first->{failed_in} } })
	{
		my $before = $first->{before}{$n};

		$stays = 1, next if no_way_back($first, $n)
		  && list(keys %{ $m->{runs}{$n} }) eq list(keys %{ after($first, $n) });
		is(list(keys %{ $m->{runs}{$n} }), list(keys %$before),
			"$first->{what}, on $n: it has gone back after all");
	}
	is(value("SELECT status FROM hotswap.deployment WHERE id = '$d->{id}'"),
		$stays ? 'rollback_failed' : 'rolled_back', "$first->{what}: and the deployment says so");
	$count{'again back'}++;
	return;
}

# Takes back what has succeeded; undef where that is refused, as it has to be.
sub take_back
{
	my ($d) = @_;
	my @target = @{ $nodes{ $d->{path}[-1] } };
	my @swapped = grep { $d->{plan}{$_} ne 'skipped' } @target;
	my $id = value("SELECT attempt('SELECT hotswap.rollback(''$d->{id}'', ''random'')')");

	is(length $id, !@swapped || (any { no_way_back($d, $_) } @swapped) ? 5 : 36,
		"$d->{what}: it can be rolled back, or cannot") or diag($id);
	return if length $id == 5;
	return { id => $id, first => $d };
}

# Its nodes are as they were, and what they ran is held there.
sub check_back
{
	my ($back) = @_;
	my $d = $back->{first};
	my $e = $d->{path}[-1];
	my %held;

	is(value("SELECT concat_ws(' ', status, message) FROM hotswap.deployment
		WHERE id = '$back->{id}'"), 'succeeded', "$d->{what}: it is rolled back");
	for my $n (grep { $d->{plan}{$_} ne 'skipped' } @{ $nodes{$e} })
	{
		is(list(keys %{ $module{ $d->{module} }{runs}{$n} }), list(keys %{ $d->{before}{$n} }),
			"$d->{what}, on $n: it runs what it ran before");
		$held{$_} = 1 for grep { !$d->{before}{$n}{$_} } keys %{ after($d, $n) };
	}
	is(list(map { @$_ } ask("SELECT version FROM hotswap.held_versions
		WHERE deployment_id = '$back->{id}'")), list(keys %held), 'what it ran is held');
	ask("SELECT hotswap.release_version(environment, module, version, 'random')
		FROM hotswap.held_versions WHERE deployment_id = '$back->{id}'");
	$count{'rollback'}++;
	return;
}

# Several deployments of a module at once, some of which are cancelled: whatever comes of them in
# which order, a node has all of one or nothing, and what has succeeded is there.
sub crowd
{
	my ($name) = @_;
	my $m = $module{$name};
	my @wanted = map { [ pick(@{ $m->{versions} })->{name}, pick(@environments) ] } 1 .. 4;
	my @ids = map { $_->[0] } ask(join ';', map {
		"SELECT hotswap.deploy('$name', '$_->[0]', '$_->[1]')" } @wanted);

	for my $id (grep { chance(0.3) } @ids)
	{
		usleep(int rand 10_000);
		$count{'cancel ' . value("SELECT attempt('SELECT hotswap.cancel(''$id'', ''random'')')")}++;
	}
	return map { { module => $name, id => $ids[$_], version => $wanted[$_][0],
		target => $wanted[$_][1] } } 0 .. $#ids;
}

sub check_crowd
{
	my ($d) = @_;
	my $m = $module{ $d->{module} };
	my $status = value("SELECT status FROM hotswap.deployment WHERE id = '$d->{id}'");
	my %done;

	push @{ $done{ $_->[0] } }, "$_->[1] $_->[2]" for ask("SELECT n.name, m.direction, m.step
		FROM hotswap.node_module m JOIN hotswap.node n ON n.id = m.node_id
		WHERE m.deployment_id = '$d->{id}' ORDER BY m.swap");
	$count{"crowd $status"}++;
	for my $n (sort keys %done)
	{
		my $up = join ' ', sort map { /^up (.*)/ } @{ $done{$n} };
		my $down = join ' ', sort map { /^down (.*)/ } @{ $done{$n} };
		# An installer is taken back version by version.
		ok($down eq '' || $down eq $up || any { /^install/ } @{ $done{$n} },
			"$d->{module} $d->{version} on $n: it goes back over all of it")
		  or diag(join ', ', @{ $done{$n} });
	}
	return if $status ne 'succeeded';
	ok(!%{ $m->{runs}{$_} } || $m->{runs}{$_}{ $d->{version} },
		"$d->{module} $d->{version} on $_: what has succeeded is there")
	  for @{ $nodes{ $d->{target} } };
	return;
}

prepare();
make_modules();
compare_books();
for my $round (1 .. $rounds)
{
	my @deployments = map { request($_) } shuffle sort keys %module;

	blow($round / 3 % 3) if $round % 3 == 1;
	finish();
	compare_books();
	check_end($_) for @deployments;
	last unless Test::More->builder->is_passing;

	# Nothing goes wrong any more.
	ask('TRUNCATE public.fault');
	my @again = map { take_up($_) } grep { $_->{failed_in} && chance(0.7) } @deployments;
	finish();
	compare_books();
	$_->{first}{status} eq 'rollback_failed' ? check_resumed($_) : check_end($_) for @again;
	last unless Test::More->builder->is_passing;

	my @back = map { take_back($_) }
	  grep { $_->{status} eq 'succeeded' && chance(0.5) } @deployments;
	finish();
	compare_books();
	check_back($_) for @back;
	last unless Test::More->builder->is_passing;

	my @crowd = map { crowd($_) } grep { chance(0.4) } sort keys %module;
	blow(($round + 1) / 3 % 3) if $round % 3 == 2;
	finish();
	compare_books();
	check_crowd($_) for @crowd;
	last unless Test::More->builder->is_passing;
	publish($_, pick(0, 1, 1, 3)) for sort keys %module;
	withdraw($_) for sort keys %module;
}
note(join ', ', map { "$_ $count{$_}" } sort keys %count);
check_invariants($node, 'postgres');
is_deeply([ ask(q(SELECT n.name, m.module, m.swap FROM hotswap.node_module m
		JOIN hotswap.node n ON n.id = m.node_id LEFT JOIN hotswap.module_version v
			ON v.tenant_id = m.tenant_id AND v.module = m.module AND v.version = m.version
		WHERE (m.digest IS NULL) <> (m.version IS NULL)
			OR m.swap = (SELECT max(l.swap) FROM hotswap.node_module l WHERE l.node_id = m.node_id
				AND l.module = m.module) AND m.digest IS DISTINCT FROM v.digest)) ], [],
	'what runs has the digest of its version');
ok(Test::More->builder->is_passing, "all is well (GRAPH_SEED=$seed repeats it)");
done_testing();
