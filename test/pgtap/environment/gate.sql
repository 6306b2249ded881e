-- Gates: register_gate(), remove_gate() (src/environment/gate.c). What they decide is in
-- test/pgtap/pipeline/gate_tasks.sql.
SELECT plan(40);

SELECT format('CREATE ROLE %I LOGIN', named('op')) \gexec
SELECT format('CREATE ROLE %I LOGIN', named('other')) \gexec
SELECT format('CREATE ROLE %I', named('nologin')) \gexec
CREATE FUNCTION public.fine(uuid, int, int) RETURNS hotswap.gate_result
	LANGUAGE sql AS $$SELECT 'pass'::hotswap.gate_result$$;

-- Registered.
SELECT lives_ok($$SELECT hotswap.register_gate('production', 'fine(uuid,int,int)')$$,
	'for every module');
SELECT lives_ok($$SELECT hotswap.register_gate('production', 'fine(uuid,int,int)', 'billing')$$,
	'and for one, which need not exist yet');
SELECT results_eq('SELECT environment, module, function FROM hotswap.gates ORDER BY module',
	$$VALUES ('production', 'billing', 'public.fine'), ('production', NULL, 'public.fine')$$,
	'they are shown under the qualified name');
SELECT results_eq($$SELECT detail FROM hotswap.audit_event WHERE event = 'register_gate'
	ORDER BY seq$$,
	$$VALUES ('{"environment": "production", "module": null, "function": "public.fine"}'::jsonb),
	('{"environment": "production", "module": "billing", "function": "public.fine"}')$$, 'audited');
SELECT throws_ok($$SELECT hotswap.register_gate('production', 'fine(uuid,int,int)')$$, '23505',
	'gate "public.fine" is already registered', 'twice');
SELECT is((refusal($$SELECT hotswap.register_gate('production', 'fine(uuid,int,int)')$$)).detail,
	'It is asked in environment "production" for every module.', 'the detail says where');
SELECT is((refusal($$SELECT hotswap.register_gate('production', 'fine(uuid,int,int)',
	'billing')$$)).detail,
	'It is asked in environment "production" for module "billing".', 'and for which module');

-- Bad arguments, for both functions.
SELECT throws_ok(format('SELECT hotswap.%s(%s)', f, args), code, message,
	format('%s: %s', f, args))
FROM (VALUES
	($$NULL, 'fine(uuid,int,int)'$$, '22023', '"environment" must not be null'),
	($$'', 'fine(uuid,int,int)'$$, '22023', '"environment" must not be blank'),
	($$'moon', 'fine(uuid,int,int)'$$, 'P0002', 'environment "moon" does not exist'),
	($$'production', NULL$$, '22023', '"function" must not be null'),
	($$'production', 'fine(uuid,int,int)', 'a b'$$, '22023', 'invalid value for "module": "a b"'),
	($$'production', 'fine(uuid,int,int)', tenant => '00000000-0000-7000-8000-00000000dead'$$,
		'P0002', 'tenant "00000000-0000-7000-8000-00000000dead" does not exist'))
	a (args, code, message), (VALUES ('register_gate'), ('remove_gate')) f (f);
SELECT throws_ok($$SELECT hotswap.register_gate('production', 4000000000)$$, 'P0002',
	'function with OID 4000000000 does not exist', 'a number that is no function');

-- What a gate takes and returns.
CREATE FUNCTION public.two(uuid, int) RETURNS hotswap.gate_result LANGUAGE sql
	AS 'SELECT NULL::hotswap.gate_result';
CREATE FUNCTION public.big(uuid, bigint, int) RETURNS hotswap.gate_result
	LANGUAGE sql AS 'SELECT NULL::hotswap.gate_result';
CREATE FUNCTION public.words(uuid, int, int) RETURNS text LANGUAGE sql AS 'SELECT NULL::text';
CREATE FUNCTION public.rows(uuid, int, int) RETURNS SETOF hotswap.gate_result
	LANGUAGE sql AS 'SELECT NULL::hotswap.gate_result';
CREATE PROCEDURE public.work(uuid, int, int) LANGUAGE sql AS '';
SELECT throws_ok(format('SELECT hotswap.register_gate(''production'', %L)', f), '22023',
	format('function "public.%s" cannot be a gate', split_part(f, '(', 1)), f)
FROM (VALUES ('two(uuid,int)'), ('big(uuid,bigint,int)'), ('words(uuid,int,int)'),
	('rows(uuid,int,int)'), ('work(uuid,int,int)')) f (f);
SELECT is((refusal($$SELECT hotswap.register_gate('production', 'two(uuid,int)')$$)).detail,
	'A gate is a function that takes a uuid, the deployment, and two integers, the stage and the '
	'wave, and returns hotswap.gate_result.', 'the detail says what it is');
CREATE FUNCTION pg_temp.shortlived(uuid, int, int) RETURNS hotswap.gate_result
	LANGUAGE sql AS 'SELECT NULL::hotswap.gate_result';
SELECT is((refusal($$SELECT hotswap.register_gate('production',
	'pg_temp.shortlived(uuid,int,int)')$$)).detail, 'It is temporary.', 'a temporary function');

-- Rights.
CREATE FUNCTION public.others(uuid, int, int) RETURNS hotswap.gate_result
	LANGUAGE sql AS 'SELECT NULL::hotswap.gate_result';
SELECT format('ALTER FUNCTION public.others OWNER TO %I', named('other')) \gexec
CREATE FUNCTION public.asleep(uuid, int, int) RETURNS hotswap.gate_result
	LANGUAGE sql AS 'SELECT NULL::hotswap.gate_result';
SELECT format('ALTER FUNCTION public.asleep OWNER TO %I', named('nologin')) \gexec
SELECT throws_ok($$SELECT hotswap.register_gate('production', 'asleep(uuid,int,int)')$$, '22023',
	format('role "%s" is not permitted to log in', named('nologin')), 'an owner without a login');
SELECT is((refusal($$SELECT hotswap.register_gate('production',
	'asleep(uuid,int,int)')$$)).detail,
	'It owns function "public.asleep"; a gate runs in a session logged in as its owner.', 'why');
SELECT hotswap.grant_access(named('op')::regrole, 'operator') \g /dev/null
SELECT format('SET ROLE %I', named('op')) \gexec
SELECT throws_ok($$SELECT hotswap.register_gate('production', 'others(uuid,int,int)')$$, '42501',
	'must be owner of function "public.others"', 'somebody else''s function');
RESET ROLE;
SELECT format('GRANT %I TO %I', named('other'), named('op')) \gexec
SELECT format('SET ROLE %I', named('op')) \gexec
SELECT lives_ok($$SELECT hotswap.register_gate('production', 'others(uuid,int,int)')$$,
	'that of a role that the caller is a member of');
RESET ROLE;
SELECT format('SET ROLE %I', named('other')) \gexec
SELECT throws_ok(format('SELECT hotswap.%s(''production'', ''others(uuid,int,int)'')', f), '42501',
	NULL, f || ' is for operators')
FROM (VALUES ('register_gate'), ('remove_gate')) f (f);
SELECT is_empty('SELECT FROM hotswap.gates', 'and who sees nothing of the tenant sees no gate');
RESET ROLE;

-- Removal.
SELECT lives_ok($$SELECT hotswap.remove_gate('production', 'public.fine')$$,
	'removed by the name that is shown');
SELECT results_eq($$SELECT module FROM hotswap.gates WHERE function = 'public.fine'$$,
	$$VALUES ('billing')$$, 'that of a module stays');
SELECT throws_ok($$SELECT hotswap.remove_gate('production', 'fine(uuid,int,int)')$$, 'P0002',
	'gate "public.fine" does not exist', 'removed once');
SELECT is((refusal($$SELECT hotswap.remove_gate('production', 'fine(uuid,int,int)')$$)).detail,
	'It is not asked in environment "production" for every module.', 'the detail says where');
SELECT is((SELECT detail ->> 'function' FROM hotswap.audit_event WHERE event = 'remove_gate'),
	'public.fine', 'audited');
DROP FUNCTION public.fine;
SELECT lives_ok($$SELECT hotswap.remove_gate('production', 'public.fine', 'billing')$$,
	'one whose function is gone');

SELECT format('DROP OWNED BY %I, %I, %I CASCADE', named('op'), named('other'),
	named('nologin')) \gexec
SELECT format('DROP ROLE %I, %I, %I', named('op'), named('other'), named('nologin')) \gexec
SELECT * FROM finish();
