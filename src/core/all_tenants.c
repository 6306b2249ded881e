/*
 * all_tenants.c
 *		Whoever sees all tenants reads the table of deployments in its own order; views ask here whether they may.
 *
 * Everybody else's views look for one visible tenant after the other, so that no plan tells anything of other
 * tenants (sql/README.md).  That is no way to the newest rows of all.  A view that offers both is a UNION ALL of
 * the two, of which sees_all_tenants() opens one:
 *
 *		... visible_tenants() ... WHERE NOT hotswap.sees_all_tenants() UNION ALL
 *		... hotswap.deployment t WHERE hotswap.sees_all_tenants() AND hotswap.sees_tenant(t.tenant_id)
 *
 * When somebody who does not see all plans it, the second one is gone from the plan: nothing is estimated or told
 * of it.  The plan shows what is visible at any time all the same, should rights be given later.  Where both are
 * in the plan, they ask when they run.
 *
 * Locks nothing.
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "base/uuid.h"
#include "catalog/namespace.h"
#include "catalog/pg_am.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "core/access.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/pathnodes.h"
#include "nodes/supportnodes.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/uuid.h"

PG_FUNCTION_INFO_V1(hotswap_sees_all_tenants);
PG_FUNCTION_INFO_V1(hotswap_sees_all_tenants_support);
PG_FUNCTION_INFO_V1(hotswap_sees_tenant);
PG_FUNCTION_INFO_V1(hotswap_sees_tenant_support);
PG_FUNCTION_INFO_V1(hotswap_seen_tenants);

/* sees_all_tenants() returns whether the current role has a capability for all tenants. */
Datum
hotswap_sees_all_tenants(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(access_sees_all(GetUserId()));
}

/* Plans of who does not see all say so from the start. */
Datum
hotswap_sees_all_tenants_support(PG_FUNCTION_ARGS)
{
	Node *request = (Node *) PG_GETARG_POINTER(0);

	if (!IsA(request, SupportRequestSimplify) || access_sees_all(GetUserId()))
		PG_RETURN_POINTER(NULL);
	PG_RETURN_POINTER(makeBoolConst(false, false));
}

/* sees_tenant(tenant uuid) returns whether it is one of visible_tenants(). */
Datum
hotswap_sees_tenant(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(access_sees(GetUserId(), PG_GETARG_UUID_P(0)));
}

/* seen_tenants() returns visible_tenants() as an array: what an index is searched for by sees_tenant(). */
Datum
hotswap_seen_tenants(PG_FUNCTION_ARGS)
{
	const pg_uuid_t *tenants;
	int count = access_seen(GetUserId(), &tenants);
	Datum *ids = palloc(sizeof(Datum) * Max(count, 1));

	for (int i = 0; i < count; i++)
		ids[i] = UUIDPGetDatum(&tenants[i]);
	PG_RETURN_DATUM(uuid_array(ids, count));
}

static Oid
find_seen_tenants(void)
{
	return GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid, CStringGetDatum("seen_tenants"),
						   PointerGetDatum(buildoidvector(NULL, 0)),
						   ObjectIdGetDatum(get_namespace_oid("hotswap", false)));
}

/* The condition tenant_id = ANY (seen_tenants()), for an index that begins with the tenant; NULL: it does not. */
static Node *
index_condition(SupportRequestIndexCondition *request)
{
	FuncExpr *call = (FuncExpr *) request->node;
	Oid equal;
	Oid seen;
	ScalarArrayOpExpr *result;

	if (!IsA(call, FuncExpr) || request->indexarg != 0 || request->index->relam != BTREE_AM_OID)
		return NULL;
	equal = get_opfamily_member(request->opfamily, UUIDOID, UUIDOID, BTEqualStrategyNumber);
	seen = find_seen_tenants();
	if (!OidIsValid(equal) || !OidIsValid(seen))
		return NULL;
	result = makeNode(ScalarArrayOpExpr);
	result->opno = equal;
	result->opfuncid = get_opcode(equal);
	result->useOr = true;
	result->args =
		list_make2(linitial(call->args), makeFuncExpr(seen, UUIDARRAYOID, NIL, InvalidOid,
													  InvalidOid, COERCE_EXPLICIT_CALL));
	result->location = -1;
	return (Node *) result;
}

/* That of who sees all leaves nothing out; and a deployment of which only the id is known is looked for by key. */
Datum
hotswap_sees_tenant_support(PG_FUNCTION_ARGS)
{
	Node *request = (Node *) PG_GETARG_POINTER(0);
	Node *condition;

	if (IsA(request, SupportRequestSelectivity))
	{
		((SupportRequestSelectivity *) request)->selectivity = 1;
		PG_RETURN_POINTER(request);
	}
	if (!IsA(request, SupportRequestIndexCondition))
		PG_RETURN_POINTER(NULL);
	condition = index_condition((SupportRequestIndexCondition *) request);
	if (condition == NULL)
		PG_RETURN_POINTER(NULL);
	((SupportRequestIndexCondition *) request)->lossy = false;
	PG_RETURN_POINTER(list_make1(condition));
}
