/*
 * person.c
 *		Who acts, and whether two names are one person as far as the database can know it.
 *
 * SET ROLE does not make another person: what counts is who logged in; neither does ALTER ROLE ...
 * RENAME: roles are kept by their OIDs.  A role with the capability
 * impersonator may say for whom it speaks; it is trusted to tell persons apart, but a person it
 * speaks for is the same as the role of that name.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "base/args.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_collation.h"
#include "core/audit.h"
#include "core/person.h"
#include "miscadmin.h"
#include "parser/scansup.h"
#include "utils/acl.h"
#include "utils/formatting.h"
#include "utils/syscache.h"

/*
 * A name in lower case without outer blanks: first as in the C locale, since the database's may not
 * take I for the capital of i.
 */
char *
person_key(const char *name)
{
	size_t length = strlen(name);
	char *ascii;

	while (length > 0 && scanner_isspace(name[length - 1]))
		length--;
	while (length > 0 && scanner_isspace(*name))
	{
		name++;
		length--;
	}
	ascii = asc_tolower(name, length);
	return str_tolower(ascii, strlen(ascii), DEFAULT_COLLATION_OID);
}

/* The argument on_behalf_of, or NULL; raises 22023 for the name by which the audit log calls us. */
char *
arg_person(FunctionCallInfo fcinfo, int n)
{
	char *name = arg_text_or_null(fcinfo, n, "on_behalf_of", PERSON_LIMIT);

	if (name && strcmp(person_key(name), AUDIT_SELF) == 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("on_behalf_of cannot be \"%s\"", name),
						errdetail("It stands for what hotswap does by itself.")));
	return name;
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
	p->login_role = login;
	p->known = p->spoken ? get_role_oid(p->name, true) : login;
	p->role = OidIsValid(p->known) ? p->known : login;
}

static bool
can_log_in(Oid role)
{
	HeapTuple tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(role));
	bool result;

	if (!HeapTupleIsValid(tuple))
		return false;
	result = ((Form_pg_authid) GETSTRUCT(tuple))->rolcanlogin;
	ReleaseSysCache(tuple);
	return result;
}

/*
 * May two names be one person?  They are when they are equal but for case and outer blanks, when
 * they were the same role, whatever it is called now (InvalidOid: whoever has the name), and when
 * they are login roles of which one is a member of the other: that is a second account.
 */
bool
person_may_be(const char *a, Oid role_a, const char *b, Oid role_b)
{
	if (!OidIsValid(role_a))
		role_a = get_role_oid(a, true);
	if (!OidIsValid(role_b))
		role_b = get_role_oid(b, true);
	if (strcmp(person_key(a), person_key(b)) == 0 || (OidIsValid(role_a) && role_a == role_b))
		return true;
	return can_log_in(role_a) && can_log_in(role_b) &&
		   (is_member_of_role_nosuper(role_a, role_b) || is_member_of_role_nosuper(role_b, role_a));
}

/* Is the person, or whoever speaks for it, who requested the deployment? */
bool
person_is_requester(const Person *p, const char *requested_by, Oid requester, const char *login,
					Oid login_role)
{
	return person_may_be(p->name, p->known, requested_by, requester) ||
		   person_may_be(p->login, p->login_role, requested_by, requester) ||
		   strcmp(p->key, person_key(login)) == 0 ||
		   (OidIsValid(login_role) && p->known == login_role);
}
