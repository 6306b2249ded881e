/*
 * approval_scope.h
 *		What an approval is about beyond the names: the steps that will run, and as which roles.
 */
#ifndef HOTSWAP_APPROVAL_SCOPE_H
#define HOTSWAP_APPROVAL_SCOPE_H

#include "core/plan.h"

typedef struct ApprovalScope
{
	List *steps; /* of Step, each once; NIL: the version says it all */
	List *roles; /* of Oid: those of the nodes; NIL: there are no nodes */
	List *plans; /* of NodePlan, if they had to be made */
} ApprovalScope;

/* All inside a scope of db.h. */

/* What a deployment would do in an environment now. */
extern void approval_scope_plan(const Deployment *d, const char *environment, ApprovalScope *scope);

/* As it was approved; false: it is older than scopes. */
extern bool approval_scope_load(const Deployment *d, const char *environment, int32 round,
								ApprovalScope *scope);

/* The values of the columns roles and steps, from these parameters. */
#define APPROVAL_SCOPE_VALUES(roles, module, version, direction, digest, transactional)      \
	roles "::regrole[], (SELECT jsonb_agg(jsonb_build_object('module', e.module, 'version'," \
		  " e.version, 'direction', e.direction, 'digest', encode(e.digest, 'hex'),"         \
		  " 'transactional', e.transactional) ORDER BY e.n)"                                 \
		  " FROM unnest(" module ", " version ", " direction ", " digest ", " transactional  \
		  ") WITH ORDINALITY e (module, version, direction, digest, transactional, n))"

extern void approval_scope_args(DbArgs *args, const ApprovalScope *scope);

/* What of a scope is not in the one that was approved, in words; NULL: nothing. */
extern char *approval_scope_excess(const ApprovalScope *scope, const ApprovalScope *approved);

#endif /* HOTSWAP_APPROVAL_SCOPE_H */
