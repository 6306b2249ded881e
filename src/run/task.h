/*
 * task.h
 *		Running a task: a swap, a verification, a hook or a revert.
 */
#ifndef HOTSWAP_TASK_H
#define HOTSWAP_TASK_H

#include "shm/executors.h"

/* How the task asks its executor about cancelling. */
typedef struct TaskControl
{
	bool (*cancelled)(void);                /* has the task been cancelled? */
	bool (*hold_cancel)(void);              /* the same, and from now on nothing interrupts it */
	void (*wait_for_snapshots)(bool waits); /* does its statement wait for those of others? */
} TaskControl;

/*
 * In an executor, outside a transaction: runs the task and records how it ended.  False: it has not begun,
 * since the session is not what a login of its role would be now.
 */
extern bool task_run_in_executor(const TaskKey *key, const TaskControl *control);

/*
 * In the session of CALL work(), inside a transaction: the same in a subtransaction of it.  False:
 * the session itself has been cancelled.
 */
extern bool task_run_in_session(const TaskKey *key);

#endif /* HOTSWAP_TASK_H */
