/*
 * tier.h
 *		Tiers, resources, and how much of each a tier gives.
 */
#ifndef HOTSWAP_TIER_H
#define HOTSWAP_TIER_H

/* All inside a scope. */
extern void tier_install(void);
extern int tier_require(const char *tier);
extern bool resource_require(const char *resource);

#endif /* HOTSWAP_TIER_H */
