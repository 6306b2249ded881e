/*
 * guc.c
 *		Defines hotswap's settings.
 *
 * All of them can be changed without a restart: the workers re-read the configuration on SIGHUP.
 * What differs between environments is a column of hotswap.environment, not a setting.
 */
#include "postgres.h"

#include <limits.h>

#include "base/guc.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/uuid.h"

#define MINUTES_PER_DAY (24 * 60)

int hotswap_max_executors = 4;
int hotswap_max_tenant_executors = 0;
int hotswap_min_executors = 2;
int hotswap_executor_idle_timeout = 60 * 1000;
int hotswap_lock_timeout = 5 * 1000;
int hotswap_statement_timeout = 60 * 60 * 1000;
int hotswap_cancel_grace = 10 * 1000;
int hotswap_retry_base = 1000;
int hotswap_retry_max_delay = 5 * 60 * 1000;
int hotswap_retry_limit = 5;
char *hotswap_retry_sqlstates = NULL;
int hotswap_batch_size = 32;
int hotswap_max_waiters = 0;
int hotswap_audit_retention = 90 * MINUTES_PER_DAY;
int hotswap_deployment_retention = 365 * MINUTES_PER_DAY;
int hotswap_idempotency_ttl = 24 * 60 * 60;
int hotswap_log_level = DEBUG1;
bool hotswap_superuser_nodes = true;
char *hotswap_notify_channel = NULL;
char *hotswap_tenant = NULL;
char *hotswap_route_key = NULL;
char *hotswap_route = NULL;
char *hotswap_pin = NULL;

static const struct config_enum_entry log_levels[] = {
	{ "debug1", DEBUG1, false }, { "info", INFO, false }, { "log", LOG, false }, { NULL, 0, false }
};

/* hotswap.tenant: empty or a UUID as the server writes it. */
static bool
check_tenant(char **newval, void **extra pg_attribute_unused(),
			 GucSource source pg_attribute_unused())
{
	static const char shape[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
	const char *value = *newval;
	size_t i = 0;

	if (value == NULL || *value == '\0')
		return true;
	while (shape[i] && (shape[i] == '-' ? value[i] == '-' : isxdigit((unsigned char) value[i])))
		i++;
	if (shape[i] == '\0' && value[i] == '\0')
		return true;
	GUC_check_errdetail("It must be empty or a UUID such as 0190163d-8694-739b-aea5-966c26f8ad91.");
	return false;
}

/* hotswap.notify_channel: empty or a name that NOTIFY takes. */
static bool
check_channel(char **newval, void **extra pg_attribute_unused(),
			  GucSource source pg_attribute_unused())
{
	if (*newval == NULL || strlen(*newval) < NAMEDATALEN)
		return true;
	GUC_check_errdetail("It must be shorter than %d bytes.", NAMEDATALEN);
	return false;
}

/* hotswap.retry_sqlstates: SQLSTATEs and their classes. */
static bool
check_sqlstates(char **newval, void **extra pg_attribute_unused(),
				GucSource source pg_attribute_unused())
{
	const char *word = *newval;

	while (*(word += strspn(word, SQLSTATE_SEPARATORS)))
	{
		size_t length = strcspn(word, SQLSTATE_SEPARATORS);

		for (size_t i = 0; i < length; i++)
			if (!isalnum((unsigned char) word[i]) || (length != 2 && length != 5))
			{
				GUC_check_errdetail("\"%.*s\" is neither an SQLSTATE nor a class of them.",
									(int) length, word);
				return false;
			}
		word += length;
	}
	return true;
}

/* hotswap.route: MODULE=VERSION, and more of them. */
static bool
check_route(char **newval, void **extra pg_attribute_unused(),
			GucSource source pg_attribute_unused())
{
	const char *at = *newval;

	while (*(at += strspn(at, ROUTE_SEPARATORS)))
	{
		size_t end = strcspn(at, ROUTE_SEPARATORS);
		const char *equals = memchr(at, '=', end);

		if (equals == NULL || equals == at || equals == at + end - 1)
		{
			GUC_check_errdetail("\"%.*s\" is not of the form MODULE=VERSION.", (int) end, at);
			return false;
		}
		at += end;
	}
	return true;
}

static void
define_int(const char *name, const char *description, int *variable, int min, int max, int flags)
{
	DefineCustomIntVariable(name, description, NULL, variable, *variable, min, max, PGC_SIGHUP,
							flags, NULL, NULL, NULL);
}

static void
define_worker_settings(void)
{
	define_int("hotswap.max_executors", "Sets the number of executors that a database may have.",
			   &hotswap_max_executors, 1, 256, 0);
	define_int("hotswap.max_tenant_executors",
			   "Sets how many tasks of one tenant may be in hand in a database at a time.",
			   &hotswap_max_tenant_executors, 0, 256, 0);
	define_int("hotswap.min_executors",
			   "Sets the number of executors that stay logged in once a database has used them.",
			   &hotswap_min_executors, 0, 256, 0);
	define_int("hotswap.executor_idle_timeout",
			   "Sets how long an executor above the minimum may be idle before it ends.",
			   &hotswap_executor_idle_timeout, 100, INT_MAX, GUC_UNIT_MS);
	define_int("hotswap.batch_size",
			   "Sets how many deployments the dispatcher advances in one transaction.",
			   &hotswap_batch_size, 1, 64, 0);
	define_int(
		"hotswap.max_waiters",
		"Sets how many sessions of a database may wait for deployments, approvals and leases.",
		&hotswap_max_waiters, 0, INT_MAX, 0);
	DefineCustomStringVariable("hotswap.notify_channel",
							   "Sets the channel on which the dispatcher sends a NOTIFY when there "
							   "are new notifications.",
							   "Empty means none.", &hotswap_notify_channel, "", PGC_SIGHUP, 0,
							   check_channel, NULL, NULL);
	DefineCustomEnumVariable(
		"hotswap.log_level",
		"Sets the message level of the server log line for each deployment that ends.", NULL,
		&hotswap_log_level, DEBUG1, log_levels, PGC_SIGHUP, 0, NULL, NULL, NULL);
}

static void
define_task_settings(void)
{
	define_int("hotswap.lock_timeout", "Sets how long a statement of a task may wait for a lock.",
			   &hotswap_lock_timeout, 1, INT_MAX, GUC_UNIT_MS);
	define_int("hotswap.statement_timeout", "Sets how long a script of a task may run.",
			   &hotswap_statement_timeout, 1, INT_MAX, GUC_UNIT_MS);
	define_int("hotswap.cancel_grace",
			   "Sets how long a cancelled task may go on before its executor is ended.",
			   &hotswap_cancel_grace, 1, INT_MAX, GUC_UNIT_MS);
	define_int(
		"hotswap.retry_base",
		"Sets the delay before the second attempt at a task; it doubles with each further one.",
		&hotswap_retry_base, 1, INT_MAX, GUC_UNIT_MS);
	define_int("hotswap.retry_max_delay", "Sets the longest delay between two attempts at a task.",
			   &hotswap_retry_max_delay, 1, INT_MAX, GUC_UNIT_MS);
	define_int("hotswap.retry_limit",
			   "Sets how many attempts a task has when its errors are transient.",
			   &hotswap_retry_limit, 1, 1000, 0);
	DefineCustomStringVariable(
		"hotswap.retry_sqlstates",
		"Sets the SQLSTATEs and classes of errors that are transient besides the usual ones.", NULL,
		&hotswap_retry_sqlstates, "", PGC_SIGHUP, GUC_LIST_INPUT, check_sqlstates, NULL, NULL);
}

static void
define_retention_settings(void)
{
	define_int("hotswap.audit_retention",
			   "Sets how long audit events are kept; whole months are dropped.",
			   &hotswap_audit_retention, MINUTES_PER_DAY, INT_MAX, GUC_UNIT_MIN);
	define_int("hotswap.deployment_retention", "Sets how long ended deployments are kept.",
			   &hotswap_deployment_retention, 1, INT_MAX, GUC_UNIT_MIN);
	DefineCustomIntVariable("hotswap.idempotency_ttl",
							"Sets how long an idempotency key is remembered.", NULL,
							&hotswap_idempotency_ttl, hotswap_idempotency_ttl, 1, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
}

static void
define_route_settings(void)
{
	DefineCustomStringVariable("hotswap.route_key",
							   "Sets whom the session works for, where a part of the callers gets "
							   "another version of a routed module.",
							   "The same key always gets the same one. Empty means the session.",
							   &hotswap_route_key, "", PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("hotswap.route",
							   "Sets which versions of routed modules the session calls.",
							   "A list of MODULE=VERSION. It needs the capability tester.",
							   &hotswap_route, "", PGC_USERSET, GUC_LIST_INPUT, check_route, NULL,
							   NULL);
	DefineCustomStringVariable("hotswap.pin", "Hands the state of the route to parallel workers.",
							   NULL, &hotswap_pin, "", PGC_SUSET,
							   GUC_NO_SHOW_ALL | GUC_NO_RESET_ALL | GUC_NOT_IN_SAMPLE |
								   GUC_DISALLOW_IN_FILE,
							   NULL, NULL, NULL);
}

/* Defines all settings; called once by _PG_init, with or without preload. */
void
guc_init(void)
{
	define_worker_settings();
	define_task_settings();
	define_retention_settings();
	DefineCustomBoolVariable("hotswap.superuser_nodes",
							 "Allows nodes whose scripts run as a superuser to be registered.",
							 NULL, &hotswap_superuser_nodes, true, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("hotswap.tenant",
							   "Sets the tenant that functions act for when none is given.",
							   "Empty means the tenant \"default\".", &hotswap_tenant, "",
							   PGC_USERSET, 0, check_tenant, NULL, NULL);
	define_route_settings();
	MarkGUCPrefixReserved("hotswap");
}

/* Sets a parameter of the server's until the nest level ends: see NewGUCNestLevel(). */
void
guc_push(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
							 false);
}
