/*
 * subdomain.c
 *		Subdomains of tenants, and those that none can have: reserve_subdomain(),
 *		unreserve_subdomain(), find_tenant().
 *
 * A reservation concerns tenants that are made later; one that has the name keeps it.
 *
 * Locks: installation row, then the row of the tenant "default" for the audit event.
 */
#include "postgres.h"

#include "base/args.h"
#include "base/db.h"
#include "catalog/pg_type.h"
#include "core/call.h"
#include "core/installation.h"
#include "tenant/subdomain.h"
#include "utils/builtins.h"
#include "utils/uuid.h"

PG_FUNCTION_INFO_V1(hotswap_reserve_subdomain);
PG_FUNCTION_INFO_V1(hotswap_unreserve_subdomain);
PG_FUNCTION_INFO_V1(hotswap_find_tenant);

static DbStatement insert_reserved =
	DB_STATEMENT("INSERT INTO hotswap.reserved_subdomain (name) VALUES ($1) ON CONFLICT DO NOTHING",
				 TEXTOID);

static DbStatement delete_reserved =
	DB_STATEMENT("DELETE FROM hotswap.reserved_subdomain WHERE name = $1", TEXTOID);

static DbStatement find_reserved =
	DB_STATEMENT("SELECT 1 FROM hotswap.reserved_subdomain WHERE name = $1", TEXTOID);

static DbStatement find_tenant =
	DB_STATEMENT("SELECT id FROM hotswap.tenant WHERE subdomain = $1", TEXTOID);

/* A label of a host name, in lower case. */
char *
arg_subdomain(FunctionCallInfo fcinfo, int n, const char *word)
{
	char *value = arg_text(fcinfo, n, word, NAME_LIMIT);
	size_t length = strlen(value);
	bool valid = value[0] != '-' && value[length - 1] != '-';

	for (char *p = value; *p; p++)
	{
		if (*p >= 'A' && *p <= 'Z')
			*p += 'a' - 'A';
		valid = valid && ((*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9') || *p == '-');
	}
	if (!valid)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for \"%s\": \"%s\"", word, value),
				 errdetail(
					 "It may contain the letters a to z, digits, and hyphens between them.")));
	return value;
}

/* Raises 22023 where a name is reserved. */
void
subdomain_require_free(const char *name)
{
	Datum args[] = { CStringGetTextDatum(name) };

	if (db_run(&find_reserved, args, NULL) > 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("subdomain \"%s\" is reserved", name),
						errhint("Choose another one, or use hotswap.unreserve_subdomain().")));
}

/* Runs insert_reserved or delete_reserved with its audit event; false if no row was written. */
static bool
change_reserved(const char *name, DbStatement *statement, const char *event)
{
	Datum args[] = { CStringGetTextDatum(name) };
	Call c;
	bool written;

	call_begin_installation(&c, CAPABILITY_ADMIN, "change reserved subdomains");
	written = db_run(statement, args, NULL) > 0;
	if (written)
		installation_audit(&c.actor, event, NULL, NULL, NULL,
						   audit_detail("subdomain", name, NULL));
	call_end(&c);
	return written;
}

/*
 * reserve_subdomain(name text)
 *
 * Errors: 22023, 42501.  Locks the installation and the tenant "default"; writes reserved_subdomain
 * and the audit log, nothing where the name is reserved already.
 */
Datum
hotswap_reserve_subdomain(PG_FUNCTION_ARGS)
{
	(void) change_reserved(arg_subdomain(fcinfo, 0, "name"), &insert_reserved, "reserve_subdomain");
	PG_RETURN_VOID();
}

/*
 * unreserve_subdomain(name text)
 *
 * Errors: 22023, 42501, P0002 it is not reserved.  Locks the installation and the tenant "default";
 * deletes from reserved_subdomain, writes the audit log.
 */
Datum
hotswap_unreserve_subdomain(PG_FUNCTION_ARGS)
{
	char *name = arg_subdomain(fcinfo, 0, "name");

	if (!change_reserved(name, &delete_reserved, "unreserve_subdomain"))
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND), errmsg("subdomain \"%s\" is not reserved", name)));
	PG_RETURN_VOID();
}

/*
 * find_tenant(subdomain text) returns uuid
 *
 * Errors: 22023; P0002 there is none, or none that the caller may see.  Locks and writes nothing.
 */
Datum
hotswap_find_tenant(PG_FUNCTION_ARGS)
{
	char *subdomain = arg_subdomain(fcinfo, 0, "subdomain");
	Datum args[] = { CStringGetTextDatum(subdomain) };
	pg_uuid_t *result = palloc(sizeof(pg_uuid_t));
	DbScope scope;
	bool found;

	db_enter(&scope);
	found = db_run(&find_tenant, args, NULL) > 0;
	if (found)
	{
		*result = db_uuid(0, 1);
		found = access_has(result, scope.caller, CAPABILITY_VIEWER);
	}
	if (!found)
		ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
						errmsg("tenant with subdomain \"%s\" does not exist", subdomain)));
	db_leave(&scope);
	PG_RETURN_UUID_P(result);
}
