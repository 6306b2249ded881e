/*
 * person.h
 *		Who acts: the login role, or the person that a role speaks for.
 */
#ifndef HOTSWAP_PERSON_H
#define HOTSWAP_PERSON_H

#include "fmgr.h"
#include "utils/uuid.h"

#define PERSON_LIMIT 200 /* characters */

typedef struct Person
{
	char *name;  /* of the login role, or on_behalf_of */
	char *key;   /* the same for everything that is the same person by its name */
	char *login; /* name of the login role */
	Oid known;   /* the role that the person is; InvalidOid: the database has none of the name */
	Oid login_role;
	Oid role;    /* whose memberships count */
	bool spoken; /* somebody else speaks for the person */
} Person;

/* Before a scope is entered. */
extern char *arg_person(FunctionCallInfo fcinfo, int n);
extern void person_current(Person *p, const char *on_behalf_of);

extern char *person_key(const char *name);
extern bool person_may_be(const char *a, Oid role_a, const char *b, Oid role_b);
extern bool person_is_requester(const Person *p, const char *requested_by, Oid requester,
								const char *login, Oid login_role);

#endif /* HOTSWAP_PERSON_H */
