/*
 * release.h
 *		A deployment that waits for an approval goes on when it is there.
 */
#ifndef HOTSWAP_RELEASE_H
#define HOTSWAP_RELEASE_H

#include "core/approval.h"

/* Inside a scope; the caller calls deployment_save() afterwards. */
extern void approval_release(Deployment *d, const Approval *a);

#endif /* HOTSWAP_RELEASE_H */
