/*
 * due_set.h
 *		The dispatcher's memory: which deployments there are, when they are due, and their lanes.
 *
 * The tables are the truth; this is what saves the dispatcher from searching them.
 */
#ifndef HOTSWAP_DUE_SET_H
#define HOTSWAP_DUE_SET_H

#include "base/args.h"
#include "dispatch/fair_share.h"
#include "lib/ilist.h"
#include "lib/pairingheap.h"
#include "mb/pg_wchar.h"
#include "nodes/pg_list.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

typedef struct DueItem DueItem;

/* A lane: one deployment at a time for (tenant, environment, module). */
typedef struct LaneKey
{
	pg_uuid_t tenant;
	char environment[NAME_LIMIT * MAX_MULTIBYTE_CHAR_LEN + 1];
	char module[MODULE_LIMIT + 1];
} LaneKey;

typedef struct Lane
{
	LaneKey key;          /* hash key */
	DueItem *holder;      /* who runs in it, or NULL */
	pairingheap *waiting; /* of LaneLink, best first */
} Lane;

/* A deployment's place in a lane. */
typedef struct LaneLink
{
	pairingheap_node node;
	DueItem *item;
	Lane *lane;
	bool waiting;
} LaneLink;

struct DueItem
{
	pg_uuid_t id; /* hash key */
	DueTenant *tenant;
	int priority;
	bool started; /* it holds its lanes; else it waits for them */
	bool touched; /* to be visited, whether or not it can start */
	bool in_timer;
	bool starved;    /* starvation.c: it is in the list */
	int failures;    /* visits in a row that could not be recorded */
	int locked;      /* visits in a row that found its row locked */
	uint32 read;     /* load.c: when it was read, as far as changes of the configuration go */
	uint32 pass;     /* and in which pass through everything */
	TimestampTz due; /* of the timer */
	TurnItem turn;   /* it may be able to start */
	pairingheap_node touch;
	pairingheap_node timer;
	bool is_behind; /* it waits at a gate for another one, in this list of that one's */
	dlist_node behind;
	int space; /* size of links, which never move: they are heap nodes */
	int nlinks;
	LaneLink *links;
};

extern void dueset_reset(void);
extern DueItem *dueset_find(const pg_uuid_t *id);
extern DueItem *dueset_add(const pg_uuid_t *tenant, const pg_uuid_t *id, int priority, bool started,
						   int nlanes);
extern void dueset_join_lane(DueItem *item, const char *environment, const char *module);
extern void dueset_remove(DueItem *item);
extern void dueset_ready(DueItem *item);
extern void dueset_touch(DueItem *item);
extern void dueset_touch_id(const pg_uuid_t *id);
extern void dueset_wait_behind(DueItem *item, const pg_uuid_t *id);
extern void dueset_timer(DueItem *item, TimestampTz due);
extern void dueset_put_off(DueItem *item, TimestampTz due);
extern void dueset_fire_timers(TimestampTz now);
extern TimestampTz dueset_next_timer(void);
extern DueItem *dueset_touched(void);
extern DueItem *dueset_next(void);
extern void dueset_take(DueItem *item, bool next);
extern void dueset_start(DueItem *item);
extern void dueset_leave(DueItem *item);
extern void dueset_leave_lane(DueItem *item, const char *environment);

#endif /* HOTSWAP_DUE_SET_H */
