/*
 * ring.h
 *		The slots of a routed module on a node: which version is in which, and which may be used anew.
 */
#ifndef HOTSWAP_ROUTE_RING_H
#define HOTSWAP_ROUTE_RING_H

#include "base/digest.h"
#include "route/content.h"
#include "utils/uuid.h"

/* A module on a node. */
typedef struct RingKey
{
	const pg_uuid_t *tenant;
	const pg_uuid_t *node;
	const char *module;
} RingKey;

typedef struct RingSlot
{
	char *name; /* of its schema */
	Oid schema;
	int64 generation;
	char *version;
	uint8 digest[DIGEST_LENGTH];
	char *entry_schema; /* where the entries to it are */
	List *inventory;    /* of char *: what the version has made in it */
	bool is_called;     /* callers get it */
	List *left;         /* of Content *: what the version before has left in it */
} RingSlot;

/*
 * Processes that may have a snapshot that sees the row of route_slot as the one that callers get.  Such a
 * snapshot has an xmin that is not younger than the end of that, and was taken before; any transaction of the
 * cluster can keep an xmin old, so its age alone would say little.  A number of a transaction that this
 * cluster has not come to, or has left far behind, is another cluster's, or is older than any snapshot.
 */
#define OLD_SNAPSHOTS                                                                 \
	"pg_stat_get_activity(NULL) a WHERE pg_snapshot_xmax(pg_current_snapshot())"      \
	"::text::numeric - retired_xid::text::numeric BETWEEN 0 AND 1000000000"           \
	" AND a.datid = (SELECT oid FROM pg_database WHERE datname = current_database())" \
	" AND a.pid <> pg_backend_pid() AND a.backend_type <> 'walsender'"                \
	" AND coalesce(a.xact_start <= retired_at, true) AND age(a.backend_xmin)"         \
	" >= age(retired_xid::xid)"

/* All inside a scope; results are in the caller's memory context. */
extern bool ring_module_has_slots(const pg_uuid_t *tenant, const char *module);
extern bool ring_is_empty(const RingKey *key);

/* The slot that a version with that digest is in; NULL: it is not installed. */
extern RingSlot *ring_find(const RingKey *key, const uint8 *digest);

/* The slot that callers get, all but those of a share; NULL: there is none. */
extern RingSlot *ring_current(const RingKey *key);

/* A slot that a version can be installed into: the schema is there, and nobody uses it. */
extern RingSlot *ring_prepare(const RingKey *key, const char *entry_schema, Oid role);

/*
 * The one that would be prepared now; version: what is in it, NULL: nothing.  Nothing is locked, and who
 * has called that keeps it.
 */
extern RingSlot *ring_expect(const RingKey *key, const char *entry_schema);

/* The slots are open to whom the schema of their entries is open to. */
extern void ring_align_users(const RingKey *key);

/* The version of the slot is in it. */
extern void ring_fill(const RingKey *key, const RingSlot *slot, List *contents);

/* Callers get the slot from the commit on; NULL: they get none any more. */
extern void ring_activate(const RingKey *key, const RingSlot *slot, const pg_uuid_t *deployment);

/* So many of ROUTE_ALL get the slot, with these roles (OIDs) in any case, and all others the other one. */
extern void ring_share(const RingKey *key, const RingSlot *slot, const RingSlot *other, int share,
					   List *roles, const pg_uuid_t *deployment);

/*
 * The share of the slot that a part of the callers get; of all of them it is the only one.  Nothing where all get
 * one slot.
 */
extern void ring_set_share(const RingKey *key, int share, const pg_uuid_t *deployment);

/* Do callers get two slots? */
extern bool ring_is_shared(const RingKey *key);

/* The slot that a version is in; NULL: it is not installed. */
extern RingSlot *ring_find_version(const RingKey *key, const char *version);

/*
 * The slots, of RingSlot *, that callers get first; nobody comes to them until the end of the
 * transaction.  Raises 55006 where somebody is there.
 */
extern List *ring_close(const RingKey *key);

/* Drops them, with what is in them, if nothing else depends on that. */
extern void ring_drop(const RingKey *key, List *slots);

/* The slots, of RingSlot *, that no version will need: there are more than are used in turn. */
extern List *ring_surplus(const RingKey *key);

/* Drops such a one, and raises what unroute() would; false: it is held. */
extern bool ring_drop_surplus(const RingKey *key, RingSlot *slot);

#endif /* HOTSWAP_ROUTE_RING_H */
