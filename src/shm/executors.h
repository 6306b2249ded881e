/*
 * executors.h
 *		The slots of the executors: what each one does, and what is to be done next.
 *
 * The dispatcher of a database fills the slots of its executors and frees them (dispatch/pool.c); an
 * executor says in its own slot how far it is (worker/executor.c).  Everybody else asks here.
 *
 * Whoever writes a field holds shared->lock exclusively, and whoever comes back to a slot after having
 * released it looks at the slot's generation first.  Who may write what depends on the state:
 *
 * FREE		Any dispatcher claims it: it becomes STARTING with a new generation, and has no process.
 * pid = 0	STARTING: the dispatcher of its database writes everything.  The worker that was registered
 *			with this generation enters its pid and proc; where it finds "stop" it is DEAD at once.  The
 *			dispatcher makes it DEAD when that worker cannot come any more.
 * pid > 0	STARTING, IDLE, BUSY: the process lives, and the slot is its own until it says itself that it is
 *			DEAD, however long that takes.  Only the executor writes state, pid, proc, running, since,
 *			waits_for_snapshots, terminated, overran and unbegun, takes queue[0] out, and clears cancel.  The dispatcher of its
 *			database appends to the queue, takes out what stands behind queue[0], and sets cancel.  Anybody
 *			who needs the worker slot or the database sets stop and stop_at, and so does an executor that
 *			leaves by itself; nobody clears them.
 * DEAD		The dispatcher of its database takes the tasks and frees it.  Where no dispatcher is, any other
 *			may claim it.
 */
#ifndef HOTSWAP_EXECUTORS_H
#define HOTSWAP_EXECUTORS_H

#include "utils/timestamp.h"
#include "utils/uuid.h"

#define QUEUE_DEPTH 2       /* tasks of an executor: one runs, the next is at hand */
#define EXECUTOR_NO_SLOT -1 /* the number of a worker that is registered for its place only */

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
	uint32 generation; /* grows with each use of the slot */
	bool stop;         /* leave when idle; nothing more is put in the queue */
	bool terminated;   /* it has ended because somebody sent it SIGTERM */
	bool overran;      /* it has ended because its task did not, when its time was over */
	bool unbegun;      /* it has ended, and that is no failed attempt of queue[0] */
	bool cancel;       /* the running task is to be cancelled */
	bool running;      /* queue[0] has begun and may be interrupted */
	bool
		waits_for_snapshots; /* so does its statement: nobody shall keep one while waiting for hotswap */
	int queued;              /* tasks in queue */
	TaskKey queue[QUEUE_DEPTH];
	TimestampTz since;   /* of the state, or of the running task, or when it ended */
	TimestampTz stop_at; /* when stop was set */
} ExecutorSlot;

extern Size executors_size(void);
extern void executors_startup(void);

/* The slots, whether or not they are in use, by number; who changes one holds shared->lock. */
extern int executors_count(void);
extern ExecutorSlot *executor_slot(int index);
extern int executor_index(const ExecutorSlot *slot);
extern void executor_read(int index, ExecutorSlot *copy);

/*
 * Walks through the executors of a database that have not died, dead ones too in the second.  The
 * caller holds shared->lock.
 */
#define foreach_executor(slot, database) \
	for (ExecutorSlot * (slot) = NULL; ((slot) = executor_next(slot, database, false)) != NULL;)
#define foreach_executor_slot(slot, database) \
	for (ExecutorSlot * (slot) = NULL; ((slot) = executor_next(slot, database, true)) != NULL;)
extern ExecutorSlot *executor_next(ExecutorSlot *slot, Oid database, bool dead);

extern ExecutorSlot *executor_claim(Oid role);
extern void executor_stop(ExecutorSlot *slot);
extern int executors_living(Oid database);
extern void executors_make_room(Oid database, Oid role, bool anywhere);

/* For those who only look; these take the lock, and do without the preload. */
extern int executors_busy(void);
extern int executor_of(const TaskKey *key);
extern int executors_tasks_of(const pg_uuid_t *tenant);
extern bool executors_have(const TaskKey *key);
extern bool executors_wait_for_snapshots(Oid database);
extern ExecutorSlot *executors_list(int *count);

static inline bool
task_key_equal(const TaskKey *a, const TaskKey *b)
{
	return memcmp(a, b, sizeof(TaskKey)) == 0;
}

#endif /* HOTSWAP_EXECUTORS_H */
