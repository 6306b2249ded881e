/*
 * notification.c
 *		The outbox of approvals: a notice is written with the event that it is about.
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
	Datum args[8];
	bool nulls[8] = { false };

	uuid7_generate(&id);
	args[0] = UUIDPGetDatum(&d->tenant);
	args[1] = UUIDPGetDatum(&d->id);
	args[2] = UUIDPGetDatum(&id);
	args[3] = CStringGetTextDatum(event);
	args[4] = TimestampTzGetDatum(GetCurrentTimestamp());
	args[5] = CStringGetTextDatum(environment);
	args[6] = db_text_array(concerns);
	args[7] = reason ? CStringGetTextDatum(reason) : (Datum) 0;
	nulls[7] = reason == NULL;
	(void) db_run(&insert_notification, args, nulls);
	wake_notify();
}
