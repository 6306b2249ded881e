/*
 * tier.h
 *		Tiers, resources, and how much of each a tier gives.
 */
#ifndef HOTSWAP_TIER_H
#define HOTSWAP_TIER_H

extern void tier_install(void);

#endif /* HOTSWAP_TIER_H */
