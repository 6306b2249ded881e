/*
 * token.c
 *		Tokens of locks and leases: each is larger than any given before in the database.
 *
 * A value of the sequence hotswap.token_seq stands for a batch of TOKEN_BATCH tokens, which goes to
 * the stock in shared memory when it is on disk; README.md says why that is enough.
 *
 * Locks: the sequence (row exclusive) until the end of the transaction, once a batch.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "base/db.h"
#include "catalog/namespace.h"
#include "catalog/pg_namespace.h"
#include "commands/sequence.h"
#include "miscadmin.h"
#include "shm/lock_table.h"
#include "shm/shmem.h"
#include "shm/token.h"
#include "storage/bufmgr.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

static void
flush_sequence(Oid sequence)
{
	Relation rel = relation_open(sequence, AccessShareLock);
	Buffer buffer = ReadBuffer(rel, 0);
	XLogRecPtr lsn;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	lsn = PageGetLSN(BufferGetPage(buffer));
	UnlockReleaseBuffer(buffer);
	relation_close(rel, AccessShareLock);
	XLogFlush(lsn);
}

/* nextval(), in a read-only transaction too: taking a lock changes nobody's data. */
static int64
next_value(Oid sequence)
{
	bool read_only = XactReadOnly;
	volatile int64 value = 0;

	PreventCommandDuringRecovery("giving out a token");
	XactReadOnly = false;
	PG_TRY();
	{
		value = nextval_internal(sequence, false);
	}
	PG_FINALLY();
	{
		XactReadOnly = read_only;
	}
	PG_END_TRY();
	return value;
}

/* The sequence; raises 0A000 where the extension is not installed. */
Oid
token_sequence(void)
{
	Oid schema = GetSysCacheOid1(NAMESPACENAME, Anum_pg_namespace_oid, CStringGetDatum("hotswap"));
	Oid sequence = OidIsValid(schema) ? get_relname_relid("token_seq", schema) : InvalidOid;

	if (!OidIsValid(sequence))
		db_refuse_missing_extension();
	return sequence;
}

/* Reserves a batch, and returns its first token. */
int64
token_refill(Oid sequence)
{
	int64 first = next_value(sequence) * TOKEN_BATCH;

	flush_sequence(sequence);
	return first;
}

/* A new token. */
int64
token_next(void)
{
	Oid sequence = token_sequence();

	for (;;)
	{
		int64 token = shared ? locktable_token(sequence) : 0;
		int64 first;

		if (token != 0)
			return token;
		first = token_refill(sequence);
		/* where there is a stock, tokens come from it only: this one may be overtaken by now */
		if (shared == NULL || !locktable_add_tokens(sequence, first))
			return first;
	}
}
