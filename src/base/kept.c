/*
 * kept.c
 *		Results that a process keeps until a table changes that they come from.
 *
 * Triggers on the tables invalidate their entries of the relation cache, which tells every process when the
 * change commits, before whoever has made it knows that: a result that is as of the last such message is as
 * good as one that is read anew.  So it is with the server's own caches (and with core/access.c).
 *
 * A result is as a statement of READ COMMITTED would see it.  Where a transaction keeps its snapshot, nothing
 * is kept and nothing kept is used.  Locks nothing.
 */
#include "postgres.h"

#include "access/heaptoast.h"
#include "access/htup_details.h"
#include "access/xact.h"
#include "base/kept.h"
#include "catalog/namespace.h"
#include "commands/trigger.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/datum.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

PG_FUNCTION_INFO_V1(hotswap_kept_changed);

#define KEPT_LIMIT 1024 /* results of one statement */
#define KEPT_BYTES (1024 * 1024)

typedef struct KeptResult
{
	uint64 hash; /* of the parameters; key */
	char *parameters;
	int length;
	SPITupleTable *rows;
	uint64 count;
} KeptResult;

static Kept *all = NULL;

/* ---- what changes ---- */

static void
relation_changed(Datum arg pg_attribute_unused(), Oid relid)
{
	for (Kept *k = all; k; k = k->next)
		for (int i = 0; i < k->ntables; i++)
			if (!OidIsValid(relid) || k->relids[i] == relid)
				k->changes++;
}

/* The schema is another one: so are its tables. */
static void
schema_changed(Datum arg pg_attribute_unused(), int cacheid pg_attribute_unused(),
			   uint32 hash pg_attribute_unused())
{
	relation_changed((Datum) 0, InvalidOid);
}

static void
enroll(Kept *kept)
{
	const DbStatement *s = kept->statement;

	if (all == NULL)
	{
		CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
		CacheRegisterSyscacheCallback(NAMESPACEOID, schema_changed, (Datum) 0);
	}
	Assert(kept->ntables <= KEPT_TABLES);
	kept->context = AllocSetContextCreate(TopMemoryContext, "hotswap kept", ALLOCSET_SMALL_SIZES);
	kept->lengths = MemoryContextAlloc(TopMemoryContext, Max(s->nargs, 1) * sizeof(int16));
	kept->by_value = MemoryContextAlloc(TopMemoryContext, Max(s->nargs, 1) * sizeof(bool));
	for (int i = 0; i < s->nargs; i++)
		get_typlenbyval(s->types[i], &kept->lengths[i], &kept->by_value[i]);
	kept->next = all;
	all = kept;
}

static void
forget(Kept *kept)
{
	HASHCTL ctl = { .keysize = sizeof(uint64), .entrysize = sizeof(KeptResult) };
	Oid schema = get_namespace_oid("hotswap", false);

	kept->results = NULL;
	MemoryContextReset(kept->context);
	for (int i = 0; i < kept->ntables; i++)
		kept->relids[i] = get_relname_relid(kept->tables[i], schema);
	ctl.hcxt = kept->context;
	kept->as_of = kept->changes;
	kept->results =
		hash_create("hotswap kept results", 16, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* Forgets what is not so any more, and makes room. */
static void
refresh(Kept *kept)
{
	if (kept->context == NULL)
		enroll(kept);
	/* what this transaction has changed itself, and what others have */
	CommandCounterIncrement();
	AcceptInvalidationMessages();
	if (kept->results == NULL || kept->as_of != kept->changes ||
		hash_get_num_entries(kept->results) >= KEPT_LIMIT ||
		MemoryContextMemAllocated(kept->context, true) > KEPT_BYTES)
		forget(kept);
}

/* ---- what is kept ---- */

static void
write_parameters(const Kept *kept, const Datum *values, StringInfo out)
{
	for (int i = 0; i < kept->statement->nargs; i++)
	{
		if (kept->by_value[i])
			appendBinaryStringInfo(out, (const char *) &values[i], sizeof(Datum));
		else
			appendBinaryStringInfo(out, DatumGetPointer(values[i]),
								   (int) datumGetSize(values[i], false, kept->lengths[i]));
	}
}

/* Keeps the result of SPI, unless there is another one in its place. */
static void
keep(Kept *kept, uint64 hash, const StringInfo parameters)
{
	MemoryContext old = MemoryContextSwitchTo(kept->context);
	SPITupleTable *rows = palloc0(sizeof(SPITupleTable));
	char *copy = palloc(parameters->len + 1);
	KeptResult *result;
	bool found;

	memcpy(copy, parameters->data, parameters->len + 1);
	rows->tupdesc = CreateTupleDescCopy(SPI_tuptable->tupdesc);
	rows->vals = palloc(Max(SPI_processed, 1) * sizeof(HeapTuple));
	rows->numvals = SPI_processed;
	for (uint64 i = 0; i < SPI_processed; i++)
		rows->vals[i] = HeapTupleHasExternal(SPI_tuptable->vals[i]) ?
							toast_flatten_tuple(SPI_tuptable->vals[i], rows->tupdesc) :
							heap_copytuple(SPI_tuptable->vals[i]);
	result = hash_search(kept->results, &hash, HASH_ENTER, &found);
	result->parameters = copy;
	result->length = parameters->len;
	result->rows = rows;
	result->count = SPI_processed;
	MemoryContextSwitchTo(old);
}

/*
 * Inside a scope: as db_run() with a SELECT that has no side effects and parameters that are not NULL.  The
 * result is read in the same way, and no longer.
 */
uint64
kept_run(Kept *kept, Datum *values)
{
	StringInfoData parameters;
	uint64 hash;
	uint64 before;
	KeptResult *result;

	if (IsolationUsesXactSnapshot())
		return db_run(kept->statement, values, NULL);
	refresh(kept);
	initStringInfo(&parameters);
	write_parameters(kept, values, &parameters);
	hash = DatumGetUInt64(hash_any_extended((unsigned char *) parameters.data, parameters.len, 0));
	result = hash_search(kept->results, &hash, HASH_FIND, NULL);
	if (result && result->length == parameters.len &&
		memcmp(result->parameters, parameters.data, parameters.len) == 0)
	{
		SPI_tuptable = result->rows;
		SPI_processed = result->count;
		return result->count;
	}
	before = kept->changes;
	(void) db_run(kept->statement, values, NULL);
	/* what has changed since the snapshot of the query may be missing in it */
	if (before == kept->changes)
		keep(kept, hash, &parameters);
	return SPI_processed;
}

/* Trigger on everything that is kept. */
Datum
hotswap_kept_changed(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" was not called by trigger manager", "kept_changed")));
	CacheInvalidateRelcacheByRelid(
		RelationGetRelid(((TriggerData *) fcinfo->context)->tg_relation));
	return PointerGetDatum(NULL);
}
