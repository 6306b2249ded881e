-- One of many who wait for a lock.
SELECT hotswap.acquire_lock('bench') AS token, clock_timestamp() AS got \gset
SELECT clock_timestamp() AS released, hotswap.release_lock('bench') AS done \gset
INSERT INTO bare.turn VALUES (NULL, :got, :released);
