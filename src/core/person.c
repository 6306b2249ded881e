/*
 * person.c
 *		Who acts, and whether two names are one person as far as the database can know it.
 *
 * SET ROLE does not make another person: what counts is who logged in.  A role with the capability
 * impersonator may say for whom it speaks; it is trusted to tell persons apart, but a person it
 * speaks for is the same as the role of that name.
 */
#include "postgres.h"

#include <ctype.h>

#include "access/htup_details.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_collation.h"
#include "core/person.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/formatting.h"
#include "utils/syscache.h"

/* A name in lower case without outer blanks. */
char *
person_key(const char *name)
{
	size_t length = strlen(name);

	while (length > 0 && isspace((unsigned char) name[length - 1]))
		length--;
	while (length > 0 && isspace((unsigned char) *name))
	{
		name++;
		length--;
	}
	return str_tolower(name, length, DEFAULT_COLLATION_OID);
}

/* The person on whose account this session acts; on_behalf_of may be NULL. */
void
person_current(Person *p, const char *on_behalf_of)
{
	Oid login = GetSessionUserId();

	p->login = GetUserNameFromId(login, false);
	p->spoken = on_behalf_of != NULL;
	p->name = p->spoken ? pstrdup(on_behalf_of) : p->login;
	p->key = person_key(p->name);
	p->role = p->spoken ? get_role_oid(p->name, true) : login;
	if (!OidIsValid(p->role))
		p->role = login; /* the database does not know the person */
}

/* The login role of a name, InvalidOid when it is none. */
static Oid
login_role(const char *name)
{
	HeapTuple tuple = SearchSysCache1(AUTHNAME, CStringGetDatum(name));
	Oid role = InvalidOid;

	if (!HeapTupleIsValid(tuple))
		return InvalidOid;
	if (((Form_pg_authid) GETSTRUCT(tuple))->rolcanlogin)
		role = ((Form_pg_authid) GETSTRUCT(tuple))->oid;
	ReleaseSysCache(tuple);
	return role;
}

/*
 * May two names be one person?  They are when they are equal but for case and outer blanks, and
 * when they are login roles of which one is a member of the other: that is a second account.
 */
bool
person_may_be(const char *a, const char *b)
{
	Oid role_a;
	Oid role_b;

	if (strcmp(person_key(a), person_key(b)) == 0)
		return true;
	role_a = login_role(a);
	role_b = login_role(b);
	return OidIsValid(role_a) && OidIsValid(role_b) &&
		   (is_member_of_role_nosuper(role_a, role_b) || is_member_of_role_nosuper(role_b, role_a));
}

/* Is the person, or whoever speaks for it, who requested the deployment? */
bool
person_is_requester(const Person *p, const char *requested_by, const char *login)
{
	return person_may_be(p->name, requested_by) || person_may_be(p->login, requested_by) ||
		   strcmp(p->key, person_key(login)) == 0;
}
