-- Requests the deployments of all modules, version after version; the clients share the numbers.
\set n :n + :clients
\set number :n + :client_id
\set module :number % :modules
\set version :number / :modules % :versions
SELECT hotswap.deploy('m' || :module, 'v' || :version, 'development');
