-- The same with the functions of the server.
SELECT pg_advisory_lock(1) IS NULL AS token, clock_timestamp() AS got \gset
SELECT clock_timestamp() AS released, pg_advisory_unlock(1) AS done \gset
INSERT INTO bare.turn VALUES (NULL, :got, :released);
