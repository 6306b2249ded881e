-- Somebody requests a deployment that needs an approval.
SELECT hotswap.deploy('m0', 'v1', 'development', on_behalf_of => 'requester');
