/*
 * waves.h
 *		The waves of a stage, and what lies between them.
 */
#ifndef HOTSWAP_WAVES_H
#define HOTSWAP_WAVES_H

#include "pipeline/visit.h"

typedef enum WavesResult
{
	WAVES_WAIT, /* for tasks, or for the end of a bake */
	WAVES_PAUSED,
	WAVES_DONE,
	WAVES_FAILED
} WavesResult;

extern int *waves_begin(Visit *v, List *plans);
extern WavesResult waves_advance(Visit *v);
extern void waves_enter(Visit *v);
extern void waves_save(Visit *v);
extern bool waves_are_paused(const Visit *v);
extern char *waves_pause_words(const Visit *v);

#endif /* HOTSWAP_WAVES_H */
