/*
 * subxact.c
 *		Runs something in a subtransaction that is rolled back if it fails, or always.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/error_text.h"
#include "base/subxact.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

/* Runs body(arg) in the caller's memory context; what it has done stays if it is to be kept and nothing fails. */
static ErrorData *
run(void (*body)(void *), void *arg, bool keep)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		body(arg);
		if (keep)
			ReleaseCurrentSubTransaction();
		else
			RollbackAndReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = error_copy();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return error;
}

/*
 * Runs body(arg), in the caller's memory context; returns the error that it has raised, which is
 * the caller's to report, or NULL.
 */
ErrorData *
subxact_run(void (*body)(void *), void *arg)
{
	return run(body, arg, true);
}

/* The same for what is to leave nothing: it is rolled back whatever happens. */
ErrorData *
subxact_try(void (*body)(void *), void *arg)
{
	return run(body, arg, false);
}

/* The same, and its error is raised. */
void
subxact_undo(void (*body)(void *), void *arg)
{
	ErrorData *error = run(body, arg, false);

	if (error)
		ReThrowError(error);
}
