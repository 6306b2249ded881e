/*
 * tester.c
 *		hotswap.route: a session asks for a version of a module that is installed on its node, before
 *		others get it or when they do not any more.
 *
 * It needs the capability tester in the tenant of the node.  Such a session runs its queries without
 * parallel workers (pin.c): who may ask cannot be looked up there.
 */
#include "postgres.h"

#include "base/guc.h"
#include "core/access.h"
#include "route/epoch.h"
#include "route/tester.h"
#include "utils/builtins.h"

bool
tester_asks(void)
{
	return *hotswap_route != '\0';
}

/* The version of a module in the setting, MODULE=VERSION with commas between; NULL: none. */
static char *
asked_version(const char *module)
{
	size_t length = strlen(module);
	const char *at = hotswap_route;

	while (*(at += strspn(at, ROUTE_SEPARATORS)))
	{
		size_t end = strcspn(at, ROUTE_SEPARATORS);

		if (end > length && at[length] == '=' && strncmp(at, module, length) == 0)
			return pnstrdup(at + length + 1, end - length - 1);
		at += end;
	}
	return NULL;
}

/*
 * The slot of the version that the session asks for; false: it asks for none.  Raises 42501, and
 * P0002 for one that is not installed.
 */
bool
tester_find_slot(const pg_uuid_t *tenant, const pg_uuid_t *node, const char *module, Oid role,
				 RouteSlot *slot)
{
	char *version = tester_asks() ? asked_version(module) : NULL;

	if (version == NULL)
		return false;
	access_require(tenant, role, CAPABILITY_TESTER, "ask for a version of a module");
	if (!epoch_find_slot(tenant, node, module, version, slot))
		ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
						errmsg("version \"%s\" of module \"%s\" is not installed on the node",
							   version, module),
						errhint("Deploy it, or RESET hotswap.route.")));
	return true;
}
