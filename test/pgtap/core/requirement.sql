-- What a version asks of a node: requirements and whether it is transactional, as publish_version()
-- takes them (src/core/requirement.c).
SELECT plan(16);

CREATE FUNCTION pg_temp.field(s text) RETURNS bytea LANGUAGE sql AS
	$$SELECT int8send(coalesce(octet_length(s), -1)) || coalesce(convert_to(s, 'UTF8'), '')$$;
CREATE FUNCTION pg_temp.digest(deploy text, transactional boolean, requires text[]) RETURNS text
		LANGUAGE sql AS $$
	SELECT encode(sha256(pg_temp.field('hotswap-version-v2') || pg_temp.field(deploy)
		|| pg_temp.field(NULL) || pg_temp.field(NULL) || pg_temp.field(NULL)
		|| int8send(transactional::integer) || int8send(cardinality(requires))
		|| coalesce((SELECT string_agg(pg_temp.field(r), '' ORDER BY r COLLATE "C")
			FROM unnest(requires) r), '') || int8send(-1)), 'hex')
$$;
SELECT is(hotswap.publish_version('m', '1', 'SELECT 1', requires =>
	'{" auth  >=  v 1 ",!old,schema>=12,auth>=v 1,"! older >= 1"}'),
	pg_temp.digest('SELECT 1', true, '{auth >= v 1,!old,schema >= 12,!older >= 1}'),
	'requirements are part of the digest, in one form and each once');
SELECT is((SELECT requires FROM hotswap.module_version WHERE version = '1'),
	'{!old,"!older >= 1","auth >= v 1","schema >= 12"}', 'and stored in their order');
SELECT is(hotswap.publish_version('m', '2', 'SELECT 1', transactional => false),
	pg_temp.digest('SELECT 1', false, '{}'), 'so is whether it is transactional');
SELECT results_eq($$SELECT transactional, requires FROM hotswap.module_version
	WHERE version = '2'$$, $$VALUES (false, NULL::text[])$$, 'which is stored');
SELECT is(hotswap.publish_version('m', '3', 'SELECT 1', requires => '{}'),
	hotswap.publish_version('other', '3', 'SELECT 1'), 'no requirements are none');
SELECT throws_ok($$SELECT hotswap.publish_version('m', '3', 'SELECT 1', requires => '{auth}')$$,
	'23505', NULL, 'others are other content');
SELECT throws_ok($$SELECT hotswap.publish_version('m', '3', 'SELECT 1', transactional => false)$$,
	'23505', NULL, 'and so is the kind of transaction');
SELECT is(hotswap.module_signing_payload('m', '1', 'SELECT 1', requires =>
	'{auth >= v 1,!old,schema >= 12,!older >= 1}') LIKE '%' || encode((SELECT digest
		FROM hotswap.module_version WHERE version = '1'), 'hex') || '%', true,
	'what is signed has them');
SELECT is(hotswap.module_signing_payload('m', '2', 'SELECT 1', transactional => false) LIKE '%'
	|| encode((SELECT digest FROM hotswap.module_version WHERE version = '2'), 'hex') || '%', true,
	'and it');

-- What is refused.
SELECT throws_ok(format($$SELECT hotswap.publish_version('m', '9', 'SELECT 1', requires =>
	ARRAY[%L])$$, r), '22023', format('invalid value for "requires": "%s"', r), 'refused: ' || r)
FROM unnest(ARRAY['!', 'auth 12', 'auth > 12', 'auth >=', E'auth >= 1\n2', 'm']) r;
SELECT throws_ok($$SELECT hotswap.publish_version('m', '9', 'SELECT 1',
	transactional => NULL)$$, '22023', NULL, 'neither the one nor the other');
SELECT * FROM finish();
