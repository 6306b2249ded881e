/*
 * bring_up_right.h
 *		Does bringing a node up need an approval?
 */
#ifndef HOTSWAP_BRING_UP_RIGHT_H
#define HOTSWAP_BRING_UP_RIGHT_H

#include "nodes/pg_list.h"
#include "utils/uuid.h"

/* Inside a scope: to a version, by these plans (NodePlan), now; true where the environment is open. */
extern bool bring_up_is_free(const pg_uuid_t *tenant, const char *environment, const char *module,
							 const char *version, List *plans);

#endif /* HOTSWAP_BRING_UP_RIGHT_H */
