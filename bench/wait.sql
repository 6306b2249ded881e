-- The same, with the time at which wait() returned.
\set n :n + 1
\set version :n % :versions
SELECT hotswap.deploy('m0', 'v' || :version, 'development') AS id \gset
INSERT INTO bare.returned SELECT :id, hotswap.wait(:id), clock_timestamp();
