/*
 * audit_partition.c
 *		The months' partitions of the audit log: made ahead, and dropped when they are too old.
 *
 * Locks: to make a partition, hotswap.audit_event against other changes of its shape and the
 * default partition, where nobody writes as a rule; to drop one, all of hotswap.audit_event, which
 * every transition writes to, so that the wait is short and is given up.
 */
#include "postgres.h"

#include "base/db.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "core/audit_partition.h"
#include "core/closed.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#define LOCK_WAIT_MS 200 /* how long others may have to queue behind us */

/* The current month and the next one, in UTC, as far as they are missing and can be made. */
static DbStatement missing_partitions = DB_STATEMENT0(
	"SELECT pg_catalog.to_char(m.month, '\"audit_event_\"YYYYMM'),"
	" pg_catalog.to_char(m.month, 'YYYY-MM-DD 00:00:00+00'),"
	" pg_catalog.to_char(m.month + '1 month'::interval, 'YYYY-MM-DD 00:00:00+00')"
	" FROM (SELECT pg_catalog.date_trunc('month', pg_catalog.now() AT TIME ZONE 'UTC') + i * '1 month'::interval"
	" FROM pg_catalog.generate_series(0, 1) i) m (month)"
	" WHERE pg_catalog.to_regclass('hotswap.' || pg_catalog.to_char(m.month, '\"audit_event_\"YYYYMM')) IS NULL"
	" AND NOT EXISTS (SELECT 1 FROM hotswap.audit_event_default d WHERE d.at >= m.month AT TIME ZONE 'UTC'"
	" AND d.at < (m.month + '1 month'::interval) AT TIME ZONE 'UTC')");

/* The oldest month that ended before $1. */
static DbStatement old_partition = DB_STATEMENT(
	"SELECT p.relname::text, p.until FROM (SELECT c.relname,"
	" (pg_catalog.to_date(pg_catalog.right(c.relname, 6), 'YYYYMM')::timestamp + '1 month'::interval)"
	" AT TIME ZONE 'UTC' AS until"
	" FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid"
	" WHERE i.inhparent = 'hotswap.audit_event'::regclass AND c.relname ~ '^audit_event_[0-9]{6}$'"
	" AND c.relnamespace = 'hotswap'::regnamespace) p"
	" WHERE p.until <= $1 ORDER BY p.until LIMIT 1",
	TIMESTAMPTZOID);

/* ATTACH takes a weaker lock than CREATE TABLE ... PARTITION OF. */
static void
make_partition(const char *name, const char *from, const char *until)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(
		&sql,
		"CREATE TABLE hotswap.%s (LIKE hotswap.audit_event_default INCLUDING DEFAULTS INCLUDING INDEXES);"
		"CREATE TRIGGER audit_guard_truncate BEFORE TRUNCATE ON hotswap.%s"
		" FOR EACH STATEMENT EXECUTE FUNCTION hotswap.audit_guard();"
		"ALTER TABLE hotswap.%s ENABLE ALWAYS TRIGGER audit_guard_truncate;"
		"ALTER TABLE hotswap.%s ALTER COLUMN subject_id SET STATISTICS 0, ALTER COLUMN seq SET STATISTICS 0,"
		" ALTER COLUMN at SET STATISTICS 0;"
		"ALTER TABLE hotswap.audit_event ATTACH PARTITION hotswap.%s FOR VALUES FROM ('%s') TO ('%s');",
		name, name, name, name, name, from, until);
	db_utility(sql.data);
	closed_revoke(get_relname_relid(name, get_namespace_oid("hotswap", false)));
}

/*
 * Makes the partitions of this month and the next.  A month of which the default partition has
 * events already stays there.
 */
void
audit_partition_make(void)
{
	DbScope scope;
	uint64 count;
	char *names[2][3];

	db_enter(&scope);
	count = db_run(&missing_partitions, NULL, NULL);
	for (uint64 i = 0; i < count; i++)
		for (int column = 1; column <= 3; column++)
			names[i][column - 1] = db_text(i, column);
	db_limit_lock_wait(LOCK_WAIT_MS);
	for (uint64 i = 0; i < count; i++)
		make_partition(names[i][0], names[i][1], names[i][2]);
	db_leave(&scope);
}

/*
 * Inside a scope: drops the oldest partition that ended before the cutoff; *until is when it ended.
 * False if there is none.
 */
bool
audit_partition_drop(TimestampTz cutoff, TimestampTz *until)
{
	Datum args[] = { TimestampTzGetDatum(cutoff) };
	char *name;

	if (db_run(&old_partition, args, NULL) == 0)
		return false;
	name = db_text(0, 1);
	*until = db_time(0, 2, 0);
	db_limit_lock_wait(LOCK_WAIT_MS);
	db_utility(psprintf("DROP TABLE hotswap.%s", name));
	return true;
}
