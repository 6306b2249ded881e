/*
 * subdomain.h
 *		Subdomains of tenants, and those that none can have.
 */
#ifndef HOTSWAP_SUBDOMAIN_H
#define HOTSWAP_SUBDOMAIN_H

extern void subdomain_install(void);

#endif /* HOTSWAP_SUBDOMAIN_H */
