-- One of many agents that have nothing to do.
\set node 1 + :client_id
SELECT id FROM bare.agent WHERE n = :node \gset
CALL hotswap.await_task(:id, '20 s');
