/*
 * audit_partition.h
 *		The months' partitions of the audit log.
 */
#ifndef HOTSWAP_AUDIT_PARTITION_H
#define HOTSWAP_AUDIT_PARTITION_H

#include "datatype/timestamp.h"

/* In a transaction. */
extern void audit_partition_make(void);

/* Inside a scope. */
extern bool audit_partition_drop(TimestampTz cutoff, TimestampTz *until);

#endif /* HOTSWAP_AUDIT_PARTITION_H */
