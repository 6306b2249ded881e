/*
 * version_graph.h
 *		The versions of a module as a graph, and sets of them.
 *
 * A version is named by its index, in the order of publication: parents come before their children, so that
 * ascending order is always an order in which versions can be applied.
 */
#ifndef HOTSWAP_VERSION_GRAPH_H
#define HOTSWAP_VERSION_GRAPH_H

#include "base/digest.h"
#include "nodes/bitmapset.h"
#include "nodes/pg_list.h"
#include "utils/uuid.h"

typedef struct GraphVersion
{
	char *name;
	int32 ordinal;
	uint8 digest[DIGEST_LENGTH];
	int nparents;
	int *parents;       /* indexes */
	List *requirements; /* of Requirement */
	bool has_revert;
	bool transactional;
} GraphVersion;

typedef struct VersionGraph
{
	char *module;
	int count;
	GraphVersion *versions; /* by index; moves when the graph is loaded again */
	struct names_hash *names;
} VersionGraph;

/*
 * Inside a scope: the graph of a module, NULL if its versions are complete or it does not exist.  It is valid
 * until the end of the transaction.
 */
extern VersionGraph *graph_load(const pg_uuid_t *tenant, const char *module);

/* What module.history is after a publication or a withdrawal; history: before it, NULL for the first. */
extern void graph_history_next(const uint8 *history, bool withdrawn, const uint8 *digest,
							   uint8 *result);

extern int graph_find(const VersionGraph *g, const char *name);

/* A set that is closed under parents, as one applies and takes back versions. */
typedef struct AppliedSet
{
	const VersionGraph *graph;
	Bitmapset *members;
	int *children; /* of each version, those that are members */
	List *heads;   /* of int: the members without such children, ascending */
} AppliedSet;

extern Bitmapset *graph_closure(const VersionGraph *g, List *heads);
extern void applied_begin(AppliedSet *set, const VersionGraph *g, List *heads);
extern void applied_add(AppliedSet *set, int version);
extern void applied_add_all(AppliedSet *set, int version);
extern void applied_remove(AppliedSet *set, int version);

#endif /* HOTSWAP_VERSION_GRAPH_H */
