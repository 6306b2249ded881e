/*
 * pipeline.h
 *		Advancing a deployment: what the dispatcher does at each visit.
 */
#ifndef HOTSWAP_PIPELINE_H
#define HOTSWAP_PIPELINE_H

#include "pipeline/visit.h"

extern void pipeline_visit(VisitRequest *request, VisitResult *result);
extern void pipeline_fail(VisitRequest *request, VisitResult *result, ErrorData *error);

#endif /* HOTSWAP_PIPELINE_H */
