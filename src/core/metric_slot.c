/*
 * metric_slot.c
 *		Where the reports of nodes are kept: which partitions a time is in.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "core/metric_slot.h"
#include "utils/array.h"
#include "utils/timestamp.h"

Datum
metric_slots(TimestampTz from, TimestampTz until)
{
	Datum slots[METRIC_SLOTS];
	int count = 0;

	from = Max(from, GetCurrentTimestamp() - METRIC_RETENTION - USECS_PER_DAY);
	for (int64 day = from / USECS_PER_DAY; day <= until / USECS_PER_DAY && count < METRIC_SLOTS;
		 day++)
		slots[count++] = Int16GetDatum(metric_slot(day * USECS_PER_DAY));
	return PointerGetDatum(
		construct_array(slots, count, INT2OID, sizeof(int16), true, TYPALIGN_SHORT));
}
