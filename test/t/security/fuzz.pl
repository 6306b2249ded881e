# Every function, procedure and view of hotswap under hostile arguments, from several roles, in
# every kind of transaction: nothing crashes, no error is an internal one, nobody gains or sees what
# is not theirs, and the session is afterwards what it was.
#
# What there is to call is read from the catalogs. FUZZ_SEED repeats a run, FUZZ_CALLS makes it
# longer.
use strict;
use warnings;

use HotswapTest;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# The same every time, so that a run which fails has something to do with what was changed.
my $seed = $ENV{FUZZ_SEED} // 1;
my $calls = $ENV{FUZZ_CALLS} // 2000;
my $calls_a_session = 100;
srand($seed);
diag("FUZZ_SEED=$seed FUZZ_CALLS=$calls");

my $node = hotswap_cluster('fuzz',
	log_line_prefix => '%m [%p] %b %q%u@%d %a [%e] ',
	'hotswap.lock_timeout' => '500ms',
	'hotswap.retry_base' => '10ms',
	deadlock_timeout => '100ms');

sub sql { return $node->safe_psql('postgres', $_[0]); }
sub pick { return $_[ rand @_ ]; }

# ---- two tenants, each with its people and its history ----

# Stands in everything that tenant b stores; a role of tenant a, or of none, must never see it.
my $secret = 'Xk7SecretOfB';
my %id = map { $_ => sprintf('0190163d-8694-739b-aea5-%012d', ord $_) } 'a', 'b';
my $hook = 'public.a_hook(uuid)';

sql(q(
	CREATE ROLE stranger LOGIN;
	CREATE ROLE stranger_app LOGIN;
	CREATE FUNCTION public.a_hook(uuid) RETURNS boolean LANGUAGE sql AS 'SELECT true';
	SELECT hotswap.publish_version('m', '1', 'SELECT 1');)
	. join '', map { qq(
	CREATE ROLE admin_$_ LOGIN;
	CREATE ROLE app_$_ LOGIN;
	CREATE SCHEMA app_$_ AUTHORIZATION app_$_;
	CREATE SCHEMA app_$_\_p AUTHORIZATION app_$_;
	GRANT app_$_ TO admin_$_;
	INSERT INTO hotswap.tenant (id, name, status, tier)
		VALUES ('$id{$_}', '$_', 'active', 'custom');
	SELECT hotswap.configure_environment(name, rank, tenant => '$id{$_}') 
		FROM (VALUES ('development', 10), ('qa', 20), ('staging', 30), ('production', 40)) e (name,
			rank);
	SELECT hotswap.set_approval_policy('production', 1, tenant => '$id{$_}');
	SELECT hotswap.grant_access('admin_$_', c::text, '$id{$_}')
	FROM unnest(enum_range(NULL::hotswap.capability)) c;) } 'a', 'b');

# furnish(TENANT, WORD): something of everything, with the word in it.
sub furnish
{
	my ($tenant, $word) = @_;
	sql(qq(
		SET hotswap.tenant = '$id{$tenant}';
		SELECT hotswap.register_node('development', '$word', run_as => 'app_$tenant',
			schema => 'app_$tenant', labels => '{"x": "$word"}');
		SELECT hotswap.register_node('production', '$word-p', run_as => 'app_$tenant',
			schema => 'app_$tenant\_p');
		SELECT hotswap.publish_version(m, v, 'SELECT ''$word''', NULL, 'SELECT ''$word''')
		FROM unnest(ARRAY['m', 'm$tenant', '$word']) m, unnest(ARRAY['1', '2']) v;
		SELECT hotswap.register_hook('validate', '$hook', '$word');
		SELECT hotswap.deploy(m, '1', 'development', metadata => '{"x": "$word"}',
			on_behalf_of => '$word') FROM unnest(ARRAY['m', '$word']) m;
		SELECT hotswap.deploy(m, '1', 'production', on_behalf_of => '$word',
			idempotency_key => '$word ' || m) FROM unnest(ARRAY['m', '$word']) m;
		SELECT hotswap.deploy('m', '2', 'development', run_at => '2100-01-01',
			idempotency_key => 'k');
		SELECT hotswap.cancel(hotswap.deploy('m$tenant', '2', 'development',
			run_at => '2100-01-01'), '$word');
		SELECT hotswap.claim_idempotency_key('$word', '$word', '{"x": "$word"}');
		SELECT hotswap.store_idempotent_response('$word', '$word', '"$word"');
		SELECT hotswap.delegate_approval('app_$tenant', now() + '1 h', '$word')));
	return;
}
furnish('a', 'word-of-a');
furnish('b', $secret);
wait_for($node, 'postgres', q(SELECT count(*) FROM hotswap.deployment
	WHERE status IN ('queued', 'running')), '0');

# Ids of each tenant's things, by the name of the argument that takes them.
my %things;
sub look_around
{
	foreach my $tenant ('a', 'b')
	{
		$things{$tenant} = { tenant => [ $id{$tenant} ] };
		my $rows = sql(join ' UNION ALL ',
			map { "SELECT '$_->[0]', id FROM hotswap.$_->[1] WHERE tenant_id = '$id{$tenant}'" }
			[ 'deployment', 'deployment' ], [ 'node', 'node' ],
			[ 'delegation', 'approval_delegation' ]);
		push @{ $things{$tenant}{$1} }, $2 while $rows =~ /^(\w+)\|(\S+)$/mg;
	}
	return;
}
# Everything that belongs to the tenant, and to the installation.
my $digest = join ' UNION ALL ', map { $_->[1] eq 'installation'
	? "SELECT 'installation', md5(i::text) FROM hotswap.installation i"
	: "SELECT '$_->[1]', md5(string_agg(t::text, '|' ORDER BY t::text)) FROM hotswap.$_->[1] t
		WHERE $_->[0] = '$id{b}'" }
	map { [ split /\|/ ] } split /\n/, sql(q(
	SELECT CASE relname WHEN 'tenant' THEN 'id' ELSE 'tenant_id' END, relname FROM pg_class c
	WHERE relnamespace = 'hotswap'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
		AND (relname IN ('tenant', 'installation')
		OR EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND attname = 'tenant_id'))
	ORDER BY relname));
my $roles = q(SELECT md5(string_agg(r::text, '|' ORDER BY rolname))
	|| (SELECT count(*) FROM pg_auth_members) FROM pg_authid r);

# ---- hostile values ----

sub quote { return "'" . ($_[0] =~ s/'/''/gr) . "'"; }
my @texts = (map({ quote($_) } '', ' ', 'x', '1', '-1', '0', '"', "'",
	"'; DROP TABLE hotswap.deployment; --", '$$', '%s%n%d', '../../etc/passwd',
	'null', 'default', '9223372036854775808', 'ä', '{}', '[', '*', '.', 'a.b', '_', '-x', 'x y',
	'hotswap', 'postgres'),
	q(E'\\\\'), q(E'\t\n'), q(E'\x01\x1f\x7f'), q(E'a\nb'), q(U&'\\202E\\FEFF\\FFFD'),
	q(pg_catalog.repeat('x', 63)), q(pg_catalog.repeat('x', 64)), q(pg_catalog.repeat('€', 64)),
	q(pg_catalog.repeat('x', 255)), q(pg_catalog.repeat('x', 256)), q(pg_catalog.repeat('€', 255)),
	q(pg_catalog.repeat('x', 10001)), q(pg_catalog.repeat('x', 1000000)),
	q(pg_catalog.repeat('€', 300000)),
	q(pg_catalog.repeat(' ', 100000)));
my @scripts = (map({ quote($_) } 'SELECT 1', 'SELECT', 'SELECT $1', 'BEGIN', 'COMMIT',
	'ROLLBACK TO x', 'VACUUM', 'SELECT 1; VACUUM', 'CREATE INDEX CONCURRENTLY i ON t (a)',
	'COPY t FROM STDIN',
	"SELECT 'open", '/* open', '$$ open', ';;;', '-- nothing', 'SELECT 1/0',
	'DO $$BEGIN COMMIT; END$$', 'RESET ROLE', 'SET SESSION AUTHORIZATION postgres',
	"PREPARE TRANSACTION 'x'", 'SELECT pg_sleep(0.1)',
	'SELECT pg_terminate_backend(pg_backend_pid())', 'LOCK TABLE hotswap.task',
	'SET search_path = x', 'SET LOCAL transaction_read_only = on', 'DISCARD ALL',
	'DECLARE c CURSOR WITH HOLD FOR SELECT 1', 'LISTEN x',
	'CREATE TEMP TABLE pg_locks ()', 'RAISE', 'SELECT pg_advisory_unlock_all()',
	'SET CONSTRAINTS ALL DEFERRED', 'CREATE TABLE x (); DROP TABLE x'),
	q{pg_catalog.repeat('(', 20000)},
	q{'SELECT ' || pg_catalog.repeat('(', 20000) || '1' || pg_catalog.repeat(')', 20000)},
	q(pg_catalog.repeat('SELECT 1;', 2000)), q(pg_catalog.repeat(';', 20000)),
	q('SELECT ' || pg_catalog.quote_literal(pg_catalog.repeat('x', 1000000))), q(E'SELECT 1 \x01'));
my %words = (
	module => [qw(m ma mb none)],
	version => [qw(1 2 3)],
	environment => [qw(development qa staging production none)],
	name => [qw(development production new-one)],
	strategy => [qw(direct none)],
	kind => [qw(database none)],
	stage => [qw(test validate none)],
	capability => [qw(approver break_glass impersonator admin none)],
	machine => [qw(deployment stage task approval tenant none)],
	tier => [qw(free custom standard none)],
	subdomain => [qw(sub-a sub-b none)],
	contact_email => ['x@example.com'],
	function => [$hook],
	schema => [qw(app_a public none)],
	idempotency_key => [qw(k k1 k2)],
	key => [qw(k k1 k2)],
	scope => [qw(s s t deploy)],
	resource => [qw(r1 r2 r3)]);
my @json = (map({ quote($_) } '{}', '[]', 'null', '1', '"x"', '{"a": 1}',
	'{"a": {"b": [1, null, {"c": ""}]}}', '{"": ""}', '{"n": 1e1000}', '{"a": "\u0001\u2028"}'),
	q((pg_catalog.repeat('[', 1000) || pg_catalog.repeat(']', 1000))),
	q((pg_catalog.repeat('{"a":', 1000) || '1' || pg_catalog.repeat('}', 1000))),
	q(pg_catalog.format('{"a": "%s"}', pg_catalog.repeat('x', 70000))),
	q(pg_catalog.format('{"a": "%s"}', pg_catalog.repeat('x', 1100000))));
my @times = map { quote($_) } 'infinity', '-infinity', 'now', '294276-12-31 23:59:59.999999+00',
	'4714-11-24 00:00:00+00 BC', '2100-01-01', 'epoch', 'tomorrow';
my @intervals = map { quote($_) } '0', '0', '0', '1 ms', '20 ms', '1 us', '-1 s', '-1 us', '1 day',
	'1 mon -30 days', '1 year', '178000000 years', '-178000000 years', '2147483647 days',
	'-2147483648 mons',
	'9223372036854 s', $node->pg_version >= 17 ? ('infinity', '-infinity') : ();
my @roles = ('stranger', 'stranger_app', 'admin_a', 'admin_b', 'app_a', 'app_b', 'postgres', 0, 1,
	4294967295, 999999);
my @integers = (0, 0, 1, -1, 2, 19, 20, 100, 101, 1000, 1001, 32767, 32768, 2147483647,
	-2147483648);

sub uuid_value
{
	my ($name) = @_;
	my @known = map { @{ $things{$_}{$name} // [] } } 'a', 'a', 'b';
	return quote($known[ rand @known ]) if @known && rand() < 0.6;
	return quote(pick(values %id, map({ map { @$_ } values %$_ } values %things),
		'00000000-0000-0000-0000-000000000000', '00000000-0000-7000-8000-000000000001',
		'ffffffff-ffff-ffff-ffff-ffffffffffff',
		sprintf('%08x-0000-7000-8000-%012d', rand 2**32, rand 10**9)));
}

sub text_value
{
	my ($name) = @_;
	return quote(pick(@{ $words{$name} })) if $words{$name} && rand() < 0.7;
	return pick(@scripts) if $name =~ /_sql$/ && rand() < 0.8;
	return $name =~ /^(reason|comment|ticket)$/ && rand() < 0.7 ? "'because'" : pick(@texts);
}

# A function of the argument's name for each type; a type that is missing here is for the author to
# add.
my %values = (
	text => \&text_value,
	integer => sub { return pick(@integers); },
	smallint => sub { return pick(0, 1, -1, 32767, -32768); },
	bigint => sub { return pick(@integers, '9223372036854775807', q('-9223372036854775808'),
		4294967296); },
	'double precision' => sub { return pick(0, 1, -1, 0.5, 99.9, "'NaN'", "'Infinity'",
		"'-Infinity'", '1e308', '1e-320'); },
	boolean => sub { return pick('true', 'false'); },
	uuid => \&uuid_value,
	jsonb => sub { return pick(@json); },
	interval => sub { return pick(@intervals); },
	'timestamp with time zone' => sub { return pick(@times); },
	'time without time zone' => sub { return pick(map { quote($_) } '00:00', '23:59:59.999999',
		'24:00', '02:30'); },
	tstzrange => sub { return pick(map { quote($_) } 'empty', '(,)', '[2000-01-01,2100-01-01)',
		'[-infinity,infinity]', '[now,now]', '(2100-01-01,)'); },
	oid => sub { return pick(0, 1, 1247, 4294967295); },
	regrole => sub { return quote(pick(@roles)); },
	regprocedure => sub { return quote(pick(0, 4294967295, 'pg_catalog.now()', $hook, $hook,
		'hotswap.adopt()')); },
	regclass => sub { return quote(pick(0, 4294967295, 'pg_catalog.pg_class', 'hotswap.tenant',
		'hotswap.tenants')); },
	bytea => sub { return pick(q('\\x'), q('\\x00'), q('\\xdeadbeef'),
		q(pg_catalog.convert_to(pg_catalog.repeat('x', 1000000), 'UTF8')),
		q(pg_catalog.decode(pg_catalog.repeat('00', 32), 'hex'))); },
	'text[]' => sub {
		my ($name) = @_;
		return pick(q('{}'), q('{NULL}'), q('{{a,b},{c,d}}'), q('[5:6]={a,b}'), q('{a,a}'),
			q(pg_catalog.array_fill('x'::pg_catalog.text, ARRAY[10001])),
			q(ARRAY(SELECT i::pg_catalog.text FROM pg_catalog.generate_series(1, 200) i)),
			'ARRAY[' . join(', ', map { text_value($name) } 1 .. 1 + rand 3) . ']',
			q('{production}'), q('{qa,none}'));
	},
	'regrole[]' => sub { return pick(q('{}'), q('{NULL}'), q('{{admin_a},{app_a}}'), q('{0}'),
		q('[3:3]={stranger}'),
		q(pg_catalog.array_fill('postgres'::pg_catalog.regrole, ARRAY[1000])),
		q('{admin_a,app_a}')); },
	'uuid[]' => sub { return pick(q('{}'), q('{NULL}'), 'ARRAY[' . uuid_value('') . '::uuid]'); },
);

# What nobody objects to, so that a call gets further than the check of its first argument.
my %harmless = (
	text => sub {
		my ($name) = @_;
		return quote($words{$name} ? $words{$name}[ rand @{ $words{$name} } ] : $name =~ /_sql$/
			? 'SELECT 1' : 'because');
	},
	integer => sub { return pick(1, 2, 10); },
	bigint => sub { return pick(1, 1024, 1025); },
	uuid => sub {
		my ($name) = @_;
		return $name eq 'tenant' || !$things{a}{$name} ? 'NULL'
			: quote(pick(@{ $things{a}{$name} }));
	},
	jsonb => sub { return quote('{"a": 1}'); },
	interval => sub { return quote(pick('20 ms', '1 day', '0')); },
	'timestamp with time zone' => sub { return pick(q('2100-01-01'), q('now'),
		q((pg_catalog.now() + '1 h'))); },
	'text[]' => sub { return pick(q('{r1,r2}'), q('{production}')); },
	regrole => sub { return q('app_a'); },
	'regrole[]' => sub { return q('{app_a}'); },
);

sub value
{
	my ($argument, $harmless) = @_;
	my $generate = $harmless && $harmless{ $argument->{type} } || $values{ $argument->{type} };

	return 'NULL::' . $argument->{type} if !$generate || rand() < 0.04;
	return $generate->($argument->{name}) . '::' . $argument->{type};
}

# ---- what there is to call ----

my @routines;
foreach my $row (split /\n/, sql(q(
	SELECT p.prokind, p.proname, p.pronargs - p.pronargdefaults, array_to_string(ARRAY(
			SELECT coalesce(p.proargnames[n], '') || ':' || format_type(t, NULL)
			FROM unnest(p.proargtypes) WITH ORDINALITY a (t, n) ORDER BY n), ';')
	FROM pg_proc p WHERE p.pronamespace = 'hotswap'::regnamespace AND p.prorettype
		NOT IN ('trigger'::regtype, 'internal'::regtype) ORDER BY p.oid::regprocedure::text)))
{
	my ($kind, $name, $required, $arguments) = split /\|/, $row;
	my @arguments = map { my ($n, $t) = split /:/, $_, 2; { name => $n, type => $t } } split /;/,
	$arguments // '';
	$_->{required} = $required-- > 0 foreach @arguments;
	push @routines, { procedure => $kind eq 'p', name => "hotswap.$name",
		arguments => \@arguments };
}
my @views = split /\n/, sql(q(SELECT oid::regclass FROM pg_class
	WHERE relkind = 'v' AND relnamespace = 'hotswap'::regnamespace ORDER BY 1));
my %unknown = map { $_ => 1 } grep { !$values{$_}
	&& !/^hotswap\./ } map { $_->{type} } map { @{ $_->{arguments} } } @routines;
is(join(', ', sort keys %unknown), '', 'there are hostile values of every type');
cmp_ok(scalar(@routines), '>=', 45, 'functions and procedures');

# A call as SQL, which may leave out or name arguments that have a default.
sub call
{
	my ($routine, $prepared) = @_;
	my @given = grep { $_->{required} || rand() < 0.6 } @{ $routine->{arguments} };
	my $named = @given < @{ $routine->{arguments} } || rand() < 0.3;
	my $hostile = rand() < 0.5 ? -1 : int rand(2 + @given);
	my $i = 0;
	my $list = join ', ', map { ($named ? "$_->{name} => " : '')
		. ($prepared ? '$' . ++$i : value($_, $hostile >= 0 && $hostile != $i++)) } @given;

	return ("$routine->{name}($list)", @given);
}

# One call in a setting that is drawn too; ends outside of a transaction.
sub statement
{
	return 'SELECT * FROM ' . pick(@views) . ';' if rand() < 0.04;
	my $routine = pick(@routines);
	my ($call) = call($routine);
	my $query = $routine->{procedure} ? "CALL $call"
		: pick('SELECT * FROM ', 'SELECT ', 'SELECT count(*) FROM ') . $call;
	my $style = rand;

	return "$query;" if $style < 0.35 || $routine->{procedure} && $style < 0.6;
	return "BEGIN; $query; " . pick('COMMIT', 'ROLLBACK') . ';' if $style < 0.45;
	return "BEGIN; SAVEPOINT s; $query; ROLLBACK TO s; $query; COMMIT;" if $style < 0.5;
	return "BEGIN ISOLATION LEVEL "
		. pick('SERIALIZABLE', 'REPEATABLE READ', 'SERIALIZABLE, READ ONLY, DEFERRABLE')
			. "; $query; COMMIT;" if $style < 0.6;
	return "BEGIN READ ONLY; $query; ROLLBACK;" if $style < 0.67;
	return "DO \$do\$BEGIN PERFORM 1 FROM $call; EXCEPTION WHEN OTHERS THEN
		RAISE WARNING 'caught %: %', SQLSTATE, SQLERRM; END\$do\$;" if $style < 0.75;
	return "BEGIN; DECLARE c CURSOR FOR SELECT * FROM $call; FETCH 1 FROM c; CLOSE c; COMMIT;"
		if $style < 0.8;
	# fetched before the COMMIT, during which statement_timeout is off
	return "BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT * FROM $call; FETCH 1 FROM c; COMMIT;
		FETCH ALL FROM c; CLOSE c;" if $style < 0.83;
	return "SELECT (SELECT count(*) FROM $call) + count(*) FROM generate_series(1, 3) i;"
		if $style < 0.86;
	my ($prepared, @given) = call($routine, 1);
	my $types = @given ? '(' . join(', ', map { $_->{type} } @given) . ')' : '';
	return "PREPARE p$types AS SELECT * FROM $prepared; "
		. join('', map { 'EXECUTE p'
			. (@given ? '(' . join(', ', map { value($_, rand() < 0.7) } @given) . ')' : '')
				. '; ' } 1 .. 2) . 'DEALLOCATE p;';
}

# Settings that any session may have.
my @settings = (
	[ 'standard_conforming_strings', 'on', 'on', 'off' ],
	[ 'DateStyle', 'ISO', 'German', 'SQL, DMY' ],
	[ 'IntervalStyle', 'postgres', 'iso_8601', 'sql_standard' ],
	[ 'TimeZone', 'UTC', 'Pacific/Chatham', 'America/St_Johns' ],
	[ 'transform_null_equals', 'off', 'on' ], [ 'array_nulls', 'on', 'on', 'off' ],
	[ 'bytea_output', 'hex', 'escape' ],
	[ 'row_security', 'on', 'off' ],
	[ 'plan_cache_mode', 'auto', 'force_custom_plan', 'force_generic_plan' ],
	[ 'jit_above_cost', ('100000') x 9, '0' ], [ 'work_mem', '4MB', '64kB' ],
	[ 'enable_indexscan', 'on', 'off' ], [ 'extra_float_digits', '1', '-15' ],
	[ 'quote_all_identifiers', 'off', 'on' ], [ 'client_min_messages', 'notice', 'debug1' ],
	[ 'search_path', 'public', '', 'pg_temp' ],
	[ 'default_transaction_deferrable', 'off', 'on' ],
	[ $node->pg_version >= 16 ? 'debug_parallel_query' : 'force_parallel_mode', 'off', 'off',
		'on' ],
	[ 'hotswap.tenant', '', $id{a}, $id{a}, $id{a}, $id{a}, $id{b},
		'ffffffff-ffff-ffff-ffff-ffffffffffff' ]);
# What must be the same after each call. hotswap's own locks have an objsubid from 3 on.
my $state = q{SELECT '~' || pg_catalog.concat_ws('|', current_user, session_user, }
	. join(', ', map { "pg_catalog.current_setting('$_->[0]')" } @settings,
	map { [$_] } qw(role lock_timeout statement_timeout enable_seqscan jit synchronous_commit
		transaction_isolation transaction_read_only session_replication_role is_superuser
		default_transaction_isolation))
	. q{, (SELECT pg_catalog.count(*) FROM pg_catalog.pg_locks
		WHERE pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()
			AND locktype OPERATOR(pg_catalog.=) 'advisory'
			AND objsubid OPERATOR(pg_catalog.>=) 3::pg_catalog.int2));};

# ---- sessions ----

my (%found, %codes, $number);

sub complain
{
	my ($what, $role, $sql, $said) = @_;
	return if $found{$what}++;
	diag("$what, as $role: " . substr($sql, 0, 2000) . "\n" . substr($said, 0, 1000));
	return;
}

# One psql that calls this many, and what came of each.
sub session
{
	my ($role, $count) = @_;
	look_around();
	my %statement;
	my $input = "\\set VERBOSITY verbose\n\\pset null NULL\nSET statement_timeout = '200ms';\n"
	  . join('', map { my ($name, @choice) = @$_; "SET $name = '" . pick(@choice)
		. "';\n" } @settings) . "$state\n";
	my ($output, $error) = ('', '');

	foreach (1 .. $count)
	{
		$statement{ ++$number } = statement();
		$input .= "\\echo \@$number\n\\warn \@$number\n$statement{$number}\n" . "ROLLBACK;\n"
			. "$state\n";
	}
	$input .= "\\set VERBOSITY terse\nSELECT hotswap.release_all_locks();\n";
	IPC::Run::run([ 'psql', '-XAtq', '-U', $role, $node->connstr('postgres') ], '<', \$input,
		'>', \$output, '2>', \$error, IPC::Run::timeout(120));

	append_to_file($ENV{FUZZ_DUMP}, "== $role\n$input\n-- out\n$output\n-- err\n$error\n")
		if $ENV{FUZZ_DUMP};
	my ($before) = $output =~ /^(~.*)$/m;
	my %said = (map({ /^(\d+)\n/ ? ($1 => $_) : () } split /^@/m, $error));
	my %got = (map({ /^(\d+)\n/ ? ($1 => $_) : () } split /^@/m, $output));
	foreach my $n (sort { $a <=> $b } keys %statement)
	{
		my ($said, $got) = ($said{$n} // '', $got{$n} // '');
		my @said = ($role, $statement{$n}, "$got\n$said");
		$codes{$1}++ while $said =~ /(?:ERROR:  |caught )(\w{5}):/g;
		complain('no answer', @said) if $got eq '';
		complain('the connection is gone', @said)
			if $said =~ /FATAL|server closed the connection|connection to server was lost/;
		complain("internal error $1", @said)
			if $said =~ /(?:ERROR:  |caught )(XX\w{3}: [^"\n]{0,60})/;
		complain("warning: $1", @said)
		  if $said =~ /WARNING:\ \ (?!\w{5}:\ (caught|there\ is\ no\ transaction\ in\ progress
			|nonstandard\ use\ of))(.{0,80})/x;
		complain('the session has changed', @said) if $got =~ /^(~.*)$/m && $1 ne $before;
		complain("sees another tenant's", @said) if $role ne 'postgres' && "$got$said" =~ /$secret/;
	}
	return;
}

sub fuzz
{
	my ($role, $count) = @_;
	for (; $count > 0; $count -= $calls_a_session)
	{
		session($role, $count < $calls_a_session ? $count : $calls_a_session);
	}
	return;
}

# Somebody of tenant b holds and awaits locks meanwhile.
my $holder = $node->background_psql('postgres', timeout => 3600);
$holder->query("SET hotswap.tenant = '$id{b}'; SELECT hotswap.acquire_lock('$secret'),
	hotswap.lease_lock('$secret-lease', '1 h')");

my $before = sql($digest);
my $roles_before = sql($roles);
my $settings_before = sql('SELECT md5(string_agg(s::text, \'|\')) FROM pg_db_role_setting s');
fuzz('stranger', $calls * 0.3);
is(sql(q(SELECT count(*) FROM hotswap.audit_event WHERE role = 'stranger')), '0',
	'who has no capability changes nothing');
fuzz('admin_a', $calls * 0.4);
is(sql($digest), $before, "nothing of the other tenant's has changed");
fuzz('postgres', $calls * 0.3);
is(sql($roles), $roles_before, 'no role has gained anything');
is(sql('SELECT md5(string_agg(s::text, \'|\')) FROM pg_db_role_setting s'), $settings_before,
	'nor has a setting been left behind');
is(join("\n", map { "$_ ($found{$_} times)" } sort keys %found), '',
	'every call was answered as it should be');
note('errors: ', join ', ', map { "$_ $codes{$_}" } sort keys %codes);
cmp_ok(scalar(keys %codes), '>=', 6, 'many rules have been tried');

# ---- afterwards ----

$holder->quit;
$node->psql('postgres', 'SELECT hotswap.start_dispatching()');
my $last = '0190163d-8694-739b-aea5-000000000000';
sql(qq(SELECT hotswap.adopt(); CREATE ROLE last LOGIN;
	INSERT INTO hotswap.tenant (id, name, status, tier)
		VALUES ('$last', 'last', 'active', 'custom'); SET hotswap.tenant = '$last';
	SELECT hotswap.configure_environment('last', 1);
	SELECT hotswap.publish_version('last', '1', 'SELECT 1');
	SELECT hotswap.register_node('last', 'last', run_as => 'last')));
my $id = sql("SELECT hotswap.deploy('last', '1', 'last', tenant => '$last')");
is(sql("SET hotswap.tenant = '$last'; SELECT hotswap.wait('$id', '60 s')"), 'succeeded',
	'the workers still work');
is(sql('SELECT * FROM hotswap.verify_audit()'), '', 'the audit chain is whole');
my $log = slurp_file($node->logfile);
is(join('', grep { /PANIC|TRAP:|terminated by signal|\[XX\w{3}\]/
	|| /WARNING:  (?!caught).*(leak|still|snapshot|own a|refcount)/ } split /^/, $log), '',
	'nothing in the log says that something broke');

done_testing();
