-- Which modules are routed.

CREATE FUNCTION hotswap.configure_module(module text, routed boolean DEFAULT NULL,
		retain_versions integer DEFAULT NULL, retain_for interval DEFAULT NULL,
		tenant uuid DEFAULT NULL) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_configure_module';
COMMENT ON FUNCTION hotswap.configure_module(text, boolean, integer, interval, uuid) IS
'Says whether a module is routed from its next deployment on, and how many earlier versions stay installed, and how long; NULL leaves what is there.';
GRANT EXECUTE ON FUNCTION hotswap.configure_module TO PUBLIC;
