/*
 * trouble.c
 *		What the dispatcher of a database could not do, for health() and explain().
 *
 * Bounded, kept in the database's slot and lost with it.  Without the preload nothing is kept: the session
 * of CALL work() says what failed.  Locks the database's slot, briefly.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "shm/trouble.h"

static const pg_uuid_t no_deployment = { { 0 } };

/* The entry, or a free one, or NULL.  The caller holds the slot's lock. */
static Trouble *
find(DatabaseSlot *slot, TroubleKind kind, const pg_uuid_t *deployment)
{
	Trouble *free_entry = NULL;

	for (int i = 0; i < MAX_TROUBLES; i++)
	{
		Trouble *t = &slot->troubles[i];

		if (t->kind == kind && memcmp(&t->deployment, deployment, sizeof(*deployment)) == 0)
			return t;
		if (t->kind == TROUBLE_NONE && free_entry == NULL)
			free_entry = t;
	}
	return free_entry;
}

/* Notes that something has failed, again or for the first time; deployment may be NULL. */
void
trouble_note(TroubleKind kind, const pg_uuid_t *deployment, const char *message)
{
	DatabaseSlot *slot = shmem_my_database();
	TimestampTz now = GetCurrentTimestamp();
	int length = pg_mbcliplen(message, strlen(message), TROUBLE_BYTES - 1);
	Trouble *t;

	if (slot == NULL)
		return;
	if (deployment == NULL)
		deployment = &no_deployment;
	t = find(slot, kind, deployment);
	/* there is no room for more deployments; what is about all of them matters more */
	if (t == NULL && deployment == &no_deployment)
	{
		t = &slot->troubles[MAX_TROUBLES - 1];
		t->kind = TROUBLE_NONE;
	}
	if (t && t->kind == TROUBLE_NONE)
		*t = (Trouble){ .kind = kind, .deployment = *deployment, .since = now };
	if (t)
	{
		t->times++;
		memcpy(t->message, message, length);
		t->message[length] = '\0';
	}
	LWLockRelease(slot->lock);
}

/* It has gone well now. */
void
trouble_over(TroubleKind kind, const pg_uuid_t *deployment)
{
	DatabaseSlot *slot = shmem_my_database();
	Trouble *t;

	if (slot == NULL)
		return;
	t = find(slot, kind, deployment ? deployment : &no_deployment);
	if (t)
		t->kind = TROUBLE_NONE;
	LWLockRelease(slot->lock);
}

/* Nothing is known any more. */
void
trouble_all_over(void)
{
	DatabaseSlot *slot = shmem_my_database();

	if (slot == NULL)
		return;
	memset(slot->troubles, 0, sizeof(slot->troubles));
	LWLockRelease(slot->lock);
}

/* A copy of what there is in this database, in the current context. */
Trouble *
trouble_list(int *count)
{
	Trouble *list = palloc(MAX_TROUBLES * sizeof(Trouble));
	DatabaseSlot *slot = shmem_my_database();

	*count = 0;
	if (slot == NULL)
		return list;
	for (int i = 0; i < MAX_TROUBLES; i++)
		if (slot->troubles[i].kind != TROUBLE_NONE)
			list[(*count)++] = slot->troubles[i];
	LWLockRelease(slot->lock);
	return list;
}
