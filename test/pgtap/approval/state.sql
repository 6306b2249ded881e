-- Looking at approvals and waiting for them (src/approval/state.c).
SELECT plan(6);
\ir ../include/approval.sql

SELECT hotswap.set_approval_policy('production', 1, '{approval_state_leads}') \g /dev/null
SELECT request(more => $$, run_at => '2100-01-01'$$) AS d \gset
SELECT results_eq(format('SELECT environment, status::text, round, missing, may_vote
	FROM hotswap.approvals WHERE deployment_id = %L', :'d'),
	$$VALUES ('production', 'pending', 1, 1,
		'{approval_state_bob,approval_state_carol}'::text[])$$, 'what is missing, and from whom');

-- Waiting.
SELECT throws_ok('SELECT hotswap.wait_for_approval(NULL)', '22023', '"deployment" must not be null',
	'NULL');
SELECT throws_ok($$SELECT hotswap.wait_for_approval('00000000-0000-7000-8000-000000000abc')$$,
	'P0002', NULL, 'no such deployment');
SELECT throws_ok(format('SELECT hotswap.wait_for_approval(%L, ''qa'')', :'d'), 'P0002', NULL,
	'no such approval');
SELECT throws_ok(format('SELECT hotswap.wait_for_approval(%L, timeout => ''-1 s'')', :'d'), '22023',
	'"timeout" must not be negative', 'negative');
BEGIN;
SELECT hotswap.deploy('m', '1', 'production') AS own \gset
SELECT throws_ok(format('SELECT hotswap.wait_for_approval(%L)', :'own'), '55000', NULL,
	'the caller''s own uncommitted request');
COMMIT;
SELECT * FROM finish();
