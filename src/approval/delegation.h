/*
 * delegation.h
 *		Votes that approvers have lent to others.
 */
#ifndef HOTSWAP_DELEGATION_H
#define HOTSWAP_DELEGATION_H

#include "core/approval.h"

/*
 * An approver who has lent its vote to the role, InvalidOid if there is none.  With a deployment:
 * one who did not request it and whose right none of the votes has used.
 */
extern Oid delegation_find(const pg_uuid_t *tenant, const ApprovalPolicy *policy, Oid role,
						   const Deployment *d, List *votes);

#endif /* HOTSWAP_DELEGATION_H */
