/*
 * tier.h
 *		Tiers, resources, and how much of each a tier gives.
 */
#ifndef HOTSWAP_TIER_H
#define HOTSWAP_TIER_H

/* Inside a scope. */
extern int tier_require(const char *tier);

#endif /* HOTSWAP_TIER_H */
