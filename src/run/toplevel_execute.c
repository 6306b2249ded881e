/*
 * toplevel_execute.c
 *		Runs one statement as the server's own loop would (exec_simple_query), as whoever the session is.
 *
 * The caller has begun a transaction, and ends the one that is open when the statement returns: the statement
 * may have ended the first.  What is needed until then lives in the caller's memory, which must be no
 * transaction's.  What the statement returns goes nowhere.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/compat.h"
#include "module/parse.h"
#include "parser/analyze.h"
#include "run/toplevel_execute.h"
#include "tcop/dest.h"
#include "tcop/pquery.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/snapmgr.h"

static List *
plan(const RawStmt *raw, const char *sql)
{
	bool has_snapshot = analyze_requires_snapshot(unconstify(RawStmt *, raw));
	List *plans;

	if (has_snapshot)
		PushActiveSnapshot(GetTransactionSnapshot());
	plans = pg_plan_queries(pg_analyze_and_rewrite_fixedparams(unconstify(RawStmt *, raw), sql,
															   NULL, 0, NULL),
							sql, CURSOR_OPT_PARALLEL_OK, NULL);
	if (has_snapshot)
		PopActiveSnapshot();
	return plans;
}

void
toplevel_execute(const char *sql)
{
	RawStmt *raw = linitial_node(RawStmt, parse_statements(sql));
	Portal portal = CreatePortal("", true, true);
	MemoryContext context = CurrentMemoryContext;
	QueryCompletion completion;

	portal->visible = false;
	PortalDefineQuery(portal, NULL, sql, CreateCommandTag(raw->stmt), plan(raw, sql), NULL);
	PortalStart(portal, NULL, 0, InvalidSnapshot);
	portal_run(portal, None_Receiver, &completion);
	PortalDrop(portal, false);
	MemoryContextSwitchTo(context);
}
