-- Nobody has anything until granted; and pg_dump carries what users made.

REVOKE ALL ON ALL ROUTINES IN SCHEMA hotswap FROM PUBLIC;

SELECT pg_catalog.pg_extension_config_dump('hotswap.tenant', '');
SELECT pg_catalog.pg_extension_config_dump('hotswap.installation', '');
SELECT pg_catalog.pg_extension_config_dump('hotswap.environment', '');
SELECT pg_catalog.pg_extension_config_dump('hotswap.module', '');
SELECT pg_catalog.pg_extension_config_dump('hotswap.module_version', '');
SELECT pg_catalog.pg_extension_config_dump('hotswap.node', '');
SELECT pg_catalog.pg_extension_config_dump('hotswap.swap_seq', '');
SELECT pg_catalog.pg_extension_config_dump('hotswap.node_module', '');
SELECT pg_catalog.pg_extension_config_dump('hotswap.hook', '');
SELECT pg_catalog.pg_extension_config_dump('hotswap.deployment', '');
SELECT pg_catalog.pg_extension_config_dump('hotswap.stage', '');
SELECT pg_catalog.pg_extension_config_dump('hotswap.task', '');
SELECT pg_catalog.pg_extension_config_dump('hotswap.work_item', '');
SELECT pg_catalog.pg_extension_config_dump('hotswap.idempotency_key', '');
SELECT pg_catalog.pg_extension_config_dump('hotswap.token_seq', '');
SELECT pg_catalog.pg_extension_config_dump('hotswap.lease', '');
SELECT pg_catalog.pg_extension_config_dump('hotswap.audit_event_default', '');
