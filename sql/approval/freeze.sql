-- Windows are overridden for one deployment.

CREATE FUNCTION hotswap.override_freeze(deployment uuid, environment text, reason text, ticket text,
		on_behalf_of text DEFAULT NULL) RETURNS timestamptz
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_override_freeze';
COMMENT ON FUNCTION hotswap.override_freeze(uuid, text, text, text, text) IS
'Breaks the glass: lets one deployment start once in an environment though its windows are against it, and returns until when; the view bypass_reviews lists it.';
GRANT EXECUTE ON FUNCTION hotswap.override_freeze TO PUBLIC;
