/*
 * fair_share.h
 *		Whose turn it is: the tenants of the due set, what each may start, and their shares.
 */
#ifndef HOTSWAP_FAIR_SHARE_H
#define HOTSWAP_FAIR_SHARE_H

#include "lib/pairingheap.h"
#include "utils/uuid.h"

#define TURN_UNLIMITED INT64_MAX

typedef struct Share Share;

typedef struct ShareKey
{
	pg_uuid_t tenant;
	int32 priority;
} ShareKey;

/* A tenant that has items in the due set. */
typedef struct DueTenant
{
	pg_uuid_t id; /* hash key */
	bool active;
	bool suspended;
	bool leaving; /* deprovisioning or deleted */
	bool full;    /* tenant_limit.c: as many tasks are in hand as may be */
	int weight;
	int64 limit;  /* deployments at a time, or TURN_UNLIMITED */
	int started;  /* of its items */
	int items;    /* it is forgotten with the last */
	int tasks;    /* starvation.c: in the hands of executors */
	uint64 seen;  /* batch in which it was read last */
	uint32 read;  /* load.c: when it was read, as far as changes of the configuration go */
	Share *share; /* the first of its shares, one a priority */
} DueTenant;

/* What a tenant has waiting at a priority. */
struct Share
{
	ShareKey key; /* hash key */
	DueTenant *tenant;
	Share *next;          /* of the tenant */
	pairingheap *waiting; /* of TurnItem, oldest first */
	uint64 time;          /* its virtual time */
	uint64 *now;          /* that of its priority */
	bool competes;        /* it stands among those that could be next */
	pairingheap_node node;
};

/* An item's part of it. */
typedef struct TurnItem
{
	const pg_uuid_t *id; /* of a deployment: they grow with time */
	Share *share;
	bool waiting;
	pairingheap_node node;
} TurnItem;

extern void turn_reset(MemoryContext context);
extern DueTenant *turn_tenant(const pg_uuid_t *id);
extern DueTenant *turn_find_tenant(const pg_uuid_t *id);
extern void turn_set_tenant(DueTenant *tenant);
extern void turn_set_full(DueTenant *tenant, bool full);
extern void turn_count(DueTenant *tenant, int started);
extern void turn_add(TurnItem *item, const pg_uuid_t *id, DueTenant *tenant, int priority);
extern void turn_remove(TurnItem *item);
extern void turn_wait(TurnItem *item);
extern void turn_leave(TurnItem *item);
extern void turn_charge(TurnItem *item);
extern TurnItem *turn_next(void);

#endif /* HOTSWAP_FAIR_SHARE_H */
