-- The language of entries: what callers of a routed module call.

CREATE FUNCTION hotswap.call_entry() RETURNS language_handler
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_call_entry';
COMMENT ON FUNCTION hotswap.call_entry() IS
'Handler of language hotswap: passes a call on to the version that the transaction gets.';

CREATE FUNCTION hotswap.check_entry(oid) RETURNS void
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_check_entry';
COMMENT ON FUNCTION hotswap.check_entry(oid) IS
'Validator of language hotswap.';

CREATE TRUSTED LANGUAGE hotswap HANDLER hotswap.call_entry VALIDATOR hotswap.check_entry;
COMMENT ON LANGUAGE hotswap IS 'entries: functions that call the same function of the version of a module that the transaction gets';
