# Entries, what is behind them, slots, rows of the route, types and roles, made, changed, dropped
# and called at random, also in the middle of the statements that call them, by the superuser, the
# owner of the slots, a caller and a stranger: the server lives, no error is an internal one, and in
# the end an entry is called as ever.
#
# First one session after the other, then several at once. FUZZ_SEED repeats a run, FUZZ_SESSIONS
# makes it longer, FUZZ_DUMP names a file for all that was said.
use strict;
use warnings;

use HotswapTest;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# The same every time, so that a run which fails has something to do with what was changed.
my $seed = $ENV{FUZZ_SEED} // 1;
my $sessions = $ENV{FUZZ_SESSIONS} // 24;
my $statements = 60;
my $at_once = 4;
srand($seed);
diag("FUZZ_SEED=$seed FUZZ_SESSIONS=$sessions");

my $node = hotswap_cluster('fuzz',
	log_line_prefix => '%m [%p] %b %q%u@%d %a [%e] ',
	deadlock_timeout => '100ms',
	max_parallel_workers => 4,
	autovacuum => 'off');

sub sql { return $node->safe_psql('postgres', $_[0]); }
sub pick { return $_[ rand @_ ]; }
sub literal { return "'" . ($_[0] =~ s/'/''/gr) . "'"; }

# ---- what there is at first ----

my @slots = ('m@a', 'm@b', 'n@a');
my ($tenant, $module_node) = map { $_ x 8 . "-$_$_$_$_-4$_$_$_-8$_$_$_-" . $_ x 12 } 1, 2;
my $pair = 'CREATE TYPE pair AS (a integer, b text)';
my $positive = 'CREATE DOMAIN positive AS integer CHECK (VALUE > 0)';

sql(qq(
	$pair; $positive;
	CREATE ROLE owner LOGIN; CREATE ROLE app LOGIN; CREATE ROLE stranger LOGIN; CREATE ROLE club;
	GRANT CREATE ON SCHEMA public TO PUBLIC;
	GRANT CREATE ON DATABASE postgres TO owner;
	ALTER TYPE pair OWNER TO owner; ALTER DOMAIN positive OWNER TO owner;
	CREATE TABLE t (i integer, w text);
	INSERT INTO t SELECT g, g FROM generate_series(1, 2000) g;
	GRANT ALL ON t TO PUBLIC;
	ALTER TABLE t SET (parallel_workers = 2);
	-- does something in the middle of a statement, and never minds how that ends
	CREATE FUNCTION mess(command text, now boolean DEFAULT true) RETURNS integer LANGUAGE plpgsql
		AS \$\$
	BEGIN
		IF now THEN EXECUTE command; END IF;
		RETURN 1;
	EXCEPTION WHEN OTHERS THEN
		RETURN 1;
	END \$\$;
	CREATE TABLE calm (i integer);
	INSERT INTO hotswap.route (tenant_id, node_id, module, epoch, slot, generation, version)
		SELECT '$tenant', '$module_node', 'calm', nextval('hotswap.epoch_seq'), 'calm\@a', 1, '1';
	CREATE SCHEMA "calm\@a"; CREATE TABLE "calm\@a".hotswap_slot_1 ();
	CREATE FUNCTION "calm\@a".calm(i integer) RETURNS integer LANGUAGE plpgsql AS
		'BEGIN RETURN i + 1; END';)
	. join '', map { qq(
	CREATE SCHEMA "$_" AUTHORIZATION owner; CREATE TABLE "$_".hotswap_slot_1 ();
	ALTER TABLE "$_".hotswap_slot_1 OWNER TO owner;
	GRANT USAGE ON SCHEMA "$_" TO PUBLIC;) } @slots);

# ---- routines ----

# Arguments, and how they are given; most fit most targets of the same name, so that calls arrive.
my @arguments = (
	[ 'i integer', '7' ], [ 'i integer', '7' ], [ 'i integer', '7' ], [ 'i integer', 'NULL' ],
	[ '', '' ], [ 'i integer, j integer DEFAULT 2', '7' ], [ 'i integer, j integer',
		'j => 1, i => 2' ],
	[ 'i anyelement', '7' ], [ 'i anyelement', 'ARRAY[1]' ], [ 'i anyarray', 'ARRAY[7]' ],
	[ 'i anycompatible, j anycompatible', '7, 8.5' ],
	[ 'VARIADIC i integer[]', '7, 8' ], [ 'VARIADIC i integer[]', 'VARIADIC NULL' ],
	[ 'VARIADIC i "any"', "7, 'x'" ], [ 'i integer, OUT a integer', '7' ],
	[ 'i integer, OUT a integer, OUT b text', '7' ], [ 'INOUT i integer', '7' ],
	[ 'i integer, OUT pair', '7' ], [ 'p pair', "(1, 'x')" ], [ 'p pair', 'NULL' ],
	[ 'i positive', '7' ], [ 'i text', "'x'" ], [ 'i cstring', "'7'" ], [ 'i internal', 'NULL' ],
	[ 'i internal, j integer', 'NULL, 7' ], [ 'i cstring, j oid, k integer', "'7', 23, -1" ],
	[ 'a integer, b integer', '7, 8' ], [ 'a integer, b integer, c boolean', '7, 8, true' ],
	[ join(', ', ('integer') x 12), join(', ', (7) x 12) ], [ 'i refcursor', "'c'" ]);
my @results = (('integer') x 8, 'SETOF integer', 'SETOF integer', 'bigint', 'text', 'boolean',
	'void',
	'pair', 'SETOF pair', 'record', 'SETOF record', 'positive', 'TABLE (a integer, b text)',
	'anyelement', 'anyarray', 'internal', 'cstring', 'trigger', 'event_trigger', 'integer[]',
	'language_handler', 'fdw_handler', 'index_am_handler', 'tsm_handler');
my @attributes = (('') x 6, 'STRICT', 'STRICT', 'SECURITY DEFINER', 'VOLATILE', 'PARALLEL SAFE',
	'LEAKPROOF', 'WINDOW', 'IMMUTABLE', "SET work_mem = '1MB'", 'COST 1000', 'ROWS 5',
	'SET search_path FROM CURRENT', 'SUPPORT pg_catalog.generate_series_int4_support');
my @names = map { "f$_" } 1 .. 4;
# Functions of the server: these must be declared as what they are, also without entries.
my @internal = (
	[ 'i integer', 'integer', 'STRICT', 'int4abs', '7' ], [ 'i integer', 'integer', 'STRICT',
		'int4um', '7' ],
	[ 'i integer', 'integer', 'STRICT', 'hashint4', 'NULL' ], [ 'i integer', 'bigint', 'STRICT',
		'int48', '7' ],
	[ 'a integer, b integer', 'integer', 'STRICT', 'int4pl', '7, NULL' ],
	[ 'a integer, b integer', 'integer', 'STRICT', 'btint4cmp', '7, 8' ],
	[ 'a integer, b integer', 'SETOF integer', 'STRICT', 'generate_series_int4', '1, 7' ],
	[ 'a integer, b integer', 'SETOF integer', 'STRICT', 'generate_series_int4', 'NULL, 7' ],
	[ 'i internal, j integer', 'internal', '', 'int4_accum', 'NULL, 7' ],
	[ 'i internal, j anynonarray', 'internal', '', 'array_agg_transfn', 'NULL, 7' ],
	[ 'i internal, VARIADIC j "any"', 'internal', '', 'ordered_set_transition_multi', 'NULL, 7' ],
	[ 'i internal', 'void', 'STRICT', 'btint4sortsupport', 'NULL' ],
	[ 'i cstring', 'integer', 'STRICT', 'int4in', "'7'" ], [ 'i cstring', 'integer', 'STRICT',
		'int4in', 'NULL' ],
	[ 'i integer', 'cstring', 'STRICT', 'int4out', '7' ],
	[ 'i cstring, j oid, k integer', 'record', 'STRICT', 'record_in', "'(7)', 0, -1" ],
	[ 'VARIADIC i "any"', 'text', '', 'text_concat', "7, 'x'" ],
	[ 'i anyarray, j anyelement', 'anyarray', '', 'array_append', 'ARRAY[7], 7' ],
	[ '', 'bigint', 'WINDOW', 'window_row_number', '' ],
	[ 'i anyelement', 'anyelement', 'STRICT WINDOW', 'window_first_value', '7' ],
	[ '', 'trigger', '', 'suppress_redundant_updates_trigger', '' ]);
my @own_names = map { "g$_" } 1 .. 3;
my @sources = (
	map({ ("LANGUAGE sql AS $_") x 2 } q('SELECT 7'), q('SELECT $1'), q('SELECT 7 FROM t LIMIT 3'),
		q('SELECT (7, ''x'')::pair'), q('SELECT mess(''SELECT 1'')')),
	map({ "LANGUAGE plpgsql AS \$b\$BEGIN $_ END\$b\$" } 'RETURN 7;', 'RETURN NULL;',
		'RETURN NEXT 7;',
		'NULL;', 'RETURN QUERY SELECT 7;', 'RETURN NEW;', 'RETURN 1/0;', 'COMMIT;', 'ROLLBACK;',
		"RETURN f1(7);", 'a = 7; RETURN NEXT;', 'RETURN i;', 'i = 1;', "RETURN 'x';",
		'INSERT INTO t VALUES (1); RETURN 8;', 'RAISE no_data_found;'));

sub entry_text
{
	my $name = pick(map({ pick(@names) } 1 .. 4), map({ pick(@own_names) } 1 .. 2), 'calm',
		'generate_series', 'int4pl',
		'x' x 63);
	my $text = sprintf('tenant %s node %s module "%s" function "%s" slot "%s"', $tenant,
		$module_node, pick('m', 'm', 'm', 'n', 'calm', 'none'), $name,
		pick(@slots, 'none', 'pg_catalog', 'public', 'hotswap', 'pg_temp', ''));
	substr($text, rand length $text, 1 + rand 3) = pick('', '"', ' ', "\n", 'x', '""', '\\')
		if rand() < 0.05;
	return $text;
}

# What was made last, as a call: most calls are of that.
my @made;

# A routine's head, and its attributes.
sub head
{
	my ($name, $call) = @_;
	my $procedure = rand() < 0.12;
	my ($arguments, $given) = @{ pick(@arguments) };
	push @made, "$call($given)" if $call;
	shift @made if @made > 5;
	my $result = $arguments =~ /OUT/ || $procedure ? '' : 'RETURNS ' . pick(@results);
	my $attributes = $procedure ? pick('', '', 'SECURITY DEFINER', "SET work_mem = '1MB'")
		: join(' ', pick('STABLE', 'STABLE', 'VOLATILE', ''), map { pick(@attributes) } 1 .. 2);

	return 'CREATE ' . pick('', 'OR REPLACE ') . ($procedure ? 'PROCEDURE' : 'FUNCTION')
		. " $name($arguments) $result $attributes";
}

sub slot { return '"' . pick(@slots) . '"'; }
sub target_name { return slot() . '.' . pick(@names); }
sub target { return head(target_name()) . ' ' . pick(@sources); }
sub entry { return head(pick(@names, @own_names)) . ' LANGUAGE hotswap AS '
	. literal(entry_text()); }

# A function of the server in both slots, and an entry to it.
sub internal
{
	my ($arguments, $result, $attributes, $source, $given) = @{ pick(@internal) };
	my $name = pick(@own_names);
	my $entry = rand() < 0.7 ? $attributes : pick('', 'STRICT', 'WINDOW');

	push @made, "$name($given)";
	return "CREATE OR REPLACE FUNCTION $name($arguments) RETURNS $result STABLE $entry LANGUAGE "
		. 'hotswap AS '
			. literal("tenant $tenant node $module_node module \"m\" function \"$name\" "
		. 'slot "m@a"') . '; ' . join('; ',
			map { qq(CREATE OR REPLACE FUNCTION "$_".$name($arguments)
		RETURNS $result $attributes LANGUAGE internal AS '$source') } 'm@a', 'm@b');
}

# The same head before an entry and what is behind it.
sub couple
{
	return internal() if rand() < 0.25;
	my $name = pick(@names);
	my $head = head('@', $name);
	my $slot = slot();
	my $text = "tenant $tenant node $module_node module \"m\" function \"$name\" slot \"m\@a\"";
	my $source = pick(@sources);

	return ($head =~ s/@/$name/r) =~ s/IMMUTABLE|SECURITY DEFINER//gr . ' LANGUAGE hotswap AS '
		. literal($text) . '; ' . ($head =~ s/@/"m\@a".$name/r) . " $source; "
		. ($head =~ s/@/"m\@b".$name/r) . " $source";
}

sub change_routine
{
	my $what = 'ROUTINE ' . pick(pick(@names, @own_names), target_name(), target_name());

	return pick(
		"DROP $what", "DROP $what CASCADE", "DROP $what CASCADE",
		"ALTER $what RENAME TO " . pick(@names),
		"ALTER $what SET SCHEMA " . pick('public', slot()),
		"ALTER $what OWNER TO " . pick('owner', 'app', 'postgres'),
		"ALTER $what " . pick(@attributes, 'CALLED ON NULL INPUT', 'RESET ALL', 'SECURITY INVOKER',
			'STABLE', 'PARALLEL UNSAFE'),
		"GRANT EXECUTE ON $what TO " . pick('PUBLIC', 'app', 'stranger', 'club'),
		"REVOKE EXECUTE ON $what FROM " . pick('PUBLIC', 'app', 'club'));
}

# ---- the route, slots, types, roles ----

sub route
{
	my $generation = pick(1, 1, 1, 2, 3, 0, -1);
	my ($share, $other) = rand() < 0.3 ? (int rand 10001, literal(pick(@slots)) . ", 1, 'o'")
		: (10000, 'NULL, NULL, NULL');
	return pick(
		'DELETE FROM hotswap.route WHERE epoch < (SELECT max(epoch) - 1 FROM hotswap.route)'
			. q( AND module <> 'calm'),
				q(DELETE FROM hotswap.route WHERE module <> 'calm')) if rand() < 0.1;
	return "INSERT INTO hotswap.route VALUES ('$tenant', '$module_node', "
		. literal(pick('m', 'm', 'n')) . ", nextval('hotswap.epoch_seq'), "
		. literal(rand() < 0.9 ? pick(@slots) : pick('none', 'pg_catalog', 'x' x 70, ''))
		. ", $generation, 'v', $other, $share, " . pick('NULL', 'NULL', q('{club}'), q('{0,app}'))
			. ')';
}

sub change_slot
{
	my $slot = slot();
	my ($from, $to) = (pick(1, 1, 2, 3), pick(1, 1, 2, 3));

	return pick(
		map({ "ALTER TABLE IF EXISTS $slot.hotswap_slot_$from RENAME TO hotswap_slot_$to" } 1 .. 4),
		map({ "CREATE TABLE IF NOT EXISTS $slot.hotswap_slot_$to ()" } 1 .. 4),
		"CREATE VIEW $slot.hotswap_slot_$to AS SELECT 1",
		"DROP TABLE IF EXISTS $slot.hotswap_slot_$from",
		"DROP SCHEMA $slot CASCADE", map({ "CREATE SCHEMA IF NOT EXISTS $slot" } 1 .. 4),
		"ALTER SCHEMA $slot OWNER TO " . pick('owner', 'owner', 'app'),
		"ALTER SCHEMA $slot RENAME TO " . slot(), "GRANT USAGE ON SCHEMA $slot TO PUBLIC",
		"REVOKE USAGE ON SCHEMA $slot FROM PUBLIC");
}

sub change_type
{
	return pick(
		'ALTER TYPE pair ADD ATTRIBUTE c integer CASCADE',
		'ALTER TYPE pair DROP ATTRIBUTE ' . pick('a', 'b', 'c') . ' CASCADE',
		'ALTER TYPE pair ALTER ATTRIBUTE a TYPE ' . pick('text', 'bigint') . ' CASCADE',
		'DROP TYPE pair CASCADE', $pair, $pair, "DROP TYPE pair CASCADE; $pair",
		'DROP DOMAIN positive CASCADE', $positive, $positive,
		'ALTER DOMAIN positive ADD CHECK (f1(VALUE) > 0) NOT VALID');
}

sub change_role
{
	return pick('GRANT club TO app', 'REVOKE club FROM app', 'GRANT owner TO app',
		'REVOKE owner FROM app', 'DROP ROLE club', 'CREATE ROLE club',
		'ALTER ROLE app ' . pick('SUPERUSER', 'NOSUPERUSER', 'NOSUPERUSER'));
}

sub change
{
	my $kind = rand;
	return couple() if $kind < 0.3;
	return entry() if $kind < 0.4;
	return target() if $kind < 0.5;
	return change_routine() if $kind < 0.72;
	return route() if $kind < 0.84;
	return change_slot() if $kind < 0.92;
	return change_type() if $kind < 0.97;
	return change_role();
}

# ---- calls ----

sub call
{
	my $call = @made && rand() < 0.8 ? pick(@made) : pick(@names) . '(' . pick(@arguments)->[1]
		. ')';
	return $_[0] ? $call =~ s/\b7\b/i/gr : $call;
}

# What calls an entry in the server's own ways.
my $uses = 0;
sub use_by_server
{
	my $name = pick(@names);
	my $n = ++$uses;
	return pick(
		"CREATE CAST (pair AS text) WITH FUNCTION $name(pair); SELECT (1, 'x')::pair::text; "
			. 'DROP CAST (pair AS text)',
		"CREATE OPERATOR <-< (LEFTARG = integer, RIGHTARG = integer, FUNCTION = $name); "
			. 'SELECT i <-< 1 FROM t LIMIT 2; DROP OPERATOR <-< (integer, integer)',
		"CREATE AGGREGATE agg$n(integer) (SFUNC = $name, STYPE = integer, FINALFUNC = "
			. pick(@names) . pick('', ', INITCOND = 1') . "); SELECT agg$n(i) FROM t WHERE i < 5; "
			. "SELECT agg$n(i) OVER (ORDER BY i ROWS 1 PRECEDING) FROM t WHERE i < 5; "
			. "DROP AGGREGATE agg$n(integer)",
		"CREATE AGGREGATE agg$n(integer) (SFUNC = $name, STYPE = internal, FINALFUNC = "
			. pick(@names)
				. "); SELECT agg$n(i) FROM t GROUP BY i % 3; DROP AGGREGATE agg$n(integer)",
		"CREATE TRIGGER tr BEFORE INSERT OR UPDATE ON t FOR EACH " . pick('ROW', 'STATEMENT')
			. " EXECUTE FUNCTION $name(); INSERT INTO t VALUES (1); UPDATE t SET w = 'x' WHERE "
			. "i = 3; "
			. 'DROP TRIGGER tr ON t',
		"CREATE CONSTRAINT TRIGGER tr AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW "
			. "EXECUTE FUNCTION $name(); INSERT INTO t VALUES (1); DROP ROUTINE $name CASCADE; "
			. "COMMIT",
		"CREATE EVENT TRIGGER ev ON ddl_command_end EXECUTE FUNCTION $name(); CREATE TABLE ev ();"
			. ' DROP TABLE ev; DROP EVENT TRIGGER ev',
		"ALTER TABLE calm ADD CHECK ($name(i) > 0) NOT VALID, ALTER i SET DEFAULT " . call()
			. '; INSERT INTO calm VALUES (DEFAULT), (1); ROLLBACK',
		"CREATE INDEX ON t ($name(i)); ROLLBACK", "CREATE TEMP VIEW v AS SELECT $name(i) FROM t;"
			. ' SELECT * FROM v LIMIT 3; ROLLBACK',
		"ALTER TABLE calm ADD g integer GENERATED ALWAYS AS ($name(i)) STORED; ROLLBACK",
		"CREATE POLICY p ON calm USING ($name(i) > 0); ALTER TABLE calm ENABLE ROW LEVEL SECURITY;"
			. ' GRANT SELECT ON calm TO app; SET LOCAL ROLE app; SELECT * FROM calm; ROLLBACK',
		"CREATE OPERATOR === (LEFTARG = integer, RIGHTARG = integer, FUNCTION = int4eq, RESTRICT = "
			. "$name, JOIN = " . pick(@names)
				. '); SELECT 1 FROM t a JOIN t b ON a.i === b.i LIMIT 1; '
			. 'ROLLBACK',
		"CREATE OPERATOR CLASS c FOR TYPE integer USING btree AS OPERATOR 3 =, FUNCTION 1 "
			. "$name(integer, integer); CREATE INDEX ON t (i c); SELECT * FROM t WHERE i = 3; "
			. "ROLLBACK",
		"CREATE OPERATOR CLASS c FOR TYPE integer USING hash AS OPERATOR 1 =, FUNCTION 1 "
			. "$name(integer); CREATE INDEX ON t USING hash (i c); ROLLBACK",
		'CREATE OPERATOR CLASS c FOR TYPE integer USING gin AS OPERATOR 1 =, '
			. join(', ', map { "FUNCTION $_ $name(" . pick('integer', 'internal', join(', ',
			('integer') x 12)) . ')' } 2 .. 4) . '; CREATE INDEX ON t USING gin (i c); ROLLBACK',
		"CREATE TYPE th$n; CREATE OR REPLACE FUNCTION $name(cstring) RETURNS th$n STABLE STRICT "
			. 'LANGUAGE hotswap AS ' . literal(entry_text()) . "; CREATE OR REPLACE FUNCTION "
			. target_name() . "(cstring) RETURNS th$n STRICT LANGUAGE internal AS 'int4in'; "
			. "CREATE FUNCTION out$n(th$n) RETURNS cstring STABLE STRICT LANGUAGE internal AS "
			. "'int4out';"
			. " CREATE TYPE th$n (INPUT = $name, OUTPUT = out$n, LIKE = integer); SELECT "
			. "'7'::th$n; "
			. 'ROLLBACK',
		"CREATE LANGUAGE other HANDLER hotswap.call_entry; CREATE FUNCTION \"m\@a\".$name(i "
			. "integer) "
			. 'RETURNS integer STABLE LANGUAGE other AS '
				. literal("tenant $tenant node $module_node "
			. qq(module "m" function "$name" slot "m\@a")) . "; SELECT $name(1); ROLLBACK",
		"CREATE LANGUAGE other HANDLER $name; CREATE FUNCTION o() RETURNS integer LANGUAGE "
			. "other AS "
			. "'x'; SELECT o(); ROLLBACK",
		"CREATE FOREIGN DATA WRAPPER w HANDLER $name VALIDATOR " . pick(@names) . '; ROLLBACK',
		"CREATE ACCESS METHOD am TYPE INDEX HANDLER $name; CREATE INDEX ON t USING am (i); "
			. "ROLLBACK",
		"SELECT * FROM t TABLESAMPLE $name (10)",
		"SELECT hotswap.check_entry('$name'::regproc)",
		"CREATE FUNCTION c$n(integer) RETURNS integer STABLE LANGUAGE c AS 'hotswap', "
			. "'hotswap_call_entry'; SELECT c$n(1); ROLLBACK");
}

# A query or more that call entries; with what happens in their middle.
sub query
{
	my ($call, $kind) = (call(), rand);
	return "SELECT $call" if $kind < 0.1;
	return "CALL $call" if $kind < 0.17;
	return "SELECT * FROM $call" . pick('', ' AS x', ' AS x (a integer)',
		' AS x (a integer, b text)',
		' WITH ORDINALITY LIMIT 1') if $kind < 0.25;
	return 'SELECT ' . call(1) . ', ' . call(1) . ' FROM t WHERE i < 4' if $kind < 0.3;
	return 'SELECT i, x.* FROM t, LATERAL (SELECT ' . call(1) . " LIMIT 1) x WHERE i < 5"
		if $kind < 0.34;
	return 'SELECT ' . call(1) . ', mess(' . literal(change()) . ', i = 2), ' . call(1)
		. ' FROM generate_series(1, 4) i' if $kind < 0.52;
	return 'SELECT count(*) FROM t WHERE ' . call(1) . '::text <> mess(' . literal(change())
		. ', i % 700 = 0)::text' if $kind < 0.56;
	return "SELECT ($call).*" if $kind < 0.58;
	return "SELECT $call OVER (ORDER BY i) FROM t WHERE i < 4" if $kind < 0.61;
	return "DO 'DECLARE x text; BEGIN FOR n IN 1 .. 3 LOOP BEGIN PERFORM $call; EXCEPTION WHEN "
		. "OTHERS"
		. ' THEN NULL; END; ' . "PERFORM mess(" . (literal(change()) =~ s/'/''/gr) . ', n = 1); '
		. pick('', 'COMMIT; ', 'ROLLBACK; ') . "END LOOP; END'" if $kind < 0.68 && $call !~ /'/;
	return 'DECLARE c CURSOR ' . pick('', 'WITH HOLD ') . 'FOR SELECT ' . call(1)
		. ' FROM t; FETCH 2 '
		. 'FROM c; ' . change() . '; FETCH 2 FROM c; ' . change() . '; ' . pick('', 'COMMIT; ')
		. 'FETCH 2 FROM c; CLOSE c' if $kind < 0.77;
	return "PREPARE p AS SELECT $call; EXECUTE p; " . change() . '; EXECUTE p; ' . change()
		. '; EXECUTE p; DEALLOCATE p' if $kind < 0.87;
	return 'SET LOCAL parallel_setup_cost = 0; SET LOCAL parallel_tuple_cost = 0; SET LOCAL '
		. 'min_parallel_table_scan_size = 0; SELECT count(' . call(1) . ') FROM t' if $kind < 0.9;
	return use_by_server();
}

# Statements that leave no transaction open.
sub statement
{
	my $kind = rand;
	my $settings = pick('', '', '', "SET hotswap.route_key = 'k'; ",
		'SET hotswap.route_key = \'\'; ',
		"SET hotswap.route = 'm=v'; ", 'RESET hotswap.route; ', 'RESET ALL; ',
			"SET track_functions = '"
			. pick('all', 'none') . "'; ", 'SET plan_cache_mode = ' . pick('force_generic_plan',
				'auto')
			. '; ', "SET hotswap.pin = '1 10 0'; ");

	return $settings . couple() if $kind < 0.15;
	return $settings . change() if $kind < 0.35;
	return $settings . query() if $kind < 0.5;
	return "BEGIN; $settings" . join('; ', map { query() } 1 .. 2) . '; ' . pick('COMMIT',
		'ROLLBACK')
		if $kind < 0.75;
	return "BEGIN ISOLATION LEVEL " . pick('SERIALIZABLE', 'REPEATABLE READ',
		'REPEATABLE READ READ ONLY')
		. "; SELECT 1; " . query() . '; ' . query() . '; COMMIT' if $kind < 0.85;
	return 'BEGIN; SAVEPOINT s; ' . query() . '; ROLLBACK TO s; ' . change() . '; SAVEPOINT s; '
		. query() . '; ROLLBACK TO s; ' . query() . '; COMMIT';
}

# ---- sessions ----

# What may come of strange things; who waits or goes round for ever is cancelled, which may not.
local $ENV{PGOPTIONS} = '-c statement_timeout=30s -c client_min_messages=error';
my $expected = qr/^(0A|21|22|23|24|25|26|2B|2D|2F|34|38|39|3F|40|42|44|54|55|P0)/;
my (%found, %codes);

sub complain
{
	my ($what, $sql, $said) = @_;
	return if $found{$what}++;
	diag("$what: " . substr($sql, 0, 3000) . "\n" . substr($said, 0, 1000));
	return;
}

sub look
{
	my ($input, $said, $at_once) = @_;
	my %sql = $input =~ /^\\warn \@(\d+)\n(.*)$/mg;
	my %said = map { /^(\d+)\n/ ? ($1 => $_) : () } split /^@/m, $said;

	append_to_file($ENV{FUZZ_DUMP}, "== \n$input\n-- err\n$said\n") if $ENV{FUZZ_DUMP};
	foreach my $n (sort { $a <=> $b } keys %sql)
	{
		my $answer = $said{$n} // '';
		complain('no answer', $sql{$n}, $answer) if $answer eq '';
		complain('the connection is gone', $sql{$n}, $answer)
			if $answer =~ /FATAL|server closed the connection|connection to server was lost/;
		while ($answer =~ /^(?:psql:\S+ )?ERROR:  (\w{5}): (.*)$/mg)
		{
			my ($code, $message) = ($1, $2);
			$codes{$code}++;
			# what two sessions do to one row of a catalog is the server's own affair
			next if $at_once && $message =~ /^tuple concurrently|^could not find tuple/;
			# so is what becomes of a call before there is one
			next if $answer =~ /\Q$message\E\n(?:.*\n){0,3}?LOCATION:  \w+,
				(?:namespace|parse_\w+)\.c/;
			complain("$code $message", $sql{$n}, $answer) if $code !~ $expected;
		}
	}
	return;
}

my $number = 0;
sub session
{
	my $input = "\\set VERBOSITY verbose\n\\set ON_ERROR_ROLLBACK "
		. pick('on', 'on', 'off')
			. "\n";
	foreach (1 .. $statements)
	{
		$number++;
		$input .= "\\warn \@$number\n" . (statement() =~ s/\n/ /gr) . ";\nROLLBACK;\n";
	}
	return $input;
}

sub run_sessions
{
	my ($count) = @_;
	my (@runs, @inputs, @said);

	foreach my $i (0 .. $count - 1)
	{
		my $role = pick('postgres', 'postgres', 'postgres', 'owner', 'owner', 'app', 'stranger');
		$inputs[$i] = session();
		$said[$i] = '';
		push @runs, IPC::Run::start([ 'psql', '-XAtq', '-U', $role, $node->connstr('postgres') ],
			'<',
			\(my $copy = $inputs[$i]), '>', '/dev/null', '2>', \$said[$i], IPC::Run::timeout(180));
	}
	$_->finish foreach @runs;
	look($inputs[$_], $said[$_], $count > 1) foreach 0 .. $count - 1;
	return;
}

my $started = sql('SELECT pg_postmaster_start_time()');
my $checkpointer = q(SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer');
my $pid = sql($checkpointer);
for (my $done = 0; $done < $sessions;)
{
	my $count = $done < $sessions / 2 ? 1 : $at_once;
	run_sessions($count);
	$done += $count;
}
is(join("\n", map { "$_ ($found{$_} times)" } sort keys %found), '',
	'every statement was answered, and by no error that is the server\'s own');
note('errors: ', join ', ', map { "$_ $codes{$_}" } sort keys %codes);
cmp_ok(scalar(keys %codes), '>=', 10, 'many rules have been tried');

# ---- afterwards ----

is(sql($checkpointer), $pid, 'the server has not started again');
sql(q(DROP ROUTINE IF EXISTS calm; CREATE FUNCTION calm(i integer) RETURNS integer STABLE LANGUAGE
	hotswap AS ) . literal("tenant $tenant node $module_node module \"calm\" function \"calm\" "
	. 'slot "none"'));
is(sql('SELECT calm(1)'), '2', 'an entry leads where it should');
is(join('', grep { /PANIC|TRAP:|terminated by signal/
	|| /WARNING:  .*(leak|still|snapshot|refcount)/ } split /^/, slurp_file($node->logfile)), '',
	'nothing in the log says that something broke');
done_testing();
