/*
 * plan.h
 *		What each node of an environment would run for a deployment.
 */
#ifndef HOTSWAP_PLAN_H
#define HOTSWAP_PLAN_H

#include "core/deployment.h"
#include "core/version_graph.h"

typedef enum StepDirection
{
	STEP_UP,      /* its deploy script */
	STEP_DOWN,    /* its revert script */
	STEP_INSTALL, /* its installer */
	STEP_DECLARED /* none */
} StepDirection;

extern const char *const step_direction_names[];
extern const char *const step_script_names[];

/* A script of a version that a node runs, and what the node runs after it. */
typedef struct Step
{
	char *module;
	char *version;
	StepDirection direction;
	uint8 digest[DIGEST_LENGTH]; /* of the version; of an installer's its own */
	bool transactional;
	bool is_partial;                  /* it takes back what has not come to its end */
	bool is_graph;                    /* else the module's versions are complete */
	List *requirements;               /* of Requirement: what the version that it brings asks for */
	List *asks;                       /* the same of its own version, whichever way it goes */
	List *heads;                      /* of char *: after it, the newest last */
	uint8 head_digest[DIGEST_LENGTH]; /* of the newest head */
} Step;

typedef enum PlanOutcome
{
	NODE_RUNS,
	NODE_SKIPPED, /* nothing to do, or not its turn */
	NODE_BLOCKED  /* there is no way */
} PlanOutcome;

typedef struct NodePlan
{
	pg_uuid_t node;
	char *name;
	Oid run_as;
	bool is_agent;  /* what it runs is an agent's business, else an executor's */
	char *strategy; /* of the environment */
	bool require_signature;
	PlanOutcome outcome;
	char *reason;           /* why it is skipped or blocked */
	char *hint;             /* what to do about it, or NULL */
	List *steps;            /* of Step; of a blocked node, those that it lacks something for */
	bool is_left_out;       /* it does not belong to the deployment, whatever there is to do */
	bool is_pinned;         /* it stays where it is for a time */
	bool runs_target;       /* it runs what was asked for, or something that builds on it */
	int64 swap_from;        /* the last swap of these modules on it; 0: none */
	char *previous_version; /* what it runs of the last module; NULL: nothing */
	bool from_declared;     /* of a rollback: it goes back to what was declared */
} NodePlan;

typedef struct PlanRequest
{
	const pg_uuid_t *tenant;
	const char *release; /* NULL: there is one target */
	bool is_rehearsal;
	List *targets; /* of PlanTarget */
	const char *environment;
	bool is_target;    /* the deployment ends here, else it passes through */
	bool allow_revert; /* versions that a target does not build on are taken back */
	bool reapply;      /* held versions may come again */
	Datum nodes;       /* uuid[]: of these alone */
	bool all_nodes;    /* nodes is not set */
} PlanRequest;

/* All inside a scope, in the caller's memory context. */

/* Of NodePlan, in the order of the nodes' names; those of plan_blocked_agents() come last. */
extern List *plan_environment(const PlanRequest *request);

/* Of NodePlan: agents that a release would pass by, though it has something for them. */
extern List *plan_blocked_agents(const PlanRequest *request);

/* Raises 0A000 where there is nothing to rehearse, since the version is for agents. */
extern void plan_refuse_rehearsal_by_agents(const Deployment *d, List *plans);

/* What a deployment would do in an environment on its path. */
extern List *plan_of_deployment(const Deployment *d, const char *environment);

/* What takes back a deployment in its environment; node: on it alone, unless NULL. */
extern List *plan_rollback(const pg_uuid_t *tenant, const pg_uuid_t *deployment,
						   const pg_uuid_t *node);

/* The same on a node of any environment, of what a deployment has done there since a swap; whatever others ask for. */
extern NodePlan *plan_undo(const pg_uuid_t *tenant, const pg_uuid_t *deployment,
						   const pg_uuid_t *node, int64 swap_from);

/* What a node would do to run what is declared, since a time; NIL: it is not there any more. */
extern List *plan_declaration(const pg_uuid_t *tenant, const char *module, const pg_uuid_t *node,
							  List *heads, TimestampTz since);

/* The steps that lead a node from what it runs now to a version; Taking back needs take_down. */
extern List *plan_remaining(const pg_uuid_t *tenant, const pg_uuid_t *node, const char *module,
							const char *version, bool take_down);

/* What a deployment has done to a module of a node since a swap. */
extern List *plan_done(const pg_uuid_t *tenant, const pg_uuid_t *node, const char *module,
					   const pg_uuid_t *deployment, int64 swap_from);

/* The steps that take back what deployments (uuid[]) have done together. */
extern List *plan_back(const pg_uuid_t *tenant, const pg_uuid_t *node, const char *module,
					   Datum deployments, int64 swap_from);

/* A node has nothing to run, or there is no way; hint may be NULL. */
extern void plan_skip(NodePlan *p, char *reason);
extern void plan_block(NodePlan *p, char *reason, char *hint);

/* A part of a plan of several modules, that of one of them, is added; the first one: is_first. */
extern void plan_merge(NodePlan *p, const NodePlan *part, bool is_first);

/* The steps of a node's modules in the order in which they run, in one transaction: one that cannot is refused. */
extern void plan_join(NodePlan *p);

/* SHA-256 over module, direction and digest of each step. */
extern void plan_digest(List *steps, uint8 *result);

/* What a node runs of the module of its last step when these are done; NULL: nothing. */
extern char *plan_version_after(const List *steps);

/* The versions whose scripts these are. */
extern List *plan_versions(List *steps);

/* The names of a version and of all that it builds on. */
extern List *plan_ancestry(const pg_uuid_t *tenant, const char *module, const char *version);

/*
 * Blocks nodes that a plan would not leave with what their modules ask of each other; dependents: of char *, the
 * modules of which a version asks for one that is planned; is_joint: of what comes together, each may come first.
 */
extern void plan_check_requirements(const pg_uuid_t *tenant, List *plans, List *dependents,
									bool is_joint);

/* What a row of node_module names: its heads, and the indexes of versions that a node runs or ran. */
extern List *plan_head_names(uint64 row, int version_column, int heads_column);
extern List *plan_find_versions(const VersionGraph *g, List *names);

extern List *plan_missing_reverts(const pg_uuid_t *tenant, List *steps);
extern char *plan_names(List *names);

#endif /* HOTSWAP_PLAN_H */
