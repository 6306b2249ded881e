/*
 * node_health.h
 *		Is a node healthy?
 */
#ifndef HOTSWAP_NODE_HEALTH_H
#define HOTSWAP_NODE_HEALTH_H

#include "nodes/pg_list.h"
#include "utils/uuid.h"

typedef enum HealthState
{
	HEALTH_UNKNOWN, /* nobody reports */
	HEALTH_HEALTHY,
	HEALTH_UNHEALTHY
} HealthState;

typedef struct NodeHealth
{
	pg_uuid_t node;
	char *name;
	HealthState state;
	List *reasons; /* of char *: why it is unhealthy */
} NodeHealth;

/* Inside a scope: of NodeHealth, those of an environment; or, where that is NULL, the one node. */
extern List *node_health_read(const pg_uuid_t *tenant, const char *environment,
							  const pg_uuid_t *node);

#endif /* HOTSWAP_NODE_HEALTH_H */
