/*
 * executor.c
 *		The executor: runs tasks in a session of the role that they belong to.
 *
 * It logs in as that role, so nothing a script does (RESET ROLE, SET SESSION AUTHORIZATION) can
 * make it anybody else.  It takes tasks from its slot, where the dispatcher of the database has put
 * them, one after the other, and leaves the session between two of them as a new login would find it.
 * Where it cannot, since the role or its settings have changed, or has grown too big, it leaves, and the
 * dispatcher gives its tasks to another one.
 *
 * If it dies, its slot says so to the dispatcher at once; what it was doing has been committed or
 * is rolled back.  It does not need the dispatcher in order to finish a task.
 *
 * What it may write in its slot, and when: executors.h.  Each time it looks whether the slot is its own.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/guc.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "run/script.h"
#include "run/session.h"
#include "run/task.h"
#include "shm/executors.h"
#include "shm/shmem.h"
#include "shm/wakeup.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/timestamp.h"
#include "worker/process.h"

/* The slot, which is ours while its generation is the one that we were started for. */
static int my_index;
static uint32 my_generation;
static Oid my_database;
static Oid my_role;
static uint64 my_login;      /* what the role was before the login */
static bool in_task = false; /* between begin_task() and end_task() */
static bool logged_in = false;
static volatile sig_atomic_t terminated = false;
static volatile sig_atomic_t overran = false;

/* SIGTERM: a task that is broken off leaves nothing behind, and the dispatcher gives it back. */
static void
terminate(SIGNAL_ARGS)
{
	terminated = true;
	die(postgres_signal_arg);
}

/* Takes the lock and returns the slot; NULL, and no lock, where the slot is somebody else's. */
static ExecutorSlot *
try_lock_slot(LWLockMode mode)
{
	ExecutorSlot *slot = executor_slot(my_index);

	LWLockAcquire(shared->lock, mode);
	if (slot->generation == my_generation && slot->state != EXECUTOR_FREE &&
		slot->state != EXECUTOR_DEAD)
		return slot;
	LWLockRelease(shared->lock);
	return NULL;
}

/* The same for a process that lives, whose slot nobody frees: without one it must not go on. */
static ExecutorSlot *
lock_slot(LWLockMode mode)
{
	ExecutorSlot *slot = try_lock_slot(mode);

	if (slot == NULL)
		ereport(FATAL,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg_internal("the slot of a hotswap executor was given to another one")));
	return slot;
}

static void
unlock_slot(void)
{
	LWLockRelease(shared->lock);
}

/* A script does not end although its time is over: nothing less will do. */
static void
overrun(void)
{
	overran = true;
	die(SIGTERM);
}

/* Wakes the dispatcher of the database.  The caller holds no lock. */
static void
wake_dispatcher(void)
{
	DatabaseSlot *database = shmem_lock_database(my_database);

	if (database == NULL)
		return;
	if (database->dispatcher_pid != 0)
		shmem_wake_proc(database->dispatcher_proc);
	LWLockRelease(database->lock);
}

static bool
dispatcher_lives(void)
{
	return shmem_dispatcher_pid() != 0;
}

/*
 * Is the end of this process no failed attempt of its first task?  It is none where no task had begun, and
 * where it was sent away; but one that cannot log in would be tried for ever.
 */
static bool
is_unbegun(const ExecutorSlot *slot)
{
	if (in_task)
		return terminated && slot->stop;
	return terminated || logged_in;
}

/* At exit, after everything else has been released: the tasks are the dispatcher's again. */
static void
executor_leave(int code pg_attribute_unused(), Datum arg pg_attribute_unused())
{
	ExecutorSlot *slot = try_lock_slot(LW_EXCLUSIVE);

	if (slot == NULL)
		return;
	slot->unbegun = is_unbegun(slot);
	slot->pid = 0;
	slot->state = EXECUTOR_DEAD;
	slot->terminated = terminated;
	slot->overran = overran;
	slot->since = GetCurrentTimestamp();
	unlock_slot();
	wake_dispatcher();
}

/*
 * Takes the slot that the dispatcher has prepared; false when it is not ours any more, or when we are not
 * wanted any more.
 */
static bool
executor_attach(int index)
{
	ExecutorSlot *slot;
	bool stop;

	if (index == EXECUTOR_NO_SLOT)
		return false;
	my_index = index;
	memcpy(&my_generation, MyBgworkerEntry->bgw_extra, sizeof(my_generation));
	slot = try_lock_slot(LW_EXCLUSIVE);
	if (slot == NULL)
		return false;
	my_database = slot->database;
	my_role = slot->role;
	my_login = slot->login;
	stop = slot->stop;
	if (stop)
	{
		slot->state = EXECUTOR_DEAD;
		slot->unbegun = true;
	}
	else
	{
		slot->pid = MyProcPid;
		slot->proc = my_proc_number();
	}
	unlock_slot();
	if (stop)
		wake_dispatcher();
	else
		before_shmem_exit(executor_leave, (Datum) 0);
	return !stop;
}

/* Takes the next task; false when there is none. */
static bool
begin_task(TaskKey *key)
{
	ExecutorSlot *slot = lock_slot(LW_EXCLUSIVE);
	ExecutorState state = slot->queued > 0 ? EXECUTOR_BUSY : EXECUTOR_IDLE;

	in_task = slot->running = state == EXECUTOR_BUSY;
	if (in_task)
		*key = slot->queue[0];
	if (slot->state != state || in_task)
		slot->since = GetCurrentTimestamp();
	slot->state = state;
	unlock_slot();
	return in_task;
}

static void
end_task(void)
{
	ExecutorSlot *slot = lock_slot(LW_EXCLUSIVE);

	Assert(slot->queued > 0);
	slot->queued--;
	memmove(&slot->queue[0], &slot->queue[1], slot->queued * sizeof(TaskKey));
	in_task = slot->running = slot->cancel = slot->waits_for_snapshots = false;
	unlock_slot();
	/* a cancel that came too late must not hit the next task */
	QueryCancelPending = false;
}

static bool
cancel_requested(void)
{
	bool result = lock_slot(LW_SHARED)->cancel;

	unlock_slot();
	return result;
}

/*
 * The task is over and only has to be recorded: a cancel would take the reason of the failure with
 * it.
 */
static bool
hold_cancel(void)
{
	ExecutorSlot *slot = lock_slot(LW_EXCLUSIVE);
	bool result = slot->cancel;

	slot->running = false;
	unlock_slot();
	QueryCancelPending = false;
	return result;
}

/* Its statement waits for the snapshots of others, or does not any more. */
static void
wait_for_snapshots(bool waits)
{
	ExecutorSlot *slot = lock_slot(LW_EXCLUSIVE);

	slot->waits_for_snapshots = waits;
	unlock_slot();
}

static bool
stop_requested(void)
{
	ExecutorSlot *slot = lock_slot(LW_SHARED);
	bool result = slot->stop && slot->queued == 0;

	unlock_slot();
	return result;
}

static void
reload(void)
{
	if (!ConfigReloadPending)
		return;
	ConfigReloadPending = false;
	ProcessConfigFile(PGC_SIGHUP);
}

/* The tasks in the slot are for somebody else: none of them has begun. */
static void
resign(void)
{
	ExecutorSlot *slot = lock_slot(LW_EXCLUSIVE);

	executor_stop(slot);
	slot->running = in_task = false;
	unlock_slot();
}

/* Does what is in the slot, one task after the other; false if the executor is to leave. */
static bool
work(void)
{
	static const TaskControl control = { cancel_requested, hold_cancel, wait_for_snapshots };
	TaskKey key;

	while (begin_task(&key))
	{
		if (!task_run_in_executor(&key, &control))
		{
			resign();
			return false;
		}
		end_task();
		/* even if nothing could be recorded: then the dispatcher has to find that out */
		wake_deployment(&key.tenant, &key.deployment, false);
		wake_announce();
		session_reset();
		reload();
		if (session_is_bloated())
		{
			resign();
			return false;
		}
	}
	return true;
}

/* Sleeps until there is something to do; false when it is time to leave. */
static bool
wait_for_task(void)
{
	int rc;

	if (stop_requested())
		return false;
	rc = WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
				   hotswap_executor_idle_timeout, wait_event_new("HotswapExecutorMain"));
	ResetLatch(MyLatch);
	/* SIGINT while idle is for a task that is over */
	QueryCancelPending = false;
	CHECK_FOR_INTERRUPTS();
	reload();
	/* without a dispatcher nobody would ever end us */
	return !((rc & WL_TIMEOUT) && !dispatcher_lives());
}

void
hotswap_executor_main(Datum arg)
{
	pqsignal(SIGTERM, terminate);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();
	if (!executor_attach(DatumGetInt32(arg)))
		return;
	BackgroundWorkerInitializeConnectionByOid(my_database, my_role, 0);
	logged_in = true;
	pgstat_report_appname("hotswap executor");
	wake_defer();
	session_begin(my_login);
	run_limit_on_overrun(overrun);
	while (work() && wait_for_task())
		;
}
