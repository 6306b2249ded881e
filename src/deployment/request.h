/*
 * request.h
 *		What is asked for when a deployment is requested, and how it gets into the tables.
 */
#ifndef HOTSWAP_REQUEST_H
#define HOTSWAP_REQUEST_H

#include "base/args.h"
#include "core/deployment.h"
#include "nodes/pg_list.h"
#include "utils/jsonb.h"

/* The priority of what goes before all that was given one. */
#define REQUEST_FIRST (PRIORITY_LIMIT + 1)

/* A request, as it was checked. */
typedef struct Request
{
	pg_uuid_t tenant;
	pg_uuid_t id;
	DeploymentKind kind;
	const pg_uuid_t *rolls_back; /* of a rollback */
	char *reason;                /* or NULL */
	char *release;               /* NULL: it is about one version */
	List *targets;               /* of PlanTarget: what is asked for */
	char *module;                /* of a release its name */
	char *version;               /* of a release its digest */
	char *tag;                   /* by which it was named, or NULL */
	char *environment;
	char *key; /* or NULL */
	int32 priority;
	TimestampTz run_at;
	TimestampTz start_by;
	Jsonb *metadata;
	char *on_behalf_of;
	List *require_approval; /* of names */
	bool has_nodes;
	Datum nodes; /* uuid[]: of the target these alone */
	bool allow_revert;
	bool only_target;
	bool reapply;
	bool overtake;
	FailureAction on_failure;
	bool supersede;
	List *heads;       /* of char *: of a declaration */
	bool is_protected; /* the path has a protected environment */
} Request;

/* Before a scope is entered: one that asks for nothing beyond its kind, in the session's tenant, now. */
extern void request_begin(Request *r, DeploymentKind kind, char *reason);

/* Inside a scope: what deployments find in the scripts of versions is found out beforehand. */
extern void request_examine(const pg_uuid_t *tenant, List *targets);

/* Inside a scope, after the tenant was entered: writes what is asked for; it starts after the commit. */
extern void request_create(const Request *r, const AuditActor *actor);

#endif /* HOTSWAP_REQUEST_H */
