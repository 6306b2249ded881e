/*
 * forecast.h
 *		What a version of a routed module will do on a node, before its script has run.
 */
#ifndef HOTSWAP_FORECAST_H
#define HOTSWAP_FORECAST_H

#include "module/version.h"
#include "route/ring.h"

/* Inside a scope; in the caller's memory context. */
extern char *forecast_words(const RingKey *key, const Version *version);

#endif /* HOTSWAP_FORECAST_H */
