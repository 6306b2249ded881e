/*
 * rollback_right.h
 *		Does a rollback need an approval?
 */
#ifndef HOTSWAP_ROLLBACK_RIGHT_H
#define HOTSWAP_ROLLBACK_RIGHT_H

#include "nodes/pg_list.h"
#include "utils/uuid.h"

/* Inside a scope: of this deployment, now, by these plans; true where its environment is open. */
extern bool rollback_is_free(const pg_uuid_t *tenant, const pg_uuid_t *deployment, List *plans);

#endif /* HOTSWAP_ROLLBACK_RIGHT_H */
