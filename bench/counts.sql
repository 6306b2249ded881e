-- What bench/counts deploys, and how it counts.
SET client_min_messages = error;
CREATE EXTENSION pg_stat_statements;
CREATE EXTENSION hotswap;
CREATE SCHEMA guarded;
SELECT hotswap.register_node('development', 'bench', run_as => 'postgres'),
	hotswap.configure_environment('protected', rank => 100), hotswap.set_approval_policy('protected', 1),
	hotswap.register_node('protected', 'guarded', run_as => 'postgres', schema => 'guarded');
SELECT hotswap.publish_version('m' || m, 'v' || v, format('SELECT %s, %s', m, v))
	FROM generate_series(0, 9) m, generate_series(0, 40) v;

CREATE SCHEMA bare;
CREATE TABLE bare.request (n integer PRIMARY KEY, id uuid NOT NULL);
CREATE FUNCTION bare.request_approvals(times integer) RETURNS void LANGUAGE sql AS $$
	INSERT INTO bare.request SELECT n, hotswap.deploy('m1', 'v1', 'protected', on_behalf_of => 'requester')
	FROM generate_series(1, times) n
$$;

-- What has been counted so far. A look is an operation too: its own cost is in what it finds the next time.
CREATE TABLE bare.seen (n serial PRIMARY KEY, statements numeric, wal_bytes numeric, buffers numeric,
	transactions numeric, flushes numeric);
CREATE PROCEDURE bare.look() LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO bare.seen (statements, wal_bytes, buffers, transactions, flushes)
		SELECT s.calls, pg_current_wal_insert_lsn() - '0/0', s.buffers, d.xact_commit, w.wal_sync
		FROM (SELECT sum(calls) AS calls, sum(shared_blks_hit + shared_blks_read) AS buffers
				FROM pg_stat_statements) s, pg_stat_database d, pg_stat_wal w
		WHERE d.datname = current_database();
END $$;
CREATE FUNCTION bare.counts(operation text, times integer) RETURNS TABLE (line text) LANGUAGE sql AS $$
	SELECT operation || ' ' || c.what || ' ' || round((c.after - c.before) / times, 1)
	FROM (SELECT * FROM bare.seen ORDER BY n DESC LIMIT 1) b,
		(SELECT * FROM bare.seen ORDER BY n DESC OFFSET 1 LIMIT 1) a,
		LATERAL (VALUES ('statements', a.statements, b.statements), ('wal_bytes', a.wal_bytes, b.wal_bytes),
			('buffers', a.buffers, b.buffers), ('transactions', a.transactions, b.transactions),
			('flushes', a.flushes, b.flushes)) c (what, before, after)
$$;
