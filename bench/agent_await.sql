-- The agent of one node: waits for its task, claims it and says that it is done.
SELECT id FROM bare.agent WHERE n = 0 \gset
CALL hotswap.await_task(:id);
SELECT task, token, digest, clock_timestamp() AS got FROM hotswap.claim_tasks(:id) \gset
SELECT hotswap.complete_task(:task, :token, true, :digest) AS done \gset
INSERT INTO bare.claimed VALUES (:task, :got);
