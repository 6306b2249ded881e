/*
 * subxact.c
 *		Runs something in a subtransaction that is rolled back if it fails.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/error_text.h"
#include "base/subxact.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

/*
 * Runs body(arg), in the caller's memory context; returns the error that it has raised, which is
 * the caller's to report, or NULL.
 */
ErrorData *
subxact_run(void (*body)(void *), void *arg)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		body(arg);
		ReleaseCurrentSubTransaction();
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
