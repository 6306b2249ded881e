-- The same with the functions of the server.
SELECT clock_timestamp() AS asked, pg_advisory_lock(1) IS NULL AS token, clock_timestamp() AS got \gset
\sleep 10 ms
SELECT clock_timestamp() AS released, pg_advisory_unlock(1) AS done \gset
INSERT INTO bare.turn VALUES (:asked, :got, :released);
