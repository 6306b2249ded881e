/*
 * surplus.h
 *		Slots of routed modules that nobody needs any more.
 */
#ifndef HOTSWAP_SURPLUS_H
#define HOTSWAP_SURPLUS_H

extern void surplus_begin(void);

/*
 * Inside a scope: drops those of so many modules on nodes; false: there are no more.  At the end raises
 * 55000 if one could not be dropped.
 */
extern bool surplus_drop(int limit);

#endif /* HOTSWAP_SURPLUS_H */
