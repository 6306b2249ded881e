/*
 * lookup.c
 *		Finds what a call of an entry is passed on to, and sees that it may be.
 *
 * The server looks at a function once, when a call is planned, and calls it from then on with what
 * it knows: a target that is of another kind, returns something else, or takes NULL for granted not
 * to come would crash it.  So entry and target are compared here, at each look-up; and a look-up
 * holds until a function, a schema or a role changes, the role of the caller is another one, or the
 * transaction is.  An answer that is half returned is gone on with.
 *
 * fmgr checks no rights of what C calls: the caller needs EXECUTE on the target, as it would without
 * the entry.  USAGE of a schema is needed to reach the entry.  So that nobody gets around that with an
 * entry of its own, an entry counts where its owner has the privileges of the slot's (choice.c).
 *
 * Memory: an entry that was called is remembered in the process, and each place that calls it has a
 * CallSite as long as its FmgrInfo lives.
 *
 * Locks: the marker of the slot (marker.c).
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/objectaccess.h"
#include "parser/parse_func.h"
#include "route/body.h"
#include "route/choice.h"
#include "route/lookup.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

/* An entry as it is known in this process. */
typedef struct Entry
{
	EntryRef ref;
	uint64 catalog; /* as of which this is right; 0: nothing of it */
	RoutedModule *module;
	char function[NAMEDATALEN];
	/* the target that was found last */
	Oid target; /* InvalidOid: none */
	Oid schema;
	int64 generation;
	Oid user; /* who may call it */
	bool atomic;
} Entry;

uint64 lookup_catalog = 1;

static HTAB *entries = NULL;

/* ---- what is kept ---- */

static void
catalog_changed(Datum arg pg_attribute_unused(), int cacheid pg_attribute_unused(),
				uint32 hash pg_attribute_unused())
{
	lookup_catalog++;
}

static void
make_table(void)
{
	CacheRegisterSyscacheCallback(PROCOID, catalog_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(NAMESPACEOID, catalog_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHOID, catalog_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, catalog_changed, (Datum) 0);
	entries = hash_create("hotswap entries", 256,
						  &(HASHCTL){ .keysize = sizeof(Oid),
									  .entrysize = sizeof(Entry),
									  .hcxt = TopMemoryContext },
						  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* ---- the entry ---- */

static void
check_entry(const FormData_pg_proc *entry)
{
	const char *what = NULL;

	if (entry->prosecdef)
		what = "SECURITY DEFINER";
	else if (entry->provolatile == PROVOLATILE_IMMUTABLE)
		what = "IMMUTABLE";
	if (what)
		ereport(ERROR, (errcode(ERRCODE_INVALID_FUNCTION_DEFINITION),
						errmsg("entry \"%s\" must not be %s", NameStr(entry->proname), what),
						entry->prosecdef ? errdetail("It runs as its caller.") :
										   errdetail("What it returns changes with the version.")));
}

/* Reads the definition of an entry; raises what the text makes body_parse() raise, and 42P13. */
void
lookup_read_entry(HeapTuple tuple, EntryBody *body)
{
	bool isnull;
	Datum source = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_prosrc, &isnull);

	check_entry((Form_pg_proc) GETSTRUCT(tuple));
	body_parse(isnull ? "" : TextDatumGetCString(source), body);
}

static HeapTuple
function_tuple(Oid oid)
{
	HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(oid));

	/* the statement that calls it may be older than the end of it */
	if (!HeapTupleIsValid(tuple))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_FUNCTION),
						errmsg("function with OID %u does not exist", oid)));
	return tuple;
}

/* The entry of an OID. */
static Entry *
find_entry(Oid oid)
{
	EntryBody body;
	Entry *entry;
	HeapTuple tuple;
	uint64 before;
	bool found;

	if (entries == NULL)
		make_table();
	entry = hash_search(entries, &oid, HASH_ENTER, &found);
	if (found && entry->catalog == lookup_catalog)
		return entry;
	entry->catalog = 0;
	before = lookup_catalog;
	tuple = function_tuple(oid);
	lookup_read_entry(tuple, &body);
	entry->ref.owner = ((Form_pg_proc) GETSTRUCT(tuple))->proowner;
	ReleaseSysCache(tuple);
	entry->module = choice_module(&body.tenant, &body.node, body.module);
	strlcpy(entry->function, body.function, sizeof(entry->function));
	strlcpy(entry->ref.fallback, body.slot, sizeof(entry->ref.fallback));
	entry->target = InvalidOid;
	entry->catalog = before;
	return entry;
}

/* ---- the target ---- */

pg_noreturn static void
refuse_unknown(const Entry *entry, const oidvector *types)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_FUNCTION),
			 errmsg("function %s does not exist in version \"%s\" of module \"%s\"",
					funcname_signature_string(entry->function, types->dim1, NIL, types->values),
					entry->module->version, entry->module->key.module),
			 errhint("The version that this transaction calls does not have it.")));
}

static bool
same_attribute(HeapTuple a, HeapTuple b, AttrNumber attribute)
{
	bool null_a;
	bool null_b;
	Datum value_a = SysCacheGetAttr(PROCOID, a, attribute, &null_a);
	Datum value_b = SysCacheGetAttr(PROCOID, b, attribute, &null_b);

	if (null_a || null_b)
		return null_a == null_b;
	/* arrays of a fixed type without nulls */
	return datum_image_eq(value_a, value_b, false, -1);
}

/* What keeps a target from being called through an entry; NULL: nothing. */
static const char *
difference(HeapTuple entry_tuple, HeapTuple target_tuple)
{
	const FormData_pg_proc *e = (Form_pg_proc) GETSTRUCT(entry_tuple);
	const FormData_pg_proc *t = (Form_pg_proc) GETSTRUCT(target_tuple);

	if (e->prolang == t->prolang)
		return "It is an entry itself.";
	if (e->prokind != t->prokind)
		return "It is of another kind.";
	if (e->prorettype != t->prorettype || e->proretset != t->proretset)
		return "It returns another type.";
	if (e->provariadic != t->provariadic ||
		!same_attribute(entry_tuple, target_tuple, Anum_pg_proc_proallargtypes) ||
		!same_attribute(entry_tuple, target_tuple, Anum_pg_proc_proargmodes))
		return "It has other arguments.";
	if (e->proisstrict != t->proisstrict)
		return "One is STRICT and the other is not.";
	return NULL;
}

static void
check_target(const Entry *entry, HeapTuple entry_tuple, HeapTuple target_tuple)
{
	const char *why = difference(entry_tuple, target_tuple);
	const FormData_pg_proc *t = (Form_pg_proc) GETSTRUCT(target_tuple);

	if (why)
		ereport(ERROR, (errcode(ERRCODE_INVALID_FUNCTION_DEFINITION),
						errmsg("function %s does not fit its entry",
							   quote_qualified_identifier(get_namespace_name(t->pronamespace),
														  NameStr(t->proname))),
						errdetail_internal("%s", why),
						errhint("Deploy module \"%s\" again.", entry->module->key.module)));
}

static void
read_target(Entry *entry, HeapTuple entry_tuple)
{
	bool isnull;
	oidvector *types = (oidvector *) DatumGetPointer(
		SysCacheGetAttr(PROCOID, entry_tuple, Anum_pg_proc_proargtypes, &isnull));
	HeapTuple tuple =
		SearchSysCache3(PROCNAMEARGSNSP, CStringGetDatum(entry->function), PointerGetDatum(types),
						ObjectIdGetDatum(entry->module->schema));

	if (!HeapTupleIsValid(tuple))
		refuse_unknown(entry, types);
	check_target(entry, entry_tuple, tuple);
	entry->atomic = ((Form_pg_proc) GETSTRUCT(tuple))->prosecdef ||
					!heap_attisnull(tuple, Anum_pg_proc_proconfig, NULL);
	entry->target = ((Form_pg_proc) GETSTRUCT(tuple))->oid;
	ReleaseSysCache(tuple);
}

/* The target in the slot that the transaction has. */
static void
find_target(Entry *entry)
{
	const RoutedModule *m = entry->module;
	HeapTuple tuple;

	if (OidIsValid(entry->target) && entry->schema == m->schema &&
		entry->generation == m->generation)
		return;
	entry->target = InvalidOid;
	entry->user = InvalidOid;
	choice_require_owner(&entry->ref, m->schema);
	tuple = function_tuple(entry->ref.oid);
	read_target(entry, tuple);
	ReleaseSysCache(tuple);
	entry->schema = m->schema;
	entry->generation = m->generation;
}

static void
require_rights(Entry *entry)
{
	Oid user = GetUserId();
	AclResult result;

	if (entry->user == user)
		return;
	result = function_aclcheck(entry->target, user, ACL_EXECUTE);
	if (result != ACLCHECK_OK)
		aclcheck_error(result, OBJECT_FUNCTION, entry->function);
	entry->user = user;
}

/* ---- the call site ---- */

static CallSite *
find_site(FmgrInfo *caller)
{
	if (caller->fn_extra == NULL)
		caller->fn_extra = MemoryContextAllocZero(caller->fn_mcxt, sizeof(CallSite));
	return caller->fn_extra;
}

/* Does nothing outlive a call that points to what the target has kept for the next one? */
static bool
keeps_nothing(FunctionCallInfo fcinfo, const CallSite *site)
{
	return site->depth == 0 && !fcinfo->flinfo->fn_retset && !AggCheckCallContext(fcinfo, NULL);
}

/*
 * A new FmgrInfo for each target: what belongs to the one before may still point to it.  A place that
 * lives long, as an operator class does, would gather them, so from the second on they have a
 * context, which goes with its target where nobody can be in there.
 */
static void
set_target(CallSite *site, FunctionCallInfo fcinfo, const Entry *entry)
{
	const FmgrInfo *caller = fcinfo->flinfo;
	MemoryContext context = caller->fn_mcxt;
	FmgrInfo *target;

	if (site->context && keeps_nothing(fcinfo, site))
		MemoryContextDelete(site->context);
	site->context = NULL;
	if (site->target)
		context = site->context =
			AllocSetContextCreate(caller->fn_mcxt, "hotswap call site", ALLOCSET_SMALL_SIZES);
	site->target = NULL;
	target = MemoryContextAlloc(context, sizeof(FmgrInfo));
	fmgr_info_cxt(entry->target, target, context);
	target->fn_expr = caller->fn_expr;
	site->target = target;
}

static bool
has_target(const CallSite *site, const Entry *entry)
{
	return site->target && site->target->fn_oid == entry->target &&
		   site->generation == entry->generation && site->catalog == entry->catalog;
}

static void
fill_site(CallSite *site, FunctionCallInfo fcinfo, const Entry *entry)
{
	if (!has_target(site, entry))
	{
		set_target(site, fcinfo, entry);
		InvokeFunctionExecuteHook(entry->target);
	}
	site->pin = pin.serial;
	site->catalog = entry->catalog;
	site->user = entry->user;
	site->generation = entry->generation;
	site->atomic = entry->atomic;
	site->nargs = site->target->fn_nargs;
	/* the entry may have become STRICT since this place looked at it */
	site->check_nulls = site->target->fn_strict && !fcinfo->flinfo->fn_strict;
}

/* What a place that calls an entry calls now. */
CallSite *
lookup(FunctionCallInfo fcinfo)
{
	CallSite *site = find_site(fcinfo->flinfo);
	Entry *entry;

	/* languages with the same handler may lead to each other for ever */
	check_stack_depth();
	if (site->open_set == my_transaction_number() && site->target)
		return site;
	do
	{
		entry = find_entry(fcinfo->flinfo->fn_oid);
		choice_ensure(entry->module, &entry->ref);
	} while (entry->catalog != lookup_catalog);
	find_target(entry);
	require_rights(entry);
	fill_site(site, fcinfo, entry);
	return site;
}
