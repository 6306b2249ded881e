/*
 * audit.h
 *		Audit events and their hash chains.
 *
 * Use: capture the actor before db_enter(); inside the scope, with the chain's row locked, add the
 * events of the transition to a batch and flush it; then write the chain's new head (audit_seq,
 * audit_hash) to that row.  audit_tenant() does all of this for an event about a tenant.
 */
#ifndef HOTSWAP_AUDIT_H
#define HOTSWAP_AUDIT_H

#include "base/db.h"
#include "base/digest.h"
#include "utils/jsonb.h"

/* Who does it. */
typedef struct AuditActor
{
	char *person; /* login role, or whom it speaks for */
	char *role;   /* effective role */
	char *login;  /* login role */
	bool has_address;
	Datum address; /* inet */
} AuditActor;

/* The head of a chain, as stored in the row of its subject. */
typedef struct AuditChain
{
	const char *subject; /* deployment or tenant */
	pg_uuid_t tenant;
	pg_uuid_t id;
	int32 seq; /* 0: no event yet */
	uint8 hash[DIGEST_LENGTH];
} AuditChain;

typedef struct AuditBatch AuditBatch;

#define AUDIT_SELF "hotswap" /* the person of what hotswap does by itself */

extern void audit_actor(AuditActor *actor, const char *on_behalf_of);
extern void audit_worker(AuditActor *actor);
extern AuditBatch *audit_batch(const AuditActor *actor);
extern void audit_add(AuditBatch *batch, AuditChain *chain, const char *event, const char *before,
					  const char *after, const char *reason, Jsonb *detail);
extern void audit_flush(AuditBatch *batch);
extern void audit_tenant(const AuditActor *actor, const pg_uuid_t *tenant, const char *event,
						 const char *before, const char *after, const char *reason, Jsonb *detail);
extern Jsonb *audit_detail(const char *first, ...);
extern void audit_chain_set(AuditChain *chain, const char *subject, const pg_uuid_t *tenant,
							const pg_uuid_t *id, int32 seq, Datum hash, bool hash_isnull);

/* Lets the retention job delete from the default partition; reset at the end of the transaction. */
extern bool audit_retention_running;

#endif /* HOTSWAP_AUDIT_H */
