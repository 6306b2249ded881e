-- The same by asking every 100 ms.
CALL bare.poll();
SELECT clock_timestamp() AS got \gset
SELECT clock_timestamp() AS released, pg_advisory_unlock(1) AS done \gset
INSERT INTO bare.turn VALUES (NULL, :got, :released);
