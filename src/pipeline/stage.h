/*
 * stage.h
 *		Starting a stage.
 */
#ifndef HOTSWAP_STAGE_H
#define HOTSWAP_STAGE_H

#include "pipeline/visit.h"

extern ErrorData *stage_start(Visit *v);

#endif /* HOTSWAP_STAGE_H */
