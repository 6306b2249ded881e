/*
 * rollback_right.h
 *		Does a rollback need an approval?
 */
#ifndef HOTSWAP_ROLLBACK_RIGHT_H
#define HOTSWAP_ROLLBACK_RIGHT_H

#include "utils/uuid.h"

/* Inside a scope: of this deployment, now; true where its environment is open. */
extern bool rollback_is_free(const pg_uuid_t *tenant, const pg_uuid_t *deployment);

#endif /* HOTSWAP_ROLLBACK_RIGHT_H */
