/*
 * finish.c
 *		How a visit takes its deployment to another status.
 *
 * The caller holds the lock on the deployment's row; nothing else is locked.
 */
#include "postgres.h"

#include "pipeline/finish.h"
#include "pipeline/task_set.h"

/* The deployment's own transition comes after those of its parts, in the audit log too. */
void
visit_finish(Visit *v, DeploymentEvent event, const char *reason)
{
	task_set_save(v);
	steps_save_stages(&v->d, v->stages);
	deployment_apply(&v->d, event, reason);
}

/* Ends a deployment of which nothing runs now. */
void
visit_end(Visit *v, DeploymentEvent event, const char *message)
{
	steps_cancel_unfinished(v->stages, message);
	v->d.message = pstrdup(message);
	visit_finish(v, event, message);
}
