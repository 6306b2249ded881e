/*
 * closed.c
 *		Rights on what the extension makes are set, not assumed.
 *
 * What is created gets the rights that the installer's ALTER DEFAULT PRIVILEGES gives to others:
 * on a table that is all of the control plane.  They are taken away at CREATE EXTENSION, before the
 * script grants what it means to, and from every partition that is made later.
 *
 * Locks nothing but what REVOKE locks.
 */
#include "postgres.h"

#include "base/db.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "core/closed.h"
#include "fmgr.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(hotswap_close_rights);

#define REVOKE "pg_catalog.format('REVOKE ALL ON %s %s FROM %s CASCADE', "
#define FROM_WHOM                                \
	", CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE" \
	" pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END)"
#define IN_SCHEMA " = 'hotswap'::regnamespace AND a.grantee <> "

/* $1: one relation, or 0 for all that the schema has, and the schema. */
static DbStatement revokes = DB_STATEMENT(
	"SELECT " REVOKE
	"CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.oid::regclass" FROM_WHOM
	" FROM pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) a"
	" WHERE c.relnamespace" IN_SCHEMA "c.relowner AND $1 IN (0, c.oid)"
	" UNION SELECT " REVOKE "'ROUTINE', p.oid::regprocedure" FROM_WHOM
	" FROM pg_catalog.pg_proc p, pg_catalog.aclexplode(p.proacl) a"
	" WHERE p.pronamespace" IN_SCHEMA "p.proowner AND $1 = 0"
	" UNION SELECT " REVOKE "'TYPE', t.oid::regtype" FROM_WHOM
	" FROM pg_catalog.pg_type t, pg_catalog.aclexplode(t.typacl) a"
	" WHERE t.typnamespace" IN_SCHEMA "t.typowner AND a.grantee <> 0 AND $1 = 0"
	" UNION SELECT " REVOKE "'SCHEMA', 'hotswap'" FROM_WHOM
	" FROM pg_catalog.pg_namespace n, pg_catalog.aclexplode(n.nspacl) a"
	" WHERE n.oid" IN_SCHEMA "n.nspowner AND $1 = 0",
	OIDOID);

/* Inside a scope: nobody but the owner keeps a right on the relation; InvalidOid: on anything. */
void
closed_revoke(Oid relation)
{
	Datum args[] = { ObjectIdGetDatum(relation) };
	uint64 count = db_run(&revokes, args, NULL);
	char **commands = palloc(Max(count, 1) * sizeof(char *));

	for (uint64 i = 0; i < count; i++)
		commands[i] = db_text(i, 1);
	for (uint64 i = 0; i < count; i++)
		db_utility(commands[i]);
}

/*
 * close_rights(relation regclass)
 *
 * In: NULL for everything. For the scripts of the extension, which grant afterwards. Errors: 55000
 * elsewhere. Writes the system catalog.
 */
Datum
hotswap_close_rights(PG_FUNCTION_ARGS)
{
	DbScope scope;

	if (!creating_extension)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("close_rights() can only be called by a script of the extension")));
	db_enter(&scope);
	closed_revoke(PG_ARGISNULL(0) ? InvalidOid : PG_GETARG_OID(0));
	db_leave(&scope);
	PG_RETURN_VOID();
}
