-- Environments: configure_environment() (src/environment/environment.c).
SELECT plan(57);

-- In a new database, where nothing has been written yet.
SELECT results_eq('SELECT name, rank, strategy::text, min_approvals, nodes FROM hotswap.environments
	ORDER BY rank', $$VALUES ('development', 10, 'auto', 0, 0), ('qa', 20, 'auto', 0, 0),
		('staging', 30, 'auto', 1, 0), ('production', 40, 'auto', 1, 0)$$,
	'the environments that the first call makes');

CREATE FUNCTION pg_temp.environment(e text) RETURNS text LANGUAGE sql AS
	$$SELECT concat_ws(' ', rank, strategy, revert_on_failure) FROM hotswap.environment
		WHERE name = e$$;

-- A new one; the first call also makes the environments that everybody has.
SELECT lives_ok($$SELECT hotswap.configure_environment('preview', 15)$$,
	'made when a rank is given');
SELECT is((SELECT string_agg(name, ' ' ORDER BY rank) FROM hotswap.environments),
	'development preview qa staging production', 'now there is one more, and the others once');
SELECT results_eq('SELECT name, rank, strategy::text, revert_on_failure FROM hotswap.environment
	ORDER BY rank',
	$$VALUES ('development', 10, 'auto', true), ('preview', 15, 'auto', true),
		('qa', 20, 'auto', true),
	('staging', 30, 'auto', true), ('production', 40, 'auto', true)$$,
	'with the defaults, beside the usual ones');
SELECT results_eq(
	$$SELECT seq, before, after::jsonb, detail, person, role::text COLLATE "default"
		FROM hotswap.audit_event WHERE event = 'configure_environment'$$,
	$$VALUES (1, NULL::text,
		'{"name": "preview", "rank": 15, "strategy": "auto", "revert_on_failure": true,
			"require_signature": false, "allow_revert": null, "rollback_within": "7 days",
			"may_skip_environments": false, "rollback_needs_approval": false,
			"max_failed": null, "bring_up_needs_approval": false,
			"freeze_stops_rollback": false, "rehearse_without_approval": false,
			"require_rehearsal": false, "rehearse_max_lock": "00:00:00.5"}'::jsonb,
	'{"environment": "preview"}'::jsonb, session_user::text COLLATE "default",
	current_user::text COLLATE "default")$$, 'audited: nothing before');
SELECT lives_ok($$SELECT hotswap.configure_environment('all', 50, 'direct', false)$$,
	'with every option');
SELECT is(pg_temp.environment('all'), '50 direct f', 'they are stored');

-- Changes: NULL leaves what is there.
SELECT lives_ok($$SELECT hotswap.configure_environment('all', revert_on_failure => true)$$,
	'one option');
SELECT is(pg_temp.environment('all'), '50 direct t', 'only that one has changed');
SELECT lives_ok($$SELECT hotswap.configure_environment('all', 60)$$, 'the rank');
SELECT is(pg_temp.environment('all'), '60 direct t', 'only the rank has changed');
SELECT results_eq($$SELECT before -> 'name', before -> 'rank', after -> 'rank',
	(before - 'rank') = (after - 'rank') FROM (SELECT before::jsonb, after::jsonb
		FROM hotswap.audit_event ORDER BY seq DESC LIMIT 1) e$$,
	$$VALUES ('"all"'::jsonb, '50'::jsonb, '60'::jsonb, true)$$, 'audited with before and after');
CREATE TEMP TABLE events AS SELECT count(*) AS n FROM hotswap.audit_event;
SELECT lives_ok($$SELECT hotswap.configure_environment('all', 60, 'direct', true)$$,
	'the same again');
SELECT lives_ok($$SELECT hotswap.configure_environment('all')$$, 'nothing at all');
SELECT results_eq('SELECT count(*) FROM hotswap.audit_event', 'SELECT n FROM events',
	'no change, no event');
SELECT lives_ok($$SELECT hotswap.configure_environment('qa', 25)$$, 'one of the usual ones');
SELECT is(pg_temp.environment('qa'), '25 auto t', 'changed');

-- What it lets people do.
SELECT results_eq($$SELECT allow_revert, may_skip_environments, rollback_needs_approval,
	rollback_within FROM hotswap.environments WHERE name IN ('qa', 'staging') ORDER BY name$$,
	$$VALUES ('operator', false, false, '7 d'::interval), ('no', false, false, '7 d')$$,
	'at first: reverts by an operator, by nobody where it is protected');
SELECT hotswap.configure_environment('staging', allow_revert => 'approval',
	may_skip_environments => true, rollback_needs_approval => true, rollback_within => '1 h');
SELECT hotswap.configure_environment('staging', revert_on_failure => true);
SELECT results_eq($$SELECT allow_revert, may_skip_environments, rollback_needs_approval,
	rollback_within FROM hotswap.environments WHERE name = 'staging'$$,
	$$VALUES ('approval', true, true, '1 h'::interval)$$, 'changed, and left alone');
SELECT is((refusal($$SELECT hotswap.configure_environment('qa', allow_revert => 'yes')$$)).detail,
	'It must be one of no, approval, operator, anyone.', 'another word for reverts');
SELECT throws_ok($$SELECT hotswap.configure_environment('qa', allow_revert => 'yes')$$, '22023',
	NULL, 'is refused');
CREATE FUNCTION pg_temp.max_failed(given text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM hotswap.configure_environment('qa', max_failed => given);
	RETURN (SELECT max_failed FROM hotswap.environments WHERE name = 'qa');
END $$;
SELECT is(pg_temp.max_failed(given), kept, format('max_failed %L', given))
FROM (VALUES ('3', '3'), (NULL, '3'), ('07%', '7%'), ('off', NULL), (NULL, NULL), ('1', '1'),
	('0', NULL)) m (given, kept);
SELECT throws_ok(format($$SELECT hotswap.configure_environment('qa', max_failed => %L)$$, m),
	'22023', format('invalid value for "max_failed": "%s"', m), 'max_failed ' || m)
FROM unnest('{some,101%,10001,-1,5%%,%,3 %,999999}'::text[]) m;

-- Bad arguments.
SELECT throws_ok(format('SELECT hotswap.configure_environment(%L, 1)', name), '22023', message,
	format('name %L', name))
FROM (VALUES (NULL, '"name" must not be null'), ('', '"name" must not be blank'),
	(E' \t', '"name" must not be blank'),
	(repeat('ü', 64), '"name" is too long: "' || repeat('ü', 50) || '..."')) n (name, message);
SELECT lives_ok(format('SELECT hotswap.configure_environment(%L, %s)', name, rank),
	'name ' || left(name, 20))
FROM (VALUES (repeat('ü', 63), 1000), ('EU "live" – prod''', 1)) n (name, rank);
SELECT throws_ok(format('SELECT hotswap.configure_environment(''x'', %s)', rank), '22023',
	'"rank" is out of range: ' || rank, 'rank ' || rank)
FROM (VALUES (0), (-1), (1001), (2147483647)) r (rank);
SELECT throws_ok($$SELECT hotswap.configure_environment('x', 70, 'sideways')$$, '22023',
	'invalid value for "strategy": "sideways"',
	'an unknown strategy');
SELECT is((refusal($$SELECT hotswap.configure_environment('x', 70, 'Direct')$$)).detail,
	'It must be one of direct, rolling, canary, blue_green, auto.',
	'its detail lists the legal ones');
SELECT throws_ok($$SELECT hotswap.configure_environment('x', 70, ' ')$$, '22023',
	'"strategy" must not be blank',
	'a blank strategy');

-- No such environment; rank taken.
SELECT throws_ok($$SELECT hotswap.configure_environment('x', revert_on_failure => false)$$, 'P0002',
	'environment "x" does not exist', 'without a rank it must exist');
SELECT throws_ok($$SELECT hotswap.configure_environment('x', 30)$$, '23505', 'rank 30 is taken',
	'a new one with the rank of another');
SELECT throws_ok($$SELECT hotswap.configure_environment('all', 30)$$, '23505', 'rank 30 is taken',
	'an existing one too');
SELECT is((refusal($$SELECT hotswap.configure_environment('all', 30)$$)).detail,
	'Environment "staging" has it.',
	'the detail says who has it');

-- Tenants.
SELECT throws_ok($$SELECT hotswap.configure_environment('x', 30,
	tenant => '00000000-0000-7000-8000-00000000dead')$$,
	'P0002', 'tenant "00000000-0000-7000-8000-00000000dead" does not exist', 'an unknown tenant');
INSERT INTO hotswap.tenant (id, name, status)
	VALUES ('00000000-0000-7000-8000-0000000000aa', 'second', 'active');
SELECT lives_ok($$SELECT hotswap.configure_environment('staging', 30,
	tenant => '00000000-0000-7000-8000-0000000000aa')$$,
	'another tenant has names and ranks of its own');
UPDATE hotswap.tenant SET status = 'suspended' WHERE name = 'second';
SELECT throws_ok($$SELECT hotswap.configure_environment('staging', 31,
	tenant => '00000000-0000-7000-8000-0000000000aa')$$,
	'YH003', 'tenant "00000000-0000-7000-8000-0000000000aa" is not active', 'a suspended tenant');

-- Nobody may until granted.
CREATE ROLE hotswap_test_environment;
SET ROLE hotswap_test_environment;
SELECT throws_ok($$SELECT hotswap.configure_environment('x', 70)$$, '42501', NULL, 'not granted');
RESET ROLE;
DROP ROLE hotswap_test_environment;
SELECT * FROM finish();
