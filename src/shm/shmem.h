/*
 * shmem.h
 *		What the processes share.  Exists only when the library is preloaded.
 *
 * Nothing here is the truth about a deployment: that is in the tables.  Everything may be lost with
 * a crash and is rebuilt from them.  Only values are kept here: no pointers, handles or
 * descriptors.
 *
 * Lock order: shared->lock before a database's lock.  waiter_lock and lock_table_lock are taken alone.
 */
#ifndef HOTSWAP_SHMEM_H
#define HOTSWAP_SHMEM_H

#include "storage/lwlock.h"
#include "storage/proc.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#define MAX_DATABASES 32 /* databases with a dispatcher, in a cluster */
#define MAX_HOLDS 16     /* sessions that are dropping or renaming a database */
#define RING_SIZE 8192   /* announced deployments a database; a power of two */
#define WAITER_BUCKETS 1024
#define MAX_STOCKS 64 /* databases with a stock of tokens, since the start */
#define QUEUE_DEPTH 2 /* tasks of an executor: one runs, the next is at hand */

typedef struct RingEntry
{
	pg_uuid_t tenant;
	pg_uuid_t deployment;
} RingEntry;

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
	bool prepared;          /* a prepared transaction may announce nothing when it commits */
	bool overflow;          /* the ring was full: load everything anew */
	bool notify;            /* there is something new in the outbox */
	bool evicted;           /* the dispatcher has been sent away: that is no failure */
	bool no_workers;        /* an executor could not be started for want of worker slots */
	uint32 head;            /* next entry to read */
	uint32 tail;            /* next entry to write */
	RingEntry ring[RING_SIZE];
} DatabaseSlot;

/* Which task: its primary key. */
typedef struct TaskKey
{
	pg_uuid_t tenant;
	pg_uuid_t deployment;
	int32 stage;
	int32 ordinal;
} TaskKey;

typedef enum ExecutorState
{
	EXECUTOR_FREE, /* slot not in use */
	EXECUTOR_STARTING,
	EXECUTOR_IDLE,
	EXECUTOR_BUSY,
	EXECUTOR_DEAD /* exited; the dispatcher has not looked at its tasks yet */
} ExecutorState;

/* All fields are protected by shared->lock. */
typedef struct ExecutorSlot
{
	ExecutorState state;
	Oid database;
	Oid role;
	int pid;           /* 0 until it runs */
	int proc;          /* number of its PGPROC, while pid is set */
	uint32 generation; /* grows with each use of the slot: a late starter sees that it is not his */
	bool stop;         /* leave when idle */
	bool terminated;   /* it has ended because somebody sent it SIGTERM */
	bool cancel;       /* the running task is to be cancelled */
	bool running;      /* queue[0] has begun and may be interrupted */
	int queued;        /* tasks in queue */
	TaskKey queue[QUEUE_DEPTH];
	TimestampTz since; /* of the state, or of the running task, or when it ended */
} ExecutorSlot;

typedef struct Hold
{
	Oid database; /* InvalidOid: free */
	int pid;
} Hold;

typedef struct Waiter
{
	int next; /* in its bucket's list; -1: last */
	pg_uuid_t key;
} Waiter;

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
	LWLock *lock;            /* protects the launcher's fields, holds and executors */
	LWLock *waiter_lock;     /* protects waiter_heads and waiters */
	LWLock *lock_table_lock; /* protects stocks and what lock_table.c keeps */

	int launcher_pid; /* 0: none */
	int launcher_proc;
	bool look_everywhere; /* launcher: look at every database */
	int nlook;            /* launcher: look at these */
	Oid look[MAX_DATABASES];
	Hold holds[MAX_HOLDS];

	DatabaseSlot databases[MAX_DATABASES];

	int waiter_heads[WAITER_BUCKETS]; /* first waiter, -1: none */
	TokenStock stocks[MAX_STOCKS];

	int nwaiters;   /* size of waiters */
	int nexecutors; /* size of executors */

	/* followed by executors[nexecutors] and waiters[nwaiters] (by number of PGPROC) */
} SharedState;

extern SharedState *shared; /* NULL without the preload */

extern void shmem_init(void);
extern ExecutorSlot *shmem_executors(void);
extern Waiter *shmem_waiters(void);
extern void shmem_wake_proc(int proc);
extern DatabaseSlot *shmem_lock_database(Oid database);
extern DatabaseSlot *shmem_my_database(void);
extern DatabaseSlot *shmem_claim_database(Oid database);
extern int shmem_dispatcher_pid(void);
extern bool shmem_database_held(Oid database);

#endif /* HOTSWAP_SHMEM_H */
