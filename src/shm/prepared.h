/*
 * prepared.h
 *		What a prepared transaction has to announce when it is committed.
 */
#ifndef HOTSWAP_PREPARED_H
#define HOTSWAP_PREPARED_H

#include "c.h"

extern Size prepared_size(void);
extern void prepared_startup(void);
extern void prepared_init(void);

#endif /* HOTSWAP_PREPARED_H */
