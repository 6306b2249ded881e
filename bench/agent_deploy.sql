-- What it is given.
\set n :n + 1
\set version :n % 20
SELECT hotswap.deploy('app', 'v' || :version, 'one') AS id \gset
SELECT hotswap.wait(:id);
