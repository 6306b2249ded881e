-- One deployment through the view.
SELECT status FROM hotswap.deployments WHERE id = :deployment;
