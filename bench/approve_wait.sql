-- A deployment that waits for its approval, the approval, and the end.
\set n :n + 1
\set version :n % :versions
SELECT hotswap.deploy('m0', 'v' || :version, 'development', on_behalf_of => 'requester') AS id \gset
\sleep 30 ms
SELECT hotswap.approve(:id, on_behalf_of => 'approver');
SELECT hotswap.wait(:id);
