/*
 * executors.h
 *		The slots of the executors: what each one does, and what is to be done next.
 *
 * The dispatcher of a database fills the slots of its executors and frees them (dispatch/pool.c); an
 * executor says in its own slot how far it is (worker/executor.c).  Everybody else asks here.
 */
#ifndef HOTSWAP_EXECUTORS_H
#define HOTSWAP_EXECUTORS_H

#include "utils/timestamp.h"
#include "utils/uuid.h"

#define QUEUE_DEPTH 2 /* tasks of an executor: one runs, the next is at hand */

/* Which task: its primary key. */
typedef struct TaskKey
{
	pg_uuid_t tenant;
	pg_uuid_t deployment;
	int32 stage;
	int32 ordinal;
} TaskKey;

/* How an executor has lost a task. */
typedef enum TaskLoss
{
	LOST_UNBEGUN,
	LOST_BEGUN,
	LOST_OVERRUN /* the task did not end when its time was over */
} TaskLoss;

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
	uint64 login;      /* what the role was before the login, for run/session.c */
	int pid;           /* 0 until it runs */
	int proc;          /* number of its PGPROC, while pid is set */
	uint32 generation; /* grows with each use of the slot: a late starter sees that it is not his */
	bool stop;         /* leave when idle */
	bool resigned;     /* it leaves by itself, and none of its tasks has begun */
	bool terminated;   /* it has ended because somebody sent it SIGTERM */
	bool overran;      /* it has ended because its task did not, when its time was over */
	bool cancel;       /* the running task is to be cancelled */
	bool running;      /* queue[0] has begun and may be interrupted */
	int queued;        /* tasks in queue */
	TaskKey queue[QUEUE_DEPTH];
	TimestampTz since; /* of the state, or of the running task, or when it ended */
} ExecutorSlot;

extern Size executors_size(void);
extern void executors_startup(void);

/* The slots, whether or not they are in use, by number; who changes one holds shared->lock. */
extern int executors_count(void);
extern ExecutorSlot *executor_slot(int index);
extern int executor_index(const ExecutorSlot *slot);
extern void executor_read(int index, ExecutorSlot *copy);

/*
 * Walks through the executors of a database that have not died, dead ones too in the second.  The caller
 * holds shared->lock.
 */
#define foreach_executor(slot, database) \
	for (ExecutorSlot * (slot) = NULL; ((slot) = executor_next(slot, database, false)) != NULL;)
#define foreach_executor_slot(slot, database) \
	for (ExecutorSlot * (slot) = NULL; ((slot) = executor_next(slot, database, true)) != NULL;)
extern ExecutorSlot *executor_next(ExecutorSlot *slot, Oid database, bool dead);

extern ExecutorSlot *executor_claim(Oid role);

/* For those who only look; these take the lock, and do without the preload. */
extern int executors_busy(void);
extern int executor_of(const TaskKey *key);
extern bool executors_have(const TaskKey *key);
extern ExecutorSlot *executors_list(int *count);

static inline bool
task_key_equal(const TaskKey *a, const TaskKey *b)
{
	return memcmp(a, b, sizeof(TaskKey)) == 0;
}

#endif /* HOTSWAP_EXECUTORS_H */
