/*
 * place.h
 *		Where in a script an error is.
 */
#ifndef HOTSWAP_PLACE_H
#define HOTSWAP_PLACE_H

#include "run/record.h"

extern bool place_find(const TaskRun *run, const ErrorData *error, ScriptPlace *place);

#endif /* HOTSWAP_PLACE_H */
