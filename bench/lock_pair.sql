-- A lock that nobody else wants, and back.
SELECT hotswap.acquire_lock('bench');
SELECT hotswap.release_lock('bench');
