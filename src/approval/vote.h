/*
 * vote.h
 *		A person before an approval: what voting and bypassing share.
 */
#ifndef HOTSWAP_VOTE_H
#define HOTSWAP_VOTE_H

#include "base/db.h"
#include "core/approval.h"
#include "fmgr.h"

typedef struct Ballot
{
	pg_uuid_t id;      /* of the deployment */
	char *environment; /* or NULL */
	char *comment;     /* or NULL */
	Person person;
	Oid caller; /* effective role */
	/* from ballot_open() on */
	Deployment d;
	Approval *approval;
	ApprovalPolicy policy;
} Ballot;

extern void ballot_open(Ballot *b, const AuditActor *actor, Oid caller);
extern void ballot_require(const Ballot *b, ApprovalEvent event);
extern Datum ballot_close(const Ballot *b, DbScope *scope, FunctionCallInfo fcinfo);
extern void ballot_audit(Ballot *b, const char *event, const char *reason, const char *delegator);

#endif /* HOTSWAP_VOTE_H */
