/*
 * node_health.h
 *		Which nodes are healthy, by what they report.
 */
#ifndef HOTSWAP_NODE_HEALTH_H
#define HOTSWAP_NODE_HEALTH_H

#include "nodes/pg_list.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

typedef enum HealthState
{
	HEALTH_UNKNOWN, /* nobody reports */
	HEALTH_HEALTHY,
	HEALTH_UNHEALTHY
} HealthState;

extern const char *const health_state_names[];

typedef struct NodeHealth
{
	pg_uuid_t node;
	char *name;
	HealthState state;
	List *reasons; /* of char *: why it is unhealthy */
} NodeHealth;

/* Inside a scope. */
extern List *node_health_read(const pg_uuid_t *tenant, const char *environment);
extern HealthState environment_health(const pg_uuid_t *tenant, const char *environment);

#endif /* HOTSWAP_NODE_HEALTH_H */
