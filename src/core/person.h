/*
 * person.h
 *		Who acts: the login role, or the person that a role speaks for.
 */
#ifndef HOTSWAP_PERSON_H
#define HOTSWAP_PERSON_H

#include "utils/uuid.h"

#define PERSON_LIMIT 200 /* characters */

typedef struct Person
{
	char *name;  /* of the login role, or on_behalf_of */
	char *key;   /* the same for everything that is the same person by its name */
	char *login; /* name of the login role */
	Oid role;    /* whose memberships count */
	bool spoken; /* somebody else speaks for the person */
} Person;

/* Before a scope is entered. */
extern void person_current(Person *p, const char *on_behalf_of);

extern char *person_key(const char *name);
extern bool person_may_be(const char *a, const char *b);
extern bool person_is_requester(const Person *p, const char *requested_by, const char *login);

#endif /* HOTSWAP_PERSON_H */
