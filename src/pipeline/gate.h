/*
 * gate.h
 *		Where approvals stop a deployment.
 */
#ifndef HOTSWAP_GATE_H
#define HOTSWAP_GATE_H

#include "pipeline/visit.h"

extern void gate_enter(Visit *v);
extern bool gate_end_refused(Visit *v);
extern bool gate_pass(Visit *v);
extern TimestampTz gate_next_expiry(const Visit *v);

#endif /* HOTSWAP_GATE_H */
