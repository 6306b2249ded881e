-- One transaction that calls all there is, in many ways, while versions are swapped. Its first call may
-- be one that is taken back.
\set taken_back random(0, 1)
BEGIN;
SAVEPOINT first;
SELECT same(m(), n(), m_nested()) AS v \gset
\if :taken_back
ROLLBACK TO first;
\endif
SELECT same(:v, n_sql(), n_c(1), m(), n_perl(), 2 - n_library('x', 'y')), check_data(:v);
SAVEPOINT s;
SELECT same(:v, m_nested());
ROLLBACK TO s;
SELECT same(:v, many(:calls));
SELECT same(:v, a, b, c) FROM m_set(3) a, n_set(2) b, LATERAL (SELECT m_set(2) c) x;
SELECT same(:v, n_variadic(1, 2), n_variadic(VARIADIC ARRAY[1]), m_polymorphic(1), m_polymorphic(1.0)::int,
	m_inout(1), m_default(), m_default(j => 1)), same(:v, o.a, o.b::int, t.a, t.b) FROM n_out(1) o, n_table(2) t;
INSERT INTO inserted DEFAULT VALUES RETURNING same(:v, v, w);
DO $$ BEGIN PERFORM same(m(), m_nested()); RAISE no_data_found; EXCEPTION WHEN no_data_found THEN PERFORM same(m(), n()); END $$;
DECLARE c CURSOR FOR SELECT same(m(), n()) AS held FROM generate_series(1, 3);
FETCH c \gset
SELECT same(:v, :held, n());
FETCH 2 FROM c;
SET LOCAL parallel_setup_cost = 0; SET LOCAL parallel_tuple_cost = 0; SET LOCAL min_parallel_table_scan_size = 0;
SELECT same(:v, min(m_parallel()), max(m_parallel())) FROM large;
CREATE TEMP TABLE made (v integer) ON COMMIT DROP;
SET LOCAL ROLE guarded;
SELECT v AS seen FROM guarded \gset
RESET ROLE;
SELECT same(:v, :seen, m(), n()), check_data(:v);
COMMIT;
