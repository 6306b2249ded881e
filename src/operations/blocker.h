/*
 * blocker.h
 *		Who stands in somebody's way, in words: processes and prepared transactions.
 */
#ifndef HOTSWAP_BLOCKER_H
#define HOTSWAP_BLOCKER_H

#include "utils/uuid.h"

extern char *blocker_of_process(int pid, Oid reader);
extern char *blocker_of_deployment(const pg_uuid_t *tenant, const pg_uuid_t *id);

#endif /* HOTSWAP_BLOCKER_H */
