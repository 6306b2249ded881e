# What people with little or no rights try, logged in as themselves: to see, change or learn of what
# is another tenant's, to become more than they are, and to have SQL of theirs run by somebody else.
use strict;
use warnings;

use HotswapTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $channel = q(x'; DROP SCHEMA hotswap CASCADE; --");
my $node = hotswap_cluster('tricks', 'hotswap.notify_channel' => $channel =~ s/'/''/gr);
my $secret = 'Xk7SecretOfB';
my %tenant = (a => '0190163d-8694-739b-aea5-00000000000a',
	b => '0190163d-8694-739b-aea5-00000000000b');

sub sql { return $node->safe_psql('postgres', $_[0]); }

# Runs SQL as a role, and returns all that it gets to see: (output and messages).
sub as
{
	my ($role, $sql, @options) = @_;
	my ($rc, $out, $err) = $node->psql('postgres', $sql,
		extra_params => [ '-U', $role, '-v', 'VERBOSITY=verbose', '-v', 'ON_ERROR_STOP=0',
			@options ], on_error_die => 0);
	return "$out\n$err" =~ s/^LOCATION: .*\n?//gmr =~ s/psql:<stdin>:\d+: //gr =~ s/^\n|\n$//gr;
}

# The SQLSTATE of what goes wrong, or "none".
sub code_of { return as(@_) =~ /(?:ERROR|FATAL):  (\w{5})/ ? $1 : 'none'; }

sql(q(SELECT hotswap.publish_version('m', '1', 'SELECT 1'); CREATE ROLE eve LOGIN;
	CREATE ROLE deputy LOGIN; CREATE ROLE common LOGIN)
	. join '', map { my ($t, $role) = @$_; qq(;
	CREATE ROLE $role LOGIN;
	GRANT common TO $role;
	GRANT CREATE ON SCHEMA public TO $role;
	CREATE SCHEMA $role AUTHORIZATION $role;
	CREATE SCHEMA common_$t AUTHORIZATION common;
	CREATE SCHEMA common_$t\_p AUTHORIZATION common;
	INSERT INTO hotswap.tenant (id, name, status, tier)
		VALUES ('$tenant{$t}', '$t', 'active', 'custom');
	SELECT hotswap.configure_environment(name, rank, tenant => '$tenant{$t}')
		FROM (VALUES ('development', 100), ('production', 400)) e (name, rank);
	SELECT hotswap.set_approval_policy('production', 1, tenant => '$tenant{$t}');
	SELECT hotswap.grant_access('$role', c::text, '$tenant{$t}')
		FROM unnest(enum_range(NULL::hotswap.capability)) c;
	ALTER ROLE $role SET hotswap.tenant = '$tenant{$t}') } [ 'a', 'alice' ], [ 'b', 'bob' ]);
foreach ([ 'a', 'alice', 'word' ], [ 'b', 'bob', $secret ])
{
	my ($t, $role, $word) = @$_;
	unlike(as($role, qq(
		SELECT hotswap.register_node('development', '$word', run_as => 'common',
			schema => 'common_$t', labels => '{"x": "$word"}');
		SELECT hotswap.register_node('production', '$word-p', run_as => 'common',
			schema => 'common_$t\_p');
		SELECT hotswap.publish_version(m, '1', 'SELECT ''$word''', revert_sql => 'SELECT 1')
		FROM unnest(ARRAY['m', '$word']) m;
		SELECT hotswap.publish_version('sleep', '1', 'SELECT pg_sleep(600) AS "$word"');
		SELECT hotswap.deploy('m', '1', 'development', metadata => '{"x": "$word"}',
			idempotency_key => '$word', on_behalf_of => '$word') AS d \\gset
		SELECT hotswap.wait(:'d', '60 s');
		SELECT hotswap.deploy('m', '1', 'production', idempotency_key => 'k',
			on_behalf_of => '$word');
		SELECT hotswap.delegate_approval('deputy', now() + '1 h', '$word');
		SELECT hotswap.lease_lock('$word', '1 h');
		SELECT hotswap.claim_idempotency_key('$word', '$word', '"$word"');
		SELECT hotswap.store_idempotent_response('$word', '$word', '"$word"'))), qr/ERROR/,
	"$role works in tenant $t");
}
my ($theirs) = split /\n/, sql(qq(SELECT id FROM hotswap.deployment WHERE tenant_id = '$tenant{b}'
	ORDER BY requested_at DESC LIMIT 1));
wait_for($node, 'postgres', "SELECT status FROM hotswap.deployment WHERE id = '$theirs'",
	'pending_approval');
my @views = split /\n/, sql(q(SELECT oid::regclass FROM pg_class
	WHERE relkind = 'v' AND relnamespace = 'hotswap'::regnamespace
		AND has_table_privilege('eve', oid, 'SELECT') ORDER BY 1));
cmp_ok(scalar(@views), '>=', 14, 'views for everybody');

# ---- looking through the views ----

is(as('alice', q(CREATE FUNCTION public.leak(text) RETURNS boolean
	LANGUAGE plpgsql COST 0.0000001 AS $$BEGIN RAISE NOTICE 'leak: %', $1; RETURN true; END$$;
	CREATE FUNCTION public.leak(text, text) RETURNS boolean
	LANGUAGE plpgsql COST 0.0000001 AS $$BEGIN RAISE NOTICE 'leak: %', $1; RETURN true; END$$;
	CREATE OPERATOR public.=== (LEFTARG = text, RIGHTARG = text, FUNCTION = public.leak))), '',
	'a function that tells what it sees');
foreach my $view (@views)
{
	my @columns = split /\n/, sql("SELECT quote_ident(attname) FROM pg_attribute
		WHERE attrelid = '$view'::regclass AND attnum > 0");
	my @queries = ("SELECT count(*) FROM $view v WHERE leak(v::text)",
		map({ ("SELECT count(*) FROM $view v WHERE leak($_\::text)",
			"SELECT count(*) FROM $view v WHERE $_\::text === 'x'") } @columns));
	# by another plan, too
	my $input = join '', map { "$_;\n" } 'SET jit = off', @queries, 'SET enable_nestloop = off',
	$queries[0];

	my $seen = as('alice', $input);
	unlike($seen, qr/$secret/, "$view shows nothing of another tenant");
	like($seen, qr/leak/, "and something of its own")
		if $view =~ /deployments|tasks|audit_log|approvals/;
	unlike(as('eve', $input), qr/leak: .*[0-9a-f]{8}-[0-9a-f]{4}/,
		'and who has no capability sees none') if $view ne 'hotswap.locks';
	unlike(as('alice', "EXPLAIN (ANALYZE, VERBOSE, COSTS OFF) SELECT * FROM $view"), qr/$secret/,
		"EXPLAIN of it neither");
}
is(as('alice', "SET hotswap.tenant = '$tenant{b}'; " . join '',
	map { "SELECT '$_' FROM $_ v WHERE v::text ~ '$secret|$tenant{b}'; " } @views), '',
	'hotswap.tenant opens no view');

# ---- tables and sequences ----

foreach my $relation (split /\n/, sql(q(SELECT relkind, oid::regclass FROM pg_class
	WHERE relkind IN ('r', 'p', 'S', 'v') AND relnamespace = 'hotswap'::regnamespace
		AND relname !~ '^audit_event_\d' ORDER BY 1, 2)))
{
	my ($kind, $name) = split /\|/, $relation;
	my @tries = $kind eq 'S'
		? ("SELECT nextval('$name')", "SELECT currval('$name')", "SELECT setval('$name', 1)",
			"SELECT * FROM $name", "ALTER SEQUENCE $name RESTART")
		: ("INSERT INTO $name DEFAULT VALUES", "UPDATE $name SET tenant_id = NULL",
			"DELETE FROM $name", "LOCK TABLE $name IN ROW EXCLUSIVE MODE",
			"SELECT * FROM $name FOR UPDATE",
			"CREATE TABLE alice.x (LIKE $name INCLUDING ALL,
				FOREIGN KEY (tenant_id) REFERENCES $name)");
	push @tries, "SELECT * FROM $name", "TABLE $name", "COPY $name TO STDOUT", "TRUNCATE $name",
	"LOCK TABLE $name IN ACCESS SHARE MODE",
	"CREATE TRIGGER t BEFORE INSERT ON $name EXECUTE FUNCTION hotswap.audit_guard()",
		"ANALYZE (VERBOSE) $name", "CREATE TABLE alice.x () INHERITS ($name)",
		"ALTER TABLE $name DISABLE TRIGGER ALL", "DROP TABLE $name" if $kind =~ /[rp]/;
	my $said = as('alice', join '', map { "BEGIN; $_; ROLLBACK;\n" } @tries);
	my $refused = () = $said =~ /ERROR:  (?:42501|42703|42809|55000|0A000|42830)/g;
	my $skipped = () = $said =~ /WARNING:\ \ 01000:\ (?:permission\ denied\ to|skipping)\ .*analyze
		|only\ table\ or\ database\ owner\ can\ analyze/gx;
	is($refused + ($skipped ? 1 : 0), scalar(@tries), "nothing can be done to $name")
		or diag($said);
	like(code_of('alice', "COPY $name FROM STDIN"), qr/^(42501|42809|0A000)$/,
		'nor copied into it');
}
like(code_of('alice', q(SELECT hotswap.acquire_lock('l'); SELECT lastval())), qr/42501|55000/,
	'not even the last value is told');

# ---- errors say the same of what is another tenant's and of what is not there ----

my %argument = (text => "'production'", integer => 1, bigint => 1, boolean => 'false',
	interval => "'0'", jsonb => "'{}'", regrole => "'common'",
	regprocedure => "'public.hook(uuid)'",
	'text[]' => "'{production}'", 'regrole[]' => "'{common}'",
	'timestamp with time zone' => "'2100-01-01'");
my $twins = 0;
sql('CREATE FUNCTION public.hook(uuid) RETURNS void LANGUAGE sql AS $$SELECT$$;
	ALTER FUNCTION public.hook(uuid) OWNER TO common');
my %ids = (deployment => $theirs, node => sql("SELECT id FROM hotswap.node
	WHERE tenant_id = '$tenant{b}' LIMIT 1"),
	delegation => sql("SELECT id FROM hotswap.approval_delegation WHERE tenant_id = '$tenant{b}'
		LIMIT 1"), tenant => $tenant{b});
foreach my $row (split /\n/, sql(q(SELECT p.oid::regproc, p.prokind,
	array_to_string(ARRAY(SELECT proargnames[n] || ':' || format_type(t, NULL)
		FROM unnest(proargtypes) WITH ORDINALITY a (t, n) ORDER BY n), ';')
	FROM pg_proc p WHERE pronamespace = 'hotswap'::regnamespace AND prorettype
		NOT IN ('trigger'::regtype, 'internal'::regtype)
			AND proargtypes::oid[] @> ARRAY['uuid'::regtype::oid] ORDER BY 1)))
{
	my ($function, $kind, $arguments) = split /\|/, $row;
	foreach my $who ([ 'alice', 'a' ], [ 'alice', 'b' ], [ 'eve', 'a' ], [ 'eve', 'b' ])
	{
		foreach my $varied (grep { /:uuid$/ } split /;/, $arguments)
		{
			my @said = map {
				my $id = $_;
				my $list = join ', ',
				map { my ($n, $t) = split /:/, $_,
					2; "$n => " . ($_ eq $varied ? "'$id'" : $t eq 'uuid' && $n ne 'tenant'
						&& $ids{$n} ? "'$ids{$n}'" : ($argument{$t} // 'NULL'))
					. "::$t" } split /;/, $arguments;
				as($who->[0], "SET hotswap.tenant = '$tenant{$who->[1]}'; BEGIN; "
					. ($kind eq 'p' ? 'CALL' : 'SELECT * FROM')
						. " $function($list); ROLLBACK") =~ s/$id/ID/gr;
			} $ids{ $varied =~ s/:.*//r } // $theirs, '01a20000-0000-7000-8000-0000000000aa';
			$twins++;
			is($said[0], $said[1], "$who->[0] in $who->[1] cannot tell by $function($varied)");
			unlike($said[0], qr/$secret/, 'nor sees a word') if $said[0] =~ /$secret/;
		}
	}
}
cmp_ok($twins, '>=', 40, 'comparisons');
foreach my $call (map { ("$_(m, '1', 'development')", "$_('m', '1', e)") } 'hotswap.deploy')
{
	my @said = map { my $there = $_; as('alice',
		"SET hotswap.tenant = '$tenant{b}'; SELECT "
			. ($call =~ s/\(m,/('$there',/r =~ s/ e\)/ '$there')/r)) =~ s/$there/NAME/gr } $secret,
		'absent';
	is($said[0], $said[1], "nor by a name: $call");
}
foreach my $call ("register_node('development', 'x', run_as => 'common', schema => 'common_b')",
	"register_node('development', 'x', run_as => 'common', schema => 'common_a')")
{
	unlike(as('alice', "SELECT hotswap.$call"), qr/$secret/,
		"a node of the other tenant on the same role and schema is not named: $call");
}

# ---- what the server tells everybody ----

my $sleeping = as('bob', q(SELECT hotswap.deploy('sleep', '1', 'development')));
wait_for($node, 'postgres', "SELECT count(*) = 1 FROM pg_stat_activity
	WHERE query ~ 'pg_sleep\\(600\\)' AND backend_type ~ 'executor'");
my $catalogs = join '', map { "SELECT *
	FROM $_;\n" } qw(pg_stat_activity pg_locks pg_stats pg_stats_ext pg_sequences pg_settings
	pg_cursors pg_prepared_statements pg_prepared_xacts pg_stat_progress_analyze pg_stat_all_tables
	information_schema.tables information_schema.triggers information_schema.view_table_usage
	pg_db_role_setting);
unlike(as('eve', $catalogs), qr/$secret|\Q$sleeping\E|\Q$theirs\E/,
	'neither a running script nor an id is to be seen in the catalogs');
unlike(as('eve', 'SELECT * FROM pg_stat_activity'), qr/\Q$tenant{b}\E/, 'nor whose it is');
my $pids = sql(q(SELECT string_agg(pid::text, ',') FROM pg_stat_activity
	WHERE backend_type ~ 'hotswap'));
is(as('eve', "SELECT $_(p) FROM unnest(ARRAY[$pids]) p") =~ s/\n.*//sr =~ s/: .*//r, 'ERROR',
	"$_: the workers cannot be ended") foreach 'pg_terminate_backend', 'pg_cancel_backend';
is(as('alice', q(SELECT hotswap.release_all_locks(), pg_advisory_unlock_all())), '0|',
	'nor can its locks be taken');
is(as('bob', "SELECT hotswap.cancel('$sleeping', 'x')"), 'running', 'who may, cancels it');
is(as('bob', "SELECT hotswap.wait('$sleeping', '60 s')"), 'cancelled', 'and it ends');

# ---- to be somebody else ----

is(code_of('eve', $_), '42501', "eve: $_")
	foreach 'SET ROLE alice', 'SET SESSION AUTHORIZATION alice',
	q(SET hotswap.tenant = ') . "$tenant{a}'; SELECT hotswap.deploy('m', '1', 'development')",
	'SET session_replication_role = replica',
	q(SELECT hotswap.grant_access('eve', 'viewer')),
	q(ALTER FUNCTION hotswap.deploy SECURITY DEFINER),
	q(CREATE FUNCTION public.f() RETURNS void LANGUAGE c AS '$libdir/hotswap', 'hotswap_adopt'),
	'ALTER SYSTEM SET hotswap.max_executors = 1',
	q(SET hotswap.max_executors = 1) =~ s/^.*$/ALTER ROLE alice SET hotswap.tenant = ''/r;
is(code_of('eve', 'SET hotswap.max_executors = 1'), '55P02', 'nor has a setting of the server');
is(code_of('alice', "SET hotswap.tenant = '$_'"), '22023', "hotswap.tenant = '$_'") foreach 'x',
	"'' OR true", '----0190163d8694739baea5000000000001', '{0190163d-8694-739b-aea5-000000000a}',
	'0190163d8694739baea5000000000001';
sql('CREATE ROLE carol LOGIN NOINHERIT; GRANT alice TO carol');
is(as('carol', 'SELECT count(*) FROM hotswap.deployments; SET ROLE alice; SELECT count(*) > 0
	FROM hotswap.deployments; RESET ROLE; SELECT count(*) FROM hotswap.deployments'), "0\nt\n0",
	'what a role sees is that role\'s, in one session');
like(as('carol', qq(SET ROLE alice; SET hotswap.tenant = '$tenant{a}';
	SELECT hotswap.deploy('m', '1', 'production', run_at => '2100-01-01') AS d \\gset
	SELECT DISTINCT person || ' ' || role FROM hotswap.audit_log WHERE subject_id = :'d')),
	qr/^carol alice$/, 'who acts as another is recorded');

# ---- plans that outlive the right ----

sql(qq(CREATE ROLE dave LOGIN; SELECT hotswap.grant_access('dave', 'operator', '$tenant{a}');
	ALTER ROLE dave SET hotswap.tenant = '$tenant{a}'));
foreach my $begin ('', 'BEGIN ISOLATION LEVEL REPEATABLE READ;')
{
	my $session = $node->background_psql('postgres', extra_params => [ '-U', 'dave' ],
		on_error_stop => 0);
	$session->query(qq(SET plan_cache_mode = force_generic_plan; PREPARE see AS SELECT count(*) > 0
		FROM hotswap.deployments; PREPARE act AS SELECT hotswap.stop_dispatching('x');
		PREPARE write AS SELECT hotswap.publish_version('dave', '1', 'SELECT 1')));
	is($session->query("$begin EXECUTE see"), 't', 'dave sees');
	sql("SELECT hotswap.revoke_access('dave', 'operator', '$tenant{a}')");
	is($session->query('EXECUTE see'), 'f',
		'and when he has no right any more, a prepared plan shows nothing');
	$session->query('EXECUTE write');
	is($session->query('\echo :SQLSTATE'), '42501', 'nor does one write');
	$session->quit;
	sql("SELECT hotswap.grant_access('dave', 'operator', '$tenant{a}')");
}

# ---- while a superuser maintains what is somebody's ----

is(as('alice', q(
	CREATE FUNCTION alice.trap() RETURNS integer LANGUAGE plpgsql AS $$
	DECLARE call text;
	BEGIN
		FOREACH call IN ARRAY ARRAY['deploy(''m'', ''1'', ''development'')',
			'grant_access(''eve'', ''admin'')', 'publish_version(''trap'', ''1'', ''SELECT 1'')',
			'acquire_lock(''trap'')', 'stop_dispatching(''trap'')'] LOOP
			BEGIN EXECUTE 'SELECT hotswap.' || call; RAISE LOG 'sprung: %', call;
			EXCEPTION WHEN OTHERS THEN NULL; END;
		END LOOP;
		RETURN 1;
	END $$;
	CREATE FUNCTION alice.quiet(integer) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 1';
	CREATE TABLE alice.t AS SELECT i FROM generate_series(1, 3) i;
	CREATE INDEX ON alice.t (alice.quiet(i));
	CREATE OR REPLACE FUNCTION alice.quiet(integer) RETURNS integer
	LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN alice.trap(); END';
	CREATE MATERIALIZED VIEW alice.m AS SELECT alice.trap() AS trap, d.*
	FROM hotswap.deployments d WITH NO DATA)) =~ s/^.*\n?//gmr, '', 'traps');
my $offset = -s $node->logfile;
my $count = sql('SELECT count(*), (SELECT count(*) FROM hotswap.access),
	(SELECT count(*) FROM hotswap.module) FROM hotswap.deployment');
sql('ANALYZE alice.t; REINDEX TABLE alice.t; VACUUM ANALYZE alice.t;
	REFRESH MATERIALIZED VIEW alice.m; CLUSTER alice.t USING t_quiet_idx');
is(sql("SELECT count(*) FROM alice.m WHERE m::text ~ '$secret|$tenant{b}'"), '0',
	'a materialized view that a superuser refreshes has what its owner sees');
ok(sql('SELECT count(*) FROM alice.m') > 0, 'that it has');
is(join('', grep { /sprung/ } split /^/, substr(slurp_file($node->logfile), $offset)), '',
	'no function of hotswap works in an index or a materialized view');
is(sql('SELECT count(*), (SELECT count(*) FROM hotswap.access),
	(SELECT count(*) FROM hotswap.module) FROM hotswap.deployment'), $count,
	'and nothing has changed');

# ---- names ----

my @evil = ("'; DROP SCHEMA hotswap CASCADE; --", '"; DROP SCHEMA hotswap CASCADE; --',
	"\\'); DROP SCHEMA hotswap CASCADE; --", '$$; SELECT 1/0; $$', '%s%n%1$s', 'a.b."c"',
	"line\nline", '{"a": 1}', 'NULL', 'x y', "\xc3\xbc\xe2\x82\xac");
my $n = 0;
foreach my $evil (@evil)
{
	# e is the name, as psql quotes it
	$n++;
	like(as('postgres', qq(
		CREATE ROLE :"e" LOGIN; CREATE SCHEMA :"e" AUTHORIZATION :"e";
		SET hotswap.tenant = '$tenant{a}';
		CREATE FUNCTION :"e".:"e"(uuid) RETURNS boolean LANGUAGE sql AS 'SELECT true';
		ALTER FUNCTION :"e".:"e"(uuid) OWNER TO :"e";
		SELECT hotswap.configure_environment(:'e', 50 - $n);
		SELECT hotswap.register_node(:'e', :'e',
			run_as => (SELECT oid::regrole FROM pg_roles WHERE rolname = :'e'), schema => :'e',
			labels => jsonb_build_object(:'e', :'e')) <> gen_random_uuid();
		SELECT hotswap.register_hook('test',
			(SELECT oid::regprocedure FROM pg_proc
				WHERE proname = :'e'
					AND pronamespace = (SELECT oid FROM pg_namespace WHERE nspname = :'e')),
				'names$n');
		SELECT hotswap.publish_version('names$n', '1', 'CREATE TABLE done ()',
			'SELECT count(*) FROM done', 'DROP TABLE done') <> '';
		SELECT hotswap.deploy('names$n', '1', :'e', idempotency_key => :'e',
			metadata => jsonb_build_object(:'e', :'e'), on_behalf_of => :'e',
			require_approval => ARRAY[:'e']) AS d \\gset
		SELECT hotswap.approve(:'d', :'e', comment => :'e', on_behalf_of => 'another ' || :'e');
		SELECT hotswap.bypass_approval(:'d', environment, :'e', :'e', on_behalf_of => 'a third one')
		FROM hotswap.approvals WHERE deployment_id = :'d' AND status = 'pending'
		ORDER BY environment;
		SELECT count(*) >= 0 FROM hotswap.explain(:'d');
		SELECT hotswap.wait(:'d', '60 s');
		SELECT hotswap.acquire_lock(:'e') > 0, hotswap.lease_lock(:'e', '1 h') > 0,
		hotswap.release_all_locks();
		SELECT is_new FROM hotswap.claim_idempotency_key(:'e', :'e', to_jsonb(:'e'::text));
		SELECT count(*) FROM hotswap.nodes
		WHERE name = :'e' AND module = 'names$n'
			AND run_as::oid = (SELECT oid FROM pg_roles WHERE rolname = :'e');
		SELECT to_regclass(quote_ident(:'e') || '.done') IS NOT NULL), '-v', "e=$evil"),
	qr/succeeded\nt\|t\|1\nt\n1\nt$/,
	'a role, schema, function, environment, node, person ... named ' . ($evil =~ s/\n/\\n/gr));
	is(code_of('postgres', q(SELECT hotswap.publish_version(:'e', '1', 'SELECT 1')), '-v',
		"e=$evil"), '22023', 'no module is') if $evil ne 'NULL';
	next if $evil eq 'NULL';
	if ($evil =~ /\n/)
	{
		is(code_of('postgres', q(SELECT hotswap.publish_version('m', :'e', 'SELECT 1')), '-v',
			"e=$evil"), '22023', 'and no version');
		next;
	}
	like(as('postgres', qq(
		SET hotswap.tenant = '$tenant{a}';
		SELECT hotswap.publish_version('names$n', :'e', 'CREATE TABLE done_too ()',
			revert_sql => 'DROP TABLE done_too') <> '';
		SELECT hotswap.deploy('names$n', :'e', :'e') AS d \\gset
		SELECT count(*) >= 0 FROM hotswap.explain(:'d');
		SELECT hotswap.wait(:'d', '60 s');
		SELECT count(*) FROM hotswap.deployments WHERE id = :'d' AND version = :'e';
		SELECT count(*) FROM hotswap.nodes WHERE name = :'e' AND version = :'e';
		SELECT to_regclass(quote_ident(:'e') || '.done_too') IS NOT NULL), '-v', "e=$evil"),
		qr/succeeded\n1\n1\nt$/, "and a version has it: $evil");
}
is(sql('SELECT count(*) FROM hotswap.verify_audit()'), '0', 'the audit chain is whole');
is(sql(q(SELECT count(*) FROM pg_extension WHERE extname = 'hotswap')), '1',
	'everything is still there');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP:|terminated by signal|XX000/,
	'and nothing has broken');

done_testing();
