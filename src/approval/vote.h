/*
 * vote.h
 *		A person before an approval: what voting and bypassing share.
 */
#ifndef HOTSWAP_VOTE_H
#define HOTSWAP_VOTE_H

#include "core/approval.h"
#include "core/call.h"
#include "fmgr.h"

typedef struct Ballot
{
	pg_uuid_t id;      /* of the deployment */
	char *environment; /* or NULL */
	char *comment;     /* or NULL */
	Person person;
	/* from ballot_begin() on */
	Call call;
	/* from ballot_open() on */
	Deployment d;
	Approval *approval;
	ApprovalPolicy policy;
} Ballot;

extern void ballot_begin(Ballot *b, Capability capability, const char *action);
extern void ballot_open(Ballot *b);
extern void ballot_require(const Ballot *b, ApprovalEvent event);
extern Datum ballot_close(Ballot *b, FunctionCallInfo fcinfo);
extern void ballot_audit(Ballot *b, const char *event, const char *reason, const char *delegator);

#endif /* HOTSWAP_VOTE_H */
