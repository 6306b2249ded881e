/*
 * load.h
 *		From the tables into the due set.
 */
#ifndef HOTSWAP_LOAD_H
#define HOTSWAP_LOAD_H

extern void load_nothing(void);
extern void load_all(void);
extern void load_tenants(Datum *ids, int count);
extern void load_some(Datum *tenants, Datum *ids, int count);

#endif /* HOTSWAP_LOAD_H */
