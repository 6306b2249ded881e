/*
 * closed.h
 *		Takes away the rights that default privileges gave.
 */
#ifndef HOTSWAP_CLOSED_H
#define HOTSWAP_CLOSED_H

extern void closed_revoke(Oid relation);

#endif /* HOTSWAP_CLOSED_H */
