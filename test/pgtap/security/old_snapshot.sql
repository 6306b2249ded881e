-- An old snapshot does not bring back what was used up, given or taken since.
SELECT plan(10);
\ir ../include/approval.sql

-- Somebody who began, at an isolation level, before other things happened.
CREATE FUNCTION begins(who text, level text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM dblink_connect('old', connection_of(named(who)));
	PERFORM dblink_exec('old', 'BEGIN ISOLATION LEVEL ' || level);
	PERFORM n FROM dblink('old', 'SELECT count(*) FROM hotswap.tenants') t (n bigint);
END $$;
CREATE FUNCTION then_asks(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	SELECT r INTO result FROM dblink('old', format('SELECT attempt(%L)', query)) t (r text);
	PERFORM dblink_disconnect('old');
	RETURN result;
END $$;
SELECT hotswap.grant_access(named('leads')::regrole, 'approver'),
	hotswap.grant_access(named('bob')::regrole, 'admin'),
	hotswap.grant_access(named('erin')::regrole, 'viewer'),
	hotswap.grant_access(named('dave')::regrole, 'break_glass') \g /dev/null

-- Given a policy that allows one bypass to await its review, and two deployments.
SELECT hotswap.set_approval_policy('production', 1, max_open_reviews => 1) \g /dev/null
SELECT request(more => $$, run_at => '2100-01-01'$$) AS d1,
	request(more => $$, run_at => '2100-01-01'$$) AS d2,
	request(more => $$, run_at => '2100-01-01'$$) AS d3 \gset

-- When the one has been taken since, then there is no other.
SELECT begins('dave', 'REPEATABLE READ') \g /dev/null
SELECT is(vote('dave', 'bypass_approval', :'d1', $$, 'production', 'x', 'T'$$), 'bypassed', 'one');
SELECT is(then_asks(format($$SELECT hotswap.bypass_approval(%L, 'production', 'x', 'T')$$, :'d2')),
	'53400', 'REPEATABLE READ: no second one');
SELECT begins('dave', 'SERIALIZABLE') \g /dev/null
SELECT is(then_asks(format($$SELECT hotswap.bypass_approval(%L, 'production', 'x', 'T')$$, :'d2')),
	'53400', 'SERIALIZABLE: neither');

-- When the review has been closed since, then it is closed, once.
SELECT begins('bob', 'REPEATABLE READ') \g /dev/null
SELECT is(vote('carol', 'close_bypass_review', :'d1', $$, 'production', 'x'$$), '', 'reviewed');
SELECT ok(then_asks(format($$SELECT hotswap.close_bypass_review(%L, 'production', 'x')$$, :'d1'))
	IN ('P0002', '40001'), 'not again');

-- When a delegation has been revoked since, then no vote is cast with it.
SELECT as_role(named('bob'), format($$SELECT hotswap.delegate_approval(%L::regrole,
	now() + interval '1 h', 'x')$$, named('erin'))) AS lent \gset
SELECT begins('erin', 'REPEATABLE READ') \g /dev/null
SELECT is(as_role(named('bob'), format('SELECT hotswap.revoke_delegation(%L)', :'lent')), '',
	'revoked');
SELECT is(then_asks(format('SELECT hotswap.approve(%L)', :'d2')), '42501',
	'it is no right any more');

-- When the policy has become stricter since, then it counts.
SELECT begins('bob', 'REPEATABLE READ') \g /dev/null
SELECT hotswap.set_approval_policy('production', 2) \g /dev/null
SELECT is(then_asks(format('SELECT hotswap.approve(%L)', :'d3')), 'pending', 'two are needed now');

-- When a node has got work since, then it cannot be removed.
SELECT id AS node FROM hotswap.nodes LIMIT 1 \gset
SELECT hotswap.publish_version('held', '1', 'SELECT pg_advisory_xact_lock(4711)') \g /dev/null
SELECT pg_advisory_lock(4711) \g /dev/null
SELECT hotswap.set_approval_policy('production', 0) \g /dev/null
SELECT begins('bob', 'REPEATABLE READ') \g /dev/null
SELECT hotswap.deploy('held', '1', 'production') AS d \gset
CALL until('at_gate(4711)');
SELECT is(then_asks(format('SELECT hotswap.remove_node(%L)', :'node')), '55000', 'it has work');
SELECT pg_advisory_unlock(4711) \g /dev/null
SELECT is(hotswap.wait(:'d', '60 s'), 'succeeded', 'and does it');
SELECT * FROM finish();
