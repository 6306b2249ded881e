/*
 * release.h
 *		Which versions a deployment is about: one of one module, or those of a release.
 */
#ifndef HOTSWAP_RELEASE_H
#define HOTSWAP_RELEASE_H

#include "core/deployment.h"

/* What is wanted of a module. */
typedef struct PlanTarget
{
	char *module;
	char *version;
} PlanTarget;

/* A FROM item: the modules and versions of a deployment, which is a row of that name. */
#define TARGETS_OF(d)                                                        \
	"(SELECT " d ".module, " d ".version WHERE " d ".release IS NULL"        \
	" UNION ALL SELECT rm.module, rm.version FROM hotswap.release_module rm" \
	" WHERE rm.tenant_id = " d ".tenant_id AND rm.release = " d ".release)"

/* A condition: is one of them of this module? */
#define IS_ABOUT(d, module)                                       \
	"CASE WHEN " d ".release IS NULL THEN " d ".module = " module \
	" ELSE EXISTS (SELECT FROM " TARGETS_OF(d) " x WHERE x.module = " module ") END"

/* A condition: are two deployments about a module that is the same? */
#define SHARES_MODULE(a, b)                                                                      \
	"CASE WHEN " a ".release IS NULL AND " b ".release IS NULL THEN " a ".module = " b ".module" \
	" ELSE EXISTS (SELECT FROM " TARGETS_OF(a) " x JOIN " TARGETS_OF(                            \
		b) " y"                                                                                  \
		   " ON y.module = x.module) END"

/* An expression: what a deployment brings, at the beginning of a sentence. */
#define SUBJECT(d) \
	"coalesce('Release \"' || " d ".release || '\"', 'Version \"' || " d ".version || '\"')"

/* All inside a scope, in the caller's memory context. */

/* Of PlanTarget, in the order of the modules' names. */
extern List *release_targets(const pg_uuid_t *tenant, const char *release);
extern List *deployment_targets(const Deployment *d);

/* The names of the modules of targets. */
extern List *target_modules(List *targets);

/* What a deployment brings, in words: version "1", or release "spring". */
extern char *deployment_words(const Deployment *d);

#endif /* HOTSWAP_RELEASE_H */
