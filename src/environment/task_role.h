/*
 * task_role.h
 *		Which role a task runs as, and whether a session can be logged in as it.
 */
#ifndef HOTSWAP_TASK_ROLE_H
#define HOTSWAP_TASK_ROLE_H

#include "environment/user_function.h"
#include "shm/executors.h"
#include "utils/uuid.h"

/*
 * Inside a scope; node NULL: the owner of a function.  InvalidOid and what is wrong where it cannot
 * run.
 */
extern Oid task_role(const TaskKey *key, const pg_uuid_t *node, UserFunction kind,
					 const char *function, char **problem, int *sqlerrcode);

/*
 * Raises 22023 unless a session can be logged in as the role.  owner_of: the function that it
 * owns, NULL where it is a node's; what: what that function is.
 */
extern void role_require_login(Oid role, const char *owner_of, const char *what);

#endif /* HOTSWAP_TASK_ROLE_H */
