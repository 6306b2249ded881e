-- Tags: other names of versions.

CREATE FUNCTION hotswap.tag_version(module text, tag text, version text, tenant uuid DEFAULT NULL) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_tag_version';
COMMENT ON FUNCTION hotswap.tag_version(text, text, text, uuid) IS
'Gives a version another name, which is accepted wherever a version is and never changes.';
GRANT EXECUTE ON FUNCTION hotswap.tag_version TO PUBLIC;
