-- work() where a dispatcher runs (src/worker/foreground.c). What it does is tested in
-- test/t/worker/foreground.pl.
SELECT plan(1);

SELECT throws_ok('CALL hotswap.work()', '2D000',
	'work() cannot be called inside a transaction block', 'CALL work() inside a transaction');
SELECT * FROM finish();
