/*
 * installer.c
 *		Installers that come after their versions: publish_installer().
 *
 * A long chain is squashed without touching it: the installer is another way from nothing to a version that is
 * there.  The version's digest stays, so that who builds on it, approved or signed it need not know; the
 * installer has a digest of its own, over that and the script, and signatures of its own.
 *
 * Locks: tenant row, then the version's row.
 */
#include "postgres.h"

#include "base/args.h"
#include "base/db.h"
#include "catalog/pg_type.h"
#include "core/call.h"
#include "core/missing.h"
#include "core/quota.h"
#include "core/tenant.h"
#include "fmgr.h"
#include "module/examination.h"
#include "module/signature.h"
#include "module/signing_key.h"
#include "module/tag.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(hotswap_publish_installer);
PG_FUNCTION_INFO_V1(hotswap_installer_signing_payload);

static DbStatement add_installer = DB_STATEMENT(
	"UPDATE hotswap.module_version SET install_sql = $4, install_digest = $5,"
	" install_published_at = pg_catalog.now(), install_published_by = $6, findings = $7::json,"
	" findings_digest = $8 WHERE tenant_id = $1 AND module = $2 AND version = $3",
	UUIDOID, TEXTOID, TEXTOID, TEXTOID, BYTEAOID, TEXTOID, TEXTOID, BYTEAOID);

typedef struct Installer
{
	pg_uuid_t tenant;
	char *module;
	char *version;
	char *scripts[SCRIPT_COUNT]; /* the installer alone */
	List *findings;              /* in it */
	uint8 digest[DIGEST_LENGTH];
	GivenSignature signature;
} Installer;

/* Reads the version that it is for, without the scripts, and computes the digest. */
static Version *
read_version(Installer *i)
{
	Version *v;

	i->version = version_resolve(&i->tenant, i->module, i->version);
	v = version_read(&i->tenant, i->module, i->version, 0);
	if (v == NULL)
		version_refuse_missing(i->module, i->version);
	if (!v->is_graph)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the versions of module \"%s\" are complete in themselves", i->module),
				 errdetail("A version that is complete in itself is its own installer.")));
	digest_installer(v->digest, i->scripts[SCRIPT_INSTALL], i->digest);
	return v;
}

/* Is the installer there already?  Raises 23505 if there is another one. */
static bool
already_published(const Installer *i, const Version *v)
{
	if (v->has_installer && memcmp(v->install_digest, i->digest, DIGEST_LENGTH) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNIQUE_VIOLATION),
				 errmsg("version \"%s\" of module \"%s\" already has another installer", i->version,
						i->module),
				 errdetail("The SHA-256 of that installer is %s, that of what was given is %s.",
						   digest_hex(v->install_digest), digest_hex(i->digest)),
				 errhint("An installer never changes; add one to another version.")));
	return v->has_installer;
}

/* What the rules are about in the installer, which runs as the version's scripts do. */
static List *
examine_installer(const Installer *i, const Version *v)
{
	Version content = { .transactional = v->transactional };

	content.scripts[SCRIPT_INSTALL] = i->scripts[SCRIPT_INSTALL];
	return examine_scripts(&content, EXAMINE_BODIES);
}

/* What the rules are about in all the scripts of the version, as it is kept. */
static char *
examine(const Installer *i, Version *v)
{
	List *findings;

	if (v->findings)
		findings = examination_read(v->findings);
	else
	{
		version_read_scripts(&i->tenant, v);
		findings = examine_scripts(v, EXAMINE_ONLY);
	}
	return examination_text(list_concat(findings, i->findings));
}

static void
insert(const Installer *i, Version *v, const AuditActor *actor)
{
	DbArgs args = db_args(&add_installer);
	char *findings = examine(i, v);
	uint8 findings_digest[DIGEST_LENGTH];

	version_digest_findings(v->digest, findings, findings_digest);
	db_arg_uuid(&args, &i->tenant);
	db_arg_text(&args, i->module);
	db_arg_text(&args, i->version);
	db_arg_text(&args, i->scripts[SCRIPT_INSTALL]);
	db_arg_digest(&args, i->digest);
	db_arg_text(&args, actor->person);
	db_arg_text(&args, findings);
	db_arg_digest(&args, findings_digest);
	if (db_run_args(&args) != 1)
		elog(ERROR, "version \"%s\" of module \"%s\" has disappeared", i->version, i->module);
	quota_require(&i->tenant, QUOTA_STORED_BYTES);
	audit_tenant(actor, &i->tenant, "publish_installer", NULL, NULL, NULL,
				 audit_detail("module", i->module, "version", i->version, "digest",
							  digest_hex(i->digest), NULL));
}

/*
 * publish_installer(module text, version text, install_sql text, signature bytea, signing_key text,
 *		tenant uuid) returns text
 *
 * In: install_sql: at most 16 MB; signature with signing_key, and tenant may be NULL.  Out: the installer's
 * SHA-256 in hex.  Errors: 22023, 42601 and 0A000 of the script, 23505 there is another one, 53400 the quota is
 * exceeded, 55000 the module's versions are complete or the key does not count, P0002 no such version, tenant or
 * key, 42501, YH003, YH010.  Locks the tenant row and the version's; writes module_version, installer_signature
 * and the audit log, nothing where the same installer and signature are there.
 */
Datum
hotswap_publish_installer(PG_FUNCTION_ARGS)
{
	Installer i = { .module = arg_module(fcinfo, 0),
					.version = arg_version(fcinfo, 1, "version"),
					.signature = signature_arguments(fcinfo, 3),
					.tenant = tenant_argument(fcinfo, 5) };
	Version *v;
	Call c;

	i.scripts[SCRIPT_INSTALL] = script_argument(fcinfo, 2, "install_sql", true);
	call_begin_change(&c, &i.tenant, CAPABILITY_DEPLOYER, "publish an installer");
	v = read_version(&i);
	i.findings = examine_installer(&i, v);
	if (!already_published(&i, v))
		insert(&i, v, &c.actor);
	if (i.signature.key)
		version_sign(&(SignedVersion){ &i.tenant, i.module, i.version, i.digest, true },
					 &i.signature, &c.actor);
	call_end(&c);
	PG_RETURN_TEXT_P(cstring_to_text(digest_hex(i.digest)));
}

/*
 * installer_signing_payload(module text, version text, install_sql text, tenant uuid) returns text
 *
 * Out: what signature_payload() makes of them.  Errors: 22023, 55000 the module's versions are complete, P0002 no
 * such version or tenant, 42501.  Reads the version's digest, for who may publish.
 */
Datum
hotswap_installer_signing_payload(PG_FUNCTION_ARGS)
{
	Installer i = { .module = arg_module(fcinfo, 0),
					.version = arg_version(fcinfo, 1, "version"),
					.tenant = tenant_argument(fcinfo, 3) };
	text *payload;
	Call c;

	i.scripts[SCRIPT_INSTALL] = script_argument(fcinfo, 2, "install_sql", true);
	call_begin(&c, &i.tenant, CAPABILITY_DEPLOYER, "compute the digest of an installer");
	(void) read_version(&i);
	MemoryContextSwitchTo(c.scope.context);
	payload = cstring_to_text(signature_payload(&i.tenant, i.module, i.version, i.digest, true));
	call_end(&c);
	PG_RETURN_TEXT_P(payload);
}
