/*
 * subxact.h
 *		Something that may fail, without the transaction around it.
 */
#ifndef HOTSWAP_SUBXACT_H
#define HOTSWAP_SUBXACT_H

extern ErrorData *subxact_run(void (*body)(void *), void *arg);
extern ErrorData *subxact_try(void (*body)(void *), void *arg);
extern void subxact_undo(void (*body)(void *), void *arg);

#endif /* HOTSWAP_SUBXACT_H */
