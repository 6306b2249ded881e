/*
 * metric.h
 *		What nodes have reported, summed up for the analysis.
 */
#ifndef HOTSWAP_METRIC_H
#define HOTSWAP_METRIC_H

#include "nodes/pg_list.h"
#include "rollout/analysis.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

/*
 * Inside a scope: sums[node * parts + part] of each node of nodes (uuid[], of so many), for that many equal parts
 * of the time from one on and before another.
 */
extern void metric_read(const pg_uuid_t *tenant, Datum nodes, int count, TimestampTz from,
						TimestampTz until, int parts, MetricSums *sums);

#endif /* HOTSWAP_METRIC_H */
