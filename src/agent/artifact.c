/*
 * artifact.c
 *		read_artifact(): an agent gets what it is to install, a piece at a time.
 *
 * An artifact is stored in pieces that are not compressed, so that a part of it can be read without the rest.  Who
 * sees the tenant may read it, and the agent that has claimed a task for it, as long as the task is given out.
 *
 * Locks nothing.
 */
#include "postgres.h"

#include "base/args.h"
#include "base/db.h"
#include "catalog/pg_type.h"
#include "core/access.h"
#include "core/missing.h"
#include "core/tenant.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(hotswap_read_artifact);

#define PIECE_LIMIT (16 * 1024 * 1024) /* bytes */

static DbStatement find_artifact =
	DB_STATEMENT("SELECT artifact IS NOT NULL, artifact_uri FROM hotswap.module_version"
				 " WHERE tenant_id = $1 AND module = $2 AND version = $3",
				 UUIDOID, TEXTOID, TEXTOID);

static DbStatement read_piece =
	DB_STATEMENT("SELECT substr(artifact, $4, $5) FROM hotswap.module_version"
				 " WHERE tenant_id = $1 AND module = $2 AND version = $3",
				 UUIDOID, TEXTOID, TEXTOID, INT4OID, INT4OID);

/* A task of a node that was claimed and is about the version. */
#define CLAIMED                                                                        \
	"EXISTS (SELECT FROM hotswap.task t JOIN hotswap.deployment d ON d.tenant_id = $1" \
	" AND d.id = t.deployment_id WHERE t.tenant_id = $1 AND t.node_id = n.id"          \
	" AND t.lease_until IS NOT NULL AND t.token IS NOT NULL AND d.module = $2"         \
	" AND $3 IN (t.version_after, t.previous_version))"

/* First that of the caller itself: then nobody has to look at all nodes. */
static DbStatement find_own_task =
	DB_STATEMENT("SELECT FROM hotswap.node n WHERE n.tenant_id = $1 AND n.removed_at IS NULL"
				 " AND n.run_as = $4 AND " CLAIMED " LIMIT 1",
				 UUIDOID, TEXTOID, TEXTOID, OIDOID);

static DbStatement find_any_task = DB_STATEMENT(
	"SELECT FROM hotswap.node n WHERE n.tenant_id = $1 AND n.removed_at IS NULL AND n.kind = 'agent'"
	" AND " CLAIMED " AND pg_has_role($4, n.run_as, 'USAGE') LIMIT 1",
	UUIDOID, TEXTOID, TEXTOID, OIDOID);

static bool
has_claimed(const pg_uuid_t *tenant, const char *module, const char *version, Oid caller)
{
	Datum args[] = { UUIDPGetDatum(tenant), CStringGetTextDatum(module),
					 CStringGetTextDatum(version), ObjectIdGetDatum(caller) };

	return db_run(&find_own_task, args, NULL) > 0 || db_run(&find_any_task, args, NULL) > 0;
}

/* 42501, P0002, and 55000 where it is not stored here. */
static void
require_artifact(const pg_uuid_t *tenant, const char *module, const char *version, Oid caller)
{
	Datum args[] = { UUIDPGetDatum(tenant), CStringGetTextDatum(module),
					 CStringGetTextDatum(version) };
	char *uri;

	if (!has_claimed(tenant, module, version, caller))
		access_require(tenant, caller, CAPABILITY_VIEWER, "read an artifact");
	if (db_run(&find_artifact, args, NULL) == 0)
		version_refuse_missing(module, version);
	if (db_bool(0, 1))
		return;
	uri = db_text(0, 2);
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 uri ? errmsg("artifact of version \"%s\" of module \"%s\" is not stored here", version,
						  module) :
				   errmsg("version \"%s\" of module \"%s\" has no artifact", version, module),
			 uri ? errdetail("It is at %s.", uri) : 0));
}

/*
 * read_artifact(module text, version text, "offset" bigint, length integer) returns bytea
 *
 * In: offset from 0; length 1 byte to 16 MB.  Out: so many bytes from there on, fewer at the end, none behind it.
 * Errors: 22023; 42501 neither viewer nor the agent of a claimed task for it; P0002 no such version; 55000 it has no
 * artifact, or only a URI.  Locks nothing.
 */
Datum
hotswap_read_artifact(PG_FUNCTION_ARGS)
{
	char *module = arg_module(fcinfo, 0);
	char *version = arg_version(fcinfo, 1, "version");
	int64 offset = arg_int64(fcinfo, 2, "offset");
	int32 length = arg_int32(fcinfo, 3, "length", 1, PIECE_LIMIT);
	pg_uuid_t tenant = tenant_current();
	Datum args[] = { UUIDPGetDatum(&tenant), CStringGetTextDatum(module),
					 CStringGetTextDatum(version), 0, Int32GetDatum(length) };
	DbScope scope;
	bytea *piece;
	bool isnull;

	if (offset < 0 || offset > PG_INT32_MAX - PIECE_LIMIT)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"offset\" is out of range: %lld", (long long) offset)));
	args[3] = Int32GetDatum((int32) offset + 1);
	db_enter(&scope);
	require_artifact(&tenant, module, version, scope.caller);
	(void) db_run(&read_piece, args, NULL);
	MemoryContextSwitchTo(scope.context);
	piece = DatumGetByteaPCopy(db_datum(0, 1, &isnull));
	db_leave(&scope);
	PG_RETURN_BYTEA_P(piece);
}
