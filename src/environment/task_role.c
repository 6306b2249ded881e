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

/* Why no session can be logged in as a role, or NULL; words are what the role is called. */
static char *
login_problem(Oid role, const char *words, bool *can_login)
{
	HeapTuple tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(role));

	*can_login = false;
	if (!HeapTupleIsValid(tuple))
		return psprintf("%s does not exist", words);
	*can_login = ((Form_pg_authid) GETSTRUCT(tuple))->rolcanlogin;
	ReleaseSysCache(tuple);
	if (!*can_login)
		return psprintf("%s is not permitted to log in", words);
	if (!database_can_connect(MyDatabaseId, role))
		return psprintf("%s may not connect to this database", words);
	return NULL;
}

void
role_require_login(Oid role, const char *owner_of, const char *why)
{
	char *name = GetUserNameFromId(role, false);
	char *words = owner_of ? psprintf("role \"%s\", the owner of %s,", name, owner_of) :
							 psprintf("role \"%s\"", name);
	bool can_login;
	char *problem = login_problem(role, words, &can_login);

	if (problem == NULL)
		return;
	if (can_login)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg_internal("%s", problem),
						errhint("Grant it CONNECT on the database.")));
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg_internal("%s", problem),
					errdetail_internal("%s", why),
					errhint("Use ALTER ROLE %s LOGIN%s.", quote_identifier(name),
							owner_of ? ", or give the function another owner" : "")));
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
		*problem = psprintf("the role that the node runs as (OID %u) does not exist", role);
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
		*problem = login_problem(role, psprintf("role \"%s\"", name), &can_login);
	return *problem ? InvalidOid : role;
}
