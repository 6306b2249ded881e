-- Calls two of the functions of route_many.sql in a transaction.
\set n random(1, 499)
\set next :n + 1
BEGIN;
SELECT many_:n(1), m();
SELECT many_:next(1), n();
COMMIT;
