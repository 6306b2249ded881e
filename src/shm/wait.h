/*
 * wait.h
 *		How a session waits for what another session's commit brings.
 */
#ifndef HOTSWAP_WAIT_H
#define HOTSWAP_WAIT_H

#include "access/tupdesc.h"
#include "fmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

/* Looks, with a new snapshot, whether what is waited for is there. */
typedef bool (*WaitCheck)(void *arg);

extern TimestampTz wait_deadline(FunctionCallInfo fcinfo, int n);
extern bool wait_deadline_passed(TimestampTz end);
extern void wait_require(const char *instead);
extern bool wait_until(const pg_uuid_t *key, WaitCheck check, void *arg, TimestampTz end);
extern bool wait_politely(const pg_uuid_t *key, WaitCheck check, void *arg, TimestampTz end);
extern bool wait_in_call(const pg_uuid_t *key, WaitCheck check, void *arg, TimestampTz end);
extern void wait_flush(void);

/* Of a procedure that waits and returns a row of one column: before it waits, and after. */
extern void wait_enter_call(FunctionCallInfo fcinfo, const char *hint);
extern void wait_start_anew(void);
extern TupleDesc wait_leave_call(FunctionCallInfo fcinfo);

#endif /* HOTSWAP_WAIT_H */
