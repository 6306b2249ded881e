/*
 * measure.h
 *		What hotswap measures of database nodes by itself.
 */
#ifndef HOTSWAP_MEASURE_H
#define HOTSWAP_MEASURE_H

#define MEASURE_MS (30 * 1000) /* between two measurements */

/* In a transaction: false where no environment wants it. */
extern bool measure_nodes(void);

#endif /* HOTSWAP_MEASURE_H */
