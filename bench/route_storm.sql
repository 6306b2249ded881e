-- One transaction that calls all there is, in many ways, while versions are swapped.
BEGIN;
SELECT same(m(), n(), m_nested()) AS v \gset
SELECT same(:v, n_sql(), n_c(1), m()), check_data(:v);
SAVEPOINT s;
SELECT same(:v, m_nested());
ROLLBACK TO s;
SELECT same(:v, many(:calls));
SELECT same(:v, a, b, c) FROM m_set(3) a, n_set(2) b, LATERAL (SELECT m_set(2) c) x;
INSERT INTO inserted DEFAULT VALUES RETURNING same(:v, v, w);
DO $$ BEGIN PERFORM same(m(), m_nested()); RAISE no_data_found; EXCEPTION WHEN no_data_found THEN PERFORM same(m(), n()); END $$;
DECLARE c CURSOR FOR SELECT same(m(), n()) AS held FROM generate_series(1, 3);
FETCH c \gset
SELECT same(:v, :held, n());
FETCH 2 FROM c;
SELECT same(:v, m(), n()), check_data(:v);
COMMIT;
