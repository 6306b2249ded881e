-- The same from the table, as its owner.
SELECT status FROM hotswap.deployment WHERE tenant_id = :tenant AND id = :deployment;
