/*
 * shmem.h
 *		What the processes share.  Exists only when the library is preloaded.
 *
 * Nothing here is the truth about a deployment: that is in the tables.  Everything may be lost with
 * a crash and is rebuilt from them.  Only values are kept here: no pointers, handles or
 * descriptors.  README.md has the locks, their order, and who writes what.
 */
#ifndef HOTSWAP_SHMEM_H
#define HOTSWAP_SHMEM_H

#include "storage/lwlock.h"
#include "storage/proc.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#define MAX_LOOKS 32    /* databases that the launcher is told by name */
#define MAX_HOLDS 16    /* sessions that are dropping or renaming a database */
#define RING_SIZE 8192  /* announced deployments a database; a power of two */
#define RING_BATCH 512  /* of which so many are taken and looked up at a time */
#define MAX_STOCKS 64   /* databases with a stock of tokens, since the start */
#define MAX_TROUBLES 64 /* things that fail in a database; more are not told of */
#define TROUBLE_BYTES 200

typedef struct RingEntry
{
	pg_uuid_t tenant;
	pg_uuid_t deployment;
} RingEntry;

typedef enum TroubleKind
{
	TROUBLE_NONE,        /* free */
	TROUBLE_DISPATCHER,  /* all of its work failed */
	TROUBLE_DEPLOYMENT,  /* a visit failed, and so did its record: the deployment is set aside */
	TROUBLE_LOCKED,      /* somebody else has the deployment's row */
	TROUBLE_HOUSEKEEPING /* the first of its steps; the next ones follow */
} TroubleKind;

/* What the dispatcher of a database could not do: see trouble.c. */
typedef struct Trouble
{
	TroubleKind kind;
	pg_uuid_t deployment; /* zeros where it is about none */
	TimestampTz since;
	int64 times;
	char message[TROUBLE_BYTES];
} Trouble;

/* A database that has a dispatcher, or had one since the start. */
typedef struct DatabaseSlot
{
	LWLock *lock;        /* set once; protects the fields below */
	Oid database;        /* InvalidOid: free */
	int dispatcher_pid;  /* 0: none */
	int dispatcher_proc; /* number of its PGPROC, while dispatcher_pid is set */
	TimestampTz started_at;
	TimestampTz next_lease; /* when the dispatcher looks at the leases next */
	bool leases;            /* it has to look earlier */
	bool reload;            /* load everything anew */
	bool check_extension;   /* it was dropped or updated */
	bool overflow;          /* the ring was full: load everything anew */
	bool notify;            /* there is something new in the outbox */
	bool evicted;           /* the dispatcher has been sent away: that is no failure */
	uint32 head;            /* next entry to read */
	uint32 tail;            /* next entry to write */
	RingEntry ring[RING_SIZE];
	Trouble troubles[MAX_TROUBLES];
} DatabaseSlot;

typedef struct Hold
{
	Oid database; /* InvalidOid: free */
	int pid;
} Hold;

/* Tokens of a database that may be given out: see token.c. */
typedef struct TokenStock
{
	Oid database; /* InvalidOid: free */
	Oid sequence; /* where they come from */
	int64 next;
	int64 end; /* the first that is not in stock */
} TokenStock;

typedef struct SharedState
{
	LWLock *lock;        /* the launcher's fields, holds, the slots of executors, the worker line */
	LWLock *waiter_lock; /* protects what waiter.c keeps */
	LWLock *lock_table_lock; /* protects stocks and what lock_table.c keeps */
	LWLock *prepared_lock;   /* protects what prepared.c keeps */

	int launcher_pid; /* 0: none */
	int launcher_proc;
	bool look_everywhere; /* launcher: look at every database */
	int nlook;            /* launcher: look at these */
	Oid look[MAX_LOOKS];
	Hold holds[MAX_HOLDS];

	TokenStock stocks[MAX_STOCKS];

	/* max_worker_processes of them: a dispatcher is a worker, so there is one for each that can run */
	DatabaseSlot databases[FLEXIBLE_ARRAY_MEMBER];
} SharedState;

/* A dispatcher, for those who want to know. */
typedef struct DispatcherInfo
{
	Oid database;
	int pid;
	TimestampTz since;
} DispatcherInfo;

extern SharedState *shared; /* NULL without the preload */

#define SHMEM_TRANCHE "hotswap"

extern int shmem_locks(void);
extern Size shmem_size(void);
extern void shmem_startup(void);
extern void shmem_wake_proc(int proc);
extern DatabaseSlot *shmem_lock_database(Oid database);
extern DatabaseSlot *shmem_my_database(void);
extern DatabaseSlot *shmem_claim_database(Oid database);
extern int shmem_dispatcher_pid(void);
extern bool shmem_has_dispatcher(Oid database);
extern DispatcherInfo *shmem_dispatchers(int *count);
extern int shmem_launcher_pid(void);
extern void shmem_tell_launcher(Oid database);
extern bool shmem_database_held(Oid database);

#endif /* HOTSWAP_SHMEM_H */
