-- What nobody was granted, nobody has.

CREATE FUNCTION hotswap.close_rights(relation regclass) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_close_rights';
COMMENT ON FUNCTION hotswap.close_rights(regclass) IS
'For the scripts of the extension: takes the rights that default privileges gave on a relation (NULL: on everything) from everybody but the owner.';
