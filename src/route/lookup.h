/*
 * lookup.h
 *		What a call of an entry is passed on to.
 */
#ifndef HOTSWAP_ROUTE_LOOKUP_H
#define HOTSWAP_ROUTE_LOOKUP_H

#include "access/htup.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "route/body.h"
#include "route/pin.h"

/* A place from which an entry is called: fn_extra of the entry's FmgrInfo. */
typedef struct CallSite
{
	FmgrInfo *target;
	uint64 pin;     /* as of which the target is right, */
	uint64 catalog; /* and as of which */
	Oid user;       /* who may call it */
	int64 generation;
	short nargs;
	bool check_nulls;            /* the target is STRICT, and the caller does not know */
	bool atomic;                 /* a procedure that must not end transactions */
	int depth;                   /* calls that are under way */
	LocalTransactionId open_set; /* in which a set is half returned */
	MemoryContext context;       /* of the target; NULL: the entry's own */
} CallSite;

extern uint64 lookup_catalog; /* changes of functions, schemas and roles that were seen so far */

static inline bool
lookup_is_current(const CallSite *site)
{
	return pin_is_current() && site->pin == pin.serial && site->catalog == lookup_catalog &&
		   site->user == GetUserId();
}

extern CallSite *lookup(FunctionCallInfo fcinfo);
extern void lookup_read_entry(HeapTuple tuple, EntryBody *body);

#endif /* HOTSWAP_ROUTE_LOOKUP_H */
