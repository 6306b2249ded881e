-- Hooks: the user's own SQL functions in the stages test and validate.

CREATE TABLE hotswap.hook (
	tenant_id uuid NOT NULL REFERENCES hotswap.tenant,
	stage text NOT NULL CHECK (stage IN ('test', 'validate')),
	module text NOT NULL,
	function text NOT NULL,
	owner regrole NOT NULL,
	PRIMARY KEY (tenant_id, stage, module, function)
);
COMMENT ON TABLE hotswap.hook IS 'functions that a stage calls; an executor logged in as the owner of the function runs it';
COMMENT ON COLUMN hotswap.hook.module IS 'empty: every module';
COMMENT ON COLUMN hotswap.hook.function IS 'qualified name; it takes the deployment''s id';
COMMENT ON COLUMN hotswap.hook.owner IS 'of the function, when it was registered: what has that name later and belongs to somebody else is not called';

CREATE FUNCTION hotswap.register_hook(stage text, function regprocedure, module text DEFAULT NULL,
		tenant uuid DEFAULT NULL) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_register_hook';
COMMENT ON FUNCTION hotswap.register_hook(text, regprocedure, text, uuid) IS
'Has a stage call a function: function(deployment uuid) returning boolean (false or NULL fails the stage) or void (only an error fails it). stage: test or validate; module: NULL for every module. The caller must be a member of the function''s owner. Errors: 22023 bad argument, stage or signature, P0002 no such function or tenant, 42501 not the owner, 23505 already registered, YH003 tenant not active. Locks the tenant row; audited.';

CREATE FUNCTION hotswap.remove_hook(stage text, function text, module text DEFAULT NULL,
		tenant uuid DEFAULT NULL) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'hotswap_remove_hook';
COMMENT ON FUNCTION hotswap.remove_hook(text, text, text, uuid) IS
'Undoes register_hook() with the same arguments; function may also be the name that the view hooks shows, if it has been dropped. Errors: 22023 bad argument, P0002 no such hook or tenant, YH003 tenant not active. Locks the tenant row; audited.';
