/*
 * setback.c
 *		Deployments that cannot be visited now: their visit fails, or somebody else has their row.
 *
 * One whose visit fails, and that cannot be recorded as its own failure, is set aside and visited
 * again after a delay that grows; one whose row is locked is tried again soon.  health() and
 * explain() tell of both.  Locks nothing but what shm/trouble.c does.
 */
#include "postgres.h"

#include "base/db.h"
#include "dispatch/setback.h"
#include "shm/trouble.h"
#include "utils/memutils.h"

#define LOCKED_RETRY_MS 20   /* a row that somebody else has; doubles */
#define FAILED_RETRY_MS 1000 /* a visit whose failure could not be recorded */
#define RETRY_DOUBLINGS 6
#define LOCKED_NOTED 6 /* so many visits in a row, a second: somebody should know */

/* Logs a problem when it is another one than the last. */
void
setback_report(Dispatch *d, ErrorData *error)
{
	if (d->last_problem && error && strcmp(d->last_problem, error->message) == 0)
		return;
	if (d->last_problem)
		pfree(d->last_problem);
	d->last_problem = error ? MemoryContextStrdup(d->context, error->message) : NULL;
	if (error)
		ereport(d->mode->background ? LOG : WARNING,
				(errcode(error->sqlerrcode),
				 errmsg("hotswap could not dispatch: %s", error->message),
				 error->detail ? errdetail_internal("%s", error->detail) : 0,
				 error->context ? errcontext("%s", error->context) : 0));
}

/*
 * Is it the end of the dispatcher, or of what it works for?  Then it is no deployment's fault, and nothing
 * is to be gone on with.
 */
bool
setback_is_final(const ErrorData *error)
{
	char *version;

	if (ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_OPERATOR_INTERVENTION)
		return true;
	if (error->sqlerrcode != ERRCODE_UNDEFINED_TABLE &&
		error->sqlerrcode != ERRCODE_FEATURE_NOT_SUPPORTED &&
		error->sqlerrcode != ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE)
		return false;
	/* the extension is being dropped or updated */
	version = db_extension_version(true);
	return version == NULL || !db_version_fits(version, DEBUG1);
}

static TimestampTz
later(int base_ms, int failures)
{
	return TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
									   (int64) base_ms << Min(failures, RETRY_DOUBLINGS));
}

/* Its turn comes again after a while, and longer each time; health() and explain() tell why. */
void
setback_set_aside(Dispatch *d, DueItem *item, ErrorData *error)
{
	if (item->failures == 0)
		setback_report(d, error);
	trouble_note(TROUBLE_DEPLOYMENT, &item->id, error->message);
	dueset_put_off(item, later(FAILED_RETRY_MS, item->failures));
	item->failures++;
}

void
setback_over(DueItem *item)
{
	if (item->failures == 0)
		return;
	item->failures = 0;
	trouble_over(TROUBLE_DEPLOYMENT, &item->id);
}

/* Somebody else has its row. */
void
setback_locked(DueItem *item)
{
	dueset_timer(item, later(LOCKED_RETRY_MS, item->locked));
	if (++item->locked >= LOCKED_NOTED)
		trouble_note(TROUBLE_LOCKED, &item->id, "the row is locked");
}

void
setback_unlocked(DueItem *item)
{
	if (item->locked >= LOCKED_NOTED)
		trouble_over(TROUBLE_LOCKED, &item->id);
	item->locked = 0;
}

/* The deployment is none of the dispatcher's business any more. */
void
setback_forget(DueItem *item)
{
	setback_over(item);
	setback_unlocked(item);
	dueset_remove(item);
}
