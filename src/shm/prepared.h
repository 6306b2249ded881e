/*
 * prepared.h
 *		What a prepared transaction has to announce when it is committed.
 */
#ifndef HOTSWAP_PREPARED_H
#define HOTSWAP_PREPARED_H

#include "c.h"

typedef enum PreparedNews
{
	PREPARED_NOTHING = 0,
	PREPARED_NEWS = 1,     /* for the dispatcher, the waiters or the launcher */
	PREPARED_DATABASES = 2 /* databases made or changed */
} PreparedNews;

extern Size prepared_size(void);
extern void prepared_startup(void);
extern void prepared_note(int news);
extern void prepared_init(void);

#endif /* HOTSWAP_PREPARED_H */
