-- Two clients take turns with one lock; when it was given back, and when the other one had it.
SELECT clock_timestamp() AS asked, hotswap.acquire_lock('bench') AS token, clock_timestamp() AS got \gset
\sleep 10 ms
SELECT clock_timestamp() AS released, hotswap.release_lock('bench') AS done \gset
INSERT INTO bare.turn VALUES (:asked, :got, :released);
