/*
 * finish.h
 *		How a visit takes its deployment to another status.
 */
#ifndef HOTSWAP_FINISH_H
#define HOTSWAP_FINISH_H

#include "pipeline/visit.h"

extern void visit_finish(Visit *v, DeploymentEvent event, const char *reason);
extern void visit_end(Visit *v, DeploymentEvent event, const char *message);

#endif /* HOTSWAP_FINISH_H */
