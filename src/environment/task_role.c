/*
 * task_role.c
 *		Which role a task runs as, and whether an executor can log in as it.
 *
 * Roles and functions may be dropped or changed after a node or hook was registered, so this is
 * looked up each time a task starts; what is wrong fails the task, never the dispatcher.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "base/compat.h"
#include "base/db.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "environment/task_role.h"
#include "miscadmin.h"
#include "parser/parse_func.h"
#include "utils/builtins.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

static DbStatement node_role =
	DB_STATEMENT("SELECT run_as::oid FROM hotswap.node WHERE tenant_id = $1 AND id = $2", UUIDOID,
				 UUIDOID);

static DbStatement registered_hook = DB_STATEMENT(
	"SELECT 1 FROM hotswap.hook WHERE tenant_id = $1 AND function = $2 AND owner = $3 LIMIT 1",
	UUIDOID, TEXTOID, OIDOID);

Oid
hook_function(const char *hook)
{
	Oid types[] = { UUIDOID };

	return LookupFuncName(textToQualifiedNameList(cstring_to_text(hook)), 1, types, true);
}

/* Can a function be a hook?  It takes the deployment's id and returns boolean or nothing. */
bool
hook_fits(Form_pg_proc form)
{
	bool one_uuid = form->pronargs == 1 && form->proargtypes.values[0] == UUIDOID;
	bool result = (form->prorettype == BOOLOID || form->prorettype == VOIDOID) && !form->proretset;

	return form->prokind == PROKIND_FUNCTION && one_uuid && result;
}

static Oid
function_owner(Oid function)
{
	HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Oid owner;

	if (!HeapTupleIsValid(tuple))
		return InvalidOid;
	owner = ((Form_pg_proc) GETSTRUCT(tuple))->proowner;
	ReleaseSysCache(tuple);
	return owner;
}

static Oid
node_run_as(const pg_uuid_t *tenant, const pg_uuid_t *node)
{
	Datum args[] = { UUIDPGetDatum(tenant), UUIDPGetDatum(node) };

	return db_run(&node_role, args, NULL) > 0 ? (Oid) db_int32(0, 1) : InvalidOid;
}

/* Has somebody who had the rights of this role registered the hook? */
static bool
was_registered(const pg_uuid_t *tenant, const char *hook, Oid owner)
{
	Datum args[] = { UUIDPGetDatum(tenant), CStringGetTextDatum(hook), ObjectIdGetDatum(owner) };

	return db_run(&registered_hook, args, NULL) > 0;
}

/* Why no session can be logged in as a role, or NULL. */
static char *
login_problem(Oid role, const char *name, bool *can_login)
{
	HeapTuple tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(role));

	*can_login = false;
	if (!HeapTupleIsValid(tuple))
		return psprintf("role \"%s\" does not exist", name);
	*can_login = ((Form_pg_authid) GETSTRUCT(tuple))->rolcanlogin;
	ReleaseSysCache(tuple);
	if (!*can_login)
		return psprintf("role \"%s\" is not permitted to log in", name);
	if (!database_can_connect(MyDatabaseId, role))
		return psprintf("role \"%s\" does not have CONNECT privilege on database \"%s\"", name,
						get_database_name(MyDatabaseId));
	return NULL;
}

void
role_require_login(Oid role, const char *owner_of)
{
	char *name = GetUserNameFromId(role, false);
	bool can_login;
	char *problem = login_problem(role, name, &can_login);

	if (problem == NULL)
		return;
	ereport(
		ERROR,
		(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg_internal("%s", problem),
		 owner_of ?
			 errdetail("It owns function \"%s\"; a hook runs in a session logged in as its owner.",
					   owner_of) :
			 errdetail("Scripts run in a session logged in as the role."),
		 can_login ? errhint("Grant it the CONNECT privilege.") :
		 owner_of  ? errhint("Use ALTER ROLE %s LOGIN, or give the function another owner.",
							 quote_identifier(name)) :
					 errhint("Use ALTER ROLE %s LOGIN.", quote_identifier(name))));
}

Oid
task_role(const pg_uuid_t *tenant, const pg_uuid_t *node, const char *hook, char **problem,
		  int *sqlerrcode)
{
	Oid role = node ? node_run_as(tenant, node) : function_owner(hook_function(hook));
	char *name = GetUserNameFromId(role, true);
	bool can_login;

	*problem = NULL;
	*sqlerrcode = ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION;
	if (name == NULL && node)
		*problem = psprintf("role with OID %u, which the node runs as, does not exist", role);
	else if (name == NULL)
	{
		*problem = psprintf("function %s(uuid) does not exist", hook);
		*sqlerrcode = ERRCODE_UNDEFINED_FUNCTION;
	}
	else if (node == NULL && !was_registered(tenant, hook, role))
	{
		*problem = psprintf(
			"function %s(uuid) belongs to role \"%s\" and is not registered as that role's", hook,
			name);
		*sqlerrcode = ERRCODE_INSUFFICIENT_PRIVILEGE;
	}
	else
		*problem = login_problem(role, name, &can_login);
	return *problem ? InvalidOid : role;
}
