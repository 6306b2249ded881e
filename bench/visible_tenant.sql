-- One deployment through the view, of a given tenant.
SELECT status FROM hotswap.deployments WHERE tenant_id = :tenant AND id = :deployment;
