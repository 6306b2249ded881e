-- Deployments whose time has not come, and some that await their approval.
SELECT count(hotswap.deploy('m0', 'v' || n % 20, 'development', run_at => now() + interval '1 d'))
	FROM generate_series(1, :parked / 2) n;
SELECT hotswap.set_approval_policy('development', 1);
SELECT count(hotswap.deploy('m0', 'v' || n % 20, 'development', on_behalf_of => 'requester'))
	FROM generate_series(1, :parked / 2) n;
