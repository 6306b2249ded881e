/*
 * pin.h
 *		The state of the route that a transaction has.
 */
#ifndef HOTSWAP_ROUTE_PIN_H
#define HOTSWAP_ROUTE_PIN_H

#include "base/compat.h"

typedef struct Pin
{
	LocalTransactionId
		transaction; /* what follows is of another one if it is not the present one */
	uint64 serial;   /* of the pins of this process */
	int64 epoch;
	Oid role;   /* who the session was for then, see choice.c */
	int bucket; /* its place among ROUTE_ALL */
	bool used;  /* something was called by it: it cannot be another any more */
} Pin;

extern Pin pin;

static inline bool
pin_is_current(void)
{
	return pin.transaction == my_transaction_number();
}

extern void pin_ensure(void);
extern bool pin_renew(void);
extern void pin_init(void);

#endif /* HOTSWAP_ROUTE_PIN_H */
