/*
 * gate.h
 *		Where approvals stop a deployment.
 */
#ifndef HOTSWAP_GATE_H
#define HOTSWAP_GATE_H

#include "pipeline/visit.h"

extern void gate_enter(Walk *w);
extern bool gate_end_refused(Walk *w);
extern List *gate_path(const Walk *w);
extern bool gate_pass(Walk *w);
extern TimestampTz gate_next_expiry(const Walk *w);

#endif /* HOTSWAP_GATE_H */
