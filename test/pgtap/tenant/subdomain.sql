-- Subdomains: reserved ones, and finding a tenant by its own (src/tenant/subdomain.c).
SELECT plan(12);

-- Reserved subdomains.
SELECT lives_ok($$SELECT hotswap.reserve_subdomain('Foo')$$, 'reserved in lower case');
SELECT lives_ok($$SELECT hotswap.reserve_subdomain('foo')$$, 'again');
SELECT is((SELECT count(*) FROM hotswap.audit_log
	WHERE event = 'reserve_subdomain' AND detail = '{"subdomain": "foo"}'), 1::bigint,
	'audited when something changed');
SELECT throws_ok($$SELECT hotswap.create_tenant('n', 'foo', 'a@b.c')$$, '22023',
	'subdomain "foo" is reserved', 'it cannot be had');
SELECT lives_ok($$SELECT hotswap.unreserve_subdomain('foo')$$, 'given free');
SELECT throws_ok($$SELECT hotswap.unreserve_subdomain('foo')$$, 'P0002',
	'subdomain "foo" is not reserved', 'twice');
SELECT throws_ok($$SELECT hotswap.reserve_subdomain('-')$$, '22023',
	'invalid value for "name": "-"',
	'not a subdomain');
SELECT lives_ok($$SELECT hotswap.create_tenant('n', 'foo', 'a@b.c')$$, 'then it can be had');
SELECT lives_ok($$SELECT hotswap.reserve_subdomain('foo')$$, 'reserved while a tenant has it');
SELECT is(hotswap.find_tenant('FOO'), (SELECT id FROM hotswap.tenant WHERE subdomain = 'foo'),
	'which keeps it; found in any case of letters');
SELECT throws_ok($$SELECT hotswap.find_tenant('bar')$$, 'P0002',
	'tenant with subdomain "bar" does not exist',
	'one that is not there');
SELECT throws_ok($$SELECT hotswap.find_tenant(NULL)$$, '22023', '"subdomain" must not be null',
	'NULL');
SELECT * FROM finish();
