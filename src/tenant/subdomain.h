/*
 * subdomain.h
 *		Subdomains of tenants, and those that none can have.
 */
#ifndef HOTSWAP_SUBDOMAIN_H
#define HOTSWAP_SUBDOMAIN_H

#include "fmgr.h"

extern char *arg_subdomain(FunctionCallInfo fcinfo, int n, const char *word);

/* Inside a scope. */
extern void subdomain_require_free(const char *name);

#endif /* HOTSWAP_SUBDOMAIN_H */
