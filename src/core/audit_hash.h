/*
 * audit_hash.h
 *		The hash of an audit event.
 */
#ifndef HOTSWAP_AUDIT_HASH_H
#define HOTSWAP_AUDIT_HASH_H

#include "datatype/timestamp.h"
#include "utils/uuid.h"

/* The columns of an event; strings may be NULL where the column may. */
typedef struct AuditEventData
{
	pg_uuid_t tenant;
	pg_uuid_t subject_id;
	int32 seq;
	TimestampTz at;
	const char *subject;
	const char *event;
	const char *before;
	const char *after;
	const char *person;
	const char *role;
	int32 pid;
	const char *address;
	const char *application;
	const char *reason;
	const char *detail;
} AuditEventData;

/* previous: hash of the event before it or NULL; result may be the same memory. */
extern void audit_hash(const AuditEventData *event, const uint8 *previous, uint8 *result);

#endif /* HOTSWAP_AUDIT_HASH_H */
