/*
 * hotswap.c
 *		Entry point of the library.
 */
#include "postgres.h"

#include "base/guc.h"
#include "commands/extension.h"
#include "fmgr.h"
#include "lock/lock.h"
#include "miscadmin.h"
#include "route/pin.h"
#include "route/watch.h"
#include "shm/init.h"
#include "shm/prepared.h"
#include "shm/wakeup.h"
#include "worker/process.h"

PG_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

/*
 * With or without preload: settings and the transaction callback.  Only with it: shared memory, the
 * hooks and the launcher; and no launcher in the servers that pg_upgrade runs.
 */
void
_PG_init(void)
{
	guc_init();
	wakeup_init();
	prepared_init();
	lock_init();
	pin_init();
	watch_init();
	if (!process_shared_preload_libraries_in_progress)
	{
		if (creating_extension && !IsBinaryUpgrade)
			ereport(
				WARNING,
				(errmsg("hotswap is not in shared_preload_libraries"),
				 errdetail(
					 "Nothing works in the background: deployments wait for CALL hotswap.work()."),
				 errhint("Add it to shared_preload_libraries and restart the server.")));
		return;
	}
	shm_init();
	make_way_init();
	if (!IsBinaryUpgrade)
		launcher_register();
}
