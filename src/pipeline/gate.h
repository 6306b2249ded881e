/*
 * gate.h
 *		Where approvals stop a deployment, and those that were requested before.
 */
#ifndef HOTSWAP_GATE_H
#define HOTSWAP_GATE_H

#include "pipeline/visit.h"

/* One that goes first. */
typedef struct EarlierDeployment
{
	pg_uuid_t id;
	char *subject;     /* version "1", or release "spring", with a capital letter */
	char *environment; /* its target */
	char *status;
} EarlierDeployment;

extern bool gate_earlier(const Deployment *d, const char *environment, EarlierDeployment *earlier);
extern bool gate_required(const Deployment *d, const char *environment, List *plans,
						  EarlierDeployment *earlier);
extern void gate_enter(Visit *v);
extern bool gate_end_refused(Visit *v);
extern bool gate_pass(Visit *v);
extern void gate_look_again(Visit *v);
extern TimestampTz gate_next_expiry(const Visit *v);

#endif /* HOTSWAP_GATE_H */
