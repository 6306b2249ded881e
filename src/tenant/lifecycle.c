/*
 * lifecycle.c
 *		The life of a tenant: create_tenant() and the transitions of tenant_machine.
 *
 * A transition locks the tenant's row, goes through the machine, writes the row and its audit
 * event, and has the dispatcher load everything anew at commit.  A tenant that is deprovisioned is
 * closed as well (tenant_close()): from that commit on nothing can be requested of it that was not
 * there to be cancelled.
 *
 * Locks: tenant row, then the tenant's activity, then the deployments in the order of their ids.
 */
#include "postgres.h"

#include "base/args.h"
#include "base/db.h"
#include "base/uuid.h"
#include "catalog/pg_type.h"
#include "core/call.h"
#include "core/deployment.h"
#include "core/tenant.h"
#include "fmgr.h"
#include "shm/wakeup.h"
#include "tenant/removal.h"
#include "tenant/subdomain.h"
#include "tenant/tier.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(hotswap_create_tenant);
PG_FUNCTION_INFO_V1(hotswap_activate_tenant);
PG_FUNCTION_INFO_V1(hotswap_suspend_tenant);
PG_FUNCTION_INFO_V1(hotswap_resume_tenant);
PG_FUNCTION_INFO_V1(hotswap_deprovision_tenant);
PG_FUNCTION_INFO_V1(hotswap_delete_tenant);

#define TENANT_NAME_LIMIT 200 /* characters */
#define EMAIL_LIMIT 254       /* bytes */
#define EMAIL_LOCAL_LIMIT 64  /* bytes before the @ */

static DbStatement insert_tenant = DB_STATEMENT(
	"INSERT INTO hotswap.tenant (id, name, status, tier, subdomain, contact_email, metadata)"
	" VALUES ($1, $2, 'provisioning', $3, $4, $5, $6) ON CONFLICT (subdomain) DO NOTHING",
	UUIDOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, JSONBOID);

static DbStatement update_status =
	DB_STATEMENT("UPDATE hotswap.tenant SET status = $2::hotswap.tenant_status, status_reason = $3,"
				 " status_changed_at = pg_catalog.now() WHERE id = $1",
				 UUIDOID, TEXTOID, TEXTOID);

/* ---- creation ---- */

/* A tenant as it was given. */
typedef struct TenantRequest
{
	pg_uuid_t id;
	char *name;
	char *subdomain;
	char *contact_email;
	char *tier;
	Jsonb *metadata;
} TenantRequest;

/* What follows the @: labels that do not begin or end with a hyphen, and at least two of them. */
static bool
is_host_name(const char *host)
{
	bool dotted = false;
	char before = '.';

	for (const char *p = host; *p; p++)
	{
		if ((*p == '.' && (before == '.' || before == '-')) || (*p == '-' && before == '.') ||
			(strchr(".-", *p) == NULL && !isalnum((unsigned char) *p) && !IS_HIGHBIT_SET(*p)))
			return false;
		dotted = dotted || *p == '.';
		before = *p;
	}
	return dotted && before != '.' && before != '-';
}

/*
 * Whether somebody reads what is sent there, nobody can tell; what cannot be an address is refused.
 */
static char *
arg_email(FunctionCallInfo fcinfo, int n, const char *word)
{
	char *value = arg_text(fcinfo, n, word, EMAIL_LIMIT);
	char *at = strrchr(value, '@');
	bool valid = at && at > value && at - value <= EMAIL_LOCAL_LIMIT && is_host_name(at + 1) &&
				 strlen(value) <= EMAIL_LIMIT;

	for (const char *p = value; valid && p < at; p++)
		valid = (unsigned char) *p > ' ' && *p != 0x7f && *p != '@';
	if (!valid)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("invalid value for \"%s\": \"%s\"", word, value),
						errdetail("It must look like name@example.com.")));
	return value;
}

static void
lifecycle_read_request(FunctionCallInfo fcinfo, TenantRequest *r)
{
	r->name = arg_text(fcinfo, 0, "name", TENANT_NAME_LIMIT);
	r->subdomain = arg_subdomain(fcinfo, 1, "subdomain");
	r->contact_email = arg_email(fcinfo, 2, "contact_email");
	r->tier = arg_text(fcinfo, 3, "tier", NAME_LIMIT);
	r->metadata = arg_object(fcinfo, 4, "metadata");
	uuid7_generate(&r->id);
}

static void
lifecycle_insert(const TenantRequest *r)
{
	DbArgs args = db_args(&insert_tenant);

	db_arg_uuid(&args, &r->id);
	db_arg_text(&args, r->name);
	db_arg_text(&args, r->tier);
	db_arg_text(&args, r->subdomain);
	db_arg_text(&args, r->contact_email);
	db_arg_jsonb(&args, r->metadata);
	if (db_run_args(&args) == 0)
		ereport(ERROR, (errcode(ERRCODE_UNIQUE_VIOLATION),
						errmsg("subdomain \"%s\" is taken", r->subdomain),
						errdetail("Another tenant has it; it is free again when that one is "
								  "deleted.")));
	tenant_make_environments(&r->id);
}

/*
 * create_tenant(name text, subdomain text, contact_email text, tier text, metadata jsonb) returns
 *		uuid
 *
 * Out: the id of the new tenant, which is provisioning.  The audit log does not tell name and
 * address: it outlives the tenant.  Errors: 22023 bad argument or reserved subdomain, P0002 no such
 * tier, 23505 subdomain taken, 42501.  Waits for a concurrent request for the same subdomain;
 * writes tenant, environment and the audit log.
 */
Datum
hotswap_create_tenant(PG_FUNCTION_ARGS)
{
	TenantRequest request;
	Call c;
	pg_uuid_t *result = palloc(sizeof(pg_uuid_t));

	lifecycle_read_request(fcinfo, &request);
	call_begin_everywhere(&c, CAPABILITY_ADMIN, "create a tenant");
	tier_require(request.tier);
	subdomain_require_free(request.subdomain);
	lifecycle_insert(&request);
	audit_tenant(&c.actor, &request.id, "create", NULL,
				 tenant_machine.statuses[TENANT_PROVISIONING], NULL,
				 audit_detail("subdomain", request.subdomain, "tier", request.tier, NULL));
	wake_reload();
	call_end(&c);
	*result = request.id;
	PG_RETURN_UUID_P(result);
}

/* ---- transitions ---- */

/* A call that is about to change a tenant's status: begin_change(), change_status(). */
typedef struct Change
{
	pg_uuid_t tenant;
	TenantEvent event;
	const char *reason; /* or NULL */
	TenantStatus before;
	TenantStatus after;
	Call call;
} Change;

/* Becomes the owner, locks the tenant and finds out what will become of it. */
static void
begin_change(Change *c, FunctionCallInfo fcinfo, TenantEvent event, const char *reason)
{
	c->tenant = arg_uuid(fcinfo, 0, "tenant");
	c->event = event;
	c->reason = reason;
	call_begin_everywhere(&c->call, CAPABILITY_ADMIN, "change the status of a tenant");
	c->before = machine_parse(&tenant_machine, tenant_lock(&c->tenant));
	c->after = machine_next(&tenant_machine, c->before, event);
}

/* What has no tenant named belongs to the default one: it has to be there. */
static void
refuse_default(const Change *c)
{
	if (tenant_is_default(&c->tenant))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("tenant \"default\" cannot be deprovisioned"),
						errhint("It can be suspended.")));
}

static void
change_status(const Change *c)
{
	DbArgs args = db_args(&update_status);

	db_arg_uuid(&args, &c->tenant);
	db_arg_text(&args, tenant_machine.statuses[c->after]);
	db_arg_text(&args, c->reason);
	(void) db_run_args(&args);
	audit_tenant(&c->call.actor, &c->tenant, tenant_machine.events[c->event],
				 tenant_machine.statuses[c->before], tenant_machine.statuses[c->after], c->reason,
				 NULL);
	wake_reload();
}

static Datum
end_change(Change *c, FunctionCallInfo fcinfo)
{
	call_end(&c->call);
	return status_datum(fcinfo, &tenant_machine, c->after);
}

/* A transition that changes nothing but the status. */
static Datum
lifecycle_change(FunctionCallInfo fcinfo, TenantEvent event, const char *reason)
{
	Change c;

	begin_change(&c, fcinfo, event, reason);
	change_status(&c);
	return end_change(&c, fcinfo);
}

/*
 * activate_tenant(tenant uuid) returns the status
 *
 * Errors: 22023 NULL, 42501, P0002 no such tenant, 55000 not provisioning. Locks the tenant row;
 * audited.
 */
Datum
hotswap_activate_tenant(PG_FUNCTION_ARGS)
{
	return lifecycle_change(fcinfo, TENANT_ACTIVATE, NULL);
}

/*
 * suspend_tenant(tenant uuid, reason text) returns the status
 *
 * In: reason of 1 to 10,000 characters. What is queued waits, and what runs pauses after its
 * current wave. Errors: 22023, 42501, P0002 no such tenant, 55000 not active. Locks the tenant
 * row; audited with the reason.
 */
Datum
hotswap_suspend_tenant(PG_FUNCTION_ARGS)
{
	return lifecycle_change(fcinfo, TENANT_SUSPEND, arg_text(fcinfo, 1, "reason", REASON_LIMIT));
}

/*
 * resume_tenant(tenant uuid) returns the status
 *
 * Errors: 22023 NULL, 42501, P0002 no such tenant, 55000 not suspended. Locks the tenant row;
 * audited.
 */
Datum
hotswap_resume_tenant(PG_FUNCTION_ARGS)
{
	return lifecycle_change(fcinfo, TENANT_RESUME, NULL);
}

/*
 * deprovision_tenant(tenant uuid, reason text, cancel_running boolean) returns the status
 *
 * Waits for the transactions that have just requested something of the tenant, and cancels that
 * too.
 *
 * Errors: 22023; 42501; P0002 no such tenant; 55000 neither active nor suspended, or the tenant
 * "default"; 40001 REPEATABLE READ and something changed after the snapshot. Locks the tenant row
 * and the deployments in the order of their ids; all audited with the reason.
 */
Datum
hotswap_deprovision_tenant(PG_FUNCTION_ARGS)
{
	char *reason = arg_text(fcinfo, 1, "reason", REASON_LIMIT);
	bool cancel_running = arg_bool(fcinfo, 2, "cancel_running");
	Change c;

	begin_change(&c, fcinfo, TENANT_DEPROVISION, reason);
	refuse_default(&c);
	tenant_close(&c.tenant);
	change_status(&c);
	tenant_cancel_deployments(&c.tenant, &c.call.actor, reason, cancel_running);
	return end_change(&c, fcinfo);
}

/*
 * delete_tenant(tenant uuid) returns the status
 *
 * Out: modules with their scripts, nodes, hooks, environments, keys, leases, notifications,
 * delegations, grants and quotas are deleted, name, address and metadata forgotten; deployments
 * stay until retention removes them. Errors: 22023 NULL, 42501, P0002 no such tenant, 55000 not
 * deprovisioning, or a deployment has not ended. Locks the tenant row; audited.
 */
Datum
hotswap_delete_tenant(PG_FUNCTION_ARGS)
{
	Change c;

	begin_change(&c, fcinfo, TENANT_DELETE, NULL);
	tenant_require_idle(&c.tenant);
	change_status(&c);
	tenant_remove(&c.tenant);
	return end_change(&c, fcinfo);
}
