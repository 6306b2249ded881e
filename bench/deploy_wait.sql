-- What a client does: requests a deployment and waits for its end.
\set n :n + 1
\set version :n % :versions
SELECT hotswap.deploy('m0', 'v' || :version, 'development') AS id \gset
SELECT hotswap.wait(:id);
