/*
 * audit_hash.c
 *		The hash of an audit event: what binds it to the one before it.  Pure.
 */
#include "postgres.h"

#include "base/digest.h"
#include "core/audit_hash.h"

void
audit_hash(const AuditEventData *event, const uint8 *previous, uint8 *result)
{
	pg_cryptohash_ctx *ctx = digest_begin();

	digest_bytes(ctx, previous, DIGEST_LENGTH);
	digest_bytes(ctx, &event->tenant, UUID_LEN);
	digest_bytes(ctx, &event->subject_id, UUID_LEN);
	digest_int64(ctx, event->seq);
	digest_int64(ctx, event->at);
	digest_field(ctx, event->subject);
	digest_field(ctx, event->event);
	digest_field(ctx, event->before);
	digest_field(ctx, event->after);
	digest_field(ctx, event->person);
	digest_field(ctx, event->role);
	digest_int64(ctx, event->pid);
	digest_field(ctx, event->address);
	digest_field(ctx, event->application);
	digest_field(ctx, event->reason);
	digest_field(ctx, event->detail);
	digest_end(ctx, result);
}
