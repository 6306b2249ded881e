/*
 * review.h
 *		Bypasses and overrides that nobody else has looked at yet.
 */
#ifndef HOTSWAP_REVIEW_H
#define HOTSWAP_REVIEW_H

#include "core/approval.h"

#define TICKET_LIMIT 200 /* characters */

/* Inside a scope. */
extern void review_limit(const pg_uuid_t *tenant, const char *environment,
						 const ApprovalPolicy *policy);

#endif /* HOTSWAP_REVIEW_H */
