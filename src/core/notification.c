/*
 * notification.c
 *		The outbox: a notice is written with the event that it is about.
 *
 * Locks nothing.
 */
#include "postgres.h"

#include "base/db.h"
#include "base/uuid.h"
#include "catalog/pg_type.h"
#include "core/notification.h"
#include "shm/wakeup.h"
#include "utils/builtins.h"

static DbStatement insert_notification = DB_STATEMENT(
	"INSERT INTO hotswap.notification (tenant_id, deployment_id, id, event, at, environment, concerns,"
	" reason) VALUES ($1, $2, $3, $4::hotswap.notification_event, $5, $6, $7, $8)",
	UUIDOID, UUIDOID, UUIDOID, TEXTOID, TIMESTAMPTZOID, TEXTOID, TEXTARRAYOID, TEXTOID);

void
notification_add(const Deployment *d, const char *environment, const char *event, List *concerns,
				 const char *reason)
{
	pg_uuid_t id;
	DbArgs args = db_args(&insert_notification);

	uuid7_generate(&id);
	db_arg_uuid(&args, &d->tenant);
	db_arg_uuid(&args, &d->id);
	db_arg_uuid(&args, &id);
	db_arg_text(&args, event);
	db_arg_time(&args, GetCurrentTimestamp());
	db_arg_text(&args, environment);
	db_arg_datum(&args, TEXTARRAYOID, db_text_array(concerns), false);
	db_arg_text(&args, reason);
	(void) db_run_args(&args);
	wake_notify();
}
