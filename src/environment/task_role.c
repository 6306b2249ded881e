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
#include "catalog/pg_authid.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "environment/task_role.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/syscache.h"

static DbStatement node_role =
	DB_STATEMENT("SELECT run_as::oid FROM hotswap.node WHERE tenant_id = $1 AND id = $2", UUIDOID,
				 UUIDOID);

/* A gate that has been removed since the rollout began is asked all the same. */
static DbStatement gate_of_rollout = DB_STATEMENT(
	"SELECT 1 FROM hotswap.rollout_gate WHERE tenant_id = $1 AND deployment_id = $2 AND stage = $3"
	" AND function = $4 AND owner = $5",
	UUIDOID, UUIDOID, INT2OID, TEXTOID, OIDOID);

static DbStatement registered_hook = DB_STATEMENT(
	"SELECT 1 FROM hotswap.hook WHERE tenant_id = $1 AND function = $2 AND owner = $3 LIMIT 1",
	UUIDOID, TEXTOID, OIDOID);

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

/* Has somebody who had the rights of this role registered the function? */
static bool
was_registered(const TaskKey *key, UserFunction kind, const char *function, Oid owner)
{
	DbArgs args = db_args(kind == FUNCTION_GATE ? &gate_of_rollout : &registered_hook);

	db_arg_uuid(&args, &key->tenant);
	if (kind == FUNCTION_GATE)
	{
		db_arg_uuid(&args, &key->deployment);
		db_arg_int16(&args, key->stage);
	}
	db_arg_text(&args, function);
	db_arg_datum(&args, OIDOID, ObjectIdGetDatum(owner), false);
	return db_run_args(&args) > 0;
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
role_require_login(Oid role, const char *owner_of, const char *what)
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
			 errdetail("It owns function \"%s\"; a %s runs in a session logged in as its owner.",
					   owner_of, what) :
			 errdetail("Scripts run in a session logged in as the role."),
		 can_login ? errhint("Grant it the CONNECT privilege.") :
		 owner_of  ? errhint("Use ALTER ROLE %s LOGIN, or give the function another owner.",
							 quote_identifier(name)) :
					 errhint("Use ALTER ROLE %s LOGIN.", quote_identifier(name))));
}

/* Why a function cannot be called as its owner, whose name is NULL where there is none; NULL: it can. */
static char *
function_problem(const TaskKey *key, UserFunction kind, const char *function, Oid owner,
				 const char *name, int *sqlerrcode)
{
	const char *arguments = user_function_arguments[kind];

	*sqlerrcode = name ? ERRCODE_INSUFFICIENT_PRIVILEGE : ERRCODE_UNDEFINED_FUNCTION;
	if (name == NULL)
		return psprintf("function %s%s does not exist", function, arguments);
	if (!was_registered(key, kind, function, owner))
		return psprintf("function %s%s belongs to role \"%s\" and is not registered as that role's",
						function, arguments, name);
	return NULL;
}

Oid
task_role(const TaskKey *key, const pg_uuid_t *node, UserFunction kind, const char *function,
		  char **problem, int *sqlerrcode)
{
	Oid role =
		node ? node_run_as(&key->tenant, node) : function_owner(user_function_find(kind, function));
	char *name = GetUserNameFromId(role, true);
	bool can_login;

	*problem = NULL;
	if (node == NULL)
		*problem = function_problem(key, kind, function, role, name, sqlerrcode);
	else if (name == NULL)
		*problem = psprintf("role with OID %u, which the node runs as, does not exist", role);
	if (node || *problem == NULL)
		*sqlerrcode = ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION;
	if (*problem == NULL)
		*problem = login_problem(role, name, &can_login);
	return *problem ? InvalidOid : role;
}
