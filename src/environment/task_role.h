/*
 * task_role.h
 *		Which role a task runs as, and whether a session can be logged in as it.
 */
#ifndef HOTSWAP_TASK_ROLE_H
#define HOTSWAP_TASK_ROLE_H

#include "catalog/pg_proc.h"
#include "utils/uuid.h"

/*
 * Inside a scope; node NULL: the owner of the hook.  InvalidOid and what is wrong where it cannot
 * run.
 */
extern Oid task_role(const pg_uuid_t *tenant, const pg_uuid_t *node, const char *hook,
					 char **problem, int *sqlerrcode);

/*
 * Raises 22023 unless a session can be logged in as the role.  owner_of: the function that it
 * owns, NULL where it is a node's.
 */
extern void role_require_login(Oid role, const char *owner_of);

/* The function registered under a name, InvalidOid if it is gone. */
extern Oid hook_function(const char *hook);

extern bool hook_fits(Form_pg_proc form);

#endif /* HOTSWAP_TASK_ROLE_H */
