/*
 * user_function.c
 *		The functions of users that an executor calls: what they take and return.
 *
 * They are kept under their qualified names, so that replacing the function, or dropping and making it again,
 * keeps what was registered.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "environment/user_function.h"
#include "parser/parse_func.h"
#include "utils/builtins.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

const char *const user_function_words[] = { "hook", "gate" };
const char *const user_function_arguments[] = { "(uuid)", "(uuid,integer,integer)" };

#define MOST_ARGUMENTS 3

/* A hook takes the deployment; a gate the deployment, the stage and the wave. */
static const struct
{
	int count;
	Oid types[MOST_ARGUMENTS];
} arguments[] = { { 1, { UUIDOID } }, { 3, { UUIDOID, INT4OID, INT4OID } } };

Oid
user_function_find(UserFunction kind, const char *name)
{
	return LookupFuncName(textToQualifiedNameList(cstring_to_text(name)), arguments[kind].count,
						  arguments[kind].types, true);
}

static bool
is_gate_result(Oid type)
{
	Oid schema = get_namespace_oid("hotswap", true);

	return OidIsValid(type) &&
		   type == GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum("gate_result"),
								   ObjectIdGetDatum(schema));
}

bool
user_function_fits(UserFunction kind, Form_pg_proc form)
{
	if (form->prokind != PROKIND_FUNCTION || form->proretset ||
		form->pronargs != arguments[kind].count)
		return false;
	for (int i = 0; i < arguments[kind].count; i++)
		if (form->proargtypes.values[i] != arguments[kind].types[i])
			return false;
	if (kind == FUNCTION_GATE)
		return is_gate_result(form->prorettype);
	return form->prorettype == BOOLOID || form->prorettype == VOIDOID;
}
