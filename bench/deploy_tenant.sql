-- Requests the deployments of all modules of the session's tenant.
\set module random(0, :modules - 1)
\set version random(0, :versions - 1)
SELECT hotswap.deploy('m' || :module, 'v' || :version, 'development');
