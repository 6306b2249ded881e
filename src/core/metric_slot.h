/*
 * metric_slot.h
 *		Where the reports of nodes are kept: a ring of partitions, one a day.
 *
 * One more than there are days in the last seven, of which eight have a part; that one is emptied.
 */
#ifndef HOTSWAP_METRIC_SLOT_H
#define HOTSWAP_METRIC_SLOT_H

#include "datatype/timestamp.h"

#define METRIC_SLOTS 9
#define METRIC_RETENTION (7 * USECS_PER_DAY)

/* The slot of a time. */
static inline int16
metric_slot(TimestampTz at)
{
	return (int16) (at / USECS_PER_DAY % METRIC_SLOTS);
}

/* int2[]: the slots of a time, as far as it is kept, each once. */
extern Datum metric_slots(TimestampTz from, TimestampTz until);

#endif /* HOTSWAP_METRIC_SLOT_H */
