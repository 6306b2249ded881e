-- Procedures that end transactions, directly and in a block, while versions are swapped.
CALL m_procedure(0);
DO $$ DECLARE i integer = 0; BEGIN CALL m_procedure(i); PERFORM same(i, n_sql(), m()); END $$;
