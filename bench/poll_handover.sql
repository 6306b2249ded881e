-- The same by asking every 100 ms; the turns are long enough for the other one to ask in vain.
\set hold random(10, 110)
SELECT clock_timestamp() AS asked \gset
CALL bare.poll();
SELECT clock_timestamp() AS got \gset
\sleep :hold ms
SELECT clock_timestamp() AS released, pg_advisory_unlock(1) AS done \gset
INSERT INTO bare.turn VALUES (:asked, :got, :released);
\sleep 120 ms
