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

static ExecutorSlot *my_slot;
static volatile sig_atomic_t terminated = false;
static volatile sig_atomic_t overran = false;

/* SIGTERM: a task that is broken off leaves nothing behind, and the dispatcher gives it back. */
static void
terminate(SIGNAL_ARGS)
{
	terminated = true;
	die(postgres_signal_arg);
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
	DatabaseSlot *slot = shmem_lock_database(my_slot->database);

	if (slot == NULL)
		return;
	if (slot->dispatcher_pid != 0)
		shmem_wake_proc(slot->dispatcher_proc);
	LWLockRelease(slot->lock);
}

static bool
dispatcher_lives(void)
{
	return shmem_dispatcher_pid() != 0;
}

/* At exit, after everything else has been released: the tasks are the dispatcher's again. */
static void
executor_leave(int code pg_attribute_unused(), Datum arg pg_attribute_unused())
{
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	my_slot->pid = 0;
	my_slot->state = EXECUTOR_DEAD;
	my_slot->terminated = terminated;
	my_slot->overran = overran;
	my_slot->since = GetCurrentTimestamp();
	LWLockRelease(shared->lock);
	wake_dispatcher();
}

/* Takes the slot that the dispatcher has prepared; false when it is not ours any more. */
static bool
executor_attach(int index)
{
	uint32 generation;
	bool mine;

	memcpy(&generation, MyBgworkerEntry->bgw_extra, sizeof(generation));
	my_slot = executor_slot(index);
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	mine = my_slot->state == EXECUTOR_STARTING && my_slot->generation == generation;
	if (mine)
	{
		my_slot->pid = MyProcPid;
		my_slot->proc = my_proc_number();
	}
	LWLockRelease(shared->lock);
	if (mine)
		before_shmem_exit(executor_leave, (Datum) 0);
	return mine;
}

/* Takes the next task; false when there is none. */
static bool
begin_task(TaskKey *key)
{
	bool found;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	found = my_slot->queued > 0;
	if (found)
	{
		*key = my_slot->queue[0];
		my_slot->running = true;
	}
	if (my_slot->state != (found ? EXECUTOR_BUSY : EXECUTOR_IDLE) || found)
		my_slot->since = GetCurrentTimestamp();
	my_slot->state = found ? EXECUTOR_BUSY : EXECUTOR_IDLE;
	LWLockRelease(shared->lock);
	return found;
}

static void
end_task(void)
{
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	my_slot->queued--;
	memmove(&my_slot->queue[0], &my_slot->queue[1], my_slot->queued * sizeof(TaskKey));
	my_slot->running = false;
	my_slot->cancel = false;
	LWLockRelease(shared->lock);
	/* a cancel that came too late must not hit the next task */
	QueryCancelPending = false;
}

static bool
cancel_requested(void)
{
	bool result;

	LWLockAcquire(shared->lock, LW_SHARED);
	result = my_slot->cancel;
	LWLockRelease(shared->lock);
	return result;
}

/* The task is over and only has to be recorded: a cancel would take the reason of the failure with it. */
static bool
hold_cancel(void)
{
	bool result;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	my_slot->running = false;
	result = my_slot->cancel;
	LWLockRelease(shared->lock);
	QueryCancelPending = false;
	return result;
}

static bool
stop_requested(void)
{
	bool result;

	LWLockAcquire(shared->lock, LW_SHARED);
	result = my_slot->stop && my_slot->queued == 0;
	LWLockRelease(shared->lock);
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
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	my_slot->stop = my_slot->resigned = true;
	my_slot->running = false;
	LWLockRelease(shared->lock);
}

/* Does what is in the slot, one task after the other; false if the executor is to leave. */
static bool
work(void)
{
	static const TaskControl control = { cancel_requested, hold_cancel };
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
	BackgroundWorkerInitializeConnectionByOid(my_slot->database, my_slot->role, 0);
	pgstat_report_appname("hotswap executor");
	wake_defer();
	session_begin(my_slot->login);
	run_limit_on_overrun(overrun);
	while (work() && wait_for_task())
		;
}
