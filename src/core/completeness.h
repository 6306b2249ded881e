/*
 * completeness.h
 *		Are the rows there to which others refer?
 */
#ifndef HOTSWAP_COMPLETENESS_H
#define HOTSWAP_COMPLETENESS_H

/* Both inside a scope. */
extern char *completeness_gap(void);
extern void completeness_require(void);

#endif /* HOTSWAP_COMPLETENESS_H */
