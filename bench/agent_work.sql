-- Claims and completes the tasks of a client's nodes, one after the other.
\set node 1 + :client_id + :clients * :n
\set n :n + 1
SELECT id FROM bare.agent WHERE n = :node \gset
SELECT task, token, digest FROM hotswap.claim_tasks(:id) \gset
SELECT hotswap.complete_task(:task, :token, true, :digest) AS done \gset
