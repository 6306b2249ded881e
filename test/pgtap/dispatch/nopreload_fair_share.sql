-- Whose turn it is (src/dispatch/fair_share.c).
-- CALL work() admits as the background dispatcher does, and at most eight tasks at a time, so what
-- is first is not a matter of luck.
SELECT plan(23);
\ir ../include/admission.sql

-- Two without limits.
SELECT hotswap.configure_environment('development', 10) \g /dev/null
SELECT make('a', 'custom') AS a, make('b', 'custom') AS b \gset
SELECT hotswap.publish_version('m' || i, '1', 'SELECT 1', tenant => t)
	FROM generate_series(1, 40) i, unnest(ARRAY[:'a', :'b']::uuid[]) t \g /dev/null
SELECT hotswap.deploy('m' || i, '1', 'one', tenant => :'a')
	FROM generate_series(1, 40) i \g /dev/null
SELECT hotswap.deploy('m1', '1', 'one', tenant => :'b') \g /dev/null
CALL hotswap.work();
SELECT is(order_of('^[ab]$', '1'), 'ab' || repeat('a', 39),
	'a single one starts after one of the tenant that came first');

-- Unlimited, so that nothing but the weights of the tiers counts: 1 and 2.
SELECT make('f', 'free') AS f, make('s', 'starter') AS s,
	make('g', 'free') AS g \gset
INSERT INTO hotswap.quota SELECT t, 'concurrent_deployments', NULL
	FROM unnest(ARRAY[:'f', :'s', :'g']::uuid[]) t;
SELECT hotswap.publish_version('m' || i, '1', 'SELECT 1', tenant => t)
	FROM generate_series(1, 30) i, unnest(ARRAY[:'f', :'s', :'g']::uuid[]) t \g /dev/null
SELECT hotswap.deploy('m' || i, '1', 'one', tenant => t) FROM unnest(ARRAY[:'f', :'s']::uuid[]) t,
	generate_series(1, 30) i \g /dev/null
CALL hotswap.work();
SELECT is(length(replace(left(order_of('^[fs]$', '1'), 3 * n), 'f', '')), 2 * n,
	'twice the weight, twice the turns, in the first ' || 3 * n)
FROM generate_series(1, 15) n;

-- A priority goes before all shares, and within it there are shares again.
SELECT hotswap.publish_version('m' || i, '2', 'SELECT 1', tenant => t)
	FROM generate_series(1, 20) i, unnest(ARRAY[:'f', :'s', :'g']::uuid[]) t \g /dev/null
SELECT hotswap.deploy('m' || i, '2', 'one', tenant => :'s')
	FROM generate_series(1, 12) i \g /dev/null
SELECT hotswap.deploy('m' || i, '2', 'one', tenant => :'f', priority => 1)
	FROM generate_series(1, 6) i \g /dev/null
SELECT hotswap.deploy('m' || i, '2', 'one', tenant => :'g', priority => 1)
	FROM generate_series(1, 6) i \g /dev/null

-- What it had at a higher priority does not count at this one.
SELECT hotswap.deploy('m' || i, '2', 'one', tenant => :'g')
	FROM generate_series(7, 12) i \g /dev/null
CALL hotswap.work();
SELECT is(left(order_of('^[fsg]$', '2'), 12), 'fgfgfgfgfgfg',
	'the higher priority first, in turns');
SELECT is(length(replace(substr(order_of('^[fsg]$', '2'), 13, 3 * n), 'g', '')), 2 * n,
	'then the others, in turns of their own, the first ' || 3 * n)
FROM generate_series(1, 6) n;
SELECT * FROM finish();
